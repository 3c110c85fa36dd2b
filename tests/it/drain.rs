//! SIGTERM: not ready first, then the requests under way are finished, then the end (DESIGN,
//! section 10).

use rustix::process::Signal;

use crate::support::h2::{Connection, Head, code};
use crate::support::{Act, Client, Fault, Gate, Plan, Reply, Upstream, eventually};

const SLOW: &str = "GET /public/slow HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn slow(gate: &Gate) -> Reply {
    Reply::acts([
        Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".into()),
        Act::Wait(gate.clone()),
        Act::Send(b"-last".into()),
    ])
}

#[test]
fn sigterm_finishes_what_is_under_way_and_ends_with_0() {
    let upstream = Upstream::start();
    let (head, body) = (Gate::default(), Gate::default());
    upstream.answer("/public/slow", slow(&body));
    let late = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate".into());
    upstream.answer("/public/late", Reply::acts([Act::Wait(head.clone()), late]));
    let mut world = Plan::usual(&upstream).start();
    let (mut first, mut second) = (world.client(), world.client());
    first.send(SLOW);
    second.send(SLOW.replace("slow", "late"));
    assert!(upstream.wait_until(|log| log.requests.len() == 2), "both are under way");

    world.signal(Signal::TERM);
    assert!(eventually(|| world.ready() != Some(200)), "no longer ready");
    body.open();
    head.open();
    let (response, _) = first.final_response("GET").expect("the whole answer");
    assert_eq!((response.status, response.text().as_str()), (200, "first-last"));
    let (response, _) = second.final_response("GET").expect("the whole answer");
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    assert_eq!(first.rest().expect("the connection ends"), b"");
    assert_eq!(second.rest().expect("the connection ends"), b"");
    let status = world.ended();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// A balancer needs the time between the two: keyward says that it is not ready, and serves on.
#[test]
fn not_ready_comes_before_the_listener_goes() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).set("server", "shutdown_delay", "\"2s\"").start();
    world.signal(Signal::TERM);
    assert!(eventually(|| world.ready() == Some(503)), "/readyz says 503");
    assert_eq!(
        world.ask("GET", "/public/x", "", "").status,
        200,
        "new requests are served meanwhile"
    );
    assert_eq!(
        world.admin_get("/livez").map(|response| response.status),
        Some(200),
        "it is alive all the while"
    );
    assert_eq!(world.ended().code(), Some(0));
}

/// Connections that clients keep come to their end by a response, or by GOAWAY, while new ones are
/// served: none is closed on which a client may be sending.
#[test]
fn kept_connections_are_told_of_their_end_during_the_delay() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).set("server", "shutdown_delay", "\"5m\"").start();
    let get = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut kept = world.client();
    assert_eq!(kept.ask(get).fields.one("connection").as_deref(), None);
    let mut streams = Connection::open(world.address());
    assert_eq!(streams.ask(&Head::get("/public/x")).status, 200);
    world.signal(Signal::TERM);
    assert!(eventually(|| world.ready() == Some(503)), "/readyz says 503");
    assert!(streams.read_until(|state| !state.goaways.is_empty()), "{:?}", streams.state);
    assert!(streams.state.goaways.iter().all(|&(_, code)| code == code::NO_ERROR));
    // The signal is in all workers when one of them has said GOAWAY and another has closed.
    assert!(eventually(|| {
        let answer = world.client().ask(get);
        answer.status == 200 && answer.fields.one("connection").as_deref() == Some("close")
    }));
    let last = kept.ask(get);
    assert_eq!(
        (last.status, last.fields.one("connection").as_deref()),
        (200, Some("close")),
        "{last}"
    );
    assert_eq!(kept.rest().expect("the connection ends"), b"");
    // A new connection of HTTP/2 is served.
    let mut late = Connection::open(world.address());
    assert_eq!(late.ask(&Head::get("/public/x")).status, 200);
    // The delay is long, so that a busy machine is no fault: a second signal ends it.
    assert!(eventually(|| {
        world.signal(Signal::TERM);
        world.has_ended()
    }));
    assert_eq!(world.ended().code(), Some(0));
}

#[test]
fn an_idle_connection_is_closed_and_does_not_delay_the_end() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).set("server", "shutdown_grace", "\"5m\"").start();
    let mut idle = world.client();
    assert_eq!(idle.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    let mut silent = world.client();
    world.signal(Signal::TERM);
    assert_eq!(idle.rest().expect("the connection ends"), b"");
    assert_eq!(silent.rest().expect("the connection ends"), b"");
    assert_eq!(world.ended().code(), Some(0));
}

/// What is not done when the grace is over is cut, not called complete.
#[test]
fn the_grace_has_an_end() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", slow(&gate));
    let mut world = Plan::usual(&upstream).set("server", "shutdown_grace", "\"300ms\"").start();
    let mut client = world.client();
    client.send(SLOW);
    assert!(upstream.wait_until(|log| log.requests.len() == 1), "it is under way");
    world.signal(Signal::TERM);
    match client.final_response("GET") {
        Err(Fault::Truncated(_) | Fault::Closed) => {}
        other => panic!("{other:?}"),
    }
    world.ended();
    gate.open();
}

#[test]
fn requests_on_a_busy_connection_are_answered_whole_or_not_taken_at_all() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).start();
    let address = world.address();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let mut client = world.client();
            std::thread::spawn(move || {
                let mut served = 0;
                loop {
                    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
                    match client.final_response("GET") {
                        Ok((response, _)) => {
                            assert_eq!(response.status, 200, "{response}");
                            served += 1;
                            if response
                                .fields
                                .all("connection")
                                .iter()
                                .any(|value| value.eq_ignore_ascii_case("close"))
                            {
                                return served;
                            }
                        }
                        Err(Fault::Closed) => return served,
                        Err(fault) => panic!("{address}: {fault:?}"),
                    }
                }
            })
        })
        .collect();
    assert!(upstream.wait_until(|log| log.requests.len() > 200), "all are busy");
    world.signal(Signal::TERM);
    for worker in workers {
        assert!(worker.join().expect("no request was cut") > 0);
    }
    assert_eq!(world.ended().code(), Some(0));
}

/// A connection that was accepted before the listener was closed is served.
#[test]
fn the_first_request_of_a_connection_is_answered_though_the_end_has_begun() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).start();
    let mut early = world.client();
    world.signal(Signal::TERM);
    assert!(eventually(|| Client::try_connect(world.address()).is_none()), "the listener is gone");
    early.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (response, _) = early.final_response("GET").expect("an answer");
    assert_eq!(response.status, 200);
    assert_eq!(world.ended().code(), Some(0));
}

/// FIELD.md, F17: what does not end by itself ends soon; a request has its grace.
#[test]
fn a_tunnel_and_an_event_stream_end_with_their_own_grace_and_a_request_is_finished() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", slow(&gate));
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\n\r\nwelcome";
    upstream.answer("/public/ws", Reply::bytes(switching).then(Act::Echo));
    let events =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let never = Gate::default();
    upstream.answer("/public/events", Reply::bytes(events).then(Act::Wait(never.clone())));
    let mut world = Plan::usual(&upstream)
        .set("server", "shutdown_grace", "\"5m\"")
        .set("server", "tunnel_grace", "\"300ms\"")
        .start();
    let mut tunnel = world.client();
    tunnel.send(
        "GET /public/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let (switched, _) = tunnel.final_response("GET").expect("an answer");
    assert_eq!(switched.status, 101, "{switched}");
    let mut listener = world.client();
    listener.send("GET /public/events HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut client = world.client();
    client.send(SLOW);
    assert!(upstream.wait_until(|log| log.requests.len() == 3), "all are under way");
    world.signal(Signal::TERM);
    tunnel.rest().expect("the tunnel ends");
    assert!(listener.final_response("GET").is_err(), "the event stream is cut");
    gate.open();
    let (response, _) = client.final_response("GET").expect("an answer");
    assert_eq!(response.status, 200, "{response}");
    assert_eq!(world.ended().code(), Some(0));
    never.open();
    for path in ["/public/ws", "/public/events"] {
        let output = world.output();
        let line =
            output.lines().find(|line| line.contains(path)).expect("a line in the access log");
        assert!(line.contains("\"complete\":false") && line.contains("keyward stopped"), "{line}");
    }
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_no_line_of_the_log() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", slow(&gate));
    let mut world = Plan::usual(&upstream).set("server", "shutdown_grace", "\"5m\"").start();
    let mut client = world.client();
    client.send(SLOW);
    assert!(upstream.wait_until(|log| log.requests.len() == 1), "it is under way");
    let answered = world.client().ask("GET /public/answered HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(answered.status, 200);
    world.signal(Signal::TERM);
    assert!(eventually(|| world.output().contains("draining")), "the first is being followed");
    // Two signals within a few milliseconds count as one, sent to the process and to its group. A
    // later one ends keyward.
    assert!(eventually(|| {
        world.signal(Signal::TERM);
        world.has_ended()
    }));
    assert_eq!(world.ended().code(), Some(0));
    gate.open();
    let output = world.output();
    let line = |path: &str| {
        output
            .lines()
            .find(|line| line.contains(path) && line.contains("\"status\""))
            .map(str::to_owned)
    };
    assert!(
        line("/public/answered").is_some_and(|line| line.contains("\"status\":200")),
        "{output}"
    );
    assert!(line("/public/slow").is_some_and(|line| line.contains("keyward stopped")), "{output}");
}

/// The reader of the access log has stopped reading, as a pager does: keyward serves on, and can be
/// stopped.
#[test]
fn a_log_that_is_not_read_does_not_delay_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    let reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .expect("a reader that does not read");
    let upstream = Upstream::start();
    let mut world =
        Plan::usual(&upstream).set("log", "access", &format!("\"{}\"", pipe.display())).start();
    let mut client = world.client();
    for _ in 0..1000 {
        assert_eq!(client.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    }
    // A pipe holds 64 KiB: the next write to it waits for the reader.
    let is_full = || rustix::io::ioctl_fionread(&reader).is_ok_and(|unread| unread >= 60 << 10);
    assert!(eventually(is_full), "the log is written until the pipe is full");
    world.signal(Signal::TERM);
    assert_eq!(world.ended().code(), Some(0));
}
