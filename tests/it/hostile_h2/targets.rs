//! Paths: the same normal form as for HTTP/1.1 decides the route and is what the upstream gets.

use super::Want::Target;
use super::{Case, Ending, answered, either, forwarded, malformed, malformed_or, private, run};
use crate::support::h2::Head;
use crate::support::h2::code::{COMPRESSION_ERROR, PROTOCOL_ERROR};

/// What a route that needs a token says without one, or the parser to a path that it refuses.
const NO_WAY_IN: &[u16] = &[400, 401];

/// What is said of a path that leads nowhere.
const NOWHERE: &[u16] = &[400, 404];

pub(super) fn cases(token: &str) -> Vec<Case> {
    let get = |path: &[u8]| Head::get(path).whole(1);
    let mut cases = vec![
        forwarded("a guarded path with a token", private(token).whole(1), [Target("/private/x")]),
        forwarded(
            "a guarded path with dots and a token",
            private(token).set(":path", "/public/../private/a/../x").whole(1),
            [Target("/private/x")],
        ),
        // A fragment is cut off by the codec before anything is decided: one reading is left.
        malformed_or("a fragment", get(b"/public/x#y"), [Target("/public/x")]),
        malformed_or(
            "a fragment that climbs",
            get(b"/public/x#/../private/x"),
            [Target("/public/x")],
        ),
        answered(
            "a fragment behind the guarded route",
            NO_WAY_IN,
            get(b"/private/x#/../../public/x"),
        )
        .or(Ending::Reset(&[PROTOCOL_ERROR])),
    ];
    for (path, normal) in NORMALISED {
        cases.push(forwarded(
            &format!("{path} is {normal}"),
            get(path.as_bytes()),
            [Target(normal)],
        ));
    }
    for path in AMBIGUOUS {
        cases.push(malformed(&format!("{path} is ambiguous"), get(path.as_bytes())));
    }
    for path in GUARDED {
        let case = answered(&format!("{path} is guarded"), NO_WAY_IN, get(path.as_bytes()));
        cases.push(case.or(Ending::Reset(&[PROTOCOL_ERROR])));
    }
    for path in NOT_THERE {
        cases.push(answered(&format!("{path} leads nowhere"), NOWHERE, get(path.as_bytes())));
    }
    for (path, normal) in EITHER {
        let case = either(
            &format!("{path} is refused or {normal}"),
            &[400],
            get(path.as_bytes()),
            [Target(normal)],
        );
        cases.push(case);
    }
    for (name, path) in BAD_BYTES {
        let codes = &[PROTOCOL_ERROR, COMPRESSION_ERROR];
        cases.push(malformed(name, get(path)).or(Ending::GoAway(codes)));
    }
    cases
}

/// A path as it is sent, and its normal form.
const NORMALISED: [(&str, &str); 20] = [
    ("/public/%78", "/public/x"),
    ("/public/%7euser", "/public/~user"),
    ("/%70ublic/x", "/public/x"),
    ("/public/%c3%a4", "/public/%C3%A4"),
    ("/public/a%20b", "/public/a%20b"),
    ("/public/a%3fb", "/public/a%3Fb"),
    ("/public/a%23b", "/public/a%23b"),
    ("/public/a%252fb", "/public/a%252fb"),
    // What the WHATWG URL standard leaves as it is in a path.
    ("/public/a|b", "/public/a%7Cb"),
    ("/public/a%7cb", "/public/a%7Cb"),
    ("/public/a^b", "/public/a%5Eb"),
    ("/public/{\"a\":1}", "/public/%7B%22a%22:1%7D"),
    ("/public/%7b%22a%22:1%7d", "/public/%7B%22a%22:1%7D"),
    ("/public/a%60b%3c%3e", "/public/a%60b%3C%3E"),
    ("/private/|/../../public/x", "/public/x"),
    ("/public/./x", "/public/x"),
    ("/public/a/../x", "/public/x"),
    ("/private/../public/x", "/public/x"),
    ("///public/x", "/public/x"),
    ("//public/x", "/public/x"),
];

/// What different servers read in different ways.
const AMBIGUOUS: [&str; 18] = [
    "/public//x",
    "/public/x//",
    "/public/a%2fb",
    "/public%2f..%2fprivate/x",
    "/public/..%2fprivate/x",
    "/%2fpublic/x",
    "/public/a%5cb",
    "/public/..%5cprivate/x",
    "/public/a\\b",
    "/public/..\\private/x",
    "/public/a%00b",
    "/public/..;/private/x",
    "/public/..;foo=bar/private/x",
    "/public/%2e%2e;/private/x",
    "/public/..%3b/private/x",
    "/public/%zz",
    "/public/%2",
    "/public/%u0041",
];

/// Paths to the guarded route, in any spelling, without a token.
const GUARDED: [&str; 17] = [
    "/private/x",
    "/public/../private/x",
    "/public/%2e%2e/private/x",
    "/public/.%2e/private/x",
    "/public//../private/x",
    "/public/%2e/../private/x",
    "/%70rivate/x",
    "//private/x",
    "/./private/x",
    "/private/x?/public/",
    "/private/x?x=/public/x",
    "/private/public/x",
    "/private/x;/public/y",
    "/private/*",
    "/private/a|b",
    "/private/{\"a\":1}",
    "/public/|/../../private/x",
];

/// What leads to no route at all.
const NOT_THERE: [&str; 8] =
    ["/", "/other", "/PUBLIC/x", "/publicx/x", "/public/x/../..", "/livez", "/metrics", "/{*rest}"];

/// What may be refused, and its normal form if it is not.
const EITHER: [(&str, &str); 9] = [
    ("/../public/x", "/public/x"),
    ("/public/*", "/public/*"),
    ("/public/x;a=b", "/public/x;a=b"),
    ("/public/!$&'()+,:=@", "/public/!$&'()+,:=@"),
    ("/public/%0d%0a", "/public/%0D%0A"),
    ("/public/%c0%af", "/public/%C0%AF"),
    ("/public/x?", "/public/x?"),
    ("/public/x?a=%2f", "/public/x?a=%2f"),
    ("/public/x?a={b}", "/public/x?a={b}"),
];

/// Bytes that have no place in a path.
const BAD_BYTES: [(&str, &[u8]); 13] = [
    ("a NUL in the path", b"/public/\0x"),
    ("a bell in the path", b"/public/\x07x"),
    ("a DEL in the path", b"/public/\x7fx"),
    // The WHATWG URL standard has them encoded.
    ("a backtick in the path", b"/public/a`b"),
    ("a less-than sign in the path", b"/public/a<b"),
    ("a greater-than sign in the path", b"/public/a>b"),
    ("a space in the path", b"/public/a b"),
    ("a tab in the path", b"/public/a\tb"),
    ("CR and LF in the path", b"/public/a\r\nb"),
    ("a bare LF in the path", b"/public/a\nb"),
    ("an 8-bit byte in the path", b"/public/\xe4"),
    ("an overlong slash, raw", b"/public/..\xc0\xafprivate"),
    ("a NUL in the query", b"/public/x?\0"),
];

#[test]
fn one_normal_form_of_a_path_decides_and_is_forwarded_from_http2() {
    run("targets", cases);
}
