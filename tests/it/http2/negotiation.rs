//! How a client comes to HTTP/2: by ALPN, or by prior knowledge.

use super::{connect, private};
use crate::support::h2::{Connection, Head, PREFACE, settings};
use crate::support::tls::{SelfSigned, TlsStream, handshake, self_signed};
use crate::support::{Plan, TestUser, Upstream, World};

/// A TLS connection that offers these protocols, and the one that was chosen.
fn connect_tls(
    world: &World,
    certificate: &SelfSigned,
    protocols: &[&str],
) -> (TlsStream, Option<Vec<u8>>) {
    let tls = handshake(world.address(), "a.example", &[certificate], None, protocols);
    let tls = tls.expect("a connection");
    let chosen = tls.conn.alpn_protocol().map(<[u8]>::to_vec);
    (tls, chosen)
}

#[test]
fn http2_is_chosen_by_alpn_and_the_upstream_is_told_https() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let certificate = self_signed(folder.path(), "a.example");
    let world = Plan::usual(&upstream).listener(&format!("tls = {}", certificate.line)).start();
    for offered in [&["h2", "http/1.1"][..], &["http/1.1", "h2"], &["h2"]] {
        let (connection, chosen) = connect_tls(&world, &certificate, offered);
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]), "{offered:?}");
        let mut connection = Connection::over(connection);
        connection.begin(&[]);
        let response = connection.ask(&Head::get("/public/x").set(":scheme", "https"));
        assert_eq!(response.status, 200, "{response}");
        let request = upstream.take().requests.pop().expect("it was forwarded");
        assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
        assert_eq!(request.fields.all("host"), ["a.example"]);
    }
    let (_, chosen) = connect_tls(&world, &certificate, &["http/1.1"]);
    assert_eq!(chosen.as_deref(), Some(&b"http/1.1"[..]));
    let (_, chosen) = connect_tls(&world, &certificate, &[]);
    assert_eq!(chosen, None, "a client without ALPN is served, in HTTP/1.1");
}

#[test]
fn http2_is_spoken_in_clear_by_prior_knowledge_beside_http1_on_the_same_port() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let issued = world.key(TestUser::ALICE);
    let mut connection = connect(&world);
    let response = connection.ask(&private("/private/x", &issued.token));
    assert_eq!(response.status, 200, "{response}");
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("x-keyward-subject"), [TestUser::ALICE.subject]);
    assert_eq!(request.fields.all("host"), ["a.example"]);
    assert_eq!(connection.ask(&Head::get("/private/x")).status, 401, "without a token");
    assert_eq!(connection.ask(&private("/private/x", "a.b.c")).status, 401, "with a bad one");
    assert_eq!(connection.ask(&Head::get("/nowhere")).status, 404);
    assert_eq!(world.status_with(&issued.token), 200, "HTTP/1.1 is served as before");
}

/// The preface may come in pieces of any size.
#[test]
fn the_preface_is_understood_in_pieces() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut connection = Connection::raw(world.address());
    let bytes = [PREFACE, &settings(&[])].concat();
    for byte in bytes {
        connection.send([byte]);
    }
    let id = connection.request(&Head::get("/public/x"));
    assert_eq!(connection.answer(id).status, 200);
}
