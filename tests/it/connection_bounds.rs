//! `max_connections` of an upstream: how many connections an endpoint has from the whole process,
//! and what becomes of the requests that need one more.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::h2::{Connection, Head};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::{Act, Client, ClosedPort, Gate, Plan, Reply, Upstream, World, eventually};

/// A plan with these workers; `lines`: more keys of the upstream.
fn plan(endpoint: SocketAddr, workers: &str, lines: &str) -> Plan {
    Plan::bare()
        .set("server", "workers", workers)
        .table("upstream", &format!("name = \"app\"\nendpoints = [\"http://{endpoint}\"]\n{lines}"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn slow(world: &World) -> Client {
    let mut client = world.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client
}

fn waiting(world: &World) -> f64 {
    world.metric("keyward_upstream_waiting", "upstream=\"app\"")
}

#[test]
fn there_are_never_more_connections_and_what_needs_one_waits_or_is_refused() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
    let lines = "max_connections = 2\nqueue = 3\nqueue_timeout = \"1h\"";
    let world = plan(upstream.address(), "2", lines).start();
    let mut clients: Vec<_> = (0..5).map(|_| slow(&world)).collect();
    assert!(upstream.wait_until(|log| log.requests.len() == 2));
    assert!(eventually(|| waiting(&world) == 3.0));
    assert_eq!(world.metric("keyward_upstream_connections", ""), 2.0);
    let refused = world.ask("GET", "/public/refused", "", "");
    assert_eq!(refused.status, 503, "the queue is full");
    assert!(refused.fields.one("retry-after").is_some(), "{refused}");
    let line = world.access_line("/public/refused");
    assert_eq!(line["refusal"], "upstream_busy");
    assert!(line["cause"].to_string().contains("max_connections"), "{line}");
    assert_eq!(upstream.open_connections(), 2);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.final_response("GET").expect("a response").0.status, 200);
    }
    assert!(upstream.open_connections() <= 2);
}

#[test]
fn an_idle_connection_of_one_worker_makes_room_for_another() {
    let upstream = Upstream::start();
    let lines = "max_connections = 1\nidle_timeout = \"1h\"\nqueue = 100\nqueue_timeout = \"20s\"";
    let world = plan(upstream.address(), "4", lines).start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
                }
            });
        }
    });
    assert!(upstream.open_connections() <= 1);
    assert_eq!(upstream.take().requests.len(), 80);
}

#[test]
fn a_websocket_counts_until_it_ends_and_an_idle_connection_makes_room_for_it() {
    let upstream = Upstream::start();
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    upstream.answer("/public/socket", Reply::bytes(switch).then(Act::Echo));
    let lines = "max_connections = 1\nidle_timeout = \"1h\"";
    let world = plan(upstream.address(), "1", lines).start();
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "it leaves one idle");
    let mut client = world.client();
    client.send(
        "GET /public/socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().expect("a response").status, 101);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 503, "there is no other");
    client.reset();
    assert!(eventually(|| world.ask("GET", "/public/x", "", "").status == 200));
}

#[test]
fn over_http2_all_requests_share_the_connections_and_wait_for_a_stream() {
    let upstream = Http2Upstream::start(4);
    let lines = "protocol = \"http2\"\nmax_connections = 1\nqueue = 10\nqueue_timeout = \"1h\"";
    let world = plan(upstream.address(), "1", lines).start();
    let mut client = Connection::open(world.address());
    let held: Vec<_> = (0..7).map(|_| client.request(&Head::get("/public/held"))).collect();
    assert!(eventually(|| upstream.arrivals().len() == 4), "{:?}", upstream.arrivals());
    assert!(eventually(|| waiting(&world) == 3.0));
    upstream.release();
    for id in held {
        assert_eq!(client.answer(id).status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_burst_over_http2_shares_the_connection_that_is_being_made() {
    let upstream = Http2Upstream::start(100);
    let lines = "protocol = \"http2\"\nmax_connections = 1";
    let world = plan(upstream.address(), "1", lines).start();
    let mut client = Connection::open(world.address());
    let ids: Vec<_> = (0..20).map(|_| client.request(&Head::get("/public/x"))).collect();
    for id in ids {
        assert_eq!(client.answer(id).status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_client_that_closes_its_sending_side_leaves_the_queue() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone())]));
    let lines = "max_requests = 1\nqueue = 1\nqueue_timeout = \"1h\"";
    let world = plan(upstream.address(), "1", lines).start();
    let _first = slow(&world);
    assert!(upstream.wait_until(|log| log.requests.len() == 1));
    let mut second = slow(&world);
    assert!(eventually(|| waiting(&world) == 1.0));
    second.finish();
    assert!(eventually(|| waiting(&world) == 0.0), "its place is free");
    let (response, _) = second.final_response("GET").expect("it may still read");
    assert_eq!(response.status, 503);
    let third = slow(&world);
    assert!(eventually(|| waiting(&world) == 1.0), "another one takes it");
    third.reset();
    assert!(eventually(|| waiting(&world) == 0.0));
    gate.open();
}

#[test]
fn one_that_waits_is_served_when_an_endpoint_returns() {
    let (good, bad) = (Upstream::start(), ClosedPort::reserve());
    let address = bad.address();
    let gate = Gate::default();
    good.answer("/public/slow", Reply::acts([Act::Wait(gate.clone())]));
    let endpoints = format!("[\"http://{}\", \"http://{address}\"]", good.address());
    let lines = format!(
        "name = \"app\"\nendpoints = {endpoints}\nmax_requests = 1\nqueue = 5\n\
         queue_timeout = \"1h\"\nejection = {{ failures = 1, for = \"1s\", slow_return = \"0s\" }}"
    );
    let world = Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &lines)
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    assert!(eventually(|| {
        world.ask("GET", "/public/x", "", "");
        world.metric("keyward_upstream_ejections_total", "") > 0.0
    }));
    let _busy = slow(&world);
    assert!(good.wait_until(|log| log.heads.iter().any(|target| target == "/public/slow")));
    let back = bad.listen();
    let mut client = world.client().with_timeout(Duration::from_secs(30));
    client.send("GET /public/waits HTTP/1.1\r\nHost: a\r\n\r\n");
    let (response, _) = client.final_response("GET").expect("no place was given up");
    assert_eq!(response.status, 200);
    assert!(back.take().heads.contains(&"/public/waits".to_owned()));
    gate.open();
}

/// One endpoint is dead, and the other one full.
#[test]
fn a_request_that_finds_an_endpoint_dead_waits_for_one_that_is_full() {
    for bound in ["max_requests = 1", "max_connections = 1"] {
        let upstream = Upstream::start();
        let gate = Gate::default();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
        let dead = {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            socket.local_addr().expect("it is bound")
        };
        let endpoints = format!("\"http://{dead}\", \"http://{}\"", upstream.address());
        let world = Plan::bare()
            .table(
                "upstream",
                &format!(
                    "name = \"app\"\nendpoints = [{endpoints}]\n{bound}\nqueue = 10\n\
                     queue_timeout = \"1h\""
                ),
            )
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .start();
        let mut first = slow(&world);
        assert!(upstream.wait_until(|log| log.requests.len() == 1));
        let others: Vec<_> = (0..6)
            .map(|_| {
                let mut client = world.client();
                client.send("GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                client
            })
            .collect();
        assert!(eventually(|| waiting(&world) == 6.0), "{bound}: {}", waiting(&world));
        gate.open();
        assert_eq!(first.response().expect("a response").status, 200, "{bound}");
        for mut client in others {
            assert_eq!(client.response().expect("a response").status, 200, "{bound}");
        }
    }
}
