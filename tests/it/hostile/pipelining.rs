//! Several requests on one connection: each gets its own answer, and behind a refusal with an
//! unread body no byte is ever taken for a request.

use super::{Case, HostileWorld, answers, run};
use crate::support::Reply;

const OK: &[u16] = &[200];

pub(super) fn cases() -> Vec<Case> {
    let one = "GET /public/one HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let two = "GET /public/two HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let three = "GET /public/three HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let body = "POST /public/body HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /public/chunked HTTP/1.1\r\nHost: a.example\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let guarded = "GET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let nowhere = "GET /nowhere HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let with_token =
        "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n\r\n";
    let garbage = "\u{1}\u{2}\u{3}\r\n\r\n";
    let hidden = |head: &str| {
        let length = two.len();
        format!("{head}Content-Length: {length}\r\n\r\n{two}")
    };
    let post = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: a.example\r\n");
    let all = |parts: &[&str]| parts.concat();
    vec![
        answers("two requests", all(&[one, two]), [OK, OK], ["/public/one", "/public/two"]),
        answers(
            "three requests",
            all(&[one, two, three]),
            [OK, OK, OK],
            ["/public/one", "/public/two", "/public/three"],
        ),
        answers(
            "a body and a request",
            all(&[body, one]),
            [OK, OK],
            ["/public/body", "/public/one"],
        ),
        answers(
            "chunks and a request",
            all(&[chunked, one]),
            [OK, OK],
            ["/public/chunked", "/public/one"],
        ),
        answers(
            "chunks and a body and a request",
            all(&[chunked, body, one]),
            [OK, OK, OK],
            ["/public/chunked", "/public/body", "/public/one"],
        ),
        answers("two bodies", all(&[body, body]), [OK, OK], ["/public/body", "/public/body"]),
        answers(
            "a refusal without a body, and a request",
            all(&[guarded, one]),
            [&[401], OK],
            ["/public/one"],
        ),
        answers(
            "a page that is not there, and a request",
            all(&[nowhere, one]),
            [&[404], OK],
            ["/public/one"],
        ),
        answers(
            "with a token, then without one",
            all(&[with_token, guarded]),
            [OK, &[401]],
            ["/private/x"],
        ),
        answers(
            "without a token, then with one",
            all(&[guarded, with_token]),
            [&[401], OK],
            ["/private/x"],
        ),
        answers(
            "with a token, a public one between, and without",
            all(&[with_token, one, guarded]),
            [OK, OK, &[401]],
            ["/private/x", "/public/one"],
        ),
        answers("a good one before garbage", all(&[one, garbage]), [OK, &[400]], ["/public/one"]),
        answers("nothing behind garbage", all(&[garbage, one]), [&[400]], []),
        answers(
            "nothing behind a bad length",
            all(&[
                "POST /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: +5\r\n\r\nhello",
                one,
            ]),
            [&[400]],
            [],
        ),
        answers(
            "nothing behind two framings",
            {
                all(&[
                    "POST /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\
                     Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    one,
                ])
            },
            [&[400]],
            [],
        ),
        answers(
            "nothing behind a missing Host",
            all(&["GET /public/x HTTP/1.1\r\n\r\n", one]),
            [&[400]],
            [],
        ),
        answers(
            "nothing behind a bare LF",
            all(&["GET /public/x HTTP/1.1\nHost: a.example\n\n", one]),
            [&[400]],
            [],
        ),
        answers(
            "a request in the body of a good one",
            hidden(&post("/public/outer")),
            [OK],
            ["/public/outer"],
        ),
    ]
}

#[test]
fn every_request_of_a_connection_gets_its_own_answer() {
    run("pipelining", &cases());
}

/// CVE-2025-4366: a local answer to a request whose body holds another request.
#[test]
fn a_request_hidden_in_the_body_of_a_refused_one_is_never_served() {
    let world = HostileWorld::start();
    let hidden = "GET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let length = hidden.len();
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    for (target, fields) in [
        ("/private/x", ""),
        ("/private/x", "Authorization: Bearer nonsense\r\n"),
        ("/nowhere", ""),
        ("/public/%2f", ""),
        ("/public/x", "Expect: x-magic\r\n"),
        ("/jarvispy/my-org/alice/api/v1/auth/issue-token", ""),
        (
            "/jarvispy/my-org/alice/api/v1/auth/issue-token",
            "Authorization: Bearer @TOKEN@\r\nContent-Type: text/plain\r\n",
        ),
        ("/jarvispy/my-org/alice/api/v1/nowhere", "Authorization: Bearer @TOKEN@\r\n"),
    ] {
        for chunked in [false, true] {
            let fields = fields.replace("@TOKEN@", &world.issued.token);
            let framing = if chunked {
                "Transfer-Encoding: chunked".into()
            } else {
                format!("Content-Length: {length}")
            };
            let body = if chunked { chunk.as_str() } else { hidden };
            let mut client = world.client();
            client.send(format!(
                "POST {target} HTTP/1.1\r\nHost: a.example\r\n{fields}{framing}\r\n\r\n{body}"
            ));
            let (response, _) = client.final_response("POST").expect("an answer");
            assert!((400..500).contains(&response.status), "{target}: {response}");
            client.finish();
            let rest = client.rest().expect("the connection ends");
            assert!(
                rest.is_empty(),
                "{target} {fields:?}: more came: {:?}",
                String::from_utf8_lossy(&rest)
            );
            world.sentinel().expect("the next client is served");
            let served = world.at_upstream().expect("nothing broken");
            assert!(served.is_empty(), "{target} {fields:?}: {served:?}");
        }
    }
}

/// The refused body is longer than what keyward reads to its end: the connection ends, and the end
/// of the body is no request.
#[test]
fn behind_a_refusal_with_a_huge_body_nothing_is_served() {
    let world = HostileWorld::start();
    let hidden = "\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(20_000);
    let mut client = world.client();
    let length = hidden.len() + 1000;
    client.send(format!(
        "POST /private/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(&hidden);
    client.finish();
    let (response, _) = client.final_response("POST").expect("an answer");
    assert_eq!(response.status, 401, "{response}");
    assert_eq!(client.rest().expect("the connection ends"), b"");
    world.sentinel().expect("the next client is served");
    assert!(world.at_upstream().expect("nothing broken").is_empty());
}

/// An answer that comes before the body has been sent must not leave the rest of the body behind as
/// a request.
#[test]
fn an_early_answer_of_the_upstream_leaves_no_body_behind() {
    let world = HostileWorld::start();
    let early = Reply::bytes("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").early();
    world.upstream.answer("/public/early", early);
    let mut client = world.client();
    let hidden = "GET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    client.send(format!(
        "POST /public/early HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        hidden.len()
    ));
    let (response, _) = client.final_response("POST").expect("an answer");
    assert_eq!(response.status, 413, "{response}");
    client.send(hidden);
    client.finish();
    assert_eq!(client.rest().expect("the connection ends"), b"");
    world.sentinel().expect("the next client is served");
    let log = world.upstream.take();
    assert!(!log.heads.iter().any(|target| target.contains("smuggled")), "{:?}", log.heads);
}
