//! Route: from host, path and method to where a request goes. Host first, then path, then method;
//! the most specific wins.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use super::plan::Plan;
use super::refusal::Refusal;
use super::route_table::{Entry, OwnPath};
use super::spelling::{RawPaths, Spelling};
use crate::wire::authority::host_of;

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

/// Where a request with this method goes whose head has passed the gate.
pub(super) fn find<'a>(
    plan: &'a Plan,
    method: &Method,
    head: &Parts,
) -> Result<Destination<'a>, Refusal> {
    let found = by_path(plan, method, head.uri.path(), &head.headers);
    if plan.raw_paths == RawPaths::Unused {
        return found;
    }
    match head.extensions.get::<Spelling>() {
        Some(spelling) => as_spelled(plan, method, head, spelling, found),
        None => found,
    }
}

/// A path that is not in its normal form: on a route that forwards it as it came, every reading of
/// it must lead to that route.
fn as_spelled<'a>(
    plan: &'a Plan,
    method: &Method,
    head: &Parts,
    spelling: &Spelling,
    found: Result<Destination<'a>, Refusal>,
) -> Result<Destination<'a>, Refusal> {
    let raw = match &found {
        Ok(Destination::Route(at)) => {
            let route = plan.route(*at)?;
            route.path_rules.as_ref().is_some_and(|rules| rules.is_raw()).then_some((*at, route))
        }
        _ => None,
    };
    if let Some((at, route)) = raw {
        let is_there = |reading: &str| {
            let found = by_path(plan, method, reading, &head.headers);
            matches!(found, Ok(Destination::Route(other)) if other == at)
        };
        spelling.leads_only_to(&route.path, is_there).map_err(Refusal::Path)?;
    } else if let Some(fault) = spelling.normal_fault {
        return Err(Refusal::Path(fault));
    }
    found
}

fn by_path<'a>(
    plan: &'a Plan,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Destination<'a>, Refusal> {
    if let Some(own) = plan.table.own.find(path) {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if !is_read && !matches!(own, OwnPath::TokenApi(_)) {
            return Err(Refusal::MethodNotAllowed { allow: READ.into() });
        }
        return Ok(Destination::Own(own));
    }
    let entries = entries(plan, path, headers).ok_or(Refusal::NoRoute)?;
    match taking(entries, method) {
        Some(entry) => Ok(Destination::Route(entry.route)),
        // No fall-back to a less specific path: what is narrowed to some methods is not to be
        // opened by a wider rule.
        None => {
            let mut names: Vec<&str> =
                entries.iter().flat_map(|entry| &entry.methods).map(Method::as_str).collect();
            names.sort_unstable();
            names.dedup();
            Err(Refusal::MethodNotAllowed { allow: names.join(", ") })
        }
    }
}

/// The routes under the path that matches best, of the host that matches best.
pub(super) fn entries<'a>(plan: &'a Plan, path: &str, headers: &HeaderMap) -> Option<&'a [Entry]> {
    // Without its port; empty, where HTTP/1.0 leaves it out.
    let host = || {
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        host_of(host).unwrap_or_default().to_owned()
    };
    plan.table.entries(host, path)
}

/// The one that takes a method.
pub(super) fn taking<'a>(entries: &'a [Entry], method: &Method) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.methods.is_empty() || entry.methods.contains(method))
}
