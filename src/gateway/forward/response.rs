//! The head of the response, judged and made fit to be passed on; and its trailers.

use http::header::{self, HeaderMap, HeaderValue};
use http::response::Parts;
use http::{StatusCode, Version};
use http_body::Body as _;

use super::request::via;
use crate::gateway::refusal::Refusal;
use crate::upstream::{Reply, ReplyBody};
use crate::wire::fields::{self, HopByHop};

/// What is seen in one pass over a response's fields.
#[derive(Default)]
struct Seen {
    lengths: usize,
    encodings: usize,
    is_odd: bool,
    has_challenge: bool,
    has_addresses: bool,
    is_event_stream: bool,
    hops: HopByHop,
}

/// A response that is fit to be passed on.
pub(super) struct Prepared {
    pub(super) head: Parts,
    pub(super) body: ReplyBody,
    /// Whether there may be addresses of the upstream in it.
    pub(super) has_addresses: bool,
    pub(super) is_event_stream: bool,
}

/// Judges a response and makes it fit to be passed on, to a client that takes trailers or does not.
///
/// # Errors
///
/// When two readers could frame it in two ways.
pub(super) fn prepare(
    reply: Reply,
    is_head: bool,
    takes_trailers: bool,
) -> Result<Prepared, Refusal> {
    let Reply { mut head, body } = reply;
    let seen = look(&head.headers);
    if seen.is_odd || seen.lengths + seen.encodings > 1 {
        return Err(Refusal::UpstreamAmbiguous("its body has more than one length"));
    }
    if !(200..600).contains(&head.status.as_u16()) {
        return Err(Refusal::UpstreamAmbiguous("its status is none"));
    }
    let via = via(head.version);
    let headers = &mut head.headers;
    if seen.has_challenge {
        // Between keyward and the upstream.
        headers.remove(header::PROXY_AUTHENTICATE);
    }
    // The announcement of trailers goes on with them; everything else that ends at this hop ends.
    let may_have_trailers =
        seen.encodings > 0 || head.version == Version::HTTP_2 && seen.lengths == 0;
    if takes_trailers && may_have_trailers {
        let announced: Vec<_> = headers.get_all(header::TRAILER).iter().cloned().collect();
        seen.hops.strip(headers);
        for trailer in announced {
            headers.append(header::TRAILER, trailer);
        }
    } else {
        seen.hops.strip(headers);
    }
    let has_content = !is_head
        && head.status != StatusCode::NO_CONTENT
        && head.status != StatusCode::NOT_MODIFIED;
    if seen.lengths > 0 && has_content && body.is_end_stream() {
        // hyper says the length of what there is.
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.append(header::VIA, via);
    head.version = Version::HTTP_11;
    if !head.extensions.is_empty() {
        head.extensions.clear();
    }
    let Seen { has_addresses, is_event_stream, .. } = seen;
    Ok(Prepared { head, body, has_addresses, is_event_stream })
}

fn look(headers: &HeaderMap) -> Seen {
    let mut seen = Seen::default();
    for (name, value) in headers {
        match name.as_str().len() {
            14 if *name == header::CONTENT_LENGTH => {
                seen.lengths += 1;
                seen.is_odd |= !value.as_bytes().iter().all(u8::is_ascii_digit);
            }
            17 if *name == header::TRANSFER_ENCODING => {
                seen.encodings += 1;
                seen.is_odd |= !value.as_bytes().eq_ignore_ascii_case(b"chunked");
                seen.hops.note(name, value);
            }
            18 if *name == header::PROXY_AUTHENTICATE => seen.has_challenge = true,
            12 if *name == header::CONTENT_TYPE => {
                seen.is_event_stream |= is_event_stream(value);
            }
            8 if *name == header::LOCATION => seen.has_addresses = true,
            10 if *name == header::SET_COOKIE => seen.has_addresses = true,
            16 if *name == header::CONTENT_LOCATION => seen.has_addresses = true,
            7 if name.as_str() == "refresh" => seen.has_addresses = true,
            _ => {
                seen.hops.note(name, value);
            }
        }
    }
    seen
}

fn is_event_stream(content_type: &HeaderValue) -> bool {
    let value = content_type.as_bytes();
    let media_type = value.split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Removes from trailers what frames, routes or authenticates: those were said in the head or not
/// at all (RFC 9110, section 6.5.1).
pub(in crate::gateway) fn strip_trailers(trailers: &mut HeaderMap) {
    fields::strip_hop_by_hop(trailers);
    for name in [header::CONTENT_LENGTH, header::HOST, header::SET_COOKIE, header::WWW_AUTHENTICATE]
    {
        trailers.remove(name);
    }
}
