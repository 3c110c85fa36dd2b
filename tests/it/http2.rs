//! HTTP/2 towards clients that behave: ALPN and prior knowledge, many streams on one connection and
//! each with its own token, GOAWAY, trailers, gRPC, WebSockets over CONNECT (RFC 8441), and a line
//! of the access log for each stream.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::h2::{Connection, Head, Stream, code, data, flag, reset, setting};
use crate::support::lateness::slack;
use crate::support::{
    Act, Gate, Kept, Person, Plan, Reply, Response, Upstream, World, eventually, json, open,
};

/// A second is promised for the end of what is open on a revoked token.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

fn connect(world: &World) -> Connection {
    Connection::open(world.address())
}

fn private(path: &str, token: &str) -> Head {
    Head::get(path).with("authorization", format!("Bearer {token}"))
}

/// The upstream says `first` at once, and `more` when the gate is opened.
fn in_two_parts(gate: &Gate) -> Reply {
    Reply::acts([
        Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".into()),
        Act::Wait(gate.clone()),
        Act::Send(b"4\r\nmore\r\n0\r\n\r\n".into()),
    ])
}

/// Waits until every one of these streams has said `first`.
fn begun(connection: &mut Connection, streams: &[u32]) {
    let begun =
        connection.read_until(|state| streams.iter().all(|&id| state.stream(id).body == b"first"));
    assert!(begun, "{:?}", connection.state);
}

/// A certificate, and what the listener's configuration says of it.
fn certificate(folder: &std::path::Path) -> (CertificateDer<'static>, String) {
    let made =
        rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("a.pem"), folder.join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let line = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    (made.cert.der().clone(), line)
}

/// A TLS connection that offers these protocols, and the one that was chosen.
fn tls(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> (Connection, Option<Vec<u8>>) {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut socket = TcpStream::connect(address).expect("a connection");
    while client.is_handshaking() {
        client.complete_io(&mut socket).expect("a handshake");
    }
    let chosen = client.alpn_protocol().map(<[u8]>::to_vec);
    let handle = socket.try_clone().expect("a handle");
    (Connection::over(Box::new(StreamOwned::new(client, socket)), handle), chosen)
}

#[test]
fn http2_is_chosen_by_alpn_and_the_upstream_is_told_https() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (certificate, line) = certificate(folder.path());
    let world = Plan::usual(&upstream).listener(&line).start();
    for offered in [&["h2", "http/1.1"][..], &["http/1.1", "h2"], &["h2"]] {
        let (mut connection, chosen) = tls(world.address(), &certificate, offered);
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]), "{offered:?}");
        connection.begin(&[]);
        let response = connection.ask(&Head::get("/public/x").set(":scheme", "https"));
        assert_eq!(response.status, 200, "{response}");
        let request = upstream.take().requests.pop().expect("it was forwarded");
        assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
        assert_eq!(request.fields.all("host"), ["a.example"]);
    }
    let (_, chosen) = tls(world.address(), &certificate, &["http/1.1"]);
    assert_eq!(chosen.as_deref(), Some(&b"http/1.1"[..]));
    let (_, chosen) = tls(world.address(), &certificate, &[]);
    assert_eq!(chosen, None, "a client without ALPN is served, in HTTP/1.1");
}

#[test]
fn http2_is_spoken_in_clear_by_prior_knowledge_beside_http1_on_the_same_port() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let issued = world.key(Person::ALICE);
    let mut connection = connect(&world);
    let response = connection.ask(&private("/private/x", &issued.token));
    assert_eq!(response.status, 200, "{response}");
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("x-keyward-subject"), [Person::ALICE.subject]);
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
    let bytes = [crate::support::h2::PREFACE, &crate::support::h2::settings(&[])].concat();
    for byte in bytes {
        connection.send([byte]);
    }
    let id = connection.request(&Head::get("/public/x"));
    assert_eq!(connection.answer(id).status, 200);
}

#[test]
fn many_requests_at_once_share_a_connection_and_each_gets_its_own_answer() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    for _ in 0..3 {
        let asked: Vec<_> = (0..100)
            .map(|nth| {
                (connection.request(&Head::get(format!("/public/{nth}"))), format!("/public/{nth}"))
            })
            .collect();
        for (id, target) in asked {
            let response = connection.answer(id);
            assert_eq!(response.status, 200, "{response}");
            assert_eq!(json(&response)["target"], target);
        }
    }
    assert_eq!(upstream.take().requests.len(), 300);
}

/// The promise of DESIGN.md, section 5, where it is hardest: the connection is not what ends.
#[test]
fn of_100_streams_with_100_tokens_the_50_that_are_revoked_end_within_a_second_and_the_others_go_on()
{
    let (upstream, gate) = (Upstream::start(), Gate::default());
    let world = Plan::usual(&upstream).start();
    let api = world.api(Person::ALICE);
    let bootstrap = world.bootstrap(Person::ALICE, 100);
    let tokens: Vec<_> = (0..100).map(|_| api.mint(&bootstrap).token).collect();
    upstream.answer("/private/stream", in_two_parts(&gate));
    let mut connection = connect(&world);
    let heads = tokens.iter().map(|token| private("/private/stream", token));
    let streams: Vec<u32> = heads.map(|head| connection.request(&head)).collect();
    begun(&mut connection, &streams);

    let (mut victims, mut others) = (Vec::new(), Vec::new());
    for (nth, (&stream, token)) in streams.iter().zip(&tokens).enumerate() {
        if nth % 2 == 0 {
            assert_eq!(api.revoke(token).status, 200);
            victims.push(stream);
        } else {
            others.push(stream);
        }
    }
    let revoked = Instant::now();
    let all_end = connection.read_until(|state| victims.iter().all(|&id| state.is_over(id)));
    let ended = Instant::now();
    assert!(all_end, "{:?}", connection.state);
    assert!(
        ended - revoked < ENDS_WITHIN + slack(revoked, ended),
        "ended after {:?}",
        ended - revoked
    );
    for &id in &victims {
        let Stream { is_ended, reset, .. } = connection.state.stream(id);
        assert!(!is_ended && reset.is_some(), "stream {id} is cut and not called complete");
    }
    // The others have been looked at as often, and still carry.
    assert!(others.iter().all(|&id| !connection.state.is_over(id)));
    gate.open();
    for id in others {
        let response = connection.answer(id);
        assert_eq!((response.status, response.text().as_str()), (200, "firstmore"));
    }
    assert_eq!(connection.ask(&Head::get("/public/x")).status, 200, "the connection lives on");
    assert!(connection.state.goaways.is_empty(), "{:?}", connection.state.goaways);
}

/// hyper asks a body for nothing while its stream has no window: what ends a stream must not wait
/// for that.
#[test]
fn a_stream_that_waits_for_its_window_ends_with_its_token_as_well() {
    let upstream = Upstream::start();
    let size = 1 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    upstream.answer("/private/large", Reply::bytes([head.as_bytes(), &vec![b'a'; size]].concat()));
    let world = Plan::usual(&upstream).start();
    let issued = world.key(Person::ALICE);
    let mut connection = connect(&world).without_grants();
    let id = connection.request(&private("/private/large", &issued.token));
    let starved = connection.read_until(|state| state.stream(id).body.len() == 65_535);
    assert!(starved, "{} bytes", connection.state.stream(id).body.len());
    assert_eq!(world.api(Person::ALICE).revoke(&issued.token).status, 200);
    let revoked = Instant::now();
    assert!(connection.read_until(|state| state.stream(id).reset.is_some()), "the stream is reset");
    let seen = Instant::now();
    assert!(
        seen - revoked < ENDS_WITHIN + slack(revoked, seen),
        "ended after {:?}",
        seen - revoked
    );
    // The window of the connection is used up, and a head needs none.
    assert_eq!(connection.ask(&Head::new("HEAD", "/public/x")).status, 200);
}

#[test]
fn sigterm_says_goaway_and_finishes_the_streams_that_are_under_way() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/slow", in_two_parts(&gate));
    let mut world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let streams = [0; 3].map(|_| connection.request(&Head::get("/public/slow")));
    begun(&mut connection, &streams);
    let mut idle = connect(&world);
    assert_eq!(idle.ask(&Head::get("/public/x")).status, 200);

    world.signal(Signal::TERM);
    assert!(connection.read_until(|state| !state.goaways.is_empty()), "{:?}", connection.state);
    assert!(idle.closes(), "an idle connection does not hold the end up");
    assert!(idle.state.goaways.iter().any(|&(_, code)| code == code::NO_ERROR), "{:?}", idle.state);
    gate.open();
    for id in streams {
        let response = connection.answer(id);
        assert_eq!((response.status, response.text().as_str()), (200, "firstmore"));
    }
    assert!(connection.closes());
    let (last, error) = *connection.state.goaways.last().expect("a GOAWAY");
    assert_eq!(
        (last, error),
        (streams[2], code::NO_ERROR),
        "the last stream that was served is named"
    );
    assert_eq!(world.ended().code(), Some(0));
}

#[test]
fn trailers_of_a_response_arrive() {
    let upstream = Upstream::start();
    upstream.answer(
        "/public/trailers",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n\
             0\r\nX-Sum: abc\r\n\r\n",
        ),
    );
    let world = Plan::usual(&upstream).start();
    let response = connect(&world).ask(&Head::get("/public/trailers").with("te", "trailers"));
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.trailers.all("x-sum"), ["abc"], "{response:?}");
}

/// The first half is at the upstream before the second exists, and both ways at once.
#[test]
fn bodies_are_streamed_both_ways() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/stream", in_two_parts(&gate).early());
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let id = connection.next_id();
    connection.send(
        [Head::post("/public/stream").frame(id, flag::END_HEADERS), data(id, 0, "hello")].concat(),
    );
    begun(&mut connection, &[id]);
    connection.send(data(id, flag::END_STREAM, "-more"));
    gate.open();
    assert_eq!(connection.answer(id).text(), "firstmore");
    assert!(
        upstream.wait_until(|log| log.requests.iter().any(|request| request.body == b"hello-more"))
    );
}

#[test]
fn a_large_body_passes_both_ways_within_the_windows() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let body: Vec<u8> = (0..4 << 20).map(|nth: u32| (nth % 251) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    upstream.answer("/public/large", Reply::bytes([head.as_bytes(), &body].concat()));
    let response = connect(&world).ask(&Head::get("/public/large"));
    assert!(
        response.status == 200 && response.body == body,
        "{} bytes came back",
        response.body.len()
    );
    // A client that keeps to its window is let go on when the upstream has read.
    let mut connection = connect(&world);
    let id = connection.next_id();
    connection.send(Head::post("/public/x").frame(id, flag::END_HEADERS));
    connection.send_body(id, &body);
    assert_eq!(connection.answer(id).status, 200);
    let received = upstream.take().requests.pop().expect("it was forwarded").body;
    assert!(received == body, "{} bytes went out", received.len());
}

/// A client that resets a stream takes its request along, and nothing else.
#[test]
fn a_reset_stream_ends_its_request_at_the_upstream_and_leaves_the_others_alone() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/slow", in_two_parts(&gate));
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let streams = [0; 2].map(|_| connection.request(&Head::get("/public/slow")));
    begun(&mut connection, &streams);
    connection.send(reset(streams[0], code::CANCEL));
    let access =
        || world.access_lines().into_iter().filter(|line| line["path"] == "/public/slow").count();
    assert!(eventually(|| access() == 1), "the record of the one that ended");
    gate.open();
    assert_eq!(connection.answer(streams[1]).text(), "firstmore");
}

#[test]
fn each_stream_leaves_one_line_in_the_access_log_however_it_ends() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    for path in ["/private/whole", "/public/reset", "/private/revoked"] {
        upstream.answer(path, in_two_parts(&gate));
    }
    let world = Plan::usual(&upstream).start();
    let (alice, bob) = (world.key(Person::ALICE), world.key(Person::BOB));
    let mut connection = connect(&world);
    let whole = connection.request(&private("/private/whole", &alice.token));
    let reset_by_client = connection.request(&Head::get("/public/reset"));
    let revoked = connection.request(&private("/private/revoked", &bob.token));
    let refused = connection.request(&Head::get("/private/refused"));
    begun(&mut connection, &[whole, reset_by_client, revoked]);
    assert_eq!(connection.answer(refused).status, 401);
    connection.send(reset(reset_by_client, code::CANCEL));
    assert_eq!(world.api(Person::BOB).revoke(&bob.token).status, 200);
    assert!(
        connection.read_until(|state| state.stream(revoked).reset.is_some()),
        "{:?}",
        connection.state
    );
    let line = world.access_line("/public/reset");
    assert_eq!(
        (&line["status"], &line["complete"]),
        (&Value::from(200), &Value::from(false)),
        "{line}"
    );
    assert_eq!(line["cause"], "the client left", "{line}");
    let line = world.access_line("/private/revoked");
    assert_eq!(line["complete"], false, "{line}");
    gate.open();
    assert_eq!(connection.answer(whole).text(), "firstmore");
    let line = world.access_line("/private/whole");
    assert_eq!((&line["status"], &line["complete"]), (&Value::from(200), &Value::Null), "{line}");
    assert!(line.to_string().contains(Person::ALICE.subject), "{line}");
    let line = world.access_line("/private/refused");
    assert_eq!(line["status"], 401, "{line}");
    let ids: std::collections::BTreeSet<_> =
        world.access_lines().iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), world.access_lines().len(), "each has an id of its own");
}

/// A gRPC call of this path.
fn call(path: &str) -> Head {
    Head::post(path).with("content-type", "application/grpc").with("te", "trailers")
}

/// That the answer is a trailers-only response (gRPC over HTTP/2, "Responses") with this status.
#[track_caller]
fn refuses(connection: &mut Connection, head: &Head, status: &str) {
    let id = connection.next_id();
    connection.send(head.with_body(id, b"\0\0\0\0\0"));
    let response: Response = connection.answer(id);
    assert_eq!(response.status, 200, "{response}");
    assert!(
        connection.state.stream(id).is_head_only,
        "one HEADERS frame with END_STREAM: {response}"
    );
    assert_eq!(response.fields.all("grpc-status"), [status], "{response}");
    let kind = response.fields.one("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/grpc"), "{response}");
    let message = response.fields.one("grpc-message").unwrap_or_default();
    assert!(message.bytes().all(|b| (0x20..0x7f).contains(&b)), "{response}");
}

#[test]
fn a_refusal_of_a_grpc_call_is_a_trailers_only_response_with_its_status() {
    let upstream = Upstream::start();
    let away = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = away.local_addr().expect("an address");
    drop(away);
    let world = Plan::usual(&upstream)
        .upstream("away", address)
        .route("path = \"/away/{*rest}\"\nupstream = \"away\"\npublic = true")
        .route(
            "path = \"/admin/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             require = { role = [\"admin\"] }",
        )
        .start();
    let issued = world.key(Person::ALICE);
    let with_token = |head: Head| head.with("authorization", format!("Bearer {}", issued.token));
    let mut connection = connect(&world);
    refuses(&mut connection, &call("/private/x"), "16");
    refuses(&mut connection, &call("/private/x").with("authorization", "Bearer a.b.c"), "16");
    refuses(&mut connection, &with_token(call("/admin/x")), "7");
    refuses(&mut connection, &call("/nowhere.Service/Method"), "12");
    refuses(&mut connection, &call("/away/x"), "14");
    let sub = call("/private/x").set("content-type", "application/grpc+proto");
    refuses(&mut connection, &sub, "16");
    assert!(upstream.take().heads.is_empty(), "nothing was forwarded");
    // What only looks like gRPC is told as everything else is.
    for kind in ["application/grpcx", "application/json"] {
        let response = connection.ask(&Head::post("/private/x").with("content-type", kind));
        assert_eq!(response.status, 401, "{kind}: {response}");
    }
}

#[test]
fn a_grpc_call_passes_with_its_trailers() {
    let upstream = Upstream::start();
    upstream.answer(
        "/private/x",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: 0\r\n\
             grpc-message: fine\r\n\r\n",
        ),
    );
    let world = Plan::usual(&upstream).start();
    let issued = world.key(Person::ALICE);
    let mut connection = connect(&world);
    let id = connection.next_id();
    let head = call("/private/x").with("authorization", format!("Bearer {}", issued.token));
    connection.send(head.with("grpc-timeout", "5S").with_body(id, b"\0\0\0\0\0"));
    let response = connection.answer(id);
    assert_eq!((response.status, response.body.as_slice()), (200, &b"\0\0\0\0\0"[..]));
    assert_eq!(response.trailers.all("grpc-status"), ["0"], "{response:?}");
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("te"), ["trailers"], "{request:?}");
    assert_eq!(request.body, b"\0\0\0\0\0");
}

/// An HTTP/1.1 server that takes a WebSocket, says what it was asked, and echoes every byte.
struct WebSocketServer {
    address: SocketAddr,
    asked: std::sync::mpsc::Receiver<String>,
}

impl WebSocketServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || take(stream, &sender));
            }
        });
        Self { address, asked }
    }
}

/// RFC 6455, section 4.2.2.
fn take(mut stream: TcpStream, asked: &std::sync::mpsc::Sender<String>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let _ = asked.send(head);
    let Some(key) = key else { return };
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    let _ = stream.write_all(answer.as_bytes());
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

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
    let issued = world.key(Person::ALICE);
    let mut connection = connect(&world);
    let offered = connection
        .read_until(|state| state.settings.get(&setting::ENABLE_CONNECT_PROTOCOL) == Some(&1));
    assert!(offered, "SETTINGS_ENABLE_CONNECT_PROTOCOL is offered: {:?}", connection.state);
    let id = tunnel(&mut connection, "/sockets/x", &issued.token);
    let stream = connection.state.stream(id);
    assert_eq!(stream.fields.all("sec-websocket-protocol"), ["chat"]);
    assert!(!stream.fields.has("sec-websocket-accept"), "RFC 8441, section 5: {:?}", stream.fields);

    let asked = server.asked.recv_timeout(crate::support::PATIENCE).expect("the upstream is asked");
    let asked = asked.to_ascii_lowercase();
    assert!(asked.starts_with("get /sockets/x http/1.1\r\n"), "{asked}");
    for line in [
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nhost: a.example\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} is missing: {asked}");
    }
    assert!(
        asked.contains("x-keyward-subject: auth0|alice") && !asked.contains("\r\nauthorization:"),
        "{asked}"
    );

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
    let (victim, other) = (world.key(Person::ALICE), world.key(Person::ALICE));
    let mut connection = connect(&world);
    let ended = tunnel(&mut connection, "/sockets/victim", &victim.token);
    let kept = tunnel(&mut connection, "/sockets/other", &other.token);
    // One of HTTP/1.1 on the same token ends as well.
    let (mut plain, gate) = open(&world, &upstream, "/private/events", Kept::Events, &victim.token);
    assert_eq!(world.api(Person::ALICE).revoke(&victim.token).status, 200);
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

/// A revoked token opens no new stream of a connection on which it was good before.
#[test]
fn a_revoked_token_is_refused_on_a_connection_that_remembers_it() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let (victim, other) = (world.key(Person::ALICE), world.key(Person::BOB));
    let mut connection = connect(&world);
    let mut status = |token: &str| connection.ask(&private("/private/x", token)).status;
    assert_eq!([status(&victim.token), status(&other.token), status(&victim.token)], [200; 3]);
    assert_eq!(world.api(Person::ALICE).revoke(&victim.token).status, 200);
    assert_eq!([status(&victim.token), status(&other.token)], [401, 200]);
}
