//! Explain: what would become of a request, by the same stages, up to the moment at which it would
//! be forwarded or a call of a token API be carried out. It leaves no trace in log and metrics.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode};

use super::admitted::Admitted;
use super::authorize::permitted;
use super::connection::{ClientConnection, ClientOrigin};
use super::control::Control;
use super::cors;
use super::cors_policy::CorsFields;
use super::credential::{CredentialField, CredentialSource, presented};
use super::credential_places::CredentialPlaces;
use super::exchange::Exchange;
use super::gate::{self, HeadLimits, Passed, WebSocketForm};
use super::manage::{self, TokenApiCall};
use super::method_override;
use super::own_answer;
use super::plan::{Plan, RouteSettings};
use super::refusal::Refusal;
use super::route::{self, Destination};
use super::route_table::{HostRule, OwnPath};
use super::route_target::RouteTarget;
use super::worker::{Local, Shared, WorkerGateway};
use crate::telemetry::{
    Decision, ExplainedCors, ExplainedCredential, ExplainedHeader, ExplainedHolder, ExplainedRoute,
    Explanation,
};
use crate::tokens::opaque::{CredentialForm, JWT_BEGINS};
use crate::tokens::verified::Power;
use crate::wire::deadline::Deadlines;

/// Says what would become of a request of HTTP/1.1 from a client at `origin`, by the plan that is
/// in force.
///
/// It asks the store and the keys of issuers as the request would, and what they say is remembered
/// as for the request.
///
/// # Cancel safety
///
/// Nothing is changed, so it can be dropped at any time.
pub async fn explain(
    shared: &Arc<Shared>,
    limits: HeadLimits,
    origin: ClientOrigin,
    request: Request<()>,
) -> Explanation {
    let gateway = Rc::new(WorkerGateway::silent(Arc::clone(shared)));
    let client = Rc::new(ClientConnection::new(origin, None));
    let control = Rc::new(Control::of_connection(Deadlines::default().register(), Duration::ZERO));
    let (mut head, ()) = request.into_parts();
    // Which of these fields are sound, the gate says.
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let mut exchange = Exchange::begin(&gateway, &client, &control, head.version, has_body);
    exchange.arrived(&head);
    let local = Rc::clone(&exchange.local);
    let mut explanation = Explanation {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        client: exchange.client_text().to_owned(),
        ..Explanation::default()
    };
    let plan = &local.plan;
    let judged = gate::judge(&mut head, has_body, limits, &plan.identity.judged, plan.raw_paths);
    let followed = match judged {
        Ok(passed) => {
            head.uri.path().clone_into(&mut explanation.path);
            explanation.host = head.headers.get(header::HOST).map(text);
            follow(&local, &mut exchange, &head, passed, &mut explanation).await
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = followed {
        explanation.status.get_or_insert(refusal.status().as_u16());
        explanation.reason = Some(refusal.reason().as_str().to_owned());
        explanation.cause = Some(refusal.cause());
        explanation.detail = Some(refusal.detail());
        explanation.challenge = refusal.challenge(exchange.route_challenge()).map(Cow::into_owned);
        if let Refusal::MethodNotAllowed { allow } = refusal {
            explanation.allow = Some(allow);
        }
    }
    explanation.cors = exchange.cors.take().map(|fields| of_browsers(*fields));
    if let (Some(credential), Some(admitted)) = (&mut explanation.credential, &exchange.admitted) {
        credential.holder = Some(holder(admitted));
    }
    explanation
}

/// The way of a request that has passed the gate.
async fn follow(
    local: &Local,
    exchange: &mut Exchange,
    head: &Parts,
    passed: Passed,
    explanation: &mut Explanation,
) -> Result<(), Refusal> {
    let plan = &local.plan;
    let mut found = route::find(plan, exchange, route::chosen_by(head), head);
    if passed.has_judged {
        found = method_override::judge(plan, exchange, head, found);
    }
    let chosen = match &found {
        Ok(Destination::Route(at)) => Some(*at),
        _ => None,
    };
    explanation.passed_over = route::passed_over(plan, exchange, head, chosen);
    let found = cors::judge(plan, exchange, head, found);
    if let (Ok(Destination::Preflight) | Err(_), Some(at)) = (&found, exchange.route) {
        explanation.route = Some(explained(plan, plan.route(at)?));
    }
    match found? {
        Destination::Preflight => {
            explanation.decision = Decision::Answered;
            explanation.status = Some(StatusCode::NO_CONTENT.as_u16());
            explanation.answered_by = Some("the policy in \"cors\", as a preflight".to_owned());
        }
        Destination::Own(OwnPath::PublicKeys) => answered(explanation, "the public keys"),
        Destination::Own(OwnPath::Document(_)) => answered(explanation, "a page of a token API"),
        Destination::Own(OwnPath::TokenApi(at)) => {
            let call = TokenApiCall::new(plan, at, head)?;
            explanation.answered_by = Some(format!("the token API {:?}", call.token_api.name));
            if let Some(limits) = &plan.limits {
                explanation.rate_limits = limits.explained_token_api(&call.token_api.name);
            }
            explanation.credential = in_usual_place(local, call.credential_source(), head);
            if let Err(refusal) = manage::permitted(local, exchange, &call, head).await {
                let answer = call.refused(&refusal);
                explanation.status = Some(answer.status.as_u16());
                explanation.allow = answer.allow.as_ref().map(text);
                return Err(refusal);
            }
            // What it answers depends on its body.
            explanation.decision = Decision::Answered;
        }
        Destination::Route(at) => {
            exchange.route = Some(at);
            let route = plan.route(at)?;
            let mut explained = explained(plan, route);
            explained.limits.extend(exchange.gateway.shared.load.most().map(|most| {
                format!("requests under way in all: {most} (\"requests\" in [limits])")
            }));
            explanation.route = Some(explained);
            if let Some(limits) = &plan.limits {
                explanation.rate_limits = limits.explained_route(at, &route.accept);
            }
            if !route.accept.is_empty() {
                let source = plan.credential_source(at);
                explanation.credential = match &route.credentials {
                    None => in_usual_place(local, source, head),
                    Some(places) => in_named_place(local, places, source, head, passed.websocket),
                };
            }
            let permit = permitted(local, exchange, at, head, passed).await?;
            match &route.target {
                RouteTarget::Upstream(_) => {}
                RouteTarget::Redirect(redirect) => {
                    let location = own_answer::location(exchange, &permit, redirect, head)?;
                    answered(explanation, "the redirect of the route");
                    explanation.status = Some(redirect.status.as_u16());
                    explanation.location = Some(text(&location));
                    return Ok(());
                }
                RouteTarget::Respond(answer) => {
                    answered(explanation, "the fixed answer of the route");
                    explanation.status = Some(answer.status.as_u16());
                    return Ok(());
                }
            }
            route.limits.check_length(length(&head.headers))?;
            explanation.decision = Decision::Forwarded;
            explanation.identity_headers = permit.identity().iter().map(field).collect();
            explanation.upstream_path = permit.target().map(|target| target.path().to_owned());
        }
    }
    Ok(())
}

fn answered(explanation: &mut Explanation, by: &str) {
    explanation.decision = Decision::Answered;
    explanation.status = Some(200);
    explanation.answered_by = Some(by.to_owned());
}

/// What the answer tells browsers.
fn of_browsers(fields: CorsFields) -> ExplainedCors {
    ExplainedCors { lets_in: fields.lets_in(), headers: fields.list.iter().map(field).collect() }
}

fn field((name, value): &(HeaderName, HeaderValue)) -> ExplainedHeader {
    ExplainedHeader { name: name.to_string(), value: text(value) }
}

/// Where the credential came from and what it claims to be; `None`: there is none, or several.
fn in_usual_place(
    local: &Local,
    source: CredentialSource,
    head: &Parts,
) -> Option<ExplainedCredential> {
    let (token, field) = presented(&head.headers, source).ok()?;
    let source = match field {
        CredentialField::ApiKey => "X-API-Key",
        _ => "Authorization: Bearer",
    };
    Some(described(local, token, source.to_owned()))
}

/// The same, on a route that names the places of credentials.
fn in_named_place(
    local: &Local,
    places: &CredentialPlaces,
    source: CredentialSource,
    head: &Parts,
    websocket: Option<WebSocketForm>,
) -> Option<ExplainedCredential> {
    let reading = local.plan.reading(source, websocket.is_some());
    let presented = places.presented(head, &reading).ok()?;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let source = match presented.field {
        CredentialField::Authorization => "Authorization: Bearer".to_owned(),
        CredentialField::ApiKey => "X-API-Key".to_owned(),
        CredentialField::Header => {
            places.header_in(&head.headers).map(ToString::to_string).unwrap_or_default()
        }
        CredentialField::Basic => "Authorization: Basic".to_owned(),
        CredentialField::WebSocketProtocol => "Sec-WebSocket-Protocol".to_owned(),
        CredentialField::Cookie => format!("the cookie {:?}", name(&places.cookie)),
        CredentialField::Query => format!("the parameter {:?} of the query", name(&places.query)),
        CredentialField::Ticket => {
            let source = format!("the parameter {:?} of the query", name(&places.ticket));
            return Some(ExplainedCredential { source, form: "a ticket".to_owned(), holder: None });
        }
    };
    Some(described(local, &presented.token, source))
}

fn described(local: &Local, token: &[u8], source: String) -> ExplainedCredential {
    let form = match local.plan.opaque.form_of(token) {
        CredentialForm::Opaque(api) => format!("a key with the prefix of {:?}", api.token_api),
        CredentialForm::Signed if token.starts_with(JWT_BEGINS.as_bytes()) => "a JWT".to_owned(),
        CredentialForm::Signed => "neither a JWT nor a key with a configured prefix".to_owned(),
    };
    ExplainedCredential { source, form, holder: None }
}

fn holder(admitted: &Admitted) -> ExplainedHolder {
    let token = &admitted.caller.token;
    let kind = match token.power() {
        Power::Full => "API key",
        Power::Session => "login",
        Power::Bootstrap => "bootstrap token",
        Power::Spent => "bootstrap token that has made all its keys",
        Power::Outside => "JWT of an issuer",
    };
    ExplainedHolder {
        kind: kind.to_owned(),
        issued_by: token.token_api().to_string(),
        subject: token.subject().to_owned(),
        token_id: admitted.caller.token_id().map(Cow::into_owned),
        expires_at: token.expires_at().map(|at| at.to_rfc3339_zulu()),
    }
}

fn explained(plan: &Plan, route: &RouteSettings) -> ExplainedRoute {
    let tenant = route
        .tenant
        .iter()
        .map(|rule| format!("the tenant that {{{}}} in the path names", rule.parameter));
    ExplainedRoute {
        path: route.path.clone(),
        host: match &route.host {
            HostRule::Any => None,
            HostRule::Exact(host) => Some(host.clone()),
            HostRule::Suffix(suffix) => Some(format!("*{suffix}")),
        },
        scheme: route.scheme.map(|scheme| scheme.name().to_owned()),
        methods: route.methods.iter().map(ToString::to_string).collect(),
        when: route.when.iter().flat_map(|conditions| conditions.described()).collect(),
        upstream: route
            .target
            .upstream()
            .and_then(|at| plan.upstreams.get(at))
            .map(|upstream| upstream.name.to_string()),
        answer: match &route.target {
            RouteTarget::Upstream(_) => None,
            RouteTarget::Redirect(redirect) => {
                let (status, to) = (redirect.status.as_u16(), redirect.template());
                Some(format!("a redirect ({status}) to {to:?}"))
            }
            RouteTarget::Respond(answer) => Some(format!(
                "a fixed answer ({}) of {} bytes",
                answer.status.as_u16(),
                answer.body.len()
            )),
        },
        header_changes: route.headers.iter().flat_map(|changes| changes.described()).collect(),
        upgrades: match route.upgrades_taken() {
            None => vec!["websocket".to_owned()],
            Some(upgrades) => upgrades.names(),
        },
        accept: route.accept.iter().map(ToString::to_string).collect(),
        limits: route.limits.explained(),
        compression: route.compression.as_ref().map(|rules| rules.explained()),
        require: tenant.chain(route.require.iter().map(ToString::to_string)).collect(),
    }
}

/// The length of the body, if it is stated.
fn length(headers: &HeaderMap) -> u64 {
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    stated.and_then(|length| length.parse().ok()).unwrap_or_default()
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
