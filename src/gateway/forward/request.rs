//! The head of the upstream's request. What the client may not say and what ends at this hop is taken out of the header map; what
//! is ours never enters it, but goes onto the wire beside it, so nothing that the client wrote can take it away.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version};

use crate::gateway::authenticate::{Door, X_API_KEY};
use crate::gateway::authorize::Permit;
use crate::gateway::client::{ClientConnection, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::gateway::exchange::Exchange;
use crate::gateway::identity_headers::line;
use crate::gateway::plan::Plan;
use crate::wire::fields;

/// What the request is to be on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// Without a body, or with one whose length is declared.
    Plain,
    /// With a body of unknown length. Said explicitly, because for some methods hyper expects no body.
    Chunked,
    /// A switch to WebSocket.
    Upgrade,
}

/// Takes out of the head what is not to go on, and puts in what hyper must know of.
pub(super) fn prepare(
    plan: &Plan,
    permit: &Permit<'_>,
    upstream: usize,
    head: &mut http::request::Parts,
    outgoing: Outgoing,
) {
    let headers = &mut head.headers;
    let accepts_trailers = fields::strip_hop_by_hop(headers);
    // hyper has answered it, or will when the body is asked for.
    headers.remove(header::EXPECT);
    plan.identity.strip(headers);
    if !permit.route().forward_credential {
        headers.remove(header::AUTHORIZATION);
        // On any other route it is between the client and the upstream.
        if permit.door() == Door::BearerOrApiKey {
            headers.remove(X_API_KEY);
        }
    }
    let keeps_host = plan.upstreams.get(upstream).is_some_and(|upstream| upstream.preserve_host);
    // HTTP/1.0 may leave it out; then the endpoint's own name is as good as any.
    if (!keeps_host || !headers.contains_key(header::HOST))
        && let Some(own) = plan.upstream_hosts.get(upstream)
    {
        headers.insert(header::HOST, own.clone());
    }
    if outgoing == Outgoing::Chunked {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if outgoing == Outgoing::Upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if accepts_trailers {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if headers.contains_key(header::VIA) {
        // Behind those that were there before: the order tells the way.
        headers.append(header::VIA, via(head.version));
    }
    if let Some(target) = permit.target() {
        head.uri = Uri::from(target.clone());
    }
    head.version = Version::HTTP_11;
    // What hyper noted for its own use is not for the other side.
    head.extensions.clear();
}

/// Writes the fields that are ours: who, from where, and which request. To be called before [`prepare`] takes the head apart.
pub(super) fn write_lines(
    plan: &Plan,
    client: &ClientConnection,
    exchange: &Exchange,
    permit: &Permit<'_>,
    head: &http::request::Parts,
) {
    let mut lines = client.lines.borrow_mut();
    lines.clear();
    lines.extend_from_slice(permit.identity());
    if let Some(name) = &plan.identity.request_id {
        line(&mut lines, name, exchange.id.as_str().as_bytes());
    }
    let empty = HeaderValue::from_static("");
    let host = head.headers.get(header::HOST).unwrap_or(&empty);
    if client.origin.is_trusted_proxy {
        add_to_forwarding(client, host, &head.headers, &mut lines);
    } else {
        client.add_forwarding(host, &mut lines);
    }
    if !head.headers.contains_key(header::VIA) {
        line(&mut lines, &header::VIA, via(head.version).as_bytes());
    }
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(if version == Version::HTTP_10 { "1.0 keyward" } else { "1.1 keyward" })
}

/// From an untrusted peer everything is replaced; what a trusted one said stays, and its own address is added. Only the real
/// names are read: an alias is nobody's.
fn add_to_forwarding(client: &ClientConnection, host: &HeaderValue, headers: &HeaderMap, lines: &mut Vec<u8>) {
    let proto = headers.get(X_FORWARDED_PROTO).map_or(client.origin.scheme.name().as_bytes(), HeaderValue::as_bytes);
    line(lines, &X_FORWARDED_PROTO, proto);
    let first_host = headers.get(X_FORWARDED_HOST).unwrap_or(host);
    if !first_host.is_empty() {
        line(lines, &X_FORWARDED_HOST, first_host.as_bytes());
    }
    line(lines, &X_FORWARDED_FOR, &joined(headers, &X_FORWARDED_FOR, client.forwarded_for.as_bytes()));
    line(lines, &header::FORWARDED, &joined(headers, &header::FORWARDED, client.forwarded(host).as_bytes()));
}

/// One line for many: `a, b, ours`.
fn joined(headers: &HeaderMap, name: &HeaderName, ours: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    for value in headers.get_all(name).iter().filter(|value| !value.is_empty()) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(ours);
    line
}
