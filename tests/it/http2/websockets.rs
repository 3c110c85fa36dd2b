//! WebSockets over CONNECT (RFC 8441).

use std::time::Instant;

use super::{ENDS_WITHIN, connect};
use crate::support::h2::{Connection, Head, data, flag, setting};
use crate::support::lateness::slack;
use crate::support::{Ongoing, Plan, TIMEOUT, TestUser, Upstream, WebSocketServer, World, open};

/// A WebSocket's CONNECT (RFC 8441, section 5.1).
fn websocket(path: &str, token: &str) -> Head {
    Head::empty()
        .with(":method", "CONNECT")
        .with(":protocol", "websocket")
        .with(":scheme", "http")
        .with(":path", path)
        .with(":authority", "a.example")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-protocol", "chat")
        .with("authorization", format!("Bearer {token}"))
}

/// Opens a WebSocket and waits for its head.
#[track_caller]
fn tunnel(connection: &mut Connection, path: &str, token: &str) -> u32 {
    let id = connection.next_id();
    connection.send(websocket(path, token).frame(id, flag::END_HEADERS));
    connection.read_until(|state| state.stream(id).status.is_some() || state.is_over(id));
    let stream = connection.state.stream(id);
    assert_eq!((stream.status, stream.is_over()), (Some(200), false), "{:?}", connection.state);
    id
}

/// keyward with the WebSocket server behind `/sockets/`.
fn world_with_sockets(upstream: &Upstream, server: &WebSocketServer) -> World {
    Plan::usual(upstream)
        .upstream("sockets", server.address)
        .route("path = \"/sockets/{*rest}\"\nupstream = \"sockets\"\naccept = [\"jarvispy\"]")
        .start()
}

#[test]
fn a_websocket_over_http2_is_one_of_http1_at_the_upstream_and_carries_bytes_both_ways() {
    let server = WebSocketServer::start();
    let upstream = Upstream::start();
    let world = world_with_sockets(&upstream, &server);
    let issued = world.key(TestUser::ALICE);
    let mut connection = connect(&world);
    let offered = connection
        .read_until(|state| state.settings.get(&setting::ENABLE_CONNECT_PROTOCOL) == Some(&1));
    assert!(offered, "SETTINGS_ENABLE_CONNECT_PROTOCOL is offered: {:?}", connection.state);
    let id = tunnel(&mut connection, "/sockets/x", &issued.token);
    let stream = connection.state.stream(id);
    assert_eq!(stream.fields.all("sec-websocket-protocol"), ["chat"]);
    assert!(!stream.fields.has("sec-websocket-accept"), "RFC 8441, section 5: {:?}", stream.fields);

    let asked = server.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/sockets/x"));
    for (name, value) in [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("host", "a.example"),
        ("x-keyward-subject", "auth0|alice"),
    ] {
        assert_eq!(asked.fields.all(name), [value], "{name}: {asked:?}");
    }
    assert!(!asked.fields.has("authorization"), "{asked:?}");

    for text in ["one", "two", &"long ".repeat(10_000)] {
        let before = connection.state.stream(id).body.len();
        for piece in text.as_bytes().chunks(16_384) {
            connection.send(data(id, 0, piece));
        }
        let echoed =
            connection.read_until(|state| state.stream(id).body.len() == before + text.len());
        assert!(echoed, "{:?}", connection.state.stream(id).body.len());
        assert!(connection.state.stream(id).body[before..] == *text.as_bytes());
    }
    // Other requests share the connection, and the tunnel ends in good order.
    assert_eq!(connection.ask(&Head::get("/public/x")).status, 200);
    connection.send(data(id, flag::END_STREAM, ""));
    assert!(connection.read_until(|state| state.is_over(id)), "{:?}", connection.state);
    assert!(connection.state.stream(id).is_ended, "{:?}", connection.state.stream(id).reset);
}

#[test]
fn a_websocket_over_http2_ends_with_its_token_and_leaves_another_on_the_connection_alone() {
    let server = WebSocketServer::start();
    let upstream = Upstream::start();
    let world = world_with_sockets(&upstream, &server);
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let mut connection = connect(&world);
    let ended = tunnel(&mut connection, "/sockets/victim", &victim.token);
    let kept = tunnel(&mut connection, "/sockets/other", &other.token);
    // One of HTTP/1.1 on the same token ends as well.
    let (mut plain, gate) =
        open(&world, &upstream, "/private/events", Ongoing::Events, &victim.token);
    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    let revoked = Instant::now();
    assert!(connection.read_until(|state| state.is_over(ended)), "{:?}", connection.state);
    let seen = Instant::now();
    assert!(
        seen - revoked < ENDS_WITHIN + slack(revoked, seen),
        "ended after {:?}",
        seen - revoked
    );
    let _ = plain.rest();
    gate.open();
    connection.send(data(kept, 0, "still"));
    assert!(
        connection.read_until(|state| state.stream(kept).body == b"still"),
        "{:?}",
        connection.state
    );
    assert!(!connection.state.is_over(kept));
}

/// Over HTTP/1.1 it is a GET (RFC 6455, section 4.1), and it takes the same route.
#[test]
fn a_websocket_over_http2_takes_the_route_of_the_get_that_it_is_over_http1() {
    let (upstream, server) = (Upstream::start(), WebSocketServer::start());
    let route = |path: &str, lines: &str| {
        format!("path = {path:?}\nupstream = \"sockets\"\naccept = [\"jarvispy\"]\n{lines}")
    };
    let world = Plan::usual(&upstream)
        .upstream("sockets", server.address)
        .route(&route("/got/{*rest}", "methods = [\"GET\"]"))
        .route("path = \"/got/{*rest}\"\npublic = true\nupstream = \"app\"\nmethods = [\"POST\"]")
        .route(&route("/raw/{*rest}", "methods = [\"GET\"]\nforward_path = \"raw\""))
        .route(&route("/when/{*rest}", "methods = [\"GET\"]\nwhen.headers = { X-V = \"2\" }"))
        .route(&route("/put/{*rest}", "methods = [\"PUT\"]"))
        .start();
    let key = world.key(TestUser::ALICE).token;
    let mut connection = connect(&world);
    for path in ["/got/x", "/raw/a%2Fb//c", "/when/x"] {
        let id = connection.next_id();
        connection.send(websocket(path, &key).with("x-v", "2").frame(id, flag::END_HEADERS));
        connection.read_until(|state| state.stream(id).status.is_some() || state.is_over(id));
        assert_eq!(connection.state.stream(id).status, Some(200), "{path}: {:?}", connection.state);
        let asked = server.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", path));
    }
    // What answers no GET opens none, and what keyward answers itself is no tunnel.
    for (path, status, allow) in [
        ("/put/x", 405, Some("PUT")),
        ("/when/x", 404, None),
        ("/.well-known/jwks.json", 405, Some("GET, HEAD")),
    ] {
        let answer = connection.ask(&websocket(path, &key));
        let found = answer.fields.one("allow");
        assert_eq!((answer.status, found.as_deref()), (status, allow), "{path}: {answer}");
    }
}
