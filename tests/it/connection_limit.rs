//! A full server (`limits.connections`) says so, in the language of the listener.

use crate::support::tls::{ask, connect, self_signed};
use crate::support::{Client, Plan, Upstream, World, eventually};

const REFUSED: &str = "keyward_client_connections_refused_total";

const REQUEST: &str = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// One connection at a time.
fn narrow(upstream: &Upstream) -> Plan {
    Plan::usual(upstream).set("limits", "connections", "1")
}

/// What a connection gets that sends nothing: everything until its end.
fn unasked(world: &World) -> Vec<u8> {
    world.client().rest().expect("the connection ends")
}

#[test]
fn a_connection_beyond_the_limit_is_told_503_and_later_ones_are_served() {
    let upstream = Upstream::start();
    let world = narrow(&upstream).start();
    let mut first = world.client();
    assert_eq!(first.ask(REQUEST).status, 200);
    let mut second = world.client();
    let response = second.response().expect("an answer");
    assert_eq!(response.status, 503, "{response}");
    assert_eq!(response.fields.one("retry-after").as_deref(), Some("1"));
    assert_eq!(response.fields.one("connection").as_deref(), Some("close"));
    assert_eq!(second.rest().expect("the connection ends"), b"");
    assert_eq!(world.metric(REFUSED, ""), 1.0);
    assert_eq!(first.ask(REQUEST).status, 200, "the first one is served on");
    drop(first);
    assert!(eventually(|| {
        let mut client = world.client();
        client.send(REQUEST);
        client.response().is_ok_and(|response| response.status == 200)
    }));
}

/// A client that expects TLS can read nothing else.
#[test]
fn over_tls_a_connection_beyond_the_limit_is_told_503_over_tls_and_never_in_plain_text() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let certificate = self_signed(folder.path(), "a.example");
    let world = narrow(&upstream).listener(&format!("tls = {}", certificate.line)).start();
    let mut first = connect(world.address(), "a.example", &[&certificate]).expect("a connection");
    let mut is_served = || first.ask(REQUEST).status == 200;
    assert!(is_served());
    let request = REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer =
        ask(world.address(), "a.example", &[&certificate], &request).expect("an answer over TLS");
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(answer.fields.one("retry-after").as_deref(), Some("1"), "{answer}");
    assert_eq!(world.metric(REFUSED, ""), 1.0);

    // What does not speak TLS, or says nothing, hears nothing of HTTP, and is not kept: whether or
    // not it is among those that are answered at the same time.
    let mut plain: Client = world.client();
    plain.send(REQUEST);
    let heard = plain.rest().expect("the connection ends");
    assert!(!heard.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&heard));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(unasked(&world), b""));
        }
    });
    assert!(is_served(), "the first one is served on");
    drop(first);
    let is_free = || {
        ask(world.address(), "a.example", &[&certificate], &request)
            .is_ok_and(|answer| answer.status == 200)
    };
    assert!(eventually(is_free), "those beyond the limit took nothing from it");
}
