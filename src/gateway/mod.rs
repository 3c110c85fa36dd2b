//! The request's way, one line through the house:
//!
//! ```text
//! accept → TLS → parse → route → authenticate → authorize → forward → respond
//! └──── server ────┘ └──────────────────── gateway ───────────────────────────┘
//! ```
//!
//! [`run`] is that line. Each stage is a file with the verb as its name; a stage that says no returns a [`Refusal`], and one
//! place turns it into bytes. What has not been authorized does not compile: only `authorize` can make the
//! `Permit` that `forward` asks for.

mod authenticate;
mod authorize;
mod client;
mod exchange;
mod forward;
mod identity_headers;
mod incoming;
mod manage;
mod parse;
mod paths;
mod plan;
mod refusal;
mod respond;
mod route;
mod worker;

use std::convert::Infallible;
use std::rc::Rc;

use http::{Request, Response};

pub use client::{ClientConnection, ClientOrigin, Phase, Scheme};
pub use exchange::RequestId;
pub use identity_headers::IdentityNames;
pub use incoming::{BodyBroken, BodySource, IncomingBody};
pub use plan::{
    Callers, ExchangeTimeouts, Plan, PlanError, PlanSettings, Requirement, RequirementField, RouteSettings, TenantRule,
    TokenApiSettings, UpstreamPlan, mounted,
};
pub use refusal::{Refusal, UpstreamFailure};
pub use respond::ResponseBody;
pub use route::HostRule;
pub use worker::{Shared, WorkerGateway};

use exchange::Exchange;
use route::Destination;

/// Answers one request. Nothing that a client, an upstream or the store does makes it fail: every "no" is a response.
///
/// # Errors
///
/// Never: the type says so.
///
/// # Cancel safety
///
/// Dropped when the client goes away: the upstream exchange is then broken off, while a change of the allowlist that has
/// begun is finished.
pub async fn run(
    gateway: Rc<WorkerGateway>,
    client: Rc<ClientConnection>,
    request: Request<IncomingBody>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut exchange = Exchange::begin(&gateway, &client, &request);
    let response = match answer(&gateway, &client, &mut exchange, request).await {
        Ok(response) => response,
        Err(refusal) => respond::refused(&client, &mut exchange, &refusal),
    };
    respond::allow_reading(&client, &exchange, &response);
    Ok(respond::finish(gateway, exchange, response))
}

/// The straight line.
async fn answer(
    gateway: &Rc<WorkerGateway>,
    client: &Rc<ClientConnection>,
    exchange: &mut Exchange,
    request: Request<IncomingBody>,
) -> Result<Response<respond::Source>, Refusal> {
    let local = exchange.local();
    let request = parse::request(client, exchange, request)?;
    match route::find(&local.plan, &request)? {
        Destination::PublicKeys => Ok(respond::public_keys(&local.plan)),
        Destination::Document(at) => respond::document(&local.plan, at, &request.head.headers),
        Destination::TokenApi { token_api, call, parameters } => {
            // Boxed, as it is rare and large: every connection holds room for what its requests may await.
            Box::pin(manage::call(gateway, client, exchange, &local, token_api, call, &parameters, request)).await
        }
        Destination::Route(at) => {
            let route = local.plan.route(at)?;
            exchange.routed(at);
            let door = local.plan.door(at);
            let caller = authenticate::caller(gateway, client, &local, exchange, route, door, &request).await?;
            let permit = authorize::permit(&local.plan, route, door, caller, &request.head.uri)?;
            forward::forward(&local, client, exchange, permit, request).await
        }
    }
}
