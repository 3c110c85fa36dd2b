//! The head of the response, and its trailers.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode, Version};

use crate::gateway::respond::Source;
use crate::upstream::Reply;
use crate::wire::fields;

/// Makes a response fit to be passed on.
pub(super) fn prepare(reply: &mut Reply) {
    let headers = &mut reply.headers;
    let is_chunked = headers.keys().any(|name| *name == header::TRANSFER_ENCODING);
    // The announcement of trailers goes on with them; everything else that ends at this hop ends.
    let trailer = if is_chunked { headers.remove(header::TRAILER) } else { None };
    fields::strip_hop_by_hop(headers);
    if let Some(trailer) = trailer {
        headers.insert(header::TRAILER, trailer);
    }
    if reply.status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    let via = if reply.version == Version::HTTP_10 { "1.0 keyward" } else { "1.1 keyward" };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// A response with these fields.
pub(super) fn new(status: StatusCode, headers: HeaderMap, source: Source) -> Response<Source> {
    let mut response = Response::new(source);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Removes from trailers what frames, routes or authenticates: those were said in the head or not at all (RFC 9110, section
/// 6.5.1).
pub(in crate::gateway) fn strip_trailers(trailers: &mut HeaderMap) {
    fields::strip_hop_by_hop(trailers);
    for name in [header::CONTENT_LENGTH, header::HOST, header::SET_COOKIE, header::WWW_AUTHENTICATE] {
        trailers.remove(name);
    }
}
