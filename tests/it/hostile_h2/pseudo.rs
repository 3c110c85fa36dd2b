//! Pseudo-header fields (RFC 9113, section 8.3): which a request has, where they stand and what
//! they say. Host and authority are one thing.

use super::Want::{Field, Host, Method, Target};
use super::{
    Case, Ending, answered, either, forwarded, malformed, malformed_or, public, run, unspeakable,
};
use crate::support::h2::Head;

/// Malformed, or found by the gate behind the codec: 400 or a route that is not there.
const ODD_TARGET: &[u16] = &[400, 404];

pub(super) fn cases(_token: &str) -> Vec<Case> {
    let regular_first = Head::empty().with("x-a", "b").with(":method", "GET");
    let regular_first = regular_first
        .with(":scheme", "http")
        .with(":path", "/public/x")
        .with(":authority", "a.example");
    let host_only = public().without(":authority");
    let authority = |value: &str| public().set(":authority", value).whole(1);
    let mut cases = vec![
        forwarded(
            "the pseudo-header fields in another order",
            Head::empty()
                .with(":authority", "a.example")
                .with(":path", "/public/x")
                .with(":scheme", "http")
                .with(":method", "GET")
                .whole(1),
            [Target("/public/x"), Host("a.example")],
        ),
        malformed("no :method", public().without(":method").whole(1)),
        malformed("no :scheme", public().without(":scheme").whole(1)),
        malformed("no :path", public().without(":path").whole(1)),
        malformed(
            "no pseudo-header field at all",
            Head::empty().with("host", "a.example").whole(1),
        ),
        malformed("no field at all", Head::empty().whole(1)),
        malformed("two :method", public().with(":method", "GET").whole(1)),
        malformed("two :path", public().with(":path", "/public/x").whole(1)),
        malformed("two :path, the second guarded", public().with(":path", "/private/x").whole(1)),
        malformed("two :scheme", public().with(":scheme", "http").whole(1)),
        malformed("two :authority", public().with(":authority", "b.example").whole(1)),
        unspeakable("an unknown pseudo-header field", public().with(":other", "x").whole(1)),
        unspeakable(
            "a pseudo-header field in upper case",
            public().with(":Path", "/private/x").whole(1),
        ),
        unspeakable("a pseudo-header field without a name", public().with(":", "x").whole(1)),
        malformed(":status in a request", public().with(":status", "200").whole(1)),
        malformed(":protocol without CONNECT", public().with(":protocol", "websocket").whole(1)),
        malformed("a pseudo-header field behind a regular one", regular_first.whole(1)),
        malformed(
            ":path behind a regular field",
            public().without(":path").with("x-a", "b").with(":path", "/private/x").whole(1),
        ),
        malformed("an empty :method", public().set(":method", "").whole(1))
            .or(Ending::GoAway(&[super::code::PROTOCOL_ERROR])),
        malformed("an empty :path", public().set(":path", "").whole(1)),
        malformed("an empty :scheme", public().set(":scheme", "").whole(1)),
        malformed_or("an empty :authority and no Host", authority(""), []),
        unspeakable("a method with a space", public().set(":method", "GET /private/x").whole(1)),
        unspeakable(
            "a method with CR and LF",
            public().set(":method", "GET / HTTP/1.1\r\nx: y").whole(1),
        ),
        unspeakable("a method with a NUL", public().set(":method", "GE\0T").whole(1)),
        either(
            "a lower-case method",
            &[400, 405, 501],
            public().set(":method", "get").whole(1),
            [Method("get")],
        ),
        forwarded("PROPFIND", public().set(":method", "PROPFIND").whole(1), [Method("PROPFIND")]),
        forwarded("HEAD", public().set(":method", "HEAD").whole(1), [Method("HEAD")]),
        answered("TRACE", &[405, 501], public().set(":method", "TRACE").whole(1)),
        answered(
            "OPTIONS *",
            &[400, 404, 405, 501],
            public().set(":method", "OPTIONS").set(":path", "*").whole(1),
        )
        .or(Ending::Reset(&[super::code::PROTOCOL_ERROR])),
        malformed("GET *", public().set(":path", "*").whole(1)).or(Ending::Answer(&[404])),
        malformed("a path without a slash", public().set(":path", "public/x").whole(1))
            .or(Ending::Answer(ODD_TARGET)),
        malformed("a query alone", public().set(":path", "?a=b").whole(1))
            .or(Ending::Answer(ODD_TARGET)),
        malformed(
            "an absolute target in :path",
            public().set(":path", "http://a.example/public/x").whole(1),
        )
        .or(Ending::Answer(ODD_TARGET)),
        malformed("an authority in :path", public().set(":path", "a.example:80").whole(1))
            .or(Ending::Answer(ODD_TARGET)),
        malformed("a protocol in :path", public().set(":path", "/public/x HTTP/1.1").whole(1)),
        unspeakable(
            "a request in :path",
            public().set(":path", "/public/x HTTP/1.1\r\nx-keyward-subject: evil\r\n\r\n").whole(1),
        ),
        // The scheme is what a client says of its own side: a proxy in front may have ended TLS.
        forwarded(
            "https on a plain port",
            public().set(":scheme", "https").whole(1),
            [Field("x-forwarded-proto", "http"), Target("/public/x")],
        )
        .or(Ending::Answer(&[400, 421])),
        malformed_or(
            "a scheme in upper case",
            public().set(":scheme", "HTTP").whole(1),
            [Target("/public/x")],
        ),
        malformed("another scheme", public().set(":scheme", "ftp").whole(1))
            .or(Ending::Answer(&[404, 421])),
        malformed(
            "a scheme that is a target",
            public().set(":scheme", "http://a.example/private/x?").whole(1),
        ),
        malformed("a scheme with a space", public().set(":scheme", "http ").whole(1)),
        unspeakable("a scheme with CR and LF", public().set(":scheme", "http\r\nx: y").whole(1)),
        forwarded(
            "a Host in place of :authority",
            host_only.clone().with("host", "b.example").whole(1),
            [Host("b.example"), Field("x-forwarded-host", "b.example")],
        ),
        malformed("neither Host nor :authority", host_only.clone().whole(1)),
        forwarded(
            "a Host that agrees",
            public().with("host", "a.example").whole(1),
            [Host("a.example")],
        ),
        // Section 8.3.1: :authority is what counts, and a server may treat the two as malformed.
        malformed_or(
            "a Host that differs",
            public().with("host", "b.example").whole(1),
            [Host("a.example")],
        ),
        malformed_or(
            "a Host that differs in case",
            public().with("host", "A.EXAMPLE").whole(1),
            [Host("a.example")],
        ),
        malformed_or(
            "a Host with another port",
            public().with("host", "a.example:81").whole(1),
            [Host("a.example")],
        ),
        malformed(
            "two Hosts that agree",
            public().with("host", "a.example").with("host", "a.example").whole(1),
        ),
        malformed("two Hosts and no :authority", {
            host_only.clone().with("host", "a.example").with("host", "b.example").whole(1)
        }),
        malformed("an empty Host and no :authority", host_only.clone().with("host", "").whole(1)),
        malformed_or(
            "an empty Host beside :authority",
            public().with("host", "").whole(1),
            [Host("a.example")],
        ),
        malformed("a malformed Host beside :authority", public().with("host", "a b").whole(1)),
        malformed(
            "a malformed Host and no :authority",
            host_only.with("host", "u:p@a.example").whole(1),
        ),
        forwarded(
            "an authority with a port",
            authority("a.example:8080"),
            [Host("a.example:8080")],
        ),
        forwarded(
            "an authority that is an address",
            authority("127.0.0.1:80"),
            [Host("127.0.0.1:80")],
        ),
        forwarded(
            "an authority that is an IPv6 address",
            authority("[::1]:80"),
            [Host("[::1]:80")],
        ),
    ];
    for (name, value) in [
        ("an authority with user information", "u:p@a.example"),
        ("an authority with an empty user", "@a.example"),
        ("an authority with a path", "a.example/private/x"),
        ("an authority with a query", "a.example?x"),
        ("an authority with a fragment", "a.example#x"),
        ("an authority with a space", "a.example b"),
        ("an authority with a comma", "a.example,b.example"),
        ("an authority with a backslash", "a.example\\b"),
        ("an authority with a port of letters", "a.example:port"),
        ("an authority with a port beyond 65535", "a.example:65536"),
        ("an authority with a sign in its port", "a.example:+80"),
        ("an authority that is a port", ":80"),
        ("an authority in broken brackets", "[::1"),
        ("an authority with more behind its brackets", "[::1]evil"),
        ("an authority with an 8-bit byte", "\u{e4}.example"),
        ("an authority that is a whole target", "http://a.example"),
    ] {
        cases.push(unspeakable(name, authority(value)));
    }
    cases
}

#[test]
fn a_request_has_each_pseudo_header_field_once_and_before_all_others() {
    run("pseudo", cases);
}
