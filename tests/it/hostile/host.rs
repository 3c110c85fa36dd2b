//! The Host field (RFC 9110, 7.2; RFC 9112, 3.2): exactly one, valid by its grammar.

use super::Want::{Field, Host, Target};
use super::{Case, either, forwarded, refused, run};

/// `GET /public/x` with these lines and no others.
fn bare(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /public/x HTTP/1.1\r\n", lines.as_ref(), b"\r\n"].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        refused("no Host", &[400], bare("")),
        refused(
            "no Host but others",
            &[400],
            bare("Accept: */*\r\nX-Host: a.example\r\nX-Forwarded-Host: a\r\n"),
        ),
        refused("two Hosts", &[400], bare("Host: a.example\r\nHost: b.example\r\n")),
        refused("the same Host twice", &[400], bare("Host: a.example\r\nHost: a.example\r\n")),
        refused(
            "two Hosts in different case",
            &[400],
            bare("Host: a.example\r\nhOST: b.example\r\n"),
        ),
        refused("three Hosts", &[400], bare("Host: a.example\r\nHost:\r\nHost: b.example\r\n")),
        refused("an empty Host", &[400], bare("Host:\r\n")),
        refused("a Host of white space", &[400], bare("Host: \t \r\n")),
        refused("an empty Host and a good one", &[400], bare("Host:\r\nHost: a.example\r\n")),
        refused("a space before Host's colon", &[400], bare("Host : a.example\r\n")),
        refused("a Host on a folded line", &[400], bare("Host:\r\n a.example\r\n")),
        refused("a Host behind a space", &[400], bare(" Host: a.example\r\n")),
        refused(
            "two Hosts, the first behind a space",
            &[400],
            bare(" Host: b.example\r\nHost: a.example\r\n"),
        ),
        forwarded("a Host in upper case", bare("Host: A.EXAMPLE\r\n"), [Target("/public/x")]),
        forwarded(
            "the name of the field in upper case",
            bare("HOST: a.example\r\n"),
            [Host("a.example")],
        ),
        forwarded(
            "a Host with a port",
            bare("Host: a.example:8080\r\n"),
            [Host("a.example:8080"), Field("x-forwarded-host", "a.example:8080")],
        ),
        forwarded(
            "a Host that is an IPv4 address",
            bare("Host: 127.0.0.1\r\n"),
            [Host("127.0.0.1")],
        ),
        forwarded("a Host that is an IPv6 address", bare("Host: [::1]\r\n"), [Host("[::1]")]),
        forwarded("an IPv6 address with a port", bare("Host: [::1]:80\r\n"), [Host("[::1]:80")]),
        forwarded("a Host with one label", bare("Host: localhost\r\n"), [Host("localhost")]),
        either(
            "a Host with a trailing dot",
            &[400],
            bare("Host: a.example.\r\n"),
            [Target("/public/x")],
        ),
        either(
            "a Host with a trailing dot and a port",
            &[400],
            bare("Host: a.example.:80\r\n"),
            [Target("/public/x")],
        ),
        forwarded(
            "a Host with an empty port",
            bare("Host: localhost:\r\n"),
            [Host("localhost"), Field("x-forwarded-host", "localhost")],
        ),
        forwarded(
            "an IPv6 address with an empty port",
            bare("Host: [::1]:\r\n"),
            [Host("[::1]"), Field("x-forwarded-host", "[::1]")],
        ),
        refused("a Host with two colons", &[400], bare("Host: localhost::\r\n")),
        forwarded(
            "a Host with a tilde",
            bare("Host: ~x\r\n"),
            [Host("~x"), Field("forwarded", "for=127.0.0.1;host=~x;proto=http")],
        ),
        either(
            "a Host with an underscore",
            &[400],
            bare("Host: a_b.example\r\n"),
            [Host("a_b.example")],
        ),
        either("a Host with two dots", &[400], bare("Host: a..example\r\n"), [Host("a..example")]),
        either(
            "a Host with an encoded byte",
            &[400],
            bare("Host: a%41.example\r\n"),
            [Target("/public/x")],
        ),
        either(
            "a label of 300 letters",
            &[400],
            bare(format!("Host: {}\r\n", "a".repeat(300))),
            [Target("/public/x")],
        ),
        either(
            "an address that is no IPv4",
            &[400],
            bare("Host: 999.1.1.1\r\n"),
            [Host("999.1.1.1")],
        ),
        forwarded(
            "an absolute target wins over Host",
            "GET http://b.example/public/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [Host("b.example"), Field("x-forwarded-host", "b.example"), Target("/public/x")],
        ),
        either(
            "an absolute target with an empty port",
            &[400],
            "GET http://b.example:/public/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [Host("b.example"), Field("x-forwarded-host", "b.example")],
        ),
        refused(
            "an absolute target and no Host",
            &[400],
            "GET http://b.example/public/x HTTP/1.1\r\n\r\n",
        ),
        refused("an absolute target and two Hosts", &[400], {
            "GET http://b.example/public/x HTTP/1.1\r\nHost: b.example\r\nHost: a.example\r\n\r\n"
        }),
        refused("an absolute target and a bad Host", &[400], {
            "GET http://b.example/public/x HTTP/1.1\r\nHost: a b\r\n\r\n"
        }),
        refused("an absolute target with a bad host", &[400], {
            "GET http://[::1]evil/public/x HTTP/1.1\r\nHost: a.example\r\n\r\n"
        }),
        refused("HTTP/1.0 with an empty Host", &[400], "GET /public/x HTTP/1.0\r\nHost:\r\n\r\n"),
        forwarded(
            "HTTP/1.0 with a Host",
            "GET /public/x HTTP/1.0\r\nHost: a.example\r\n\r\n",
            [Host("a.example")],
        ),
        refused("HTTP/1.0 with two Hosts", &[400], {
            "GET /public/x HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n\r\n"
        }),
    ];
    for (name, value) in BAD {
        cases.push(refused(name, &[400], bare([b"Host: ", *value, b"\r\n"].concat())));
    }
    cases
}

/// What RFC 3986 has no host or port for.
const BAD: &[(&str, &[u8])] = &[
    ("a Host with user information", b"u@a.example"),
    ("a Host with a password", b"u:p@a.example"),
    ("a Host behind an address (CVE-2025-47912)", b"[::1]evil"),
    ("a Host behind an address and a port", b"[::1]:80evil"),
    ("a Host before an address", b"evil[::1]"),
    ("an address without an end", b"[::1"),
    ("an address without a start", b"::1]"),
    ("an IPv6 address without brackets", b"::1"),
    ("empty brackets", b"[]"),
    ("a name in brackets", b"[a.example]"),
    ("an address with a zone", b"[fe80::1%25eth0]"),
    ("a port that is a word", b"a.example:http"),
    ("a port with a sign", b"a.example:+80"),
    ("a negative port", b"a.example:-1"),
    ("a port beyond 65535", b"a.example:65536"),
    ("a port of twenty digits", b"a.example:80808080808080808080"),
    ("two ports", b"a.example:80:80"),
    ("a port in hex", b"a.example:0x50"),
    ("a port and no name", b":80"),
    ("a space inside", b"a.example b.example"),
    ("a tab inside", b"a.example\tb.example"),
    ("a comma", b"a.example, b.example"),
    // The grammar of RFC 3986 has these in a name; see `wire::authority` for why they are refused.
    ("a comma without a space", b"a.example,b.example"),
    ("a semicolon", b"a.example;host=b.example"),
    ("an exclamation mark", b"a!b.example"),
    ("a dollar sign", b"a$b.example"),
    ("an ampersand", b"a&b.example"),
    ("an apostrophe", b"a'b.example"),
    ("parentheses", b"a(b).example"),
    ("an asterisk", b"*.example"),
    ("a plus sign", b"a+b.example"),
    ("an equals sign", b"a=b.example"),
    ("a slash", b"a.example/private"),
    ("a question mark", b"a.example?x"),
    ("a number sign", b"a.example#x"),
    ("a backslash inside", b"a.example\\b"),
    ("a scheme", b"http://a.example"),
    ("a quote", b"\"a.example\""),
    ("an angle bracket", b"<a.example>"),
    ("a NUL inside", b"a.example\0b"),
    ("an 8-bit byte inside", b"\xe4.example"),
    ("UTF-8 inside", b"\xc3\xa4.example"),
    ("a DEL inside", b"a\x7f.example"),
    ("a bad encoded byte", b"a%zz.example"),
];

#[test]
fn a_request_names_one_valid_host() {
    run("host", &cases());
}

/// HTTP/1.0 may leave Host out; the upstream, which is asked in HTTP/1.1, still gets one that names
/// something, or the request is refused.
#[test]
fn a_request_of_http_1_0_without_a_host_is_refused_or_given_one() {
    let world = super::HostileWorld::start();
    let mut client = world.client();
    client.send("GET /public/x HTTP/1.0\r\n\r\n");
    let (response, _) = client.final_response("GET").expect("an answer");
    assert!([200, 400].contains(&response.status), "{response}");
    for request in world.at_upstream().expect("nothing broken") {
        let host = request.fields.one("host").expect("one Host");
        assert!(!host.is_empty(), "an empty Host: {request:?}");
    }
}
