//! Gate: judges the head of every request that hyper has parsed, of both versions, and brings it
//! into one normal form: a target in origin form with a normal path, one valid `Host`, framing that
//! has one reading, no expectation but `100-continue`.
//!
//! What hyper's parser refuses by itself, and what cannot be seen in a parsed head (line endings),
//! `server::socket` reports as a [`HeadFault`], too.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};
use hyper::ext::Protocol;

use super::credential::X_API_KEY;
use super::head_fault::HeadFault;
use super::refusal::Refusal;
use super::spelling::{RawPaths, Spelling, has_empty_segments};
use super::trace_context::TRACEPARENT;
use crate::wire::authority::{self, host_in};
use crate::wire::fields::{FoldedNames, HopByHop, lists};
use crate::wire::path;

/// The most that a head may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Header lines.
    pub lines: usize,
}

/// No method in use has more characters than half of this.
const METHOD_LIMIT: usize = 32;

/// What was seen in a head that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// It asks for WebSocket, and in the right way.
    pub(crate) websocket: Option<WebSocketForm>,
    /// It offers to switch to another protocol, over HTTP/1.1.
    pub(crate) offers_upgrade: bool,
    /// Its fields that end at this hop.
    pub(crate) hops: HopByHop,
    /// It has fields that are not for every client to set.
    pub(crate) has_judged: bool,
    /// It has `X-API-Key`.
    pub(crate) has_api_key: bool,
    pub(crate) has_length: bool,
    pub(crate) expects: bool,
    /// It says which trace it belongs to.
    pub(crate) has_trace: bool,
}

/// How a client asks for WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebSocketForm {
    /// `GET` with `Upgrade: websocket` (RFC 6455).
    Upgrade,
    /// Extended `CONNECT` with `:protocol` (RFC 8441).
    Connect,
}

/// Judges a head and normalises it. `has_body`: whether a body may still come. `judged`: names of
/// fields that are not for every client to set. `raw`: whether the spelling of the path may be
/// asked for.
///
/// # Errors
///
/// The client's fault: see [`HeadFault`], [`path::PathFault`] and [`Refusal::Upgrade`].
pub(super) fn judge(
    head: &mut Parts,
    has_body: bool,
    limits: HeadLimits,
    judged: &FoldedNames,
    raw: RawPaths,
) -> Result<Passed, Refusal> {
    let mut passed = Passed::default();
    let seen = look(head, limits, judged, &mut passed)?;
    passed.websocket = websocket(head, has_body, seen.has_upgrade)?;
    passed.offers_upgrade = seen.has_upgrade
        && passed.websocket.is_none()
        && head.version == Version::HTTP_11
        && lists(&head.headers, &header::CONNECTION, "upgrade");
    if head.method.as_str().len() > METHOD_LIMIT {
        return Err(HeadFault::Malformed.into());
    }
    let is_connect = head.method == Method::CONNECT && passed.websocket.is_none();
    if is_connect || head.method == Method::TRACE {
        return Err(HeadFault::Method.into());
    }
    host(head, &seen)?;
    target(head, limits, raw)?;
    // HTTP/2 may split `Cookie`; HTTP/1.1 may not (RFC 9113, section 8.2.3).
    if seen.cookies > 1 && head.version == Version::HTTP_2 {
        join_cookies(head);
    }
    Ok(passed)
}

/// Whether a request is a gRPC call: a POST of `application/grpc`, `application/grpc+proto` and the
/// like over HTTP/2.
pub(super) fn is_grpc(head: &Parts) -> bool {
    head.version == Version::HTTP_2
        && head.method == Method::POST
        && head.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
            let rest = value.as_bytes().strip_prefix(b"application/grpc");
            matches!(rest, Some([] | [b'+' | b';' | b' ', ..]))
        })
}

#[derive(Default)]
struct Seen {
    hosts: usize,
    /// Of `Host`: it ends with a colon.
    has_empty_port: bool,
    cookies: usize,
    has_upgrade: bool,
}

/// One pass over the fields.
fn look(
    head: &Parts,
    limits: HeadLimits,
    judged: &FoldedNames,
    passed: &mut Passed,
) -> Result<Seen, HeadFault> {
    if head.headers.len() > limits.lines {
        return Err(HeadFault::TooLarge);
    }
    let (mut seen, mut framings) = (Seen::default(), 0);
    // The `http` crate takes quotation marks in names; hyper's HTTP/1 parser does not.
    if head.version == Version::HTTP_2
        && head.headers.keys().any(|name| name.as_str().contains('"'))
    {
        return Err(HeadFault::Malformed);
    }
    for (name, value) in &head.headers {
        // The lengths first: they tell most names apart from all of these.
        match name.as_str().len() {
            4 if *name == header::HOST => {
                seen.hosts += 1;
                seen.has_empty_port |= value.as_bytes().ends_with(b":");
                host_in(value.as_bytes()).ok_or(HeadFault::Host)?;
            }
            6 if *name == header::EXPECT => {
                // A server ignores it from a client that speaks HTTP/1.0 (RFC 9110, section
                // 10.1.1).
                let is_known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                if head.version != Version::HTTP_10 && !is_known {
                    return Err(HeadFault::Expectation);
                }
                passed.expects = true;
            }
            6 if *name == header::COOKIE => {
                seen.cookies += 1;
                passed.has_judged |= judged.matches(name.as_str());
            }
            9 if *name == X_API_KEY => {
                passed.has_api_key = true;
                passed.has_judged |= judged.matches(name.as_str());
            }
            14 if *name == header::CONTENT_LENGTH => {
                // Digits and nothing but digits (RFC 9110, section 8.6; cf. CVE-2021-32715).
                let digits = value.as_bytes();
                if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit)
                {
                    return Err(HeadFault::Framing);
                }
                framings += 1;
                passed.has_length = true;
            }
            17 if *name == header::TRANSFER_ENCODING => {
                let is_chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
                if !is_chunked || head.version != Version::HTTP_11 {
                    return Err(HeadFault::Framing);
                }
                framings += 1;
                passed.hops.note(name, value);
            }
            _ if passed.hops.note(name, value) => seen.has_upgrade |= *name == header::UPGRADE,
            length => {
                passed.has_trace |= length == TRACEPARENT.len() && name.as_str() == TRACEPARENT;
                passed.has_judged |= judged.matches(name.as_str());
            }
        }
    }
    if framings > 1 { Err(HeadFault::Framing) } else { Ok(seen) }
}

/// Whether a request asks for WebSocket. Any other `Upgrade` is an offer, which a server may ignore
/// (RFC 9110, section 7.8; Java's HTTP client offers h2c with every request without TLS): it ends
/// at this hop, unless its route takes it.
fn websocket(
    head: &Parts,
    has_body: bool,
    has_upgrade: bool,
) -> Result<Option<WebSocketForm>, Refusal> {
    if let Some(protocol) = head.extensions.get::<Protocol>() {
        if head.method != Method::CONNECT || protocol.as_str() != "websocket" {
            return Err(HeadFault::Method.into());
        }
        // The one version of the protocol (RFC 6455, section 4.2.1). A handshake of HTTP/1.1 with
        // another one is the upstream's to decline. This one is turned into keyward's own, so
        // keyward declines it.
        let version = only(head, &header::SEC_WEBSOCKET_VERSION).ok_or(Refusal::Upgrade)?;
        return if version == "13" {
            Ok(Some(WebSocketForm::Connect))
        } else {
            Err(Refusal::Upgrade)
        };
    }
    if !has_upgrade || head.version == Version::HTTP_2 {
        return Ok(None);
    }
    let offers_websocket = lists(&head.headers, &header::UPGRADE, "websocket");
    if !offers_websocket || !lists(&head.headers, &header::CONNECTION, "upgrade") {
        return Ok(None);
    }
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let is_handshake = only(head, &header::UPGRADE).is_some_and(is_websocket)
        && head.method == Method::GET
        && head.version == Version::HTTP_11
        && !has_body
        && only(head, &header::SEC_WEBSOCKET_VERSION).is_some()
        && has_key(head);
    if is_handshake { Ok(Some(WebSocketForm::Upgrade)) } else { Err(Refusal::Upgrade) }
}

/// A key of 16 bytes in base64 (RFC 6455, section 4.2.1).
fn has_key(head: &Parts) -> bool {
    let decoded = only(head, &header::SEC_WEBSOCKET_KEY).map(|key| BASE64.decode(key.as_bytes()));
    matches!(decoded, Some(Ok(key)) if key.len() == 16)
}

/// The value of a field that comes once.
fn only<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = head.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The host of the target wins over `Host` (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
/// After this the head has only one.
fn host(head: &mut Parts, seen: &Seen) -> Result<(), HeadFault> {
    // HTTP/1.0 may leave it out.
    let is_required = match head.version {
        Version::HTTP_11 => true,
        version => version == Version::HTTP_2 && head.uri.authority().is_none(),
    };
    if seen.hosts > 1 || seen.hosts == 0 && is_required {
        return Err(HeadFault::Host);
    }
    let host = match head.uri.authority() {
        Some(authority) => {
            // Without a scheme it is the authority form, which only CONNECT has.
            let scheme = head.uri.scheme_str().ok_or(HeadFault::Target)?;
            if !matches!(scheme, "http" | "https") {
                return Err(HeadFault::Target);
            }
            host_in(authority.as_str().as_bytes()).ok_or(HeadFault::Host)?;
            authority.as_str().as_bytes()
        }
        None if !seen.has_empty_port => return Ok(()),
        None => head.headers.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes),
    };
    let host = HeaderValue::from_bytes(authority::normal_form(host));
    head.headers.insert(header::HOST, host.map_err(|_| HeadFault::Host)?);
    Ok(())
}

fn target(head: &mut Parts, limits: HeadLimits, raw: RawPaths) -> Result<(), Refusal> {
    let path = head.uri.path();
    let query = head.uri.query();
    if path.len() + query.map_or(0, |query| query.len() + 1) > limits.target {
        return Err(HeadFault::TargetTooLong.into());
    }
    if path == "*" {
        let is_options = head.method == Method::OPTIONS;
        return Err(if is_options { Refusal::NoRoute } else { HeadFault::Target.into() });
    }
    if !path.is_ascii() || query.is_some_and(|query| !query.bytes().all(is_query_byte)) {
        return Err(HeadFault::Target.into());
    }
    normalise(head, raw)
}

/// Brings a target into origin form, with the path in its normal form. If its spelling may be asked
/// for, it is left in the extensions.
///
/// # Errors
///
/// When the path has no normal form: the client's fault.
pub(super) fn normalise(head: &mut Parts, raw: RawPaths) -> Result<(), Refusal> {
    let normal = path::normal_form(head.uri.path());
    if matches!(normal, Ok(Cow::Borrowed(_))) && head.uri.authority().is_none() {
        return Ok(());
    }
    let is_spelled = match normal {
        Ok(Cow::Borrowed(_)) => false,
        Ok(Cow::Owned(_)) => raw == RawPaths::Used || has_empty_segments(head.uri.path()),
        Err(_) => raw == RawPaths::Used,
    };
    let spelling = match head.uri.path_and_query() {
        Some(target) if is_spelled => Some(Spelling::of(target, &normal)),
        _ => None,
    };
    let path = match (&normal, spelling.as_ref().and_then(Spelling::normal)) {
        (Ok(normal), _) => &**normal,
        (Err(_), Some(normal)) => normal,
        (Err(fault), None) => return Err(Refusal::Path(*fault)),
    };
    let target = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    head.uri = Uri::from(PathAndQuery::try_from(target).map_err(|_| HeadFault::Target)?);
    if let Some(spelling) = spelling {
        head.extensions.insert(spelling);
    }
    Ok(())
}

/// Browsers send some of what belongs in no query unescaped, and no route is chosen by it.
const fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"' | b'<' | b'>')
}

fn join_cookies(head: &mut Parts) {
    let cookies = head.headers.get_all(header::COOKIE);
    let pieces: Vec<_> = cookies.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        head.headers.insert(header::COOKIE, whole);
    }
}

#[cfg(test)]
mod tests;
