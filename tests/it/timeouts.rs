//! Peers that stop: each is cut in its own time (RELIABILITY, section 2), and no other with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::h2::{Connection, Head, PREFACE, ping, setting, settings, window_update};
use crate::support::{
    Act, Client, Fault, Gate, Plan, Reply, TIMEOUT, Upstream, Wire, World, eventually, lateness,
};

/// All timeouts short, but each long enough to tell it from none at all.
fn with_short_timeouts(upstream: &Upstream) -> World {
    let mut plan = Plan::usual(upstream);
    for key in ["first_byte", "head", "idle", "body", "connect", "response_head"] {
        plan = plan.set("timeouts", key, "\"400ms\"");
    }
    plan.start()
}

/// Waits for the end of the connection; it must not come before the timeout, nor much later.
/// `since` is a moment before the timeout began.
fn ends_in_time(client: &mut Client, since: Instant) -> String {
    client.rest().expect("the connection ends");
    let lived = since.elapsed();
    assert!(lived >= Duration::from_millis(300), "cut after {lived:?}");
    assert!(!lateness::is_over(since, Duration::from_secs(5)), "alive after {lived:?}");
    String::from_utf8_lossy(client.seen()).into_owned()
}

#[test]
fn a_client_that_stops_is_cut_wherever_it_stops() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    for (what, bytes) in [
        ("before the first byte", ""),
        ("inside the request line", "GET /pub"),
        ("inside a field", "GET /public/x HTTP/1.1\r\nHost: a.exa"),
        ("before the empty line", "GET /public/x HTTP/1.1\r\nHost: a.example\r\n"),
    ] {
        let since = Instant::now();
        let mut client = world.client();
        client.send(bytes);
        let answer = ends_in_time(&mut client, since);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{what}: {answer}");
    }
    assert!(upstream.take().heads.is_empty());
}

/// A byte from time to time is no progress: the timeout is that of the whole head.
#[test]
fn a_client_that_drips_its_head_is_cut() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    let mut client = world.client().with_timeout(Duration::from_millis(50));
    client.send("GET /public/x HTTP/1.1\r\n");
    let since = Instant::now();
    while !lateness::is_over(since, Duration::from_secs(5)) {
        client.send("X-A: b\r\n");
        if client.rest().is_ok() {
            return;
        }
    }
    panic!("still open");
}

/// A line that is too long already is refused at once, though it never ends and comes in pieces.
#[test]
fn a_line_without_an_end_is_refused_when_it_is_too_long() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for (start, limit, status) in [
        ("GET /public/", 16 * 1024, 414),
        ("GET /public/x HTTP/1.1\r\nHost: a.example\r\nX-A: ", 32 * 1024, 431),
    ] {
        for step in [100, 1000, 5000] {
            let mut client = world.client();
            client.send(start);
            let mut sent = start.len();
            while sent <= limit + 200 {
                client.send("a".repeat(step));
                sent += step;
            }
            let (answer, _) =
                client.final_response("GET").expect("a refusal, and no wait for more");
            assert_eq!(answer.status, status, "in steps of {step}");
        }
    }
    assert!(upstream.take().heads.is_empty());
}

#[test]
fn an_idle_connection_is_closed() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    let mut client = world.client();
    let since = Instant::now();
    assert_eq!(client.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    ends_in_time(&mut client, since);
}

/// keyward answers each PING, and with its answers alone a client would keep its connection.
#[test]
fn over_http2_a_connection_that_only_sends_pings_is_closed() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    std::thread::scope(|scope| {
        for begin in [Vec::new(), Head::get("/public/x").whole(1)] {
            let mut client = TcpStream::connect(world.address()).expect("a connection");
            client.write_all(&[PREFACE, &settings(&[]), &begin].concat()).expect("sent");
            client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            scope.spawn(move || {
                let (since, mut answers) = (Instant::now(), [0; 16 * 1024]);
                while client.write_all(&ping(0, [7; 8])).is_ok() {
                    assert!(!lateness::is_over(since, Duration::from_secs(12)), "it goes on");
                    match client.read(&mut answers) {
                        Ok(0) => return,
                        // The next one a moment later.
                        Ok(_) => std::thread::park_timeout(Duration::from_millis(200)),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
            });
        }
    });
}

/// What is still to be read of a response is no idleness, though the upstream is done with it.
#[test]
fn over_http2_a_client_that_reads_slowly_gets_all_of_a_response() {
    let upstream = Upstream::start();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n{}", "x".repeat(8000));
    upstream.answer("/public/slow", Reply::bytes(answer.as_bytes()));
    let world = Plan::usual(&upstream).set("timeouts", "idle", "\"400ms\"").start();
    let mut client = Connection::raw(world.address()).without_grants();
    client.begin(&[(setting::INITIAL_WINDOW_SIZE, 800)]);
    let id = client.request(&Head::get("/public/slow"));
    for received in (800..=8000).step_by(800) {
        assert!(client.read_until(|state| state.stream(id).body.len() == received));
        // Longer than a connection has that takes nothing, altogether.
        std::thread::park_timeout(Duration::from_millis(700));
        client.send(window_update(id, 800));
    }
    assert!(client.read_until(|state| state.stream(id).is_ended), "{:?}", client.state);
}

#[test]
fn a_body_that_stops_is_cut_and_is_no_request() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    for rest in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"] {
        let since = Instant::now();
        let mut client = world.client();
        client.send(format!("POST /public/x HTTP/1.1\r\nHost: a.example\r\n{rest}"));
        let answer = ends_in_time(&mut client, since);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(upstream.take().requests.is_empty());
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/never", Reply::acts([Act::Wait(gate.clone())]));
    let world = with_short_timeouts(&upstream);
    let since = Instant::now();
    let response = world.ask("GET", "/public/never", "", "");
    assert_eq!(response.status, 504, "{response}");
    assert!(since.elapsed() >= Duration::from_millis(300));
    assert_eq!(upstream.take().heads.len(), 1, "it is not asked again");
    gate.open();
}

#[test]
fn a_response_that_stops_half_way_is_cut_and_never_looks_complete() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    let half = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".into());
    upstream.answer("/public/half", Reply::acts([half, Act::Wait(gate.clone())]));
    let world = with_short_timeouts(&upstream);
    let mut client = world.client();
    client.send("GET /public/half HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let fault = client.final_response("GET").expect_err("never complete");
    assert!(matches!(fault, Fault::Truncated(_)), "{fault:?}");
    gate.open();
}

/// The end of a response may wait in keyward's buffers after the exchange has ended: it is not
/// idleness.
#[test]
fn a_client_that_pauses_before_the_end_of_a_response_gets_all_of_it() {
    const LENGTH: usize = 4 << 20;
    let upstream = Upstream::start();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    upstream.answer(
        "/public/long",
        Reply::acts([Act::Send(head.into_bytes()), Act::Send(vec![b'x'; LENGTH])]),
    );
    let world = Plan::usual(&upstream).start();
    // With a small window, so that the system holds little of it.
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("an option can be set");
    socket.connect(&world.address().into()).expect("a connection");
    let mut client = Client::over(TcpStream::from(socket));
    client.send("GET /public/long HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut received = Vec::new();
    // Until all of it has been handed over, and the exchange has been counted.
    while world.metric("keyward_requests_total", "status=\"200\"") < 1.0 {
        received.extend(client.some().expect("a piece"));
    }
    // A timeout of keyward has to pass: a connection that is idle for a second is taken down to its
    // socket.
    lateness::pass(Duration::from_millis(2500));
    while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        && received.len() < end + 4 + LENGTH
    {
        let piece = client.some().expect("a piece");
        assert!(!piece.is_empty(), "cut after {} bytes", received.len());
        received.extend(piece);
    }
    // The connection is still served.
    assert_eq!(client.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
}

/// When the client is gone, its request at the upstream is given up.
#[test]
fn the_request_of_a_client_that_is_gone_is_given_up() {
    lateness::watch();
    let silent = Silent::start();
    let world = silent.world();
    let mut client = world.client();
    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut upstream = silent.next_request();
    let gone = Instant::now();
    client.reset();
    assert!(is_given_up(&mut upstream), "the upstream still has the request");
    assert!(
        !lateness::is_over(gone, Duration::from_secs(1)),
        "given up after {:?}",
        gone.elapsed()
    );
}

/// Clients that send nothing do not delay others.
#[test]
fn a_hundred_silent_connections_delay_no_other() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let silent: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = world.client();
            client.send("GET /public/x HTTP/1.1\r\nHost: a.exam");
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
    assert_eq!(silent.len(), 100);
}

/// An upstream that takes one request and never answers it.
struct Silent(TcpListener);

impl Silent {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn world(&self) -> World {
        let address = self.0.local_addr().expect("it is bound");
        Plan::bare()
            .upstream("app", address)
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .start()
    }

    /// The next connection, with a whole head read from it.
    fn next_request(&self) -> Wire {
        let (stream, _) = self.0.accept().expect("a connection");
        let mut wire = Wire::new(stream, TIMEOUT);
        wire.request_head().expect("a whole head");
        wire
    }
}

/// Waits until keyward gives an upstream connection up.
fn is_given_up(upstream: &mut Wire) -> bool {
    upstream.some().is_ok_and(|bytes| bytes.is_empty())
}

/// A client that is gone is noticed also when it had sent its next request ahead.
#[test]
fn a_client_that_goes_is_noticed_behind_what_it_sent_ahead() {
    let silent = Silent::start();
    let world = silent.world();
    let mut client = world.client();
    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut upstream = silent.next_request();
    client.send("GET /public/y HTTP/1.1\r\nHost: a.example\r\n\r\n");
    // Otherwise the second request and the end would be read at once.
    assert!(eventually(|| client.is_read()), "the second request is read");
    client.reset();
    assert!(is_given_up(&mut upstream), "the upstream still has the request");
}

/// A client that has closed only its sending side gets the answers to all that it sent (RFC 9112,
/// 9.6).
#[test]
fn a_client_that_has_finished_sending_gets_every_answer() {
    let silent = Silent::start();
    let world = silent.world();
    let mut client = world.client();
    client.send(
        "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\nGET /public/y HTTP/1.1\r\n\
         Host: a.example\r\n\r\n",
    );
    client.finish();
    let mut upstream = silent.next_request();
    upstream
        .try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        .expect("answered");
    drop(upstream);
    assert_eq!(client.response().expect("an answer to the first").status, 200);
    let mut upstream = silent.next_request();
    upstream.try_send(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").expect("answered");
    assert_eq!(client.response().expect("an answer to the second").status, 201);
}

/// The timeouts hold for answers of keyward itself, too: a client that sends requests and reads
/// nothing is cut.
#[test]
fn a_client_that_does_not_read_refusals_is_cut() {
    let upstream = Upstream::start();
    let world = with_short_timeouts(&upstream);
    for target in ["/nowhere", "/private/x", "/.well-known/jwks.json"] {
        let mut client = world.client().with_timeout(Duration::from_millis(100));
        let requests = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n").repeat(100);
        let begun = Instant::now();
        loop {
            match client.try_send(&requests) {
                Err(fault)
                    if !matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                _ => assert!(
                    !lateness::is_over(begun, Duration::from_secs(20)),
                    "{target}: still open"
                ),
            }
        }
    }
}

/// A tunnel whose client has closed does not hold its two connections until the upstream closes,
/// which may be never.
#[test]
fn a_tunnel_with_one_end_is_cut() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.answer("/public/ws", Reply::acts([Act::Send(switch.into()), Act::Wait(gate.clone())]));
    let world = with_short_timeouts(&upstream);
    let mut client = world.client();
    client.send(
        "GET /public/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().expect("a switch").status, 101);
    let since = Instant::now();
    client.finish();
    ends_in_time(&mut client, since);
    gate.open();
}
