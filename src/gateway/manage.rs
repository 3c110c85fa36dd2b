//! Manage: a call of a token API. Authenticate, check the mount, read the body, let the face decode, execute, let the face
//! encode. Every "no" is worded by the face.

use std::rc::Rc;

use http::header;
use http::{Method, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::authenticate::{Admitted, admit};
use super::client::ClientConnection;
use super::exchange::Exchange;
use super::forward::until;
use super::parse::Normal;
use super::plan::TokenApiSettings;
use super::refusal::Refusal;
use super::respond::{self, Source};
use super::worker::{Local, WorkerGateway};
use crate::api::{Call, FaceError};
use crate::tokens::command::CommandError;

/// The largest body of a call (DESIGN.md, section 4).
pub(super) const BODY_LIMIT: usize = 64 * 1024;

#[expect(clippy::too_many_arguments, reason = "the stages' common arguments, and what routing found out")]
pub(super) async fn call(
    gateway: &Rc<WorkerGateway>,
    client: &Rc<ClientConnection>,
    exchange: &mut Exchange,
    local: &Local,
    token_api: usize,
    path: &'static str,
    parameters: &[(String, String)],
    request: Normal,
) -> Result<Response<Source>, Refusal> {
    let token_api = local.plan.token_apis.get(token_api).ok_or(Refusal::Internal("a token API is not in its plan"))?;
    let answered = answer(gateway, client, exchange, local, token_api, path, parameters, request).await;
    Ok(answered.unwrap_or_else(|refusal| {
        let answer = token_api.face.refuse(&face_error(&refusal));
        respond::face_refused(client, exchange, &refusal, answer)
    }))
}

#[expect(clippy::too_many_arguments, reason = "as above")]
async fn answer(
    gateway: &WorkerGateway,
    client: &Rc<ClientConnection>,
    exchange: &mut Exchange,
    local: &Local,
    token_api: &TokenApiSettings,
    path: &'static str,
    parameters: &[(String, String)],
    request: Normal,
) -> Result<Response<Source>, Refusal> {
    let face = &token_api.face;
    let method = if request.head.method == Method::HEAD { &Method::GET } else { &request.head.method };
    if !face.allowed(path).split(", ").any(|allowed| allowed == method.as_str()) {
        return Err(Refusal::Face(FaceError::MethodNotAllowed(face.allowed(path))));
    }
    let admitted = admit(gateway, client, local, exchange, &request.head.headers).await?;
    if *admitted.caller.token.token_api() != token_api.name {
        return Err(Refusal::NotAccepted);
    }
    if !owns_mount(&admitted, parameters) {
        return Err(Refusal::Face(FaceError::ForeignMount));
    }
    let body = read_body(local, client, request.body).await?;
    let content_type = match request.head.headers.get(header::CONTENT_TYPE) {
        Some(value) => Some(value.to_str().map_err(|_| Refusal::Face(FaceError::NotDeclaredJson))?),
        None => None,
    };
    let own = path.split('/').find_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = own.and_then(|own| parameters.iter().rev().find(|(name, _)| name == own));
    let call = Call { method, path, parameter: parameter.map(|(_, value)| value.as_str()), content_type, body: &body };
    let command = face.decode(&call).map_err(Refusal::Face)?;
    let service = &gateway.shared.service;
    let outcome = service.execute(&admitted.caller, token_api.algorithm, command, exchange.now().wall).await.map_err(
        |fault| match fault {
            CommandError::CredentialGone => Refusal::BadCredential(crate::tokens::authenticator::Refused::NoRecord),
            CommandError::NotOwner => Refusal::Face(FaceError::NotOwner),
            CommandError::Protected => Refusal::Face(FaceError::Protected),
            CommandError::Misdirected => Refusal::Internal("a command came to the wrong service"),
            CommandError::Store(fault) => Refusal::Store(fault),
            CommandError::Signing(fault) => {
                tracing::error!(%fault, "a token could not be signed");
                Refusal::Internal("a token could not be signed")
            }
        },
    )?;
    Ok(respond::face_answer(face.encode(&outcome)))
}

/// The parameters of the mount that name a claim must equal the caller's; a claim that the caller has not equals nothing.
fn owns_mount(admitted: &Admitted, parameters: &[(String, String)]) -> bool {
    let token = &admitted.caller.token;
    parameters.iter().all(|(name, value)| match name.as_str() {
        "organization" => token.organization() == Some(value),
        "username" => token.username() == Some(value),
        _ => true,
    })
}

async fn read_body(local: &Local, client: &ClientConnection, mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    let declared = http_body::Body::size_hint(&body).lower();
    if declared > BODY_LIMIT as u64 {
        return Err(Refusal::Face(FaceError::BodyTooLarge(BODY_LIMIT)));
    }
    loop {
        client.allow(local.plan.timeouts.body);
        let frame = match until(&client.deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => {
                client.body_is_unread.set(false);
                return Ok(whole);
            }
            Ok(Some(Err(_))) => return Err(Refusal::Face(FaceError::BodyBroken)),
            Err(_) => return Err(Refusal::Face(FaceError::BodyTooSlow)),
        };
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > BODY_LIMIT {
                return Err(Refusal::Face(FaceError::BodyTooLarge(BODY_LIMIT)));
            }
            whole.extend_from_slice(data);
        }
    }
}

/// What a refusal of the gateway is in the words of a token API.
fn face_error(refusal: &Refusal) -> FaceError {
    match refusal {
        Refusal::Face(error) => error.clone(),
        Refusal::NoCredential => FaceError::NoCredential,
        Refusal::AmbiguousCredential => FaceError::AmbiguousCredential,
        Refusal::BadCredential(_) | Refusal::CredentialTooLong | Refusal::NotAccepted => FaceError::BadCredential,
        Refusal::Forbidden => FaceError::ForeignMount,
        Refusal::Store(_) => FaceError::Unavailable,
        _ => FaceError::Internal,
    }
}
