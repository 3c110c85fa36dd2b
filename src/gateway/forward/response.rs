//! The head of the response, and the interim responses before it.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Version};

use crate::gateway::client::ClientConnection;
use crate::gateway::refusal::{Refusal, UpstreamFailure};
use crate::wire::fields;

/// Makes a response fit to be passed on, or refuses one that two readers could frame in two ways.
pub(super) fn prepare(head: &mut http::response::Parts) -> Result<(), Refusal> {
    let ambiguous = |what| Refusal::Upstream(UpstreamFailure::Ambiguous(what));
    let headers = &mut head.headers;
    let is_chunked = if headers.contains_key(header::TRANSFER_ENCODING) {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || codings.next().is_some() {
            return Err(ambiguous("its transfer coding is not chunked alone"));
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(ambiguous("it has both Transfer-Encoding and Content-Length"));
        }
        if head.version != Version::HTTP_11 {
            return Err(ambiguous("it is chunked and not HTTP/1.1"));
        }
        true
    } else {
        if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
            return Err(ambiguous("it has several Content-Length"));
        }
        false
    };
    // The announcement of trailers goes on with them; everything else that ends at this hop ends.
    let trailer = if is_chunked { headers.remove(header::TRAILER) } else { None };
    fields::strip_hop_by_hop(headers);
    if let Some(trailer) = trailer {
        headers.insert(header::TRAILER, trailer);
    }
    if head.status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    let via = if head.version == Version::HTTP_10 { "1.0 keyward" } else { "1.1 keyward" };
    headers.append(header::VIA, HeaderValue::from_static(via));
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Ok(())
}

/// Removes from trailers what frames, routes or authenticates: those were said in the head or not at all (RFC 9110, section
/// 6.5.1).
pub(in crate::gateway) fn strip_trailers(trailers: &mut HeaderMap) {
    fields::strip_hop_by_hop(trailers);
    for name in [header::CONTENT_LENGTH, header::HOST, header::SET_COOKIE, header::WWW_AUTHENTICATE] {
        trailers.remove(name);
    }
}

/// Lets 100 and 103 through to the client, and no other interim response.
pub(super) fn pass_interim<B>(request: &mut Request<B>, client: &ClientConnection) {
    let mailbox = Arc::clone(&client.interim);
    hyper::ext::on_informational(request, move |response| {
        let status = response.status();
        if status != StatusCode::CONTINUE && status.as_u16() != 103 {
            return;
        }
        let mut wire =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("Early Hints"))
                .into_bytes();
        let mut headers = response.headers().clone();
        fields::strip_hop_by_hop(&mut headers);
        for (name, value) in headers.iter().filter(|(name, _)| !frames(name)) {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        mailbox.put(&wire);
    });
}

/// An interim response has no body, and says nothing of one.
fn frames(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
}
