//! Regular fields (RFC 9113, section 8.2): names and values that no field has, fields of a single
//! connection, cookies in crumbs, and how large a header list may be.

use super::Want::{Field, Target, Without};
use super::{Case, Ending, answered, connection_error, either, forwarded, malformed, malformed_or};
use super::{public, run, unspeakable};
use crate::support::h2::code::{COMPRESSION_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR};
use crate::support::h2::{Head, continuation, flag, frame, kind};
use crate::support::hpack::{index, indexed_literal, integer, literal, table_size};

const COMPRESSION: &[u32] = &[COMPRESSION_ERROR, PROTOCOL_ERROR];

/// The outcomes of a header list that is too large: 431, or an error of the stream or the
/// connection.
fn too_large(name: &str, send: impl AsRef<[u8]>) -> Case {
    answered(name, &[431], send)
        .or(Ending::Reset(&[PROTOCOL_ERROR, ENHANCE_YOUR_CALM]))
        .or(Ending::GoAway(&[ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR]))
}

/// A whole request whose header block is `GET /public/x` with these bytes behind it.
fn block(rest: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, 1, [&public().block(), rest.as_ref()].concat())
}

/// A request whose block is cut into frames of at most 16 KiB.
fn in_pieces(head: &Head) -> Vec<u8> {
    let block = head.block();
    let mut pieces = block.chunks(16_384).peekable();
    let first = frame(kind::HEADERS, flag::END_STREAM, 1, pieces.next().unwrap_or_default());
    let mut frames = vec![first];
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        frames.push(continuation(1, flags, piece));
    }
    frames.concat()
}

/// With so many fields more.
fn many(count: usize, value: &str) -> Head {
    (0..count).fold(public(), |head, n| head.with(format!("x-{n}"), value))
}

pub(super) fn cases(_token: &str) -> Vec<Case> {
    let one = |name: &str, value: &str| public().with(name, value).whole(1);
    let value = |bytes: &[u8]| public().with("x-a", bytes).whole(1);
    let mut cases = vec![
        forwarded(
            "a field keeps its value",
            one("x-a", "VaLuE; a=\"b\""),
            [Field("x-a", "VaLuE; a=\"b\"")],
        ),
        forwarded("an empty value", one("x-a", ""), [Field("x-a", "")]),
        forwarded(
            "every byte of a token in a name",
            one("x!#$%&'*+-.^_`|~09", "b"),
            [Field("x!#$%&'*+-.^_`|~09", "b")],
        ),
        forwarded(
            "every visible byte in a value",
            one("x-a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
            [Field("x-a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")],
        ),
        either("8-bit bytes in a value", &[400], value(b"\xe4\xff"), [Target("/public/x")]),
        // TE is the one field of its kind that a request may have (section 8.2.2).
        forwarded("te: trailers", one("te", "trailers"), []),
        malformed("te: gzip", one("te", "gzip")),
        malformed("te: trailers, gzip", one("te", "trailers, gzip")),
        malformed("an empty te", one("te", "")),
        malformed("connection: close", one("connection", "close")),
        malformed("an empty connection", one("connection", "")),
        malformed("connection lists an identity", {
            public()
                .with("connection", "x-keyward-subject")
                .with("x-keyward-subject", "evil")
                .whole(1)
        }),
        malformed("connection: upgrade, with upgrade", {
            public().with("connection", "upgrade").with("upgrade", "websocket").whole(1)
        }),
        malformed("keep-alive", one("keep-alive", "timeout=5")),
        malformed("proxy-connection", one("proxy-connection", "keep-alive")),
        malformed("upgrade: h2c", one("upgrade", "h2c")),
        malformed("transfer-encoding: chunked", one("transfer-encoding", "chunked")),
        malformed("transfer-encoding: identity", one("transfer-encoding", "identity")),
        malformed("transfer-encoding with a body of chunks", {
            Head::post("/public/broken")
                .with("transfer-encoding", "chunked")
                .with_body(1, "0\r\n\r\nGET /private/x HTTP/1.1\r\n\r\n")
        }),
        forwarded(
            "proxy-authorization goes no further",
            one("proxy-authorization", "Basic eDp5"),
            [Without("proxy-authorization")],
        ),
        forwarded(
            "trailer goes no further",
            one("trailer", "x-keyward-subject"),
            [Without("trailer")],
        ),
        malformed_or(
            "http2-settings goes no further",
            one("http2-settings", "AAMAAABk"),
            [Without("http2-settings")],
        ),
        malformed_or("an expectation of 100-continue", one("expect", "100-continue"), []),
        answered("another expectation", &[400, 417], one("expect", "200-ok"))
            .or(Ending::Reset(&[PROTOCOL_ERROR])),
        forwarded(
            "two crumbs are one cookie",
            public().with("cookie", "a=b").with("cookie", "c=d").whole(1),
            [Field("cookie", "a=b; c=d")],
        ),
        forwarded(
            "crumbs between other fields are one cookie",
            public()
                .with("cookie", "a=b")
                .with("x-a", "1")
                .with("cookie", "c=d")
                .with("cookie", "e=f")
                .whole(1),
            [Field("cookie", "a=b; c=d; e=f")],
        ),
        malformed("a comma does not hide a second credential", {
            Head::get("/private/x")
                .with("authorization", "Bearer a")
                .with("authorization", "Bearer b")
                .whole(1)
        })
        .or(Ending::Answer(&[401])),
        forwarded(
            "a field from the table of fields",
            block(indexed_literal("x-a", "b")),
            [Field("x-a", "b")],
        ),
        forwarded(
            "a field added and named again",
            block([indexed_literal("x-a", "b"), index(62)].concat()),
            [Target("/public/x")],
        ),
        forwarded(
            "a smaller table at the head of a block",
            frame(kind::HEADERS, flag::WHOLE, 1, [table_size(0), public().block()].concat()),
            [Target("/public/x")],
        ),
        connection_error("index 0", COMPRESSION, block(index(0))),
        connection_error("an index beyond the tables", COMPRESSION, block(index(62))),
        connection_error("an index far beyond the tables", COMPRESSION, block(index(1 << 24))),
        connection_error("an integer without an end", COMPRESSION, block([0xff_u8; 12])),
        connection_error("a table larger than allowed", COMPRESSION, {
            frame(kind::HEADERS, flag::WHOLE, 1, [table_size(1 << 20), public().block()].concat())
        }),
        connection_error("a table's size behind a field", COMPRESSION, block(table_size(0))),
        connection_error("a string that is cut", COMPRESSION, block([0, 3, b'x', b'-'])),
        connection_error("a value that is missing", COMPRESSION, block([0, 3, b'x', b'-', b'a'])),
        connection_error(
            "a string of 2 GiB",
            COMPRESSION,
            block([&[0][..], &integer(0, 7, 1 << 31)].concat()),
        ),
        connection_error("Huffman padding of zeros", COMPRESSION, block([0, 1, b'x', 0x81, 0x00])),
        connection_error(
            "Huffman padding of a whole byte",
            COMPRESSION,
            block([0, 1, b'x', 0x82, 0x1f, 0xff]),
        ),
        connection_error("the symbol EOS in Huffman", COMPRESSION, {
            block([0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff])
        }),
        // DESIGN: 100 fields, 32 KiB, and crumbs are counted.
        forwarded("a value of 8 KiB", one("x-a", &"a".repeat(8192)), [Target("/public/x")]),
        forwarded("90 fields", many(90, "y").whole(1), [Field("x-89", "y")]),
        too_large("1000 fields", in_pieces(&many(1000, "y"))),
        too_large("200 fields", many(200, "y").whole(1)),
        too_large(
            "2000 crumbs",
            in_pieces(&(0..2000).fold(public(), |head, _| head.with("cookie", "a=b"))),
        ),
        too_large("a value of 40 KiB", in_pieces(&public().with("x-a", "a".repeat(40 << 10)))),
        too_large("a name of 40 KiB", in_pieces(&public().with("a".repeat(40 << 10), "b"))),
        too_large("fields of 40 KiB in all", in_pieces(&many(50, &"a".repeat(800)))),
        too_large("a value of a mebibyte", in_pieces(&public().with("x-a", "a".repeat(1 << 20)))),
        too_large(
            "a path of 40 KiB",
            in_pieces(&Head::get(format!("/public/{}", "a".repeat(40 << 10)))),
        )
        .or(Ending::Answer(&[414])),
        answered(
            "a path of 17 KiB",
            &[414],
            in_pieces(&Head::get(format!("/public/{}", "a".repeat(17 << 10)))),
        )
        .or(Ending::Answer(&[431])),
        answered(
            "a query of 17 KiB",
            &[414],
            in_pieces(&Head::get(format!("/public/x?{}", "a".repeat(17 << 10)))),
        )
        .or(Ending::Answer(&[431])),
    ];
    for (name, field) in BAD_NAMES {
        cases.push(unspeakable(name, block(literal(field, "evil"))));
    }
    for (name, bytes) in BAD_VALUES {
        cases.push(unspeakable(name, value(bytes)));
    }
    // A space around a value is malformed, too (section 8.2.1); without it there is one reading
    // left.
    for (name, bytes) in [
        ("a space before a value", &b" b"[..]),
        ("a space behind a value", b"b "),
        ("a tab before a value", b"\tb"),
        ("a tab behind a value", b"b\t"),
    ] {
        cases.push(malformed_or(name, value(bytes), [Field("x-a", "b")]));
    }
    cases
}

const BAD_NAMES: [(&str, &[u8]); 20] = [
    ("a name in upper case", b"X-A"),
    ("a name with one upper-case letter", b"x-keyward-subjecT"),
    ("an empty name", b""),
    ("a name with a space", b"x a"),
    ("a name with a space behind it", b"x-a "),
    ("a name with a space before it", b" x-a"),
    ("a name with a tab", b"x\ta"),
    ("a name with a colon", b"x:a"),
    ("a name with a colon behind it", b"x-a:"),
    ("a name with a colon before it", b":x-a"),
    ("a name that is a whole line", b"x-keyward-subject: evil"),
    ("a name with CR and LF", b"x-a: b\r\nx-keyward-subject"),
    ("a name with a bare LF", b"x-a\nx"),
    ("a name with a bare CR", b"x-a\rx"),
    ("a name with a NUL", b"x\0a"),
    ("a name with a DEL", b"x\x7fa"),
    ("a name with an 8-bit byte", b"x\xe4a"),
    ("a name with a kelvin sign", b"x-\xe2\x84\xaaeyward-subject"),
    ("a name in quotes", b"\"x-a\""),
    ("a name with parentheses", b"x(a)"),
];

const BAD_VALUES: [(&str, &[u8]); 11] = [
    ("a value with CR and LF", b"b\r\nx-keyward-subject: evil"),
    ("a value with a whole request", b"b\r\n\r\nGET /private/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a value with a bare LF", b"b\nx-keyward-subject: evil"),
    ("a value with a bare CR", b"b\rc"),
    ("a value with CR at its end", b"b\r"),
    ("a value with LF at its start", b"\nb"),
    ("a value with a NUL", b"b\0c"),
    ("a value with a NUL at its end", b"b\0"),
    ("a value with a bell", b"b\x07c"),
    ("a value with an escape", b"b\x1bc"),
    ("a value with a DEL", b"b\x7fc"),
];

#[test]
fn a_field_that_http1_would_read_otherwise_is_never_forwarded() {
    run("fields", cases);
}
