//! Manage: a call of a token API. Authenticate, check the mount, read the body, let the face
//! decode, execute, let the face encode. Every refusal is worded by the face.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use http::header;
use http::request::Parts;
use http::{Method, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::admitted::Admitted;
use super::authenticate::{admit, note_refused};
use super::body_source::BodySource;
use super::connection::PeerAddress;
use super::control::{Control, Phase};
use super::credential::{CredentialSource, presented};
use super::exchange::Exchange;
use super::exchange_times::ExchangeTimes;
use super::forward::{ClientBody, until};
use super::limit;
use super::overload;
use super::paths::parameters;
use super::plan::{Plan, TokenApiSettings};
use super::refusal::Refusal;
use super::respond;
use super::route_table::TokenApiPath;
use super::worker::Local;
use crate::api::accounts::refusal_of;
use crate::api::{Answer, Call, CredentialNeed, FaceError};
use crate::tokens::accounts::{AccountError, ClientGroup};
use crate::tokens::authenticator::Refused;
use crate::tokens::command::{Command, CommandError, CommandOutcome};
use crate::tokens::service::TokenApiContext;
use crate::tokens::tickets::TicketError;
use crate::tokens::verified::Power;
use crate::wire::path::decode_segment;
use crate::wire::retry_after::whole_seconds;

/// The largest body of a call (DESIGN.md, section 4).
const BODY_LIMIT: usize = 64 * 1024;

/// A call of a token API, its caller not yet known.
pub(super) struct TokenApiCall<'a> {
    pub(super) token_api: &'a TokenApiSettings,
    method: &'a Method,
    /// As the face knows it.
    path: &'static str,
    /// Those of the path and the mount, with their names.
    parameters: Vec<(String, String)>,
}

impl<'a> TokenApiCall<'a> {
    pub(super) fn new(plan: &'a Plan, at: &TokenApiPath, head: &'a Parts) -> Result<Self, Refusal> {
        let token_api = plan.token_apis.get(at.token_api);
        let parameters = parameters(&at.pattern, head.uri.path())
            // A value that is not UTF-8 equals no claim and is no id.
            .map(|(name, value)| {
                (name.to_owned(), decode_segment(value).unwrap_or_default().into_owned())
            })
            .collect();
        Ok(Self {
            token_api: token_api.ok_or(Refusal::Internal("a token API is not in its plan"))?,
            method: &head.method,
            path: at.call,
            parameters,
        })
    }

    /// The method whose call is made: a HEAD is answered as a GET.
    fn asked(&self) -> &Method {
        if *self.method == Method::HEAD { &Method::GET } else { self.method }
    }

    /// Where the credential of the call may come from.
    pub(super) fn credential_source(&self) -> CredentialSource {
        let takes_key = self.token_api.face.credential(self.path) == CredentialNeed::Key;
        CredentialSource::of(takes_key && self.token_api.takes_api_key_field)
    }

    /// A refusal in the shape of the token API.
    pub(super) fn refused(&self, refusal: &Refusal) -> Answer {
        self.token_api.face.refuse(self.method, self.path, &face_error(refusal))
    }
}

pub(super) async fn call(
    local: &Local,
    exchange: &mut Exchange,
    at: &TokenApiPath,
    head: &Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let call = TokenApiCall::new(&local.plan, at, head)?;
    let answered = answer(local, exchange, &call, head, body).await;
    let response = answered.unwrap_or_else(|refusal| {
        respond::face_refused(exchange, &refusal, call.refused(&refusal))
    });
    if let Some(counters) = local.counters.token_api(at.token_api) {
        let kind = call.token_api.face.call_kind(call.asked(), call.path);
        counters.count(kind, response.status().as_u16());
    }
    Ok(response)
}

async fn answer(
    local: &Local,
    exchange: &mut Exchange,
    call: &TokenApiCall<'_>,
    head: &Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let token_api = call.token_api;
    overload::enter(exchange)?;
    let caller = permitted(local, exchange, call, head).await?;
    let body = read_body(local, &exchange.control, body).await?;
    let content_type =
        head.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let now = exchange.now.wall;
    let command = token_api.face.decode(&Call {
        method: call.asked(),
        path: call.path,
        parameters: &call.parameters,
        content_type,
        body: &body,
        now,
    });
    if !command.as_ref().is_ok_and(Command::only_revokes) {
        judge_limits(local, exchange, call, caller.as_ref()).await?;
    }
    let command = command.map_err(Refusal::Face)?;
    let caller = caller.as_deref().map(|admitted| &admitted.caller);
    let shared = &exchange.gateway.shared;
    let outcome = match (command, &token_api.accounts, caller) {
        (Command::Account(command), Some(terms), caller) => {
            let from = client_group(exchange);
            let outcome = shared.accounts.execute(terms, from, caller, command, now).await;
            CommandOutcome::Account(outcome.map_err(account_refused)?)
        }
        (Command::IssueTicket, _, Some(caller)) => {
            let ticket = shared.tickets.issue(caller, now).await;
            CommandOutcome::TicketIssued(ticket.map_err(ticket_refused)?)
        }
        (command, _, Some(caller)) => {
            let context =
                TokenApiContext { token_api: &token_api.name, minting: &token_api.minting };
            let outcome = shared.service.execute(caller, context, command, now).await;
            outcome.map_err(command_refused)?
        }
        (_, _, None) => return Err(Refusal::Internal("a command came without a caller")),
    };
    Ok(respond::face_answer(token_api.face.encode(&outcome)))
}

/// Whether limits let a call through.
async fn judge_limits(
    local: &Local,
    exchange: &mut Exchange,
    call: &TokenApiCall<'_>,
    caller: Option<&Rc<Admitted>>,
) -> Result<(), Refusal> {
    overload::share(exchange)?;
    let Some(admitted) = caller.filter(|_| limit::is_limited(&local.plan, exchange)) else {
        return Ok(());
    };
    let (name, parameters) = (&call.token_api.name, &call.parameters);
    let asked = limit::call(&local.plan, exchange, name, admitted, parameters)?;
    limit::judge(exchange, asked).await
}

/// The caller of a call, if it may make it; `None` if the call needs no credential. Does not read
/// the body.
pub(super) async fn permitted(
    local: &Local,
    exchange: &mut Exchange,
    call: &TokenApiCall<'_>,
    head: &Parts,
) -> Result<Option<Rc<Admitted>>, Refusal> {
    let token_api = call.token_api;
    let allowed = token_api.face.allowed(call.path);
    if !allowed.split(", ").any(|allowed| allowed == call.asked().as_str()) {
        return Err(Refusal::Face(FaceError::MethodNotAllowed(allowed)));
    }
    let need = token_api.face.credential(call.path);
    if need == CredentialNeed::None {
        return Ok(None);
    }
    let (token, field) = presented(&head.headers, call.credential_source())?;
    let admitted = admit(local, exchange, token, field).await;
    let admitted = admitted.inspect_err(|refusal| note_refused(local, token, refusal))?;
    let (caller, name) = (&admitted.caller, &token_api.name);
    let of = caller.token.token_api();
    let is_key = caller.token.power() == Power::Full && of == name;
    let is_caller = token_api.callers.take(caller, name);
    match need {
        CredentialNeed::Key if is_key => {}
        CredentialNeed::Key if is_caller => return Err(Refusal::Face(FaceError::KeyNeeded)),
        CredentialNeed::Own | CredentialNeed::Session if is_caller => {}
        _ => {
            let cause = format!("a token of {of:?} such as this makes no calls of {name:?}");
            return Err(Refusal::NotAccepted { cause });
        }
    }
    if !owns_mount(&admitted, &call.parameters) {
        return Err(Refusal::Face(FaceError::ForeignMount));
    }
    Ok(Some(admitted))
}

/// Where a call comes from, as far as attempts are counted.
fn client_group(exchange: &Exchange) -> ClientGroup {
    match (exchange.client_address(), &exchange.client.origin.address) {
        (Some(address), _) => address.into(),
        (None, PeerAddress::Unix(listener)) => ClientGroup::of_unix_listener(listener),
        (None, PeerAddress::Ip(address)) => address.ip().into(),
    }
}

fn account_refused(fault: AccountError) -> Refusal {
    match fault {
        AccountError::NoSession => Refusal::BadCredential(Refused::NoRecord),
        AccountError::Store(fault) => Refusal::Store(fault),
        AccountError::Signing(fault) => internal("a session could not be signed", &fault),
        AccountError::Randomness(fault) => internal("a key could not be made", &fault),
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
        CommandError::Signing(fault) => internal("a token could not be signed", &fault),
        CommandError::Minting(fault) => internal("a token could not be made", &fault),
    }
}

fn ticket_refused(fault: TicketError) -> Refusal {
    match fault {
        TicketError::NoKey => Refusal::Face(FaceError::KeyNeeded),
        TicketError::TooMany { retry_after } => Refusal::Face(FaceError::too_many(retry_after)),
        TicketError::Minting(fault) => internal("a ticket could not be made", &fault),
        TicketError::Store(fault) => Refusal::Store(fault),
    }
}

/// A fault of ours, with its cause in the log.
fn internal(what: &'static str, fault: &dyn fmt::Display) -> Refusal {
    tracing::error!(%fault, "{what}");
    Refusal::Internal(what)
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
    let times = ExchangeTimes::answered(local.plan.timeouts.body);
    control.limit(times, u64::MAX, || Duration::ZERO);
    control.enter_for(Phase::Exchange, times.request_body);
    // All of it, not only each piece: it is small, and a call may need no credential.
    control.deadline.bind(local.plan.timeouts.body);
    loop {
        let frame = match until(&control.deadline, body.frame()).await {
            Some(Some(Ok(frame))) => frame,
            Some(None) => break,
            Some(Some(Err(_))) => return Err(Refusal::Face(FaceError::BodyBroken)),
            None => return Err(Refusal::Face(FaceError::BodyTooSlow)),
        };
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > BODY_LIMIT {
                return Err(Refusal::Face(FaceError::BodyTooLarge(BODY_LIMIT)));
            }
            whole.extend_from_slice(data);
        }
    }
    control.deadline.unbind();
    control.deadline.lift();
    Ok(whole)
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
        Refusal::RateLimited { retry_after, .. }
        | Refusal::TooManyConcurrent { retry_after, .. } => {
            FaceError::RateLimited { retry_after_seconds: whole_seconds(*retry_after) }
        }
        Refusal::Overloaded(_) => FaceError::Overloaded,
        Refusal::Store(_) => FaceError::Unavailable,
        _ => FaceError::Internal,
    }
}
