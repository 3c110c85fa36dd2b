//! A request's way through keyward:
//!
//! ```text
//! accept → TLS → hyper → gate → route → cors
//! └───── server ─────┘   └──── gateway ────┘
//!   → authenticate → authorize → limit → forward → respond
//!   └────────────────────── gateway ─────────────────────┘
//! ```
//!
//! A request that goes along a route or to a token API first asks `overload` for a place, before
//! the store is asked anything.
//!
//! [`run`] is that line. Each stage is a file with the verb as its name; a stage that says no
//! returns a `Refusal`, and `respond` turns it into bytes. What has not been authorized does not
//! compile: only `authorize` can make the `Permit` that `forward` asks for, and `own_answer`, which
//! answers along routes that lead to no upstream. What belongs to a
//! client's connection is a [`ClientConnection`]; what belongs to one request while it is under way
//! is a [`Control`], shared with the driver of the connection or stream; what is known of it for
//! the log is an `Exchange`.

mod access_line;
mod admitted;
mod allowed_origin;
mod authenticate;
mod authorize;
mod body_source;
mod challenge;
mod client_address;
mod client_fields;
mod compression;
mod conditions;
mod connection;
mod control;
mod cors;
mod cors_policy;
mod credential;
mod credential_places;
mod dav_destination;
mod exchange;
mod exchange_times;
mod explain;
mod forward;
mod forwarding;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gate;
mod head_fault;
mod header_changes;
mod heap;
mod identity_headers;
mod limit;
mod limit_plan;
mod limit_state;
mod line_buffer;
mod manage;
mod method_override;
mod open_streams;
mod overload;
mod own_answer;
mod paths;
mod plan;
mod plan_counters;
mod presets;
mod public_address;
mod redirect;
mod redirect_loops;
mod refusal;
mod remembered;
mod request_id;
mod requirement;
mod respond;
mod rounds;
mod route;
mod route_limits;
mod route_table;
mod route_target;
mod spelling;
mod trace_context;
mod upgrades;
mod upstream_path;
mod worker;

use std::convert::Infallible;
use std::rc::Rc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

pub use allowed_origin::AllowedOrigin;
pub use challenge::{ChallengeScheme, DEFAULT_REALM, RouteChallenge};
pub use compression::{Coding, CompressionRules, MediaTypeRule};
pub use conditions::{Conditions, Expected};
pub use connection::{
    ClientCertificate, ClientConnection, ClientOrigin, PeerAddress, Scheme, TrustedProxies,
};
pub use control::{Control, Ending, Phase, Tunnel};
pub use cors_policy::CorsSettings;
pub use credential::X_API_KEY;
pub use credential_places::CredentialPlaces;
pub use explain::explain;
pub use forward::carry;
pub use gate::HeadLimits;
pub use head_fault::HeadFault;
pub use header_changes::{HeaderChanges, RouteHeaderChanges};
pub use identity_headers::{IdentityNames, reserved_names};
pub use open_streams::{OpenStream, OpenStreams};
pub use plan::{
    Callers, Plan, PlanError, PlanSettings, RouteSettings, TenantRule, TokenApiSettings,
    UpstreamPlan, mounted,
};
pub use presets::Preset;
pub use redirect::{Redirect, RedirectPath, RedirectServer};
pub use redirect_loops::{Doubts, OtherScheme, RedirectLoop};
pub use requirement::{Requirement, RequirementField};
pub use respond::ResponseBody;
pub use route_limits::{Limit, LimitKey, RouteLimits};
pub use route_table::HostRule;
pub use route_target::{FixedAnswer, RouteTarget};
pub use upgrades::Upgrades;
pub use upstream_path::{ForwardPath, PathChange, PathRules};
pub use worker::{Services, Shared, WorkerGateway};

use body_source::BodySource;
use exchange::Exchange;
use forward::ClientBody;
use gate::Passed;
use refusal::Refusal;
use route::Destination;
use route_table::OwnPath;
use worker::Local;

use crate::limits::Excess;

/// Answers one request. Nothing that a client, an upstream or the store does makes it fail: every
/// "no" is a response.
///
/// # Errors
///
/// Never: the type says so.
///
/// # Cancel safety
///
/// Dropped when the client goes away: the upstream exchange is then broken off, while a change of
/// the allowlist that has begun is finished.
pub async fn run(
    gateway: Rc<WorkerGateway>,
    client: Rc<ClientConnection>,
    control: Rc<Control>,
    limits: HeadLimits,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (mut head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let mut exchange = Exchange::begin(&gateway, &client, &control, head.version, has_body);
    exchange.arrived(&head);
    let local = Rc::clone(&exchange.local);
    let body = ClientBody::new(body, control);
    let plan = &local.plan;
    let judged = gate::judge(&mut head, has_body, limits, &plan.identity.judged, plan.raw_paths);
    let answered = match judged {
        Ok(passed) => {
            exchange.target = head.uri.path_and_query().cloned();
            exchange.method = Some(head.method.clone());
            if passed.has_trace {
                exchange.note_trace(&head.headers);
            }
            answer(&local, &mut exchange, passed, &mut head, body).await
        }
        Err(refusal) => {
            exchange.note_trace(&head.headers);
            Err(refusal)
        }
    };
    let response = answered.unwrap_or_else(|refusal| respond::refused(&mut exchange, &refusal));
    Ok(respond::finish(exchange, response))
}

/// Answers a request whose head hyper could not read: nothing of it is known but what is wrong with
/// it. `cause` is for the log.
pub fn refuse_head(
    gateway: &Rc<WorkerGateway>,
    client: &Rc<ClientConnection>,
    control: &Rc<Control>,
    fault: HeadFault,
    cause: String,
) -> Response<ResponseBody> {
    let exchange = Exchange::begin(gateway, client, control, Version::HTTP_11, false);
    refuse_and_close(exchange, &Refusal::Head(fault), cause)
}

/// Answers a request on a connection that is more than keyward can bear; `None`: before it has
/// come.
pub fn overloaded(
    gateway: &Rc<WorkerGateway>,
    client: &Rc<ClientConnection>,
    control: &Rc<Control>,
    request: Option<Request<Incoming>>,
) -> Response<ResponseBody> {
    let head = request.map(|request| request.into_parts().0);
    let version = head.as_ref().map_or(Version::HTTP_11, |head| head.version);
    let mut exchange = Exchange::begin(gateway, client, control, version, false);
    if let Some(head) = &head {
        exchange.arrived(head);
    }
    let has_too_much_memory = gateway.shared.load.has_too_much_memory();
    let excess = if has_too_much_memory { Excess::Memory } else { Excess::Connections };
    let refusal = Refusal::Overloaded(excess);
    refuse_and_close(exchange, &refusal, refusal.cause())
}

fn refuse_and_close(
    mut exchange: Box<Exchange>,
    refusal: &Refusal,
    cause: String,
) -> Response<ResponseBody> {
    let mut response = respond::refused(&mut exchange, refusal);
    exchange.refusal = Some((refusal.reason(), Some(cause)));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    respond::finish(exchange, response)
}

/// The stages behind the gate.
async fn answer(
    local: &Local,
    exchange: &mut Exchange,
    passed: Passed,
    head: &mut Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let plan = &local.plan;
    let mut found = route::find(plan, exchange, route::chosen_by(head), head);
    if passed.has_judged {
        found = method_override::judge(plan, exchange, head, found);
    }
    match cors::judge(plan, exchange, head, found)? {
        Destination::Preflight => Ok(respond::preflight(exchange)),
        Destination::Own(OwnPath::PublicKeys) => Ok(respond::public_keys(plan)),
        Destination::Own(OwnPath::Document(at)) => respond::document(plan, *at, &head.headers),
        // Boxed, as it is rare and large: every connection reserves memory for the futures of its
        // requests.
        Destination::Own(OwnPath::TokenApi(at)) => {
            Box::pin(manage::call(local, exchange, at, head, body)).await
        }
        Destination::Route(at) => {
            exchange.route = Some(at);
            overload::enter(exchange)?;
            if let Some(limits) = &plan.limits {
                let asked = limit::arrived(limits, exchange, at);
                if !asked.is_empty() {
                    Box::pin(limit::judge(exchange, asked)).await?;
                }
            }
            let permit = authorize::permitted(local, exchange, at, head, passed).await?;
            overload::share(exchange)?;
            if limit::is_limited(plan, exchange) {
                let path = head.uri.path();
                let asked = limit::permitted(plan, exchange, at, permit.route(), path)?;
                if !asked.is_empty() {
                    Box::pin(limit::judge(exchange, asked)).await?;
                }
            }
            if let Some(answer) = own_answer::own_answer(exchange, &permit, head) {
                return answer;
            }
            forward::forward(local, exchange, permit, passed, head, body).await
        }
    }
}
