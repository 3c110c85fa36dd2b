//! Fields that are over the bytes of a body as it is sent, or sign the head that says them: they
//! would be wrong of other bytes (RFC 9530; RFC 9421; RFC 1864).

use http::header::{self, HeaderMap, HeaderName};

use crate::wire::fields;

static INTEGRITY: [HeaderName; 6] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("signature"),
    HeaderName::from_static("signature-input"),
];

/// Whether the head of a response has one of them, or says that one comes behind the body.
pub(super) fn is_in(headers: &HeaderMap) -> bool {
    let is_announced = headers.contains_key(header::TRAILER);
    INTEGRITY.iter().any(|name| {
        headers.contains_key(name)
            || is_announced && fields::lists(headers, &header::TRAILER, name.as_str())
    })
}

/// Removes them from trailers, where they come unannounced.
pub(super) fn remove(trailers: &mut HeaderMap) {
    for name in &INTEGRITY {
        trailers.remove(name);
    }
}
