//! The one switch of protocols that keyward knows: to WebSocket (RFC 6455). Everything before the 101 is HTTP like any other;
//! everything after it is bytes.

use http::header;
use http::{Method, Version};

use crate::gateway::incoming::IncomingBody;
use crate::gateway::refusal::{Refusal, UpstreamFailure};
use crate::upstream::Reply;
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
pub(super) fn accept(_asked: &Asked, reply: &mut Reply) -> Result<(), Refusal> {
    if !reply.lines.lists(b"upgrade", b"websocket") || reply.is_chunked {
        return Err(Refusal::Upstream(UpstreamFailure::Ambiguous("it switched to another protocol than asked for")));
    }
    reply.lines.strip_hop_by_hop(b"");
    for (name, value) in
        [(b"connection".as_slice(), b"upgrade".as_slice()), (b"upgrade", b"websocket"), (b"via", b"1.1 keyward")]
    {
        reply.lines.push(name, value);
    }
    Ok(())
}
