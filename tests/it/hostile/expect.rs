//! Expect (RFC 9110, 10.1.1).

use super::Want::{Body, Target};
use super::{Case, HostileWorld, case, declined, either, forwarded, get, post, refused, run};

/// A body that would be a request if it were taken for one.
const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    vec![
        forwarded(
            "100-continue with the body at once",
            post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
            [Body(b"hello")],
        ),
        forwarded(
            "100-continue in odd case",
            post("expect: 100-CoNtInUe\r\nContent-Length: 5\r\n", "hello"),
            [Body(b"hello")],
        ),
        forwarded(
            "100-continue and chunked",
            post(
                "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            [Body(b"hello")],
        ),
        forwarded(
            "100-continue without a body",
            get("Expect: 100-continue\r\n"),
            [Target("/public/x")],
        ),
        forwarded(
            "100-continue with a length of zero",
            post("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
            [Body(b"")],
        ),
        forwarded(
            "100-continue from HTTP/1.0 is ignored",
            "POST /public/x HTTP/1.0\r\nHost: a.example\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\nhello",
            [Body(b"hello")],
        ),
        case(
            "another expectation",
            post("Expect: x-magic\r\n", ""),
            super::Expect::Declined(&[417]),
        ),
        declined("a word before 100-continue", &[417], post("Expect: y 100-continue\r\n", "")),
        declined("a word behind 100-continue", &[417], post("Expect: 100-continue y\r\n", "")),
        declined("another number", &[417], post("Expect: 200-ok\r\n", "")),
        declined("100 alone", &[417], post("Expect: 100\r\n", "")),
        either(
            "100-continue with a parameter",
            &[417],
            post("Expect: 100-continue;a=b\r\n", ""),
            [],
        ),
        either(
            "100-continue twice in a list",
            &[400, 417],
            post("Expect: 100-continue, 100-continue\r\n", ""),
            [],
        ),
        either(
            "100-continue on two lines",
            &[400, 417],
            post("Expect: 100-continue\r\nExpect: 100-continue\r\n", ""),
            [],
        ),
        declined(
            "two expectations",
            &[400, 417],
            post("Expect: 100-continue\r\nExpect: x-magic\r\n", ""),
        ),
        declined(
            "two expectations, the other order",
            &[400, 417],
            post("Expect: x-magic, 100-continue\r\n", ""),
        ),
        either("an empty expectation", &[400, 417], post("Expect:\r\n", ""), []),
        declined("another expectation with a body", &[417], {
            post(&format!("Expect: x-magic\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED)
        }),
        refused(
            "100-continue with a bad length",
            &[400],
            post("Expect: 100-continue\r\nContent-Length: +5\r\n", "hello"),
        ),
        refused("100-continue with two framings", &[400], {
            post(
                "Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            )
        }),
        declined("100-continue on the guarded route, without a token", &[401], {
            "POST /private/x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n\
             Content-Length: 0\r\n\r\n"
        }),
    ]
}

#[test]
fn expectations_are_met_or_refused() {
    run("expect", &cases());
}

/// A client that waits for 100 before it sends its body gets the 100, or a final answer, and is not
/// left waiting.
#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let world = HostileWorld::start();
    let mut client = world.client();
    client.send(post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    let interim = client.response().expect("an interim answer");
    assert_eq!(interim.status, 100, "{interim}");
    client.send("hello");
    let (response, _) = client.final_response("POST").expect("a final answer");
    assert_eq!(response.status, 200, "{response}");
    let received = world.at_upstream().expect("nothing broken");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body, b"hello");
    world.normal(&received[0]).expect("the normal form");
}

/// A refusal comes at once, without 100, and the body that was held back cannot become a request.
#[test]
fn a_refused_client_that_waits_for_100_never_gets_it() {
    let world = HostileWorld::start();
    let mut client = world.client();
    let length = SMUGGLED.len();
    client.send(format!(
        "POST /private/x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    ));
    let response = client.response().expect("an answer");
    assert_eq!(response.status, 401, "{response}");
    client.send(SMUGGLED);
    client.finish();
    let rest = client.rest().expect("the connection ends");
    assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    world.sentinel().expect("the next client is served");
    assert!(world.at_upstream().expect("nothing broken").is_empty());
}
