//! Explain: what would become of a request, by the stages that every request goes through, up to
//! the moment at which it would be forwarded or a call of a token API be carried out. It leaves no
//! line in the access log and no count; the upstream hears nothing of it.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::admitted::Admitted;
use super::authenticate::described;
use super::authorize::permitted;
use super::connection::{ClientConnection, ClientOrigin};
use super::control::Control;
use super::credential::CredentialSource;
use super::exchange::Exchange;
use super::gate::{self, HeadLimits};
use super::manage;
use super::plan::{Plan, RouteSettings};
use super::refusal::Refusal;
use super::route::{self, Destination};
use super::route_table::HostRule;
use super::worker::{Local, Shared, WorkerGateway};
use crate::telemetry::{
    Decision, ExplainedCredential, ExplainedHeader, ExplainedHolder, ExplainedRoute, Explanation,
};
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
    let has_body = has_body(&head.headers);
    let mut exchange = Exchange::begin(&gateway, &client, &control, head.version, has_body);
    exchange.arrived(&head);
    let local = exchange.local();
    let mut explanation = Explanation {
        decision: Decision::Refused,
        status: None,
        reason: None,
        cause: None,
        detail: None,
        challenge: None,
        allow: None,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        host: None,
        client: exchange.client_text().to_owned(),
        answered_by: None,
        route: None,
        credential: None,
        identity_headers: Vec::new(),
        upstream_path: None,
    };
    let followed = match gate::judge(&mut head, has_body, limits, local.plan.identity.ours()) {
        Ok(_) => {
            head.uri.path().clone_into(&mut explanation.path);
            explanation.host = head.headers.get(header::HOST).map(text);
            follow(&local, &mut exchange, &head, &mut explanation).await
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = followed {
        explanation.status.get_or_insert(refusal.status().as_u16());
        explanation.reason = Some(refusal.reason().as_str().to_owned());
        explanation.cause = Some(refusal.cause());
        explanation.detail = Some(refusal.detail());
        explanation.challenge = refusal.challenge().map(Cow::into_owned);
        if let Refusal::MethodNotAllowed { allow } = refusal {
            explanation.allow = Some(allow);
        }
    }
    if let (Some(credential), Some(admitted)) = (&mut explanation.credential, exchange.caller()) {
        credential.holder = Some(holder(admitted));
    }
    explanation
}

/// The way of a request that has passed the gate.
async fn follow(
    local: &Local,
    exchange: &mut Exchange,
    head: &Parts,
    explanation: &mut Explanation,
) -> Result<(), Refusal> {
    let plan = &local.plan;
    match route::find(plan, &head.method, head.uri.path(), &head.headers)? {
        Destination::PublicKeys => answered(explanation, "the public keys".to_owned()),
        Destination::Document(_) => answered(explanation, "a page of a token API".to_owned()),
        Destination::TokenApi { token_api, call, parameters } => {
            let token_api = plan
                .token_apis
                .get(token_api)
                .ok_or(Refusal::Internal("a token API is not in its plan"))?;
            explanation.answered_by = Some(format!("the token API {:?}", token_api.name));
            explanation.credential = credential(local, CredentialSource::Bearer, &head.headers);
            match manage::permitted(local, exchange, token_api, call, &parameters, head).await {
                // What it answers depends on its body.
                Ok(_) => explanation.decision = Decision::Answered,
                Err(refusal) => {
                    let answer = manage::refused(token_api, &head.method, call, &refusal);
                    explanation.status = Some(answer.status.as_u16());
                    explanation.allow = answer.allow.as_ref().map(text);
                    return Err(refusal);
                }
            }
        }
        Destination::Route(at) => {
            let route = plan.route(at)?;
            explanation.route = Some(explained(plan, route));
            if !route.accept.is_empty() {
                explanation.credential =
                    credential(local, plan.credential_source(at), &head.headers);
            }
            let permit = permitted(local, exchange, at, head).await?;
            explanation.decision = Decision::Forwarded;
            explanation.identity_headers = permit.identity().iter().map(field).collect();
            explanation.upstream_path = permit.target().map(|target| target.path().to_owned());
        }
    }
    Ok(())
}

fn answered(explanation: &mut Explanation, by: String) {
    explanation.decision = Decision::Answered;
    explanation.status = Some(200);
    explanation.answered_by = Some(by);
}

/// Whether fields announce a body. Which of them are sound, the gate says.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn credential(
    local: &Local,
    source: CredentialSource,
    headers: &HeaderMap,
) -> Option<ExplainedCredential> {
    let (source, form) = described(local, source, headers)?;
    Some(ExplainedCredential { source: source.to_owned(), form, holder: None })
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
        methods: route.methods.iter().map(ToString::to_string).collect(),
        upstream: plan
            .upstreams
            .get(route.upstream)
            .map_or_else(String::new, |upstream| upstream.name.to_string()),
        accept: route.accept.iter().map(ToString::to_string).collect(),
        require: tenant.chain(route.require.iter().map(ToString::to_string)).collect(),
    }
}

fn field((name, value): &(HeaderName, HeaderValue)) -> ExplainedHeader {
    ExplainedHeader { name: name.to_string(), value: text(value) }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
