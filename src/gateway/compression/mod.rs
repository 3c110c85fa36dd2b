//! Compression of the upstream's responses, where a route says so.
//!
//! Whether a response can be compressed depends on its head alone; whether it is, on what the
//! client accepts, too. Both are said to caches: `Vary: Accept-Encoding` stands on everything that
//! could be compressed, and a strong `ETag`, which is of bytes, becomes a weak one (RFC 9110,
//! sections 8.8.1 and 12.5.5).

mod accept_encoding;
mod body;
mod encoder;
mod integrity;
mod media_type;

use http::header::{self, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::wire::fields;
use accept_encoding::Acceptance;
pub(super) use body::{CompressedBody, Polled};
pub use encoder::Coding;
pub use media_type::MediaTypeRule;

/// What a route compresses, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionRules {
    /// The codings in the order in which they are preferred.
    pub codings: Vec<Coding>,
    /// From how many bytes on; a body of unknown length counts as one of that length.
    pub min_size: u64,
    /// Which media types.
    pub types: Vec<MediaTypeRule>,
}

/// What the request says of it.
pub(super) struct Negotiation<'a> {
    rules: &'a CompressionRules,
    acceptance: Acceptance,
    /// The lines of `If-None-Match`.
    known_tags: Vec<HeaderValue>,
}

impl CompressionRules {
    /// Reads a request that came in this version, before it is forwarded.
    pub(super) fn negotiate(
        &self,
        version: Version,
        headers: &HeaderMap,
    ) -> Option<Box<Negotiation<'_>>> {
        let acceptance = match version {
            // Without chunks, a response of unknown length that breaks off looks complete.
            Version::HTTP_10 => Acceptance::default(),
            _ => accept_encoding::choose(headers, &self.codings),
        };
        let known_tags = headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
        // Boxed, as every connection reserves memory for the futures of its requests.
        Some(Box::new(Negotiation { rules: self, acceptance, known_tags }))
    }

    fn is_for(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii();
        self.types.iter().any(|rule| rule.matches(media_type))
    }

    /// What `keyward explain` says of it.
    pub(super) fn explained(&self) -> String {
        let names: Vec<_> = self.codings.iter().map(|coding| coding.name()).collect();
        let types: Vec<_> = self.types.iter().map(ToString::to_string).collect();
        format!("{} of {} from {} bytes", names.join(", "), types.join(", "), self.min_size)
    }
}

impl Negotiation<'_> {
    /// Makes the head of a response fit for what becomes of its body; `None`: that stays as it is.
    /// `is_empty`: the body, where the request is no HEAD.
    pub(super) fn apply(&self, head: &mut Parts, is_empty: bool) -> Option<Coding> {
        if head.status == StatusCode::NOT_MODIFIED {
            // Whether what the client has was compressed, its tag says.
            self.weaken_if_known(&mut head.headers);
            add_vary(&mut head.headers);
            return None;
        }
        let headers = &mut head.headers;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        let has_content = !is_empty
            && length != Some(0)
            && !head.status.is_informational()
            && head.status != StatusCode::NO_CONTENT
            && head.status != StatusCode::RESET_CONTENT
            && head.status != StatusCode::PARTIAL_CONTENT;
        let is_settled = headers.contains_key(header::CONTENT_ENCODING)
            || headers.contains_key(header::CONTENT_RANGE)
            || integrity::is_in(headers)
            || fields::lists(headers, &header::CACHE_CONTROL, "no-transform");
        if !has_content || is_settled || !self.rules.is_for(headers) {
            return None;
        }
        add_vary(headers);
        let is_small = length.is_some_and(|length| length < self.rules.min_size);
        if is_small && self.acceptance.takes_identity {
            return None;
        }
        let coding = self.acceptance.coding?;
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        Some(coding)
    }

    fn weaken_if_known(&self, headers: &mut HeaderMap) {
        let Some(tag) = headers.get(header::ETAG) else { return };
        let weak = [b"W/", tag.as_bytes()].concat();
        let mut known = self.known_tags.iter().flat_map(fields::tokens);
        if known.any(|known| *known == *weak) {
            weaken(headers);
        }
    }
}

/// The tag of a response, which is of its bytes, becomes one of what they mean.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}

fn add_vary(headers: &mut HeaderMap) {
    let is_said = fields::lists(headers, &header::VARY, "accept-encoding")
        || fields::lists(headers, &header::VARY, "*");
    if !is_said {
        headers.append(header::VARY, const { HeaderValue::from_static("Accept-Encoding") });
    }
}

#[cfg(test)]
mod tests;
