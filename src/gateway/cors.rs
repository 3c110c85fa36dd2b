//! CORS: what pages of other origins may do, for the routes and token APIs that say so.
//!
//! It stands between route and authenticate. A browser asks before it sends what a form could not
//! send: that preflight carries no credential, so keyward answers it itself, by the policy of the
//! route that the real request would take. Every other request goes on, whatever its origin: a
//! browser keeps the answer from a page that the policy does not let in, and other clients say of
//! their origin what they like. So this protects no route; its rules do.

use std::borrow::Cow;

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use super::cors_policy::{CorsPolicies, CorsPolicy};
use super::exchange::Exchange;
use super::plan::Plan;
use super::refusal::Refusal;
use super::route::{self, Destination};
use super::route_table::{Entry, OwnPath};

/// Notes what the policy of a destination puts on the answer, and turns a preflight aside.
/// `found`: where the request goes by itself.
#[inline]
pub(super) fn judge<'a>(
    plan: &'a Plan,
    exchange: &mut Exchange,
    head: &Parts,
    found: Result<Destination<'a>, Refusal>,
) -> Result<Destination<'a>, Refusal> {
    match &plan.cors {
        None => found,
        Some(policies) => by_policies(plan, policies, exchange, head, found),
    }
}

fn by_policies<'a>(
    plan: &'a Plan,
    policies: &'a CorsPolicies,
    exchange: &mut Exchange,
    head: &Parts,
    found: Result<Destination<'a>, Refusal>,
) -> Result<Destination<'a>, Refusal> {
    if let Some(asked) = asked_method(head)
        && let Some(served) = served(plan, policies, exchange, &asked, head)
    {
        exchange.route = served.route;
        let fields = served.policy.preflight(&asked, &served.methods, &head.headers);
        let lets_in = fields.lets_in();
        exchange.cors = Some(Box::new(fields));
        return if lets_in {
            Ok(Destination::Preflight)
        } else {
            Err(Refusal::OriginNotAllowed { cause: named(&head.headers) })
        };
    }
    let policy = match &found {
        Ok(Destination::Route(at)) => policies.of_route(*at),
        Ok(Destination::Own(own)) => of_own(policies, own),
        Err(Refusal::MethodNotAllowed { .. } | Refusal::NoConditionHolds) => {
            of_path(plan, policies, exchange, head)
        }
        Ok(Destination::Preflight) | Err(_) => None,
    };
    exchange.cors = policy.map(|policy| Box::new(policy.answer(&head.headers)));
    found
}

/// The method that a preflight asks for; `None`: the request is none.
fn asked_method(head: &Parts) -> Option<Method> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut asked = head.headers.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
    let asked = asked.next().filter(|_| asked.next().is_none())?;
    Method::from_bytes(asked.as_bytes()).ok()
}

/// What a preflight is about.
struct Served<'a> {
    policy: &'a CorsPolicy,
    /// The methods that are served, with commas between them; empty: any.
    methods: Cow<'a, str>,
    /// The place of the route.
    route: Option<usize>,
}

/// `None`: what the method leads to has no policy.
fn served<'a>(
    plan: &'a Plan,
    policies: &'a CorsPolicies,
    exchange: &Exchange,
    asked: &Method,
    head: &Parts,
) -> Option<Served<'a>> {
    if let Some(own) = plan.table.own.find(head.uri.path()) {
        let methods = match own {
            OwnPath::TokenApi(at) => plan.token_apis.get(at.token_api)?.face.allowed(at.call),
            OwnPath::Document(_) | OwnPath::PublicKeys => route::READ,
        };
        let policy = of_own(policies, own)?;
        return Some(Served { policy, methods: methods.into(), route: None });
    }
    let entries = route::entries(plan, exchange, head.uri.path(), &head.headers)?;
    let mut taking = entries.iter().filter(|entry| entry.takes(asked)).peekable();
    let (policy, entry) = if taking.peek().is_some() {
        let may_be_meant = |entry: &&Entry| {
            let route = plan.route(entry.route).ok();
            let conditions = route.and_then(|route| route.when.as_deref());
            conditions.is_none_or(|when| when.may_hold_behind(&head.headers, head.uri.query()))
        };
        of_candidates(policies, taking.filter(may_be_meant))?
    } else {
        // The browser is told which methods there are.
        of_entries(policies, entries, &head.headers)?
    };
    let methods: Vec<_> = entry.methods.iter().map(Method::as_str).collect();
    Some(Served { policy, methods: methods.join(", ").into(), route: Some(entry.route) })
}

/// The policy of the route that the request behind a preflight may take. A condition of a route
/// may hold or not then, as a preflight has no fields of its own: then it is that of the most
/// specific one that has a policy.
fn of_candidates<'a>(
    policies: &'a CorsPolicies,
    candidates: impl Iterator<Item = &'a Entry>,
) -> Option<(&'a CorsPolicy, &'a Entry)> {
    for entry in candidates {
        match policies.of_route(entry.route) {
            Some(policy) => return Some((policy, entry)),
            // The request takes this one for certain.
            None if entry.conditions == 0 => return None,
            None => {}
        }
    }
    None
}

/// The policy for a path of which no route takes the request.
fn of_path<'a>(
    plan: &'a Plan,
    policies: &'a CorsPolicies,
    exchange: &Exchange,
    head: &Parts,
) -> Option<&'a CorsPolicy> {
    if let Some(own) = plan.table.own.find(head.uri.path()) {
        return of_own(policies, own);
    }
    let entries = route::entries(plan, exchange, head.uri.path(), &head.headers)?;
    of_entries(policies, entries, &head.headers).map(|(policy, _)| policy)
}

/// Of a path's routes that have a policy, where none of them takes the request: the first that lets
/// its origin in, so that the page is told what there is, or else the first.
fn of_entries<'a>(
    policies: &'a CorsPolicies,
    entries: &'a [Entry],
    headers: &HeaderMap,
) -> Option<(&'a CorsPolicy, &'a Entry)> {
    let with_policy =
        || entries.iter().filter_map(|entry| Some((policies.of_route(entry.route)?, entry)));
    with_policy().find(|(policy, _)| policy.lets_in(headers)).or_else(|| with_policy().next())
}

fn of_own<'a>(policies: &'a CorsPolicies, own: &OwnPath) -> Option<&'a CorsPolicy> {
    match own {
        OwnPath::TokenApi(at) => policies.of_token_api(at.token_api),
        OwnPath::Document(at) => policies.of_document(*at),
        OwnPath::PublicKeys => None,
    }
}

/// The origin that is not let in, for the log.
fn named(headers: &HeaderMap) -> String {
    const LONGEST: usize = 100;
    let mut named = headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes);
    match (named.next(), named.next()) {
        (Some(origin), None) => {
            let shown: String = String::from_utf8_lossy(origin).chars().take(LONGEST).collect();
            format!("the origin {shown:?} is none of \"origins\" in \"cors\"")
        }
        _ => "it has several Origin fields".to_owned(),
    }
}
