//! The one switch of protocols that keyward knows: to WebSocket (RFC 6455). Everything before the 101 is HTTP like any other;
//! everything after it is bytes.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Version};

use crate::gateway::incoming::IncomingBody;
use crate::gateway::refusal::{Refusal, UpstreamFailure};
use crate::wire::fields;

/// A client asked for WebSocket, and in the right way.
pub(super) struct Asked;

/// Whether a request asks to switch protocols. `Upgrade` alone, without `Connection: upgrade`, asks for nothing and ends here
/// as any hop-by-hop field does (RFC 9110, section 7.8).
pub(super) fn asked_for(head: &http::request::Parts, body: &IncomingBody) -> Result<Option<Asked>, Refusal> {
    if !head.headers.contains_key(header::UPGRADE) || !fields::lists(&head.headers, &header::CONNECTION, "upgrade") {
        return Ok(None);
    }
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    let is_websocket = protocols.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let is_plain =
        head.method == Method::GET && head.version == Version::HTTP_11 && body.is_over() && protocols.next().is_none();
    if is_websocket && is_plain { Ok(Some(Asked)) } else { Err(Refusal::Upgrade) }
}

/// Checks that what the upstream switched to is what was asked for, and makes the 101 fit to be passed on.
pub(super) fn accept(_asked: &Asked, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let is_websocket = fields::lists(headers, &header::UPGRADE, "websocket");
    if !is_websocket || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::Upstream(UpstreamFailure::Ambiguous("it switched to another protocol than asked for")));
    }
    fields::strip_hop_by_hop(headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.append(header::VIA, HeaderValue::from_static("1.1 keyward"));
    Ok(())
}
