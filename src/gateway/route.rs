//! Route: from host, path and method to where a request goes. Host first, then path, then method;
//! the most specific wins.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};

use super::plan::Plan;
use super::refusal::Refusal;
use super::route_table::{Entry, OwnPath};
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

pub(super) fn find<'a>(
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
