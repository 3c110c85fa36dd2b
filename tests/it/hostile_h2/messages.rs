//! How a message is framed (RFC 9113, sections 8.1 and 8.5; RFC 8441): content-length against what
//! comes, trailers, CONNECT with and without a protocol.

use super::Want::{Body, Field, Method, Target, Without};
use super::{
    BEFORE, BROKEN, Case, Ending, answered, forwarded, malformed, malformed_or, public, run,
};
use super::{stream_error, unspeakable};
use crate::support::h2::code::{CANCEL, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM};
use crate::support::h2::{Head, data, flag};

/// The ends of a message whose length is not what it says: the upstream may have got the head.
fn broken(name: &str, send: impl AsRef<[u8]>) -> Case {
    malformed(name, send).or(Ending::Reset(&[PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL]))
}

/// `POST /public/x` with `hello`, and these trailers.
fn with_trailers(trailers: &Head) -> Vec<u8> {
    trailed(Head::post("/public/x"), trailers, flag::WHOLE)
}

fn trailed(head: Head, trailers: &Head, flags: u8) -> Vec<u8> {
    [head.frame(1, flag::END_HEADERS), data(1, 0, "hello"), trailers.frame(1, flags)].concat()
}

pub(super) fn cases(_token: &str) -> Vec<Case> {
    let post = |length: &str| Head::post("/public/x").with("content-length", length);
    let breaks = |length: &str| Head::post(BROKEN).with("content-length", length);
    let connect = || Head::empty().with(":method", "CONNECT").with(":authority", "a.example:80");
    let extended = |protocol: &str| Head::new("CONNECT", "/public/x").with(":protocol", protocol);
    let one = |name: &str, value: &str| Head::empty().with(name, value);
    let no_tunnel: &[u16] = &[400, 404, 405, 501];
    let mut cases = vec![
        forwarded("a body with its length", post("5").with_body(1, "hello"), [Body(b"hello")]),
        forwarded(
            "a body without a length",
            Head::post("/public/x").with_body(1, "hello"),
            [Body(b"hello"), Method("POST")],
        ),
        forwarded("an empty body with its length", post("0").with_body(1, ""), [Body(b"")]),
        forwarded("a length of nothing and no body", post("0").whole(1), [Body(b"")]),
        forwarded(
            "a body in three frames",
            {
                let pieces = [data(1, 0, "he"), data(1, 0, ""), data(1, 1, "llo")].concat();
                [post("5").frame(1, flag::END_HEADERS), pieces].concat()
            },
            [Body(b"hello")],
        ),
        forwarded(
            "GET with a body",
            public().with_body(1, "hello"),
            [Body(b"hello"), Method("GET")],
        ),
        // A client states the length of a body that it does not send.
        malformed("a length and no body (CVE-2026-48743)", post("60").whole(1)),
        malformed("GET with a length and no body", public().with("content-length", "60").whole(1)),
        broken("less than the length", breaks("10").with_body(1, "hello")),
        broken("more than the length", breaks("3").with_body(1, "hello")),
        // The request is whole without its body, so it may be at the upstream before the body
        // comes.
        broken(
            "a body of a length of nothing",
            breaks("0").set(":path", BEFORE).with_body(1, "hello"),
        ),
        broken(
            "less than the length, then trailers",
            trailed(breaks("10"), &one("x-a", "b"), flag::WHOLE),
        ),
        broken("a request behind the length", {
            breaks("5").with_body(1, "helloGET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
        }),
        malformed(
            "two lengths that differ",
            breaks("5").with("content-length", "6").with_body(1, "hello"),
        ),
        malformed_or(
            "the same length twice",
            post("5").with("content-length", "5").with_body(1, "hello"),
            [Body(b"hello"), Field("content-length", "5")],
        ),
        // Trailers of requests are not forwarded.
        forwarded("trailers", with_trailers(&one("x-a", "b")), [Body(b"hello"), Without("x-a")]),
        forwarded("empty trailers", with_trailers(&Head::empty()), [Body(b"hello")]),
        forwarded(
            "trailers in place of a body",
            [Head::post("/public/x").frame(1, flag::END_HEADERS), one("x-a", "b").whole(1)]
                .concat(),
            [Body(b"")],
        ),
        malformed_or(
            "a length in trailers",
            with_trailers(&one("content-length", "0")),
            [Body(b"hello")],
        ),
        malformed_or(
            "a Host in trailers",
            with_trailers(&one("host", "b.example")),
            [Body(b"hello")],
        ),
        stream_error("trailers that do not end the stream", &[PROTOCOL_ERROR], {
            trailed(Head::post(BROKEN), &one("x-a", "b"), flag::END_HEADERS)
        }),
        malformed_or(
            "transfer-encoding in trailers",
            with_trailers(&one("transfer-encoding", "chunked")),
            [Body(b"hello")],
        ),
        malformed_or(
            "connection in trailers",
            with_trailers(&one("connection", "close")),
            [Body(b"hello")],
        ),
        unspeakable(
            "a name in upper case in trailers",
            trailed(Head::post(BROKEN), &one("X-A", "b"), flag::WHOLE),
        ),
        unspeakable("CR and LF in trailers", {
            trailed(Head::post(BROKEN), &one("x-a", "b\r\nx-keyward-subject: evil"), flag::WHOLE)
        }),
        // CONNECT asks for a tunnel, and there is none but a WebSocket's.
        answered("CONNECT", no_tunnel, connect().frame(1, flag::END_HEADERS)),
        answered("CONNECT that ends at once", no_tunnel, connect().whole(1)),
        answered("CONNECT with bytes behind it", no_tunnel, {
            [connect().frame(1, flag::END_HEADERS), data(1, 0, "GET /private/x HTTP/1.1\r\n\r\n")]
                .concat()
        }),
        malformed("CONNECT with a path", connect().with(":path", "/public/x").whole(1)),
        malformed("CONNECT with a scheme", connect().with(":scheme", "http").whole(1)),
        malformed(
            "CONNECT without an authority",
            Head::empty().with(":method", "CONNECT").whole(1),
        )
        .or(Ending::Answer(no_tunnel)),
        malformed(
            "CONNECT to a malformed authority",
            connect().set(":authority", "u:p@a:b").whole(1),
        )
        .or(Ending::Answer(no_tunnel)),
        malformed(
            "CONNECT to an authority without a port",
            connect().set(":authority", "a.example").whole(1),
        )
        .or(Ending::Answer(no_tunnel)),
        // hyper ends the whole connection over this one.
        malformed(
            "CONNECT with a length",
            connect().with("content-length", "5").frame(1, flag::END_HEADERS),
        )
        .or(Ending::Answer(no_tunnel))
        .or(Ending::Reset(&[INTERNAL_ERROR, REFUSED_STREAM]))
        .or(Ending::Closed),
        malformed("extended CONNECT without a path", {
            extended("websocket").without(":path").frame(1, flag::END_HEADERS)
        }),
        malformed("extended CONNECT without a scheme", {
            extended("websocket").without(":scheme").frame(1, flag::END_HEADERS)
        }),
        malformed("extended CONNECT without an authority", {
            extended("websocket").without(":authority").frame(1, flag::END_HEADERS)
        }),
        malformed(
            "two protocols",
            extended("websocket").with(":protocol", "websocket").frame(1, flag::END_HEADERS),
        ),
        malformed("a protocol behind a regular field", {
            Head::new("CONNECT", "/public/x")
                .with("x-a", "b")
                .with(":protocol", "websocket")
                .whole(1)
        }),
        answered("a WebSocket to the guarded route", &[401], {
            extended("websocket")
                .set(":path", "/private/x")
                .with("sec-websocket-version", "13")
                .frame(1, 4)
        })
        .or(Ending::Reset(&[PROTOCOL_ERROR])),
        // The upstream is asked in HTTP/1.1, and this one does not switch.
        answered("a WebSocket that ends at once", no_tunnel, {
            extended("websocket").with("sec-websocket-version", "13").whole(1)
        })
        .or(Ending::Reset(&[PROTOCOL_ERROR, CANCEL]))
        .or(Ending::Failed(&[502])),
        answered("a WebSocket of another version", &[400], {
            extended("websocket").with("sec-websocket-version", "777").frame(1, flag::END_HEADERS)
        }),
        answered(
            "a WebSocket of no version",
            &[400],
            extended("websocket").frame(1, flag::END_HEADERS),
        ),
        answered("a WebSocket of two versions", &[400], {
            let head = extended("websocket").with("sec-websocket-version", "13");
            head.with("sec-websocket-version", "8").frame(1, flag::END_HEADERS)
        }),
        answered(
            "a protocol with CR and LF",
            &[400, 501],
            extended("websocket\r\nx: y").frame(1, flag::END_HEADERS),
        )
        .or(Ending::Reset(&[PROTOCOL_ERROR])),
        forwarded(
            "sec-websocket fields without CONNECT are fields",
            public().with("sec-websocket-version", "13").whole(1),
            [Target("/public/x"), Without("upgrade")],
        ),
    ];
    for protocol in
        ["foo", "", "connect-udp", "webtransport", "h2c", "websocket, h2c", "websocket "]
    {
        let head = extended(protocol).with("sec-websocket-version", "13");
        let case = answered(
            &format!("extended CONNECT for {protocol:?}"),
            &[400, 404, 405, 501],
            head.frame(1, flag::END_HEADERS),
        );
        cases.push(case.or(Ending::Reset(&[PROTOCOL_ERROR])));
    }
    for trailer in [":path", ":method", ":authority", ":status", ":protocol"] {
        // Malformed (section 8.1); the codec passes no such field on, and trailers go no further.
        let send = with_trailers(&one(trailer, "/private/x"));
        let name = format!("{trailer} in trailers");
        let case = malformed_or(&name, send, [Body(b"hello"), Target("/public/x")]);
        cases.push(case.or(Ending::GoAway(&[PROTOCOL_ERROR])));
    }
    for length in [
        "",
        "abc",
        "+5",
        "-5",
        "0x5",
        "5, 5",
        "5,6",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        "99999999999999999999",
    ] {
        cases.push(malformed(
            &format!("a length of {length:?}"),
            breaks(length).with_body(1, "hello"),
        ));
    }
    for length in [" 5", "5 ", "05"] {
        let name = format!("a length of {length:?}");
        cases.push(malformed_or(&name, post(length).with_body(1, "hello"), [Body(b"hello")]));
    }
    cases
}

#[test]
fn a_request_is_as_long_as_it_says_and_ends_where_it_ends() {
    run("messages", cases);
}
