//! Route: from host, path, method and conditions to where a request goes. Host first, then path,
//! then method, then conditions; the most specific wins.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use super::connection::Scheme;
use super::exchange::Exchange;
use super::forwarding::Forwarding;
use super::plan::Plan;
use super::refusal::Refusal;
use super::route_table::{Entry, OwnPath};
use super::spelling::Spelling;
use crate::wire::authority::host_of;
use crate::wire::path::PathFault;

/// Where a request goes.
pub(super) enum Destination<'a> {
    /// To a route, by its place in the plan.
    Route(usize),
    /// To keyward itself.
    Own(&'a OwnPath),
    /// Nowhere: it is a preflight of CORS, and its answer is made.
    Preflight,
}

/// The methods of what is only read, as the value of `Allow`.
pub(super) const READ: &str = "GET, HEAD";

/// The method by which the route of a request is chosen. A WebSocket is asked for by GET over
/// HTTP/1.1, and by CONNECT over HTTP/2 (RFC 8441, section 5): both take the same route. The gate
/// lets no other CONNECT pass.
pub(super) fn chosen_by(head: &Parts) -> &Method {
    if head.method == Method::CONNECT { &Method::GET } else { &head.method }
}

/// Where a request goes whose head has passed the gate, chosen by this method.
pub(super) fn find<'a>(
    plan: &'a Plan,
    exchange: &Exchange,
    method: &Method,
    head: &Parts,
) -> Result<Destination<'a>, Refusal> {
    let found = by_path(plan, exchange, method, head, head.uri.path());
    if head.extensions.is_empty() {
        return found;
    }
    match head.extensions.get::<Spelling>() {
        Some(spelling) => as_spelled(plan, exchange, method, head, spelling, found),
        None => found,
    }
}

/// A path that is not in its normal form: on a route that forwards it as it came, every reading of
/// it must lead to that route; on another one, it must mean the same in its normal form.
fn as_spelled<'a>(
    plan: &'a Plan,
    exchange: &Exchange,
    method: &Method,
    head: &Parts,
    spelling: &Spelling,
    found: Result<Destination<'a>, Refusal>,
) -> Result<Destination<'a>, Refusal> {
    let raw = match &found {
        Ok(Destination::Route(at)) => {
            let route = plan.route(*at)?;
            route.is_raw().then_some((*at, route))
        }
        _ => None,
    };
    if let Some((at, route)) = raw {
        let is_there = |reading: &str| {
            let found = by_path(plan, exchange, method, head, reading);
            matches!(found, Ok(Destination::Route(other)) if other == at)
        };
        spelling.leads_only_to(&route.path, is_there).map_err(Refusal::Path)?;
    } else if let Some(fault) = spelling.normal_fault {
        return Err(Refusal::Path(fault));
    } else if spelling.has_empty_segments && matches!(found, Ok(Destination::Route(_))) {
        return Err(Refusal::Path(PathFault::EmptySegment));
    }
    found
}

fn by_path<'a>(
    plan: &'a Plan,
    exchange: &Exchange,
    method: &Method,
    head: &Parts,
    path: &str,
) -> Result<Destination<'a>, Refusal> {
    if let Some(own) = plan.table.own.find(path) {
        // What keyward answers itself is no tunnel.
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if !is_read && !matches!(own, OwnPath::TokenApi(_)) {
            return Err(Refusal::MethodNotAllowed { allow: READ.into() });
        }
        return Ok(Destination::Own(own));
    }
    let entries = entries(plan, exchange, path, &head.headers).ok_or(Refusal::NoRoute)?;
    for entry in entries.iter().filter(|entry| entry.takes(method)) {
        if entry.conditions == 0 || conditions_hold(plan, entry, head)? {
            return Ok(Destination::Route(entry.route));
        }
    }
    // No fall-back to a less specific path: what is narrowed to some methods or by conditions is
    // not to be opened by a wider rule.
    if entries.iter().any(|entry| entry.takes(method)) {
        return Err(Refusal::NoConditionHolds);
    }
    let mut names: Vec<&str> =
        entries.iter().flat_map(|entry| &entry.methods).map(Method::as_str).collect();
    names.sort_unstable();
    names.dedup();
    Err(Refusal::MethodNotAllowed { allow: names.join(", ") })
}

#[cold]
fn conditions_hold(plan: &Plan, entry: &Entry, head: &Parts) -> Result<bool, Refusal> {
    match &plan.route(entry.route)?.when {
        Some(conditions) => conditions.hold(&head.headers, head.uri.query()),
        None => Ok(true),
    }
}

/// The routes under the path that matches best, of the host that matches best.
pub(super) fn entries<'a>(
    plan: &'a Plan,
    exchange: &Exchange,
    path: &str,
    headers: &HeaderMap,
) -> Option<&'a [Entry]> {
    // Without its port; empty, where HTTP/1.0 leaves it out.
    let host = || {
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        host_of(host).unwrap_or_default().to_owned()
    };
    plan.table.entries(|| scheme(exchange, headers), host, path)
}

/// The scheme that the client used, as keyward or a trusted proxy before it saw it.
fn scheme(exchange: &Exchange, headers: &HeaderMap) -> Scheme {
    let forwarding = Forwarding::of(&exchange.client, exchange.chain.as_deref(), headers);
    match forwarding.public().scheme {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    }
}

/// Why the routes of the path that are more specific than the one that was chosen, or all where
/// none was, were not; for the operator.
pub(super) fn passed_over(
    plan: &Plan,
    exchange: &Exchange,
    head: &Parts,
    chosen: Option<usize>,
) -> Vec<String> {
    let (method, path) = (chosen_by(head), head.uri.path());
    if plan.table.own.find(path).is_some() {
        return Vec::new();
    }
    let entries = entries(plan, exchange, path, &head.headers).unwrap_or_default();
    let others = entries.iter().take_while(|entry| Some(entry.route) != chosen);
    others
        .filter_map(|entry| {
            let route = plan.route(entry.route).ok()?;
            let why = if entry.takes(method) {
                route.when.as_ref()?.failure(&head.headers, head.uri.query())?
            } else {
                format!("the method is {method}")
            };
            let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
            let methods =
                (!methods.is_empty()).then(|| format!("the method is {}", methods.join(" or ")));
            let when = route.when.iter().flat_map(|conditions| conditions.described());
            let all: Vec<_> = methods.into_iter().chain(when).collect();
            Some(format!("the route for when {}: {why}", all.join(" and ")))
        })
        .collect()
}
