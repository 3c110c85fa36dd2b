//! Request lines and header fields (RFC 9112, 2.2, 3, 5; RFC 9110, 5.5): what is no HTTP/1.1 is
//! refused and cut.

use super::Want::{Field, Method, Target};
use super::{Case, cut, declined, either, forwarded, get, refused, run};

/// A whole request with this request line.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: a.example\r\n\r\n"].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let lines = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let mut cases = vec![
        forwarded(
            "fields in any case keep their values",
            get("X-MiXeD: VaLuE\r\n"),
            [Field("x-mixed", "VaLuE")],
        ),
        forwarded("an empty value", get("X-Empty:\r\n"), [Field("x-empty", "")]),
        forwarded("no space behind the colon", get("X-A:b\r\n"), [Field("x-a", "b")]),
        forwarded("white space around a value", get("X-A: \t b \t \r\n"), [Field("x-a", "b")]),
        forwarded("a tab inside a value", get("X-A: b\tc\r\n"), [Field("x-a", "b\tc")]),
        forwarded("colons in a value", get("X-A: b:c: d\r\n"), [Field("x-a", "b:c: d")]),
        forwarded(
            "every byte of a token in a name",
            get("X!#$%&'*+-.^_`|~09aZ: b\r\n"),
            [Field("X!#$%&'*+-.^_`|~09aZ", "b")],
        ),
        forwarded(
            "every visible byte in a value",
            get("X-A: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\r\n"),
            [Field("x-a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")],
        ),
        forwarded("a field of one letter", get("X: y\r\n"), [Field("x", "y")]),
        forwarded(
            "a value of 8 KiB",
            get(format!("X-A: {}\r\n", "a".repeat(8192))),
            [Target("/public/x")],
        ),
        forwarded("99 fields and Host", get(lines(99)), [Field("x-98", "y")]),
        declined("100 fields and Host", &[431], get(lines(100))),
        declined("1000 fields", &[431], get(lines(1000))),
        declined(
            "a head of 33 KiB in one field",
            &[431],
            get(format!("X-A: {}\r\n", "a".repeat(33 * 1024))),
        ),
        declined(
            "a head of 33 KiB in many fields",
            &[431],
            get(format!("X-A: {}\r\n", "a".repeat(700)).repeat(48)),
        ),
        declined("a name of 33 KiB", &[431], get(format!("X{}: b\r\n", "a".repeat(33 * 1024)))),
        declined("a head of a mebibyte", &[431], get(format!("X-A: {}\r\n", "a".repeat(1 << 20)))),
        declined(
            "a method of 33 KiB",
            &[400, 414, 431, 501],
            line(format!("{} /public/x HTTP/1.1", "A".repeat(33 * 1024))),
        ),
        either(
            "a name of 270 bytes (CVE-2021-40346)",
            &[400, 431],
            get(format!("Content-Length0{}: \r\n", "a".repeat(255))),
            [Target("/public/x")],
        ),
        either("8-bit bytes in a value", &[400], get(b"X-A: \xe4\xff\r\n"), [Target("/public/x")]),
        either(
            "UTF-8 in a value",
            &[400],
            get("X-A: \u{e4}\u{1f600}\r\n"),
            [Field("x-a", "\u{e4}\u{1f600}")],
        ),
        either(
            "an empty line before the request line",
            &[400],
            [b"\r\n", line("GET /public/x HTTP/1.1").as_slice()].concat(),
            [Target("/public/x")],
        ),
        either(
            "two empty lines before the request line",
            &[400],
            [b"\r\n\r\n", line("GET /public/x HTTP/1.1").as_slice()].concat(),
            [Target("/public/x")],
        ),
        either(
            "a lower-case method",
            &[400, 405, 501],
            line("get /public/x HTTP/1.1"),
            [Method("get")],
        ),
        either(
            "a method of the site's own",
            &[400, 405, 501],
            line("MAKE-COFFEE /public/x HTTP/1.1"),
            [Method("MAKE-COFFEE")],
        ),
        either(
            "a method with marks",
            &[400, 405, 501],
            line("X!#$%&'*+.^_`|~ /public/x HTTP/1.1"),
            [Method("X!#$%&'*+.^_`|~")],
        ),
        forwarded("PATCH", line("PATCH /public/x HTTP/1.1"), [Method("PATCH")]),
        forwarded("PROPFIND", line("PROPFIND /public/x HTTP/1.1"), [Method("PROPFIND")]),
        forwarded("OPTIONS", line("OPTIONS /public/x HTTP/1.1"), [Method("OPTIONS")]),
        forwarded("HEAD", line("HEAD /public/x HTTP/1.1"), [Method("HEAD")]),
        forwarded("DELETE", line("DELETE /public/x HTTP/1.1"), [Method("DELETE")]),
        either(
            "a field that looks like a request",
            &[400],
            get("X-A: GET /public/evil HTTP/1.1\r\n"),
            [Target("/public/x")],
        ),
        either(
            "two user agents",
            &[400],
            get("User-Agent: a\r\nUser-Agent: b\r\n"),
            [Target("/public/x")],
        ),
        forwarded("two cookies", get("Cookie: a=b\r\nCookie: c=d\r\n"), [Target("/public/x")]),
        cut("a TLS hello on a plain port", &[400], TLS_HELLO),
        cut(
            "a request that begins as the preface of HTTP/2 does",
            &[400, 505],
            "PRI * HTTP/2.0\r\nHost: a.example\r\n\r\n",
        ),
        cut("HTTP/0.9", &[400, 505], "GET /public/x\r\n"),
        cut("HTTP/0.9 with an empty line", &[400, 505], "GET /public/x\r\n\r\n"),
        cut("a PROXY line that is not allowed", &[400], {
            "PROXY TCP4 6.6.6.6 127.0.0.1 1 80\r\nGET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n"
        }),
        cut("a binary PROXY header that is not allowed", &[400], PROXY_V2),
        cut("a mail greeting", &[400], "HELO a.example\r\n\r\n"),
        cut("a response", &[400, 505], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        cut("zeros", &[400], [0_u8; 64]),
        cut("high bytes", &[400], [0xff_u8; 64]),
        cut("a lone CR", &[400], "\rGET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        cut("the end after the request line", &[400, 408], "GET /public/x HTTP/1.1\r\n")
            .then_finish(),
        cut("the end inside the request line", &[400, 408], "GET /pub").then_finish(),
        cut("the end inside a field", &[400, 408], "GET /public/x HTTP/1.1\r\nHost: a.exa")
            .then_finish(),
        cut(
            "the end before the empty line",
            &[400, 408],
            "GET /public/x HTTP/1.1\r\nHost: a.example\r\n",
        )
        .then_finish(),
        cut(
            "the end inside the empty line",
            &[400, 408],
            "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r",
        )
        .then_finish(),
        cut("nothing at all", &[400, 408], "").then_finish(),
    ];
    for (name, request_line) in BAD_REQUEST_LINES {
        cases.push(refused(name, &[400, 405, 501, 505], line(request_line)));
    }
    for (name, lines) in BAD_FIELDS {
        cases.push(refused(name, &[400], get(lines)));
    }
    for (name, request) in BAD_LINE_ENDS {
        cases.push(refused(name, &[400], request));
    }
    cases
}

/// The start of a ClientHello.
const TLS_HELLO: &[u8] =
    b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\
      \x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20\x21\x22\x23\x24\x25\x26\x27\x28\x29\x20\
      \x01\x02\x03\x04";

const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x06\x06\x06\x06\x7f\0\0\x01\x00\x01\x00\x50\
      GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";

const BAD_REQUEST_LINES: [(&str, &[u8]); 24] = [
    ("HTTP/1.2", b"GET /public/x HTTP/1.2"),
    ("HTTP/2.0", b"GET /public/x HTTP/2.0"),
    ("HTTP/3", b"GET /public/x HTTP/3"),
    ("HTTP/0.9 in words", b"GET /public/x HTTP/0.9"),
    ("HTTP/1", b"GET /public/x HTTP/1"),
    ("HTTP/1.", b"GET /public/x HTTP/1."),
    ("HTTP/1.10", b"GET /public/x HTTP/1.10"),
    ("HTTP/01.1", b"GET /public/x HTTP/01.1"),
    ("HTTP/1,1", b"GET /public/x HTTP/1,1"),
    ("http/1.1", b"GET /public/x http/1.1"),
    ("HTTPS/1.1", b"GET /public/x HTTPS/1.1"),
    ("HTTP 1.1", b"GET /public/x HTTP 1.1"),
    ("HTTP/1.1 twice", b"GET /public/x HTTP/1.1 HTTP/1.1"),
    ("a version of letters", b"GET /public/x HTTP/a.b"),
    ("a version behind a tab", b"GET /public/x\tHTTP/1.1"),
    ("a method with a colon", b"GE:T /public/x HTTP/1.1"),
    ("a method with a slash", b"GE/T /public/x HTTP/1.1"),
    ("a method with a NUL", b"GE\0T /public/x HTTP/1.1"),
    ("a method with an 8-bit byte", b"G\xc4T /public/x HTTP/1.1"),
    ("a method in quotes", b"\"GET\" /public/x HTTP/1.1"),
    ("a method in brackets", b"[GET] /public/x HTTP/1.1"),
    ("a space before the method", b" GET /public/x HTTP/1.1"),
    ("no method", b"/public/x HTTP/1.1"),
    ("a bare CR in the request line", b"GET /public/x HTTP/1.1\rX: y"),
];

const BAD_FIELDS: [(&str, &[u8]); 32] = [
    ("a NUL in a value", b"X-A: b\0c\r\n"),
    ("a NUL at the end of a value", b"X-A: b\0\r\n"),
    ("a NUL in a name", b"X\0A: b\r\n"),
    ("a bare CR in a value", b"X-A: b\rc\r\n"),
    ("a bare CR at the end of a value", b"X-A: b\r\r\n"),
    ("a bare CR at the start of a value", b"X-A:\rb\r\n"),
    ("a bare CR that hides a field", b"X-A: b\rX-Keyward-Subject: evil\r\n"),
    ("a bare CR in a name", b"X\rA: b\r\n"),
    ("a bare LF in a value", b"X-A: b\nc\r\n"),
    ("a bare LF that starts a field", b"X-A: b\nX-Keyward-Subject: evil\r\n"),
    ("a bell in a value", b"X-A: b\x07c\r\n"),
    ("an escape in a value", b"X-A: b\x1bc\r\n"),
    ("a vertical tab in a value", b"X-A: b\x0bc\r\n"),
    ("a DEL in a value", b"X-A: b\x7fc\r\n"),
    ("a space before the colon", b"X-A : b\r\n"),
    ("a tab before the colon", b"X-A\t: b\r\n"),
    ("a space inside a name", b"X A: b\r\n"),
    ("an empty name (CVE-2023-25725)", b": b\r\n"),
    ("an empty name before a coding", b": x\r\nTransfer-Encoding: chunked\r\n"),
    ("a field without a colon", b"X-A\r\n"),
    ("a colon alone", b":\r\n"),
    ("a folded line", b"X-A: b\r\n c\r\n"),
    ("a line folded by a tab", b"X-A: b\r\n\tc\r\n"),
    ("a folded line of white space", b"X-A: b\r\n \r\n"),
    ("a fold that hides an identity", b"X-A: b\r\n X-Keyward-Subject: evil\r\n"),
    ("a name with parentheses", b"X(A): b\r\n"),
    ("a name with a slash", b"X/A: b\r\n"),
    ("a name with an at sign", b"X@A: b\r\n"),
    ("a name in quotes", b"\"X-A\": b\r\n"),
    ("a name with a comma", b"X,A: b\r\n"),
    ("a name with an 8-bit byte", b"X\xe4A: b\r\n"),
    ("a name with a kelvin sign", b"X-\xe2\x84\xaaeyward-Subject: evil\r\n"),
];

const BAD_LINE_ENDS: [(&str, &str); 7] = [
    ("bare LFs throughout", "GET /public/x HTTP/1.1\nHost: a.example\n\n"),
    ("a bare LF behind the request line", "GET /public/x HTTP/1.1\nHost: a.example\r\n\r\n"),
    ("a bare LF behind a field", "GET /public/x HTTP/1.1\r\nHost: a.example\nX-A: b\r\n\r\n"),
    ("a bare LF behind the last field", "GET /public/x HTTP/1.1\r\nHost: a.example\n\r\n"),
    ("a bare LF as the empty line", "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\n"),
    (
        "a CR too many behind the request line",
        "GET /public/x HTTP/1.1\r\r\nHost: a.example\r\n\r\n",
    ),
    (
        "a space before the first field",
        "GET /public/x HTTP/1.1\r\n X-A: b\r\nHost: a.example\r\n\r\n",
    ),
];

#[test]
fn what_is_no_http_is_refused_and_cut() {
    run("fields", &cases());
}
