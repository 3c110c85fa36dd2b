//! Manage: a call of a token API. Authenticate, check the mount, read the body, let the face
//! decode, execute, let the face encode. Every "no" is worded by the face.

use std::rc::Rc;

use http::header;
use http::request::Parts;
use http::{Method, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::admitted::Admitted;
use super::authenticate::admit;
use super::body_source::BodySource;
use super::connection::PeerAddress;
use super::control::{Control, Phase};
use super::credential::CredentialSource;
use super::exchange::Exchange;
use super::forward::{ClientBody, until};
use super::plan::TokenApiSettings;
use super::refusal::Refusal;
use super::respond;
use super::worker::Local;
use crate::api::accounts::refusal_of;
use crate::api::{Answer, Call, CredentialNeed, FaceError};
use crate::tokens::accounts::{AccountError, ClientGroup};
use crate::tokens::authenticator::Refused;
use crate::tokens::command::{Command, CommandError, CommandOutcome};
use crate::tokens::service::TokenApiContext;

/// The largest body of a call (DESIGN.md, section 4).
pub(super) const BODY_LIMIT: usize = 64 * 1024;

pub(super) async fn call(
    local: &Local,
    exchange: &mut Exchange,
    token_api: usize,
    path: &'static str,
    parameters: &[(String, String)],
    head: Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let token_api = local
        .plan
        .token_apis
        .get(token_api)
        .ok_or(Refusal::Internal("a token API is not in its plan"))?;
    let method = head.method.clone();
    let answered = answer(local, exchange, token_api, path, parameters, head, body).await;
    Ok(answered.unwrap_or_else(|refusal| {
        let answer = refused(token_api, &method, path, &refusal);
        respond::face_refused(exchange, &refusal, answer)
    }))
}

async fn answer(
    local: &Local,
    exchange: &mut Exchange,
    token_api: &TokenApiSettings,
    path: &'static str,
    parameters: &[(String, String)],
    head: Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let face = &token_api.face;
    let caller = permitted(local, exchange, token_api, path, parameters, &head).await?;
    let method = asked(&head.method);
    let body = read_body(local, exchange.control(), body).await?;
    let content_type =
        head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let now = exchange.now().wall;
    let command = face
        .decode(&Call { method, path, parameters, content_type, body: &body, now })
        .map_err(Refusal::Face)?;
    let caller = caller.as_deref().map(|admitted| &admitted.caller);
    let outcome = match (command, &token_api.accounts, caller) {
        (Command::Account(command), Some(terms), caller) => {
            let from = client_group(exchange);
            let outcome =
                exchange.gateway().shared.accounts.execute(terms, from, caller, command, now).await;
            CommandOutcome::Account(outcome.map_err(account_refused)?)
        }
        (command, _, Some(caller)) => {
            let context =
                TokenApiContext { token_api: &token_api.name, minting: &token_api.minting };
            exchange
                .gateway()
                .shared
                .service
                .execute(caller, context, command, now)
                .await
                .map_err(command_refused)?
        }
        (_, _, None) => return Err(Refusal::Internal("a command came without a caller")),
    };
    Ok(respond::face_answer(face.encode(&outcome)))
}

/// The caller of a call, if it may make it; `None` if the call needs no credential. Does not read
/// the body.
pub(super) async fn permitted(
    local: &Local,
    exchange: &mut Exchange,
    token_api: &TokenApiSettings,
    path: &'static str,
    parameters: &[(String, String)],
    head: &Parts,
) -> Result<Option<Rc<Admitted>>, Refusal> {
    let face = &token_api.face;
    let method = asked(&head.method);
    if !face.allowed(path).split(", ").any(|allowed| allowed == method.as_str()) {
        return Err(Refusal::Face(FaceError::MethodNotAllowed(face.allowed(path))));
    }
    match face.credential(path) {
        CredentialNeed::None => Ok(None),
        CredentialNeed::Own | CredentialNeed::Session => {
            let admitted = admit(local, exchange, CredentialSource::Bearer, &head.headers).await?;
            if !token_api.callers.take(&admitted.caller, &token_api.name) {
                let of = admitted.caller.token.token_api();
                let cause = format!(
                    "a token of {of:?} such as this makes no calls of {:?}",
                    token_api.name
                );
                return Err(Refusal::NotAccepted { cause });
            }
            if !owns_mount(&admitted, parameters) {
                return Err(Refusal::Face(FaceError::ForeignMount));
            }
            Ok(Some(admitted))
        }
    }
}

/// The method whose call is made: a HEAD is answered as a GET.
fn asked(method: &Method) -> &Method {
    if *method == Method::HEAD { &Method::GET } else { method }
}

/// A refusal in the shape of the token API.
pub(super) fn refused(
    token_api: &TokenApiSettings,
    method: &Method,
    path: &'static str,
    refusal: &Refusal,
) -> Answer {
    token_api.face.refuse(method, path, &face_error(refusal))
}

/// Where a call comes from, as far as attempts are counted.
fn client_group(exchange: &Exchange) -> ClientGroup {
    match (exchange.client_address(), &exchange.client().origin.address) {
        (Some(address), _) => address.into(),
        (None, PeerAddress::Unix(listener)) => ClientGroup::of_unix_listener(listener),
        (None, PeerAddress::Ip(address)) => address.ip().into(),
    }
}

fn account_refused(fault: AccountError) -> Refusal {
    match fault {
        AccountError::NoSession => Refusal::BadCredential(Refused::NoRecord),
        AccountError::Store(fault) => Refusal::Store(fault),
        AccountError::Signing(fault) => {
            tracing::error!(%fault, "a session could not be signed");
            Refusal::Internal("a session could not be signed")
        }
        AccountError::Randomness(fault) => {
            tracing::error!(%fault, "a key could not be made");
            Refusal::Internal("a key could not be made")
        }
        other => Refusal::Face(refusal_of(&other)),
    }
}

fn command_refused(fault: CommandError) -> Refusal {
    match fault {
        CommandError::CredentialGone => Refusal::BadCredential(Refused::NoRecord),
        CommandError::NotOwner => Refusal::Face(FaceError::NotOwner),
        CommandError::Protected => Refusal::Face(FaceError::Protected),
        CommandError::ForeignTenant => Refusal::Face(FaceError::ForeignTenant),
        CommandError::Misdirected => Refusal::Internal("a command came to the wrong service"),
        CommandError::NoSuchToken => Refusal::Face(FaceError::NoSuchToken),
        CommandError::Store(fault) => Refusal::Store(fault),
        CommandError::Signing(fault) => {
            tracing::error!(%fault, "a token could not be signed");
            Refusal::Internal("a token could not be signed")
        }
        CommandError::Minting(fault) => {
            tracing::error!(%fault, "a token could not be made");
            Refusal::Internal("a token could not be made")
        }
    }
}

/// The parameters of the mount that name a claim must equal the caller's; a claim that the caller
/// has not equals nothing.
fn owns_mount(admitted: &Admitted, parameters: &[(String, String)]) -> bool {
    let token = &admitted.caller.token;
    parameters.iter().all(|(name, value)| match name.as_str() {
        "organization" => token.organization() == Some(value),
        "username" => token.username() == Some(value),
        _ => true,
    })
}

async fn read_body(
    local: &Local,
    control: &Control,
    mut body: ClientBody,
) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    if body.is_over() {
        return Ok(whole);
    }
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(Refusal::Face(FaceError::BodyTooLarge(BODY_LIMIT)));
    }
    control.enter(Phase::Exchange, local.plan.timeouts.body);
    loop {
        let frame = match until(&control.deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => {
                control.deadline.lift();
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
        Refusal::NoCredential { .. } => FaceError::NoCredential,
        Refusal::AmbiguousCredential { .. } => FaceError::AmbiguousCredential,
        Refusal::BadCredential(_)
        | Refusal::KeysMissing(_)
        | Refusal::CredentialTooLong { .. }
        | Refusal::NotAccepted { .. } => FaceError::BadCredential,
        Refusal::Forbidden { .. } => FaceError::ForeignMount,
        Refusal::Store(_) => FaceError::Unavailable,
        _ => FaceError::Internal,
    }
}
