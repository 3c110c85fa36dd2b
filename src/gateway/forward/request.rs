//! The fields of the upstream's request: ours, and those of the client's that go on. They are written as lines in one pass, and
//! the client's map is never changed: nothing that the client wrote can take away what is ours, as it is not in the map.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::authenticate::{Door, X_API_KEY};
use crate::gateway::authorize::Permit;
use crate::gateway::client::{ClientConnection, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::gateway::exchange::Exchange;
use crate::gateway::identity_headers::line;
use crate::gateway::plan::Plan;
use crate::tokens::opaque::Form;
use crate::upstream::Purpose;
use crate::wire::fields::HopByHop;

/// Writes them. What frames the body is not among them, unless there is none: the upstream's side says that.
pub(super) fn write_fields(
    plan: &Plan,
    client: &ClientConnection,
    exchange: &Exchange,
    permit: &Permit<'_>,
    head: &http::request::Parts,
    kind: Kind,
) {
    let mut lines = client.lines.borrow_mut();
    let lines = &mut *lines;
    lines.clear();
    lines.extend_from_slice(permit.identity());
    if let Some(name) = &plan.identity.request_id {
        line(lines, name, exchange.id.as_bytes());
    }
    let empty = HeaderValue::from_static("");
    let host = head.headers.get(header::HOST).unwrap_or(&empty);
    if client.origin.is_trusted_proxy {
        add_to_forwarding(client, host, &head.headers, lines);
    } else {
        client.add_forwarding(host, lines);
    }
    let at = permit.route().upstream;
    let keeps_host = plan.upstreams.get(at).is_some_and(|upstream| upstream.preserve_host);
    // HTTP/1.0 may leave it out; then the endpoint's own name is as good as any.
    let host = match plan.upstream_hosts.get(at) {
        Some(own) if !keeps_host || host.is_empty() => own,
        _ => host,
    };
    line(lines, &header::HOST, host.as_bytes());
    let ending = HopByHop::of(&head.headers);
    for (name, value) in &head.headers {
        if goes_on(name, value, plan, permit, kind) && !ending.has(name) {
            line(lines, name, value.as_bytes());
        }
    }
    if kind.purpose == Purpose::Switch {
        lines.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if ending.accepts_trailers {
        lines.extend_from_slice(b"connection: te\r\nte: trailers\r\n");
    }
    // Behind those that were there before: the order tells the way.
    let via = if head.version == Version::HTTP_10 { "1.0 keyward" } else { "1.1 keyward" };
    line(lines, &header::VIA, via.as_bytes());
}

/// What kind of request is forwarded.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) purpose: Purpose,
    pub(super) has_body: bool,
}

/// Whether a field of the client's is for the other side. `Host` has been said, and an expectation is met when the body is
/// asked for.
fn goes_on(name: &HeaderName, value: &HeaderValue, plan: &Plan, permit: &Permit<'_>, kind: Kind) -> bool {
    *name != header::HOST
        && *name != header::EXPECT
        && (!is_credential(name, value, plan, permit) || permit.route().forward_credential)
        && (*name != header::CONTENT_LENGTH || !kind.has_body)
        && !plan.identity.are_ours(name)
}

/// Whether a field could have been the credential. On a route that takes none from `X-API-Key`, that one is between the client and
/// the upstream, unless it looks like a key that we have made for it.
fn is_credential(name: &HeaderName, value: &HeaderValue, plan: &Plan, permit: &Permit<'_>) -> bool {
    let looks_like_ours =
        || matches!(plan.opaque.form_of(value.as_bytes()), Form::Opaque(api) if api.takes_api_key_field);
    *name == header::AUTHORIZATION
        || (*name == X_API_KEY && (permit.door() == Door::BearerOrApiKey || looks_like_ours()))
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
