//! Switches to other protocols than WebSocket, on routes that name them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::h2::{Connection, Head};
use crate::support::lateness::slack;
use crate::support::{Act, Client, Gate, Plan, Reply, TIMEOUT, TestUser, Upstream, World};

/// What Docker's server says.
const SWITCHED: &str = "HTTP/1.1 101 UPGRADED\r\n\
                        Content-Type: application/vnd.docker.raw-stream\r\n\
                        Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

fn start(upstream: &Upstream) -> World {
    let route = |path: &str, lines: &str| {
        format!("path = {path:?}\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{lines}")
    };
    Plan::usual(upstream)
        .route(&route("/tcp/{*rest}", "upgrades = [\"tcp\", \"SPDY/3.1\", \"websocket\"]"))
        .route(&route("/none/{*rest}", "upgrades = []"))
        .route(&route("/timed/{*rest}", "upgrades = [\"tcp\"]\ntimeouts.response_body = \"500ms\""))
        .start()
}

fn ask(world: &World, method: &str, path: &str, token: &str, fields: &str, body: &str) -> Client {
    let mut client = world.client();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n{fields}\
         \r\n{body}"
    ));
    client
}

const TCP: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

#[test]
fn a_protocol_that_the_route_names_is_switched_to_and_bytes_go_both_ways() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    let echo = || Reply::acts([Act::Send(SWITCHED.into()), Act::Echo]);
    upstream.answer("/tcp/attach", echo());
    upstream.answer("/tcp/start", echo());
    // As of `docker attach`, and of `docker exec`, which sends a body before.
    for (path, fields, body) in [
        ("/tcp/attach", TCP.to_owned(), ""),
        ("/tcp/attach", format!("{TCP}Content-Length: 0\r\n"), ""),
        ("/tcp/start", format!("{TCP}Content-Length: 12\r\n"), "{\"Tty\":true}"),
    ] {
        let mut client = ask(&world, "POST", path, &alice.token, &fields, body);
        let (response, _) = client.final_response("POST").expect("a switch");
        assert_eq!(response.status, 101, "{response}");
        assert_eq!(response.fields.all("upgrade"), ["tcp"], "{response}");
        assert_eq!(response.fields.all("connection"), ["upgrade"], "{response}");
        let kind = response.fields.one("content-type");
        assert_eq!(kind.as_deref(), Some("application/vnd.docker.raw-stream"));
        for text in ["one", "two", "GET / HTTP/1.1\r\n\r\n"] {
            client.send(text);
            assert_eq!(client.exactly(text.len()).expect("an echo"), text.as_bytes());
        }
        let request = upstream.take().requests.pop().expect("it arrived");
        assert_eq!(request.fields.all("upgrade"), ["tcp"], "{request:?}");
        assert_eq!(request.fields.all("connection"), ["upgrade"], "{request:?}");
        assert_eq!(request.fields.all("x-keyward-subject"), ["auth0|alice"], "{request:?}");
        assert!(!request.fields.has("authorization"), "{request:?}");
        assert_eq!(String::from_utf8_lossy(&request.body), body);
    }
    // As of `kubectl exec`.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
                  X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nfirst";
    upstream.answer("/tcp/exec", Reply::acts([Act::Send(answer.into()), Act::Echo]));
    let fields = "Connection: Upgrade\r\nUpgrade: spdy/3.1\r\nContent-Length: 0\r\n";
    let mut client = ask(&world, "POST", "/tcp/exec", &alice.token, fields, "");
    let (response, _) = client.final_response("POST").expect("a switch");
    assert_eq!(response.fields.all("upgrade"), ["SPDY/3.1"], "{response}");
    assert_eq!(client.exactly(5).expect("what was sent ahead"), b"first");
}

#[test]
fn what_the_route_does_not_name_is_left_out_and_the_request_is_served() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    let websocket = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, fields) in [
        ("/private/x", TCP),
        ("/none/x", TCP),
        ("/none/x", websocket),
        ("/timed/x", websocket),
        ("/tcp/x", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        ("/tcp/x", "Connection: Upgrade\r\nUpgrade: other\r\n"),
        ("/tcp/x", "Connection: Upgrade\r\nUpgrade: tcp, h2c\r\n"),
        ("/tcp/x", "Connection: Upgrade\r\nUpgrade: tcp\r\nUpgrade: tcp\r\n"),
        ("/tcp/x", "Connection: Upgrade\r\nUpgrade: tcp/1\r\n"),
        ("/tcp/x", "Upgrade: tcp\r\n"),
    ] {
        let mut client = ask(&world, "GET", path, &alice.token, fields, "");
        let (response, _) = client.final_response("GET").expect("an answer");
        assert_eq!(response.status, 200, "{path} {fields}: {response}");
        let request = upstream.take().requests.pop().expect("it arrived");
        assert!(!request.fields.has("upgrade"), "{path} {fields}: {request:?}");
        assert!(!request.fields.has("connection"), "{path} {fields}: {request:?}");
    }
    // Without a token nothing arrives.
    let mut client = world.client();
    client.send(format!("POST /tcp/x HTTP/1.1\r\nHost: a.example\r\n{TCP}\r\n"));
    assert_eq!(client.final_response("POST").expect("an answer").0.status, 401);
    assert!(upstream.take().heads.is_empty());
}

#[test]
fn over_http2_only_a_websocket_can_be_asked_for_and_only_where_the_route_takes_it() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    for (path, protocol) in [("/tcp/x", "tcp"), ("/none/x", "websocket")] {
        let head = Head::empty()
            .with(":method", "CONNECT")
            .with(":protocol", protocol)
            .with(":scheme", "http")
            .with(":path", path)
            .with(":authority", "a.example")
            .with("sec-websocket-version", "13")
            .with("authorization", format!("Bearer {}", alice.token));
        assert_eq!(Connection::open(world.address()).ask(&head).status, 501, "{path} {protocol}");
    }
    assert!(upstream.take().heads.is_empty());
}

#[test]
fn an_upstream_that_switches_to_something_else_is_cut_off() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    for answer in [
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nraw",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tcp, h2c\r\n\r\nraw",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\nraw",
    ] {
        upstream.answer("/tcp/x", Reply::bytes(answer));
        let mut client = ask(&world, "POST", "/tcp/x", &alice.token, TCP, "");
        let (response, _) = client.final_response("POST").expect("an answer");
        assert_eq!(response.status, 502, "{answer}: {response}");
        assert!(!response.text().contains("raw"), "{response}");
    }
    // One that does not switch at all is passed on.
    upstream.answer("/tcp/x", Reply::of("409 Conflict", "", "not running"));
    let mut client = ask(&world, "POST", "/tcp/x", &alice.token, TCP, "");
    let (response, _) = client.final_response("POST").expect("an answer");
    assert_eq!((response.status, response.text().as_str()), (409, "not running"));
}

/// A tunnel that has begun.
fn tunnel(world: &World, upstream: &Upstream, path: &str, token: &str) -> (Client, Gate) {
    let gate = Gate::default();
    let acts = [Act::Send(SWITCHED.into()), Act::Wait(gate.clone()), Act::Send(b"more".into())];
    upstream.answer(path, Reply::acts(acts));
    let mut client = ask(world, "POST", path, token, TCP, "");
    assert_eq!(client.final_response("POST").expect("a switch").0.status, 101);
    (client, gate)
}

#[test]
fn a_tunnel_ends_with_its_token_and_one_of_another_token_goes_on() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let (mut ended, ended_gate) = tunnel(&world, &upstream, "/tcp/victim", &victim.token);
    let (mut kept, kept_gate) = tunnel(&world, &upstream, "/tcp/other", &other.token);
    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    let revoked = Instant::now();
    let _ = ended.rest();
    let seen = Instant::now();
    assert!(
        seen - revoked < Duration::from_secs(1) + slack(revoked, seen),
        "it ended after {:?}",
        seen - revoked
    );
    ended_gate.open();
    kept_gate.open();
    assert_eq!(kept.exactly(4).expect("what the upstream says next"), b"more");
    let line = world.access_line("/tcp/victim");
    assert_eq!((&line["status"], &line["complete"]), (&101.into(), &false.into()), "{line}");
}

#[test]
fn the_times_of_a_route_hold_for_its_tunnels() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    let (mut client, gate) = tunnel(&world, &upstream, "/timed/x", &alice.token);
    let _ = client.rest();
    gate.open();
    let line = world.access_line("/timed/x");
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("response_body"), "{line}");
}

/// A server that switches to a protocol, and closes its sending half or not. Then it goes on with
/// `then`.
fn half(
    protocol: &'static str,
    closes: bool,
    then: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.extend_from_slice(&byte);
        }
        let answer = format!(
            "HTTP/1.1 101 Switched\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).expect("it is written");
        if closes {
            stream.shutdown(Shutdown::Write).expect("it is closed");
        }
        then(stream)
    });
    (address, thread)
}

/// A client of a tunnel to it, with little time for bodies.
fn half_open(address: SocketAddr, protocol: &str, path: &str) -> (World, Client) {
    let world = Plan::bare()
        .set("timeouts", "body", "\"300ms\"")
        .upstream("app", address)
        .route(
            "path = \"/half/{*rest}\"\nupstream = \"app\"\npublic = true\n\
                upgrades = [\"tcp\", \"websocket\"]",
        )
        .route(
            "path = \"/timed/{*rest}\"\nupstream = \"app\"\npublic = true\n\
                upgrades = [\"tcp\"]\n\
                timeouts = { request_body = \"400ms\", response_body = \"1h\" }",
        )
        .start();
    let mut client = world.client();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!(client.final_response("GET").expect("a switch").0.status, 101);
    (world, client)
}

#[test]
fn the_other_side_of_a_half_closed_tunnel_goes_on() {
    // As of `docker attach`, whose input ends before the output. The bound of the client's own
    // silence is over with its half.
    for path in ["/half/x", "/timed/x"] {
        let (address, upstream) = half("tcp", false, |mut stream| {
            let mut read = Vec::new();
            stream.read_to_end(&mut read).expect("what the client sends");
            for _ in 0..10 {
                stream.write_all(b"line\n").expect("it is open");
                std::thread::park_timeout(Duration::from_millis(100));
            }
            read
        });
        let (world, mut client) = half_open(address, "tcp", path);
        client.send("input");
        client.finish();
        assert_eq!(client.rest().expect("all of it"), b"line\n".repeat(10), "{}", world.output());
        assert_eq!(upstream.join().expect("it ends"), b"input");
        let line = world.access_line(path);
        assert!(line["complete"].is_null() && line["cause"].is_null(), "{line}");
        assert_eq!(line["bytes"], 50, "{line}");
    }
    // The other way round.
    let (address, upstream) = half("tcp", true, |mut stream| {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).expect("what the client sends");
        read
    });
    let (world, mut client) = half_open(address, "tcp", "/half/x");
    assert_eq!(client.some().expect("an end"), b"");
    for _ in 0..10 {
        client.send("line\n");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    client.finish();
    assert_eq!(upstream.join().expect("it ends"), b"line\n".repeat(10));
    let line = world.access_line("/half/x");
    assert!(line["complete"].is_null() && line["cause"].is_null(), "{line}");
}

#[test]
fn a_client_that_goes_after_it_had_closed_its_half_ends_its_tunnel() {
    // The upstream sees the end of the client's half, and is silent for as long as it likes.
    let (half_over, is_half_over) = channel();
    let (over, is_over) = channel::<()>();
    let (address, upstream) = half("tcp", false, move |mut stream| {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).expect("what the client sends");
        half_over.send(()).expect("it is awaited");
        let _ = is_over.recv_timeout(TIMEOUT);
        read
    });
    let (world, mut client) = half_open(address, "tcp", "/half/x");
    client.finish();
    is_half_over.recv_timeout(TIMEOUT).expect("the end of the client's half");
    client.reset();
    let line = world.access_line("/half/x");
    assert_eq!(line["cause"], "the client left", "{line}");
    drop(over);
    upstream.join().expect("it ends");
}

#[test]
fn what_stays_open_for_too_long_after_the_other_side_is_cut_and_the_log_says_which_side_it_is() {
    let until_cut = |mut stream: TcpStream| {
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read);
        // The client's end came before the cut.
        std::thread::park_timeout(Duration::from_millis(1500));
        read
    };
    // A WebSocket.
    for (closes, expected) in [(true, "the upstream had closed"), (false, "the client had closed")]
    {
        let (address, upstream) = half("websocket", closes, until_cut);
        let (world, mut client) = half_open(address, "websocket", "/half/x");
        if !closes {
            client.finish();
        }
        let _ = client.rest();
        let line = world.access_line("/half/x");
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(expected) && cause.contains("[timeouts]"), "{line}");
        assert_eq!(line["complete"], false, "{line}");
        drop(client);
        upstream.join().expect("it ends");
    }
    // The silence of the open half, as the route bounds it.
    let (address, upstream) = half("tcp", true, until_cut);
    let (world, mut client) = half_open(address, "tcp", "/timed/x");
    let _ = client.rest();
    let line = world.access_line("/timed/x");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("request_body")), "{line}");
    drop(client);
    upstream.join().expect("it ends");
}

#[test]
fn the_log_says_which_side_broke_a_tunnel() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    for (path, act, expected) in [
        ("/tcp/reset", Act::Reset, "the upstream broke off"),
        ("/tcp/left", Act::Echo, "the client left"),
    ] {
        let gate = Gate::default();
        let acts = [Act::Send(SWITCHED.into()), Act::Wait(gate.clone()), act];
        upstream.answer(path, Reply::acts(acts));
        let mut client = ask(&world, "POST", path, &alice.token, TCP, "");
        assert_eq!(client.final_response("POST").expect("a switch").0.status, 101);
        if path == "/tcp/left" {
            client.reset();
        } else {
            gate.open();
            let _ = client.rest();
        }
        let line = world.access_line(path);
        assert!(line["cause"].as_str().is_some_and(|cause| cause.contains(expected)), "{line}");
        gate.open();
    }
}

/// A tunnel can change something, whatever its protocol is called.
#[test]
fn a_page_of_another_origin_opens_no_tunnel_with_a_cookie_or_with_basic() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/placed/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             upgrades = [\"tcp\"]\ncredentials = { cookie = \"token\", basic = true, \
             origins = [\"https://app.example.com\"] }",
        )
        .start();
    let token = world.key(TestUser::ALICE).token;
    upstream.answer("/placed/x", Reply::acts([Act::Send(SWITCHED.into()), Act::Echo]));
    let status = |fields: &str| {
        let mut client = world.client();
        client.send(format!("GET /placed/x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
        let (response, _) = client.final_response("GET").expect("an answer");
        if response.status == 101 {
            client.send("ping");
            assert_eq!(client.exactly(4).expect("an echo"), b"ping");
        }
        response.status
    };
    let cookie = format!("Cookie: token={token}\r\n{TCP}");
    let password = STANDARD.encode(format!("a:{token}"));
    let password = format!("Authorization: Basic {password}\r\n{TCP}");
    for (fields, passes) in [
        ("Origin: http://a.example\r\n", true),
        ("Origin: https://app.example.com\r\nSec-Fetch-Site: cross-site\r\n", true),
        ("Sec-Fetch-Site: same-origin\r\n", true),
        ("Origin: https://evil.example\r\n", false),
        ("Origin: null\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\n", false),
        ("Origin: http://a.example\r\nSec-Fetch-Site: same-site\r\n", false),
    ] {
        for credential in [&cookie, &password] {
            let expected = if passes { 101 } else { 403 };
            assert_eq!(status(&format!("{fields}{credential}")), expected, "{fields}");
            assert_eq!(upstream.take().requests.len(), usize::from(passes), "{fields}");
        }
    }
    // Without a word of a page: a program has no cookies of its own accord.
    assert_eq!([status(&cookie), status(&password)], [403, 101]);
    let foreign = "Origin: https://evil.example\r\n";
    assert_eq!(status(&format!("{foreign}Authorization: Bearer {token}\r\n{TCP}")), 101);
    // What the route does not switch to stays a GET, which may be made.
    upstream.answer("/placed/x", Reply::of("200 OK", "", ""));
    for fields in ["", "Connection: Upgrade\r\nUpgrade: other\r\n"] {
        assert_eq!(status(&format!("{foreign}Cookie: token={token}\r\n{fields}")), 200);
    }
}
