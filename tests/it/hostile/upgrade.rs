//! Upgrade (RFC 9110, 7.8): WebSocket alone, and not a byte past it before the upstream has said
//! 101.

use super::Want::{Target, Without};
use super::{Case, HostileWorld, declined, either, forwarded, get, post, private, refused, run};
use crate::support::{Act, Gate, Reply};

const REFUSALS: &[u16] = &[400, 501];

const SETTINGS: &str = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";

/// A request that offers to upgrade, and is served without.
fn offer(name: &str, fields: &str, more: &str) -> Case {
    let wants =
        [Without("upgrade"), Without("http2-settings"), Without("connection"), Target("/public/x")];
    forwarded(name, get(format!("{fields}{more}")), wants)
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        // An offer is dropped with its fields, and the request is served as it is (RFC 9110, 7.8).
        offer(
            "h2c (CVE-2022-41721)",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            SETTINGS,
        ),
        offer("h2c without its settings", "Connection: Upgrade\r\nUpgrade: h2c\r\n", ""),
        offer(
            "h2c without the settings listed",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            SETTINGS,
        ),
        offer("h2c in upper case", "Connection: upgrade\r\nUpgrade: H2C\r\n", ""),
        offer(
            "h2c, as Java has it",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            SETTINGS,
        ),
        offer("h2", "Connection: Upgrade\r\nUpgrade: h2\r\n", ""),
        offer("TLS", "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n", ""),
        offer("TLS, as Apache's client has it", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", ""),
        offer("HTTP/2.0", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", ""),
        offer("an unknown protocol", "Connection: Upgrade\r\nUpgrade: x-tunnel\r\n", ""),
        offer("websocketx", "Connection: Upgrade\r\nUpgrade: websocketx\r\n", ""),
        offer("websocket with a version", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n", ""),
        offer("on two lines", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: TLS/1.2\r\n", ""),
        declined(
            "websocket and h2c",
            REFUSALS,
            get("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ),
        declined(
            "h2c and websocket",
            REFUSALS,
            get("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
        ),
        declined("websocket and h2c on two lines", REFUSALS, {
            get("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n")
        }),
        either(
            "an empty Upgrade",
            REFUSALS,
            get("Connection: Upgrade\r\nUpgrade:\r\n"),
            [Without("upgrade")],
        ),
        either(
            "Connection: Upgrade and no Upgrade",
            REFUSALS,
            get("Connection: Upgrade\r\n"),
            [Without("upgrade")],
        ),
        declined("h2c on the guarded route, without a token", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        }),
        forwarded(
            "h2c on the guarded route, with a token",
            private("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
            [Without("upgrade"), Without("connection"), Target("/private/x")],
        ),
        declined("websocket on the guarded route, without a token", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        }),
        either(
            "websocket by POST",
            &[400, 405, 501],
            post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", ""),
            [Target("/public/x")],
        ),
        either(
            "websocket from HTTP/1.0",
            REFUSALS,
            "GET /public/x HTTP/1.0\r\nHost: a.example\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n",
            [Without("upgrade")],
        ),
        either(
            "websocket with a body",
            REFUSALS,
            {
                "GET /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nContent-Length: 5\r\n\r\nhello"
            },
            [Target("/public/x")],
        ),
        declined("TRACE", &[405, 501], "TRACE /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        declined("TRACE on the guarded route, with a token", &[405, 501], {
            "TRACE /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n\
             Max-Forwards: 0\r\n\r\n"
        }),
        refused(
            "CONNECT to an authority",
            &[400, 405, 501],
            "CONNECT b.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\n",
        ),
        refused("CONNECT with a body behind (CVE-2026-71324)", &[400, 405, 501], {
            "CONNECT b.example:80 HTTP/1.1\r\nHost: b.example:80\r\n\r\nGET /public/x HTTP/1.1\r\n\
             Host: a.example\r\n\r\n"
        }),
        declined(
            "CONNECT to a path",
            &[400, 405, 501],
            "CONNECT /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        declined("CONNECT with a length", &[400, 405, 501], {
            "CONNECT b.example:80 HTTP/1.1\r\nHost: b.example:80\r\nContent-Length: 5\r\n\r\nhello"
        }),
    ]
}

#[test]
fn no_upgrade_but_websocket() {
    run("upgrade", &cases());
}

const HANDSHAKE: &str = "GET /public/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_websocket_passes_both_ways_until_either_side_ends_it() {
    let world = HostileWorld::start();
    world.upstream.answer(
        "/public/ws",
        Reply::bytes(SWITCHING).then(Act::Send(b"welcome".into())).then(Act::Echo),
    );
    let mut client = world.client();
    client.send(HANDSHAKE);
    let (response, _) = client.final_response("GET").expect("an answer");
    assert_eq!(response.status, 101, "{response}");
    assert_eq!(response.fields.all("upgrade"), ["websocket"]);
    assert_eq!(response.fields.all("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert_eq!(client.exactly(7).expect("the upstream's first words"), b"welcome");
    for word in [b"\x81\x05hello".as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[0; 70_000]] {
        client.send(word);
        assert_eq!(client.exactly(word.len()).expect("the echo"), word);
    }
    client.finish();
    assert_eq!(client.rest().expect("the end"), b"");
    let received = world.at_upstream().expect("nothing broken");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].fields.all("upgrade"), ["websocket"]);
    assert_eq!(received[0].fields.all("sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    world.normal(&received[0]).expect("the normal form");
}

/// CVE-2026-2833: what the client sends behind its handshake waits for the 101.
#[test]
fn nothing_behind_the_handshake_reaches_the_upstream_before_101() {
    let world = HostileWorld::start();
    let gate = Gate::default();
    world.upstream.answer(
        "/public/ws",
        Reply::acts([Act::Wait(gate.clone()), Act::Send(SWITCHING.into()), Act::Echo]),
    );
    let mut client = world.client();
    client.send([HANDSHAKE, "GET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat());
    assert!(
        world.upstream.wait_until(|log| log.heads.len() == 1),
        "the handshake reaches the upstream"
    );
    world.sentinel().expect("others are served meanwhile");
    gate.open();
    // Either the proxy refuses to go on, or the bytes are now WebSocket's and come back; a request
    // they never are.
    let _ = client.final_response("GET");
    client.finish();
    let _ = client.rest();
    let log = world.upstream.take();
    assert!(!log.heads.iter().any(|target| target.contains("smuggled")), "{:?}", log.heads);
    assert!(log.broken.is_empty(), "{:?}", log.broken);
}

/// When the upstream declines, the connection is HTTP still, and what was pipelined is judged like
/// any other request.
#[test]
fn an_upgrade_that_the_upstream_declines_opens_no_tunnel() {
    let world = HostileWorld::start();
    let behind = "GET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for (status, reply) in [
        (
            426,
            "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\n\
             Content-Length: 0\r\n\r\n",
        ),
        (200, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (400, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"),
        (500, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        (
            200,
            "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Content-Length: 2\r\n\r\nok",
        ),
    ] {
        world.upstream.take();
        world.upstream.answer("/public/ws", Reply::bytes(reply));
        for pipelined in [false, true] {
            let mut client = world.client();
            client.send(HANDSHAKE.replace("Version: 13", "Version: 777"));
            if pipelined {
                client.send(behind);
            }
            let (response, _) = client.final_response("GET").expect("an answer");
            assert_eq!(response.status, status, "{response}");
            if !pipelined {
                client.send(behind);
            }
            if let Ok((response, _)) = client.final_response("GET") {
                assert_eq!(response.status, 401, "{response}");
            }
            let log = world.upstream.take();
            assert!(log.heads.iter().all(|target| target == "/public/ws"), "{:?}", log.heads);
            assert!(log.broken.is_empty(), "{:?}", log.broken);
            world.sentinel().expect("the next client is served");
            world.upstream.take();
        }
    }
}

#[test]
fn a_101_without_a_request_for_it_becomes_502() {
    let world = HostileWorld::start();
    let reply = Reply::bytes(SWITCHING)
        .then(Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".into()));
    world.upstream.answer("/public/unasked", reply);
    for lines in ["", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"] {
        let mut client = world.client();
        client.send(format!("GET /public/unasked HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"));
        let (response, _) = client.final_response("GET").expect("an answer");
        assert!([400, 502].contains(&response.status), "{lines:?} got {response}");
        world.sentinel().expect("the next client gets its own answer");
    }
}

#[test]
fn a_101_to_another_protocol_than_the_one_asked_for_becomes_502() {
    let world = HostileWorld::start();
    for reply in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        world.upstream.answer("/public/ws", Reply::bytes(reply).then(Act::Close));
        let mut client = world.client();
        client.send(HANDSHAKE);
        let (response, _) = client.final_response("GET").expect("an answer");
        assert_eq!(response.status, 502, "{response}");
    }
}
