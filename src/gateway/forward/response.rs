//! The head of the response, and its trailers.

use http::Version;
use http::header::{self, HeaderMap};

use crate::upstream::Reply;
use crate::wire::fields;

/// Makes a response fit to be passed on.
pub(super) fn prepare(reply: &mut Reply) {
    // The announcement of trailers goes on with them; everything else that ends at this hop ends.
    reply.lines.strip_hop_by_hop(if reply.is_chunked { b"trailer" } else { b"" });
    let via: &[u8] = if reply.version == Version::HTTP_10 { b"1.0 keyward" } else { b"1.1 keyward" };
    reply.lines.push(b"via", via);
}

/// Removes from trailers what frames, routes or authenticates: those were said in the head or not at all (RFC 9110, section
/// 6.5.1).
pub(in crate::gateway) fn strip_trailers(trailers: &mut HeaderMap) {
    fields::strip_hop_by_hop(trailers);
    for name in [header::CONTENT_LENGTH, header::HOST, header::SET_COOKIE, header::WWW_AUTHENTICATE] {
        trailers.remove(name);
    }
}
