//! Requests that wait for a place at an upstream, while a reload or a server of names changes how
//! many places there are.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Act, Client, Gate, Plan, Reply, Upstream, World, eventually};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream of these endpoints; `lines`: more keys.
fn plan(endpoints: &[SocketAddr], lines: &str) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    Plan::bare()
        .set("server", "workers", "2")
        .table("upstream", &format!("name = \"app\"\nendpoints = [{}]\n{lines}", listed.join(", ")))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

/// Keys with so many places.
fn places(most: u32) -> String {
    format!("max_requests = {most}\nqueue = 50\nqueue_timeout = \"1h\"")
}

fn ask(world: &World, path: &str) -> Client {
    let mut client = world.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    client
}

fn status(client: &mut Client) -> u16 {
    client.final_response("GET").expect("a response").0.status
}

/// Starts with one place, which is taken until the gate opens, and with requests that wait, in the
/// order of their numbers.
fn start(upstream: &Upstream, lines: &str, waiting: usize) -> (World, Gate, Client, Vec<Client>) {
    let gate = Gate::default();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Send(OK.into())]));
    let world = plan(&[upstream.address()], lines).start();
    let holder = ask(&world, "/public/slow");
    assert!(upstream.wait_until(|log| log.requests.len() == 1));
    let waiting = (0..waiting).map(|number| {
        let client = ask(&world, &format!("/public/{number}"));
        let are_waiting = || world.metric("keyward_upstream_waiting", "") == (number + 1) as f64;
        assert!(eventually(are_waiting), "{}", world.output());
        client
    });
    let waiting = waiting.collect();
    (world, gate, holder, waiting)
}

#[test]
fn what_waits_gets_the_places_that_a_reload_brings_and_holds_up_nothing_that_comes_later() {
    let other = Upstream::start();
    for (endpoints, lines) in [
        (vec![], places(100)),
        (vec![other.address()], places(1)),
        // Nothing is limited any more, of one server and of two.
        (vec![], String::new()),
        (vec![other.address()], String::new()),
    ] {
        let upstream = Upstream::start();
        let (world, gate, mut holder, mut waiting) = start(&upstream, &places(1), 20);
        let endpoints = [vec![upstream.address()], endpoints].concat();
        world.configure(&plan(&endpoints, &lines));
        world.reload();
        for client in &mut waiting {
            assert_eq!(status(client), 200, "{lines}: {}", world.output());
        }
        assert_eq!(status(&mut ask(&world, "/public/new")), 200, "{lines}");
        gate.open();
        assert_eq!(status(&mut holder), 200);
    }
}

#[test]
fn what_waits_keeps_its_order_through_a_reload() {
    let upstream = Upstream::start();
    let (world, gate, mut holder, mut waiting) = start(&upstream, &places(1), 10);
    for round in 0..3 {
        let lines = format!("{}\nidle_connections = {}", places(1), 10 + round);
        world.configure(&plan(&[upstream.address()], &lines));
        world.reload();
        // Every worker looks once a second, and each finds nothing.
        std::thread::park_timeout(Duration::from_millis(600));
    }
    waiting.push(ask(&world, "/public/last"));
    assert!(eventually(|| world.metric("keyward_upstream_waiting", "") == 11.0));
    gate.open();
    for client in [&mut holder].into_iter().chain(&mut waiting) {
        assert_eq!(status(client), 200, "{}", world.output());
    }
    let numbered = (0..10).map(|number| format!("/public/{number}"));
    let expected: Vec<_> = ["/public/slow".to_owned()]
        .into_iter()
        .chain(numbered)
        .chain(["/public/last".to_owned()])
        .collect();
    assert_eq!(upstream.take().heads, expected);
}

#[test]
fn what_waits_for_an_upstream_that_a_reload_removes_is_served_by_it_in_turn() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let (world, gate, mut holder, mut waiting) = start(&upstream, &places(1), 5);
    let without = Plan::bare()
        .set("server", "workers", "2")
        .table(
            "upstream",
            &format!("name = \"other\"\nendpoints = [\"http://{}\"]", other.address()),
        )
        .route("path = \"/public/{*rest}\"\nupstream = \"other\"\npublic = true");
    world.configure(&without);
    world.reload();
    assert_eq!(status(&mut ask(&world, "/public/new")), 200);
    assert_eq!(other.take().heads, ["/public/new"]);
    // It comes back, and what waited since before still goes by the places of that time.
    world.configure(&plan(&[other.address()], &places(1)));
    world.reload();
    assert_eq!(status(&mut ask(&world, "/public/new")), 200);
    gate.open();
    for client in [&mut holder].into_iter().chain(&mut waiting) {
        assert_eq!(status(client), 200, "{}", world.output());
    }
}

/// An address that drains gets nothing from the queue, either.
#[test]
fn what_waits_goes_to_no_endpoint_that_a_reload_took_out() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let (world, gate, mut holder, mut waiting) = start(&old, &places(1), 5);
    world.configure(&plan(&[new.address()], &places(1)));
    world.reload();
    for client in &mut waiting {
        assert_eq!(status(client), 200, "{}", world.output());
    }
    assert_eq!((old.take().requests.len(), new.take().requests.len()), (1, 5));
    gate.open();
    assert_eq!(status(&mut holder), 200);
}

/// Nothing reads the body of a request that waits; the client is looked for all the same.
#[test]
fn a_client_that_goes_while_its_upload_waits_leaves_the_queue() {
    let upstream = Upstream::start();
    let (world, gate, mut holder, _) = start(&upstream, &places(1), 0);
    let post = |length: usize, sent: usize| {
        let mut client = world.client();
        let head =
            format!("POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send([head.into_bytes(), vec![b'x'; sent]].concat());
        assert!(eventually(|| world.metric("keyward_upstream_waiting", "") == 1.0));
        client
    };
    let is_left = || eventually(|| world.metric("keyward_upstream_waiting", "") == 0.0);
    // One that has sent all, and one that has not.
    for length in [1000, 2000] {
        let mut finished = post(length, 1000);
        finished.finish();
        assert!(is_left(), "{}", world.output());
        assert_eq!(finished.final_response("POST").expect("an answer").0.status, 503);
    }
    for sent in [1000, 200_000] {
        post(1_000_000, sent).reset();
        assert!(is_left(), "{sent}: {}", world.output());
    }
    let mut stays = post(1000, 1000);
    gate.open();
    assert_eq!(stays.final_response("POST").expect("an answer").0.status, 200);
    assert_eq!(status(&mut holder), 200);
    assert_eq!(upstream.take().requests.last().map(|request| request.body.len()), Some(1000));
}
