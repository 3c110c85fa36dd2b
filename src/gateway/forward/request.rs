//! The head of the upstream's request. The order matters: what the client may not say goes first, then what ends at this hop,
//! and ours comes last, so that nothing that the client wrote can take it away.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::authorize::Permit;
use crate::gateway::client::{ClientConnection, Scheme};
use crate::gateway::exchange::Exchange;
use crate::gateway::plan::Plan;
use crate::gateway::refusal::Refusal;
use crate::wire::fields;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

pub(super) fn prepare(
    plan: &Plan,
    client: &ClientConnection,
    exchange: &Exchange,
    permit: &Permit<'_>,
    upstream: usize,
    head: &mut http::request::Parts,
    is_upgrade: bool,
) -> Result<(), Refusal> {
    let headers = &mut head.headers;
    // Once, for all that is added below.
    headers.reserve(16);
    let believed = client.origin.is_trusted_proxy.then(|| Believed::take(headers));
    let accepts_trailers = fields::strip_hop_by_hop(headers);
    // hyper has answered it, or will when the body is asked for.
    headers.remove(header::EXPECT);
    plan.identity.strip(headers);
    if !permit.route().forward_credential {
        headers.remove(header::AUTHORIZATION);
    }

    let host = headers.get(header::HOST).cloned();
    forwarding(client, host.as_ref(), believed, headers);
    let via = if head.version == Version::HTTP_10 { "1.0 keyward" } else { "1.1 keyward" };
    headers.append(header::VIA, HeaderValue::from_static(via));
    let own_host = plan.upstream_hosts.get(upstream).and_then(Option::as_ref);
    match (own_host, host) {
        (Some(own), _) => {
            headers.insert(header::HOST, own.clone());
        }
        (None, Some(_)) => {}
        // HTTP/1.0 may leave it out; HTTP/1.1 may send it empty (RFC 9112, section 3.2).
        (None, None) => {
            headers.insert(header::HOST, HeaderValue::from_static(""));
        }
    }
    if is_upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if accepts_trailers {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(admitted) = permit.caller() {
        for (name, value) in &admitted.identity {
            headers.insert(name.clone(), value.clone());
        }
    }
    if let Some(name) = &plan.identity.request_id {
        headers.insert(name.clone(), exchange.id.value());
    }
    head.version = Version::HTTP_11;
    // What hyper noted for its own use is not for the other side.
    head.extensions.clear();
    Ok(())
}

/// What a trusted proxy said of the request's way so far.
struct Believed {
    forwarded_for: Vec<HeaderValue>,
    forwarded: Vec<HeaderValue>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Believed {
    /// Only the real names: an alias is nobody's.
    fn take(headers: &HeaderMap) -> Self {
        let all = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        Self {
            forwarded_for: all(X_FORWARDED_FOR),
            forwarded: all(header::FORWARDED),
            proto: headers.get(X_FORWARDED_PROTO).cloned(),
            host: headers.get(X_FORWARDED_HOST).cloned(),
        }
    }
}

/// From an untrusted peer everything is replaced; from a trusted one, what it said stays and its own address is added.
fn forwarding(
    client: &ClientConnection,
    host: Option<&HeaderValue>,
    believed: Option<Believed>,
    headers: &mut HeaderMap,
) {
    let proto = match client.origin.scheme {
        Scheme::Http => HeaderValue::from_static("http"),
        Scheme::Https => HeaderValue::from_static("https"),
    };
    let forwarded = client.forwarded(host.unwrap_or(&HeaderValue::from_static("")));
    match believed {
        None => {
            headers.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
            headers.insert(header::FORWARDED, forwarded);
            headers.insert(X_FORWARDED_PROTO, proto);
            if let Some(host) = host {
                headers.insert(X_FORWARDED_HOST, host.clone());
            }
        }
        Some(believed) => {
            headers.insert(X_FORWARDED_FOR, joined(&believed.forwarded_for, &client.forwarded_for));
            headers.insert(header::FORWARDED, joined(&believed.forwarded, &forwarded));
            headers.insert(X_FORWARDED_PROTO, believed.proto.unwrap_or(proto));
            if let Some(host) = believed.host.as_ref().or(host) {
                headers.insert(X_FORWARDED_HOST, host.clone());
            }
        }
    }
}

/// One line for many: `a, b, ours`.
fn joined(before: &[HeaderValue], ours: &HeaderValue) -> HeaderValue {
    let mut line = Vec::new();
    for value in before.iter().filter(|value| !value.is_empty()) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(ours.as_bytes());
    HeaderValue::from_bytes(&line).unwrap_or_else(|_| ours.clone())
}
