//! Route: from host, path and method to where a request goes. Host first, then path, then method;
//! the most specific wins.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};

use super::paths::parameters;
use super::plan::Plan;
use super::refusal::Refusal;
use super::route_table::Own;
use crate::wire::authority::host_of;
use crate::wire::path::decode_segment;

/// Where a request goes.
pub(super) enum Destination {
    /// To a route, by its place in the plan.
    Route(usize),
    /// To a token API, by its place in the plan.
    TokenApi { token_api: usize, call: &'static str, parameters: Vec<(String, String)> },
    /// To the set of public keys.
    PublicKeys,
    /// To a page that needs no credential, by its place in the plan.
    Document(usize),
}

pub(super) fn find(
    plan: &Plan,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Destination, Refusal> {
    let table = plan.table();
    match table.own.find(path) {
        Some(Some(Own::TokenApi { token_api, call, pattern })) => {
            let parameters = parameters(pattern, path)
                // A value that is not UTF-8 equals no claim and is no id.
                .map(|(name, value)| {
                    (name.to_owned(), decode_segment(value).unwrap_or_default().into_owned())
                })
                .collect();
            return Ok(Destination::TokenApi { token_api: *token_api, call, parameters });
        }
        Some(Some(own @ (Own::PublicKeys | Own::Document(_)))) => {
            return match (method, own) {
                (&Method::GET | &Method::HEAD, Own::Document(document)) => {
                    Ok(Destination::Document(*document))
                }
                (&Method::GET | &Method::HEAD, _) => Ok(Destination::PublicKeys),
                _ => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD".into() }),
            };
        }
        Some(None) | None => {}
    }
    let entries = table.entries(|| host(headers), path).ok_or(Refusal::NoRoute)?;
    match entries.iter().find(|entry| entry.methods.is_empty() || entry.methods.contains(method)) {
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

/// The host without its port, or nothing (HTTP/1.0 may leave it out).
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    host_of(host).unwrap_or_default().to_owned()
}
