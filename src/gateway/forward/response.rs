//! The head of the response, and its trailers.

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Version};

use crate::gateway::refusal::{Refusal, UpstreamFailure};
use crate::wire::fields;

/// Makes a response fit to be passed on, or refuses one that two readers could frame in two ways.
pub(super) fn prepare(head: &mut http::response::Parts) -> Result<(), Refusal> {
    let ambiguous = |what| Refusal::Upstream(UpstreamFailure::Ambiguous(what));
    let headers = &mut head.headers;
    // One look at the fields tells what frames the body: most often a single Content-Length.
    let (mut codings, mut lengths) = (0, 0);
    for (name, value) in headers.iter() {
        if *name == header::TRANSFER_ENCODING {
            codings += 1;
            if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(ambiguous("its transfer coding is not chunked"));
            }
        } else if *name == header::CONTENT_LENGTH {
            lengths += 1;
        }
    }
    let is_chunked = codings > 0;
    if codings + lengths > 1 {
        return Err(ambiguous("its body is framed more than once"));
    }
    if is_chunked && head.version != Version::HTTP_11 {
        return Err(ambiguous("it is chunked and not HTTP/1.1"));
    }
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
