//! What the gate lets through means to the upstream what it meant to the gate: hyper's client
//! writes it, and hyper's server and a reader by the letter read one request, and the same one.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, header};
use http_body::{Body, Frame, SizeHint};

use super::exchange::{LIMITS, Received, at_upstream, from_client, written};
use super::field_lines::is_ours;
use super::strict;
use crate::gateway::fuzzing::{Gateway, WebSocketForm};
use crate::gateway::{ClientConnection, ClientOrigin, PeerAddress, Scheme};
use crate::upstream::{BoxError, Purpose, RequestBody, StreamedBody, finish_head};

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(gateway) = Gateway::new() else { return false };
    let Some(received) = from_client(input) else { return false };
    let Received { head: mut judged, has_body, length, body: Some(body) } = received else {
        return false;
    };
    let Ok(passed) = gateway.judge(&mut judged, has_body, LIMITS) else { return false };
    let mut head = judged.clone();
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4711);
    let peer = PeerAddress::Ip(address);
    let origin =
        ClientOrigin { address: peer.clone(), peer, scheme: Scheme::Http, trusted_proxies: None };
    gateway.prepare(passed, &ClientConnection::new(origin, None), &mut head, length);
    let sent_body = if has_body {
        RequestBody::Streamed(StreamedBody::new(Pieces::new(&body, length)))
    } else {
        RequestBody::Empty
    };
    let is_upgrade = passed.websocket == Some(WebSocketForm::Upgrade);
    let purpose = if is_upgrade { Purpose::Switch } else { Purpose::Response };
    let mut request = Request::from_parts(head, sent_body);
    finish_head(&mut request, purpose);
    let fields = request.headers().clone();
    let sent = written(request);
    assert!(sent.is_some(), "hyper's client does not send what passed");
    let sent = sent.unwrap_or_default();
    reads_as_sent(&sent, &judged, &fields, &body);
    carries_what_was_judged(&judged, &fields);
    true
}

/// One request, with the head and the body that were sent, to hyper's server and by the letter.
fn reads_as_sent(sent: &[u8], judged: &Parts, fields: &HeaderMap, body: &[u8]) {
    let target =
        judged.uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    let shown = sent.escape_ascii();
    let served = at_upstream(sent);
    assert!(served.is_whole, "the upstream does not read it to its end: {shown}");
    assert_eq!(served.requests.len(), 1, "the upstream reads that many requests: {shown}");
    for request in &served.requests {
        assert_eq!(request.head.method, judged.method, "{shown}");
        assert_eq!(request.head.uri.to_string(), target, "{shown}");
        assert_eq!(request.head.version, http::Version::HTTP_11, "{shown}");
        assert_eq!(request.body.as_deref(), Some(body), "{shown}");
        let mut found = request.head.headers.clone();
        forget_added_length(&mut found, fields, body);
        assert_eq!(&found, fields, "{shown}");
    }
    let read = strict::head(sent);
    assert!(read.is_some(), "no HTTP/1.1 by the letter: {shown}");
    let Some((strict, rest)) = read else { return };
    assert_eq!(
        (strict.method, strict.target),
        (judged.method.as_str().as_bytes(), target.as_bytes()),
        "{shown}"
    );
    assert_eq!(strict::body(&strict, rest), Some((body.to_vec(), &b""[..])), "{shown}");
    assert!(strict.all("host").len() <= 1, "{shown}");
    for name in fields.keys() {
        let values =
            fields.get_all(name).iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(strict.all(name.as_str()), values, "{shown}");
    }
}

/// hyper's client may say the length that it knows.
fn forget_added_length(found: &mut HeaderMap, fields: &HeaderMap, body: &[u8]) {
    if !fields.contains_key(header::CONTENT_LENGTH)
        && found.get(header::CONTENT_LENGTH).is_some_and(|length| *length == body.len().to_string())
    {
        found.remove(header::CONTENT_LENGTH);
    }
}

/// Every field that is to go on does, as it was; none that is not; and what is new is keyward's.
fn carries_what_was_judged(judged: &Parts, fields: &HeaderMap) {
    let is_named = |name: &str| {
        let is = |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        let mut lines = judged.headers.get_all(header::CONNECTION).iter();
        lines.any(|value| value.as_bytes().split(|&byte| byte == b',').any(is))
    };
    for name in judged.headers.keys().map(header::HeaderName::as_str) {
        let goes_on =
            match name {
                "host" | "content-type" | "content-encoding" | "authorization"
                | "cache-control" => true,
                "via" | "content-length" | "te" | "connection" | "upgrade"
                | "transfer-encoding" => continue,
                "keep-alive"
                | "proxy-connection"
                | "proxy-authorization"
                | "trailer"
                | "http2-settings"
                | "expect" => false,
                _ => !is_named(name) && !is_ours(name),
            };
        let (was, is) = (judged.headers.get_all(name), fields.get_all(name));
        if goes_on {
            assert!(was.iter().eq(is.iter()), "{name} was {was:?} and is {is:?}");
        } else {
            let ours = ours(name, judged);
            assert!(
                is.iter().all(|value| !ours.is_empty() && *value == ours),
                "{name} went on: {is:?}"
            );
        }
    }
    for name in fields.keys().map(header::HeaderName::as_str) {
        let is_new = !judged.headers.contains_key(name);
        let may_be_new = ["via", "transfer-encoding", "connection", "upgrade", "te"]
            .contains(&name)
            || [
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-forwarded-host",
                "forwarded",
                "x-real-ip",
            ]
            .contains(&name);
        assert!(!is_new || may_be_new, "{name} came out of nothing");
        assert!(
            !is_ours(name) || fields.get_all(name).iter().count() == 1,
            "{name} is not keyward's alone"
        );
    }
}

/// What keyward itself says under a name that a client may not use.
fn ours(name: &str, judged: &Parts) -> String {
    let host =
        judged.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match name {
        "x-forwarded-for" | "x-real-ip" => "192.0.2.7".to_owned(),
        "x-forwarded-proto" => "http".to_owned(),
        "x-forwarded-host" => host.to_owned(),
        "forwarded" if host.is_empty() => "for=192.0.2.7;proto=http".to_owned(),
        "forwarded" if host.contains([':', '[']) => {
            format!("for=192.0.2.7;host=\"{host}\";proto=http")
        }
        "forwarded" => format!("for=192.0.2.7;host={host};proto=http"),
        _ => String::new(),
    }
}

/// A body in two pieces, of a length that is known or not.
struct Pieces {
    pieces: VecDeque<Bytes>,
    rest: Option<u64>,
}

impl Pieces {
    fn new(body: &[u8], length: Option<u64>) -> Self {
        let (first, second) = body.split_at(body.len() / 2);
        let pieces = [first, second].into_iter().filter(|piece| !piece.is_empty());
        Self { pieces: pieces.map(Bytes::copy_from_slice).collect(), rest: length }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        let piece = body.pieces.pop_front();
        if let (Some(rest), Some(piece)) = (&mut body.rest, &piece) {
            *rest = rest.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.is_some()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
