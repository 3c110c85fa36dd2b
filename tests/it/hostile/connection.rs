//! Connection and its kin (RFC 9110, 7.6.1): what is meant for the next hop goes no further, what
//! is ours stays.

use super::Want::{Field, Target, Without};
use super::{Case, answers, either, forwarded, get, private, run};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forwarded(
            "a listed field goes",
            get("Connection: X-Hop\r\nX-Hop: 1\r\nX-Stays: 1\r\n"),
            [Without("x-hop"), Field("x-stays", "1")],
        ),
        forwarded(
            "a field listed in another case",
            get("Connection: x-hOP\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "a field that comes before its list",
            get("X-Hop: 1\r\nConnection: X-Hop\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "a list of three",
            get("Connection: X-One, X-Two ,X-Three\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n"),
            [Without("x-one"), Without("x-two"), Without("x-three")],
        ),
        forwarded(
            "a list with empty members",
            get("Connection: ,, X-Hop,,\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "two lines of Connection",
            get("Connection: X-One\r\nConnection: X-Two\r\nX-One: 1\r\nX-Two: 2\r\n"),
            [Without("x-one"), Without("x-two")],
        ),
        forwarded(
            "the first line empty (CVE-2021-33197)",
            get("Connection:\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "the last line empty",
            get("Connection: X-Hop\r\nConnection:\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded("twenty lines", get(twenty_lines()), [Without("x-hop-0"), Without("x-hop-19")]),
        forwarded(
            "a listed field that is there twice",
            get("Connection: X-Hop\r\nX-Hop: 1\r\nX-Hop: 2\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "a listed field that is not there",
            get("Connection: X-Absent\r\n"),
            [Without("x-absent")],
        ),
        forwarded(
            "close, and a listed field",
            get("Connection: close, X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded(
            "keep-alive, and a listed field",
            get("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        forwarded("close in odd case", get("Connection: ClOsE\r\n"), [Without("connection")]),
        forwarded(
            "keep-alive",
            get("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"),
            [Without("keep-alive")],
        ),
        forwarded(
            "Keep-Alive that Connection does not list",
            get("Keep-Alive: timeout=5, max=1000\r\n"),
            [Without("keep-alive")],
        ),
        forwarded(
            "Proxy-Connection",
            get("Proxy-Connection: keep-alive\r\n"),
            [Without("proxy-connection")],
        ),
        forwarded(
            "Proxy-Authorization",
            get("Proxy-Authorization: Basic eDp5\r\n"),
            [Without("proxy-authorization")],
        ),
        forwarded("TE: trailers", get("TE: trailers\r\nConnection: TE\r\n"), []),
        forwarded(
            "TE: gzip",
            get("TE: gzip, deflate;q=0.5\r\nConnection: TE\r\n"),
            [Without("te")],
        ),
        forwarded("TE that Connection does not list", get("TE: gzip\r\n"), [Without("te")]),
        forwarded("Trailer", get("Trailer: X-Keyward-Subject\r\n"), [Without("trailer")]),
        forwarded(
            "Upgrade that Connection does not list",
            get("Upgrade: websocket\r\n"),
            [Without("upgrade")],
        ),
        forwarded(
            "Upgrade to h2c that Connection does not list",
            get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            [Without("upgrade")],
        )
        .or_declined(&[400, 501]),
        forwarded(
            "HTTP2-Settings listed",
            get("Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"),
            [Without("http2-settings")],
        ),
        forwarded(
            "a list that names Connection",
            get("Connection: Connection, X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        either(
            "a list that names Host",
            &[400],
            get("Connection: Host\r\n"),
            [super::Want::Host("a.example")],
        ),
        either(
            "a list that names the length",
            &[400],
            {
                "POST /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: Content-Length\r\n\
                 Content-Length: 5\r\n\r\nhello"
            },
            [super::Want::Body(b"hello")],
        ),
        either(
            "a list that names the coding",
            &[400],
            {
                "POST /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: Transfer-Encoding\r\n\
                 Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            },
            [super::Want::Body(b"hello")],
        ),
        either(
            "a list that names Authorization",
            &[400, 401],
            private("Connection: Authorization\r\n"),
            [Target("/private/x")],
        ),
        either(
            "a list with a bad member",
            &[400],
            get("Connection: a b, X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        either("a list in quotes", &[400], get("Connection: \"X-Hop\"\r\nX-Hop: 1\r\n"), []),
        either(
            "a list with 8-bit bytes",
            &[400],
            get(b"Connection: \xff, X-Hop\r\nX-Hop: 1\r\n"),
            [Without("x-hop")],
        ),
        either(
            "a list of 4 KiB",
            &[400, 431],
            get(format!("Connection: {}X-Hop\r\nX-Hop: 1\r\n", "a, ".repeat(1365))),
            [Without("x-hop")],
        ),
        answers(
            "the connection lives on by default",
            two(""),
            [&[200], &[200]],
            ["/public/one", "/public/two"],
        ),
        answers(
            "the connection lives on with keep-alive",
            two("Connection: keep-alive\r\n"),
            [&[200], &[200]],
            ["/public/one", "/public/two"],
        ),
        answers(
            "nothing is served behind close",
            two("Connection: close\r\n"),
            [&[200]],
            ["/public/one"],
        ),
        answers(
            "nothing is served behind CLOSE",
            two("Connection: X-Hop, CLOSE\r\n"),
            [&[200]],
            ["/public/one"],
        ),
        answers(
            "nothing is served behind close on a second line",
            two("Connection: X-Hop\r\nConnection: close\r\n"),
            [&[200]],
            ["/public/one"],
        ),
        answers(
            "close wins over keep-alive",
            two("Connection: keep-alive, close\r\n"),
            [&[200]],
            ["/public/one"],
        ),
        answers("nothing is served behind HTTP/1.0", ten(""), [&[200]], ["/public/one"]),
        answers("HTTP/1.0 with close", ten("Connection: close\r\n"), [&[200]], ["/public/one"]),
        answers(
            "HTTP/1.0 with Proxy-Connection does not live on",
            ten("Proxy-Connection: keep-alive\r\n"),
            [&[200]],
            ["/public/one"],
        ),
    ];
    for name in [
        "X-Keyward-Subject",
        "X-Keyward-Role",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
    ] {
        for line in [
            format!("Connection: close, {name}\r\n"),
            format!("Connection: {}\r\n", name.to_lowercase()),
        ] {
            let case =
                forwarded(&format!("a list that names {name}: {line:?}"), private(&line), []);
            cases.push(case);
        }
    }
    for name in [
        "X-Request-Id",
        "Via",
        "Forwarded",
        "X-Keyward-Token-Id",
        "X-Keyward-Username",
        "X_Keyward_Subject",
    ] {
        cases.push(forwarded(
            &format!("a list that names {name}"),
            private(&format!("Connection: {name}\r\n")),
            [],
        ));
    }
    cases
}

impl Case {
    /// The same, where refusing is right too.
    fn or_declined(mut self, statuses: &'static [u16]) -> Self {
        if let super::Expect::Forwarded(wants) = self.expect {
            self.expect = super::Expect::Either(statuses, wants);
        }
        self
    }
}

/// Two requests, the first with these lines.
fn two(lines: &str) -> String {
    format!(
        "GET /public/one HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n\
         GET /public/two HTTP/1.1\r\nHost: a.example\r\n\r\n"
    )
}

/// Two requests, the first of HTTP/1.0 and with these lines.
fn ten(lines: &str) -> String {
    two(lines).replacen("HTTP/1.1", "HTTP/1.0", 1)
}

fn twenty_lines() -> String {
    (0..20).map(|n| format!("Connection: X-Hop-{n}\r\nX-Hop-{n}: 1\r\n")).collect()
}

#[test]
fn what_is_for_this_hop_goes_no_further_and_what_is_ours_stays() {
    run("connection", &cases());
}
