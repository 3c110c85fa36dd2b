//! Several endpoints of one upstream: which one is asked, and what becomes of a request that one
//! fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Act, ClosedPort, Gate, Plan, Reply, Upstream, World, eventually, lateness};

/// A world with one worker and a public route to these endpoints; `lines`: more keys of the
/// upstream.
fn plan(endpoints: &[SocketAddr], lines: &str) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    plan_of(&listed.join(", "), lines)
}

fn plan_of(endpoints: &str, lines: &str) -> Plan {
    Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &format!("name = \"app\"\nendpoints = [{endpoints}]\n{lines}"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn get(world: &World) -> u16 {
    world.ask("GET", "/public/x", "", "").status
}

fn requests(upstream: &Upstream) -> usize {
    upstream.take().requests.len()
}

/// GETs from several clients at once until `done` is set; how many did not get 200.
fn load(world: &World, clients: usize, done: &AtomicBool) -> (usize, usize) {
    let (sent, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    sent.fetch_add(1, Ordering::SeqCst);
                    if get(world) != 200 {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                    std::thread::park_timeout(Duration::from_millis(2));
                }
            });
        }
    });
    (sent.into_inner(), failed.into_inner())
}

#[test]
fn requests_are_shared_out_by_the_weights_of_the_endpoints() {
    let (one, two) = (Upstream::start(), Upstream::start());
    for balance in ["round_robin", "least_requests"] {
        let endpoints = format!(
            "\"http://{}\", {{ url = \"http://{}\", weight = 3 }}",
            one.address(),
            two.address()
        );
        let world = plan_of(&endpoints, &format!("balance = \"{balance}\"")).start();
        (0..200).for_each(|_| assert_eq!(get(&world), 200));
        let shares = (requests(&one), requests(&two));
        assert_eq!(shares.0 + shares.1, 200);
        assert!((30..75).contains(&shares.0), "{balance}: {shares:?}");
    }
}

#[test]
fn an_endpoint_that_drains_gets_no_request() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let endpoints = format!(
        "\"http://{}\", {{ url = \"http://{}\", draining = true }}",
        one.address(),
        two.address()
    );
    let world = plan_of(&endpoints, "").start();
    (0..20).for_each(|_| assert_eq!(get(&world), 200));
    assert_eq!((requests(&one), requests(&two)), (20, 0));
}

#[test]
fn a_value_of_the_header_keeps_its_endpoint_and_moves_only_when_that_one_leaves() {
    let upstreams = [Upstream::start(), Upstream::start(), Upstream::start()];
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let hash = "balance = \"hash\"\nhash_by = \"header:X-Session\"";
    let world = plan(&addresses, hash).start();
    let served_by = |session: usize| {
        let response = world.ask("GET", "/public/x", &format!("X-Session: {session}\r\n"), "");
        assert_eq!(response.status, 200);
        let took: Vec<_> = upstreams.iter().map(|each| requests(each) > 0).collect();
        took.iter().position(|took| *took).expect("one took it")
    };
    let before: Vec<_> = (0..30).map(served_by).collect();
    assert_eq!((0..30).map(served_by).collect::<Vec<_>>(), before, "each keeps its own");
    assert!((0..3).all(|at| before.contains(&at)), "all are used: {before:?}");
    world.configure(&plan(&addresses[1..], hash));
    world.reload();
    for (session, at) in before.iter().enumerate().filter(|(_, at)| **at != 0) {
        assert_eq!(served_by(session), *at, "session {session} stays");
    }
}

#[test]
fn an_endpoint_that_dies_under_load_fails_no_get_and_returns_without_a_burst() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let world = plan(
        &[one.address(), two.address()],
        "ejection = { failures = 2, for = \"500ms\", slow_return = \"3s\" }",
    )
    .set("server", "workers", "2")
    .start();
    let (died, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut early, mut late) = ((0, 0), (0, 0));
    let (sent, failed) = std::thread::scope(|scope| {
        let script = scope.spawn(|| {
            assert!(two.wait_until(|log| log.requests.len() > 20));
            let closed = two.close();
            died.store(true, Ordering::SeqCst);
            let ejected = || world.metric("keyward_upstream_ejections_total", "") > 0.0;
            assert!(eventually(ejected), "it is left out:\n{}", world.output());
            let two = closed.listen();
            assert!(two.wait_until(|log| !log.requests.is_empty()), "it is asked again");
            let begun = Instant::now();
            requests(&one);
            while begun.elapsed() < Duration::from_millis(600) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            early = (requests(&one), requests(&two));
            while begun.elapsed() < Duration::from_millis(3500) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            requests(&one);
            requests(&two);
            assert!(one.wait_until(|log| log.requests.len() > 100));
            late = (requests(&one), requests(&two));
            done.store(true, Ordering::SeqCst);
        });
        let counts = load(&world, 8, &done);
        script.join().expect("the script ends");
        counts
    });
    assert!(died.load(Ordering::SeqCst) && sent > 100);
    assert_eq!(failed, 0, "of {sent} requests");
    assert!(early.1 * 4 < early.0, "a small share at first: {early:?}");
    assert!(late.1 * 2 > late.0, "its whole share in the end: {late:?}");
}

#[test]
fn a_get_whose_endpoint_breaks_off_or_answers_garbage_is_served_by_another() {
    let (bad, good) = (Upstream::start(), Upstream::start());
    for (answer, what) in [
        (Reply::acts([Act::Close]), "closes"),
        (Reply::acts([Act::Reset]), "resets"),
        (Reply::bytes("220 smtp.example ESMTP\r\n\r\n"), "speaks another protocol"),
        (Reply::bytes("HTTP/1.1 200 OK\r\nContent-Le").then(Act::Close), "stops in its head"),
    ] {
        bad.answer("/public/x", answer);
        let world = plan(&[bad.address(), good.address()], "ejection = { failures = 0 }").start();
        for _ in 0..10 {
            assert_eq!(get(&world), 200, "an endpoint that {what}");
        }
        assert!(requests(&bad) >= 5, "it is asked each time, as none is left out");
        assert!(world.metric("keyward_upstream_retries_total", "upstream=\"app\"") >= 5.0);
    }
}

#[test]
fn a_post_that_had_begun_is_not_sent_again_and_one_that_had_not_is_served_by_another() {
    let (bad, good) = (Upstream::start(), Upstream::start());
    bad.answer("/public/x", Reply::acts([Act::Close]));
    let world = plan(&[bad.address(), good.address()], "ejection = { failures = 0 }").start();
    let statuses: Vec<_> =
        (0..10).map(|_| world.ask("POST", "/public/x", "", "hello").status).collect();
    assert_eq!(requests(&bad) + requests(&good), 10, "each once: {statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 5, "{statuses:?}");
    let _closed = bad.close();
    for _ in 0..10 {
        assert_eq!(world.ask("POST", "/public/x", "", "hello").status, 200, "it is refused");
    }
}

#[test]
fn an_upstream_that_fails_all_gets_no_more_retries_than_the_budget() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let world =
        plan(&addresses, "ejection = { failures = 0 }\nretries = { budget = 20, floor = 0 }")
            .set("server", "workers", "1")
            .start();
    (0..50).for_each(|_| assert_eq!(get(&world), 200));
    for upstream in &upstreams {
        upstream.answer("/public/x", Reply::acts([Act::Reset]));
        upstream.take();
    }
    (0..50).for_each(|_| assert_eq!(get(&world), 502));
    let sent = requests(&upstreams[0]) + requests(&upstreams[1]);
    assert!((52..=72).contains(&sent), "{sent} for 50 requests after 50 good ones");
}

#[test]
fn a_status_that_is_configured_sends_a_get_to_another_endpoint_and_no_post() {
    let (bad, good) = (Upstream::start(), Upstream::start());
    bad.answer("/public/x", Reply::bytes("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"));
    let world = plan(
        &[bad.address(), good.address()],
        "ejection = { failures = 0 }\nretries = { statuses = [503] }",
    )
    .start();
    (0..10).for_each(|_| assert_eq!(get(&world), 200));
    let statuses: Vec<_> =
        (0..10).map(|_| world.ask("POST", "/public/x", "", "hello").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 5, "{statuses:?}");
    let _closed = good.close();
    for _ in 0..4 {
        assert_eq!(get(&world), 503, "what the upstream said, if no other endpoint says better");
    }
}

#[test]
fn an_endpoint_that_is_silent_is_left_out_and_where_all_are_out_all_are_tried() {
    let (silent, good) = (Upstream::start(), Upstream::start());
    let gate = Gate::default();
    silent.answer("/public/x", Reply::acts([Act::Wait(gate.clone())]));
    let world = plan(
        &[silent.address(), good.address()],
        "ejection = { failures = 2, for = \"1h\", longest = \"1h\" }",
    )
    .set("timeouts", "response_head", "\"300ms\"")
    .start();
    let mut statuses = Vec::new();
    while world.metric("keyward_upstream_endpoint_ejected", "") == 0.0 {
        statuses.push(get(&world));
        assert!(statuses.len() < 20, "{statuses:?}");
    }
    assert!(statuses.iter().all(|status| matches!(status, 200 | 504)), "{statuses:?}");
    (0..10).for_each(|_| assert_eq!(get(&world), 200));
    gate.open();
    let _closed = (silent.close(), good.close());
    assert_eq!(get(&world), 502, "all are tried, and none takes a connection");
}

#[test]
fn an_endpoint_that_takes_no_connection_is_no_loss() {
    let good = Upstream::start();
    let closed = [ClosedPort::reserve(), ClosedPort::reserve()];
    let endpoints = [closed[0].address(), good.address(), closed[1].address()];
    let world = plan(&endpoints, "").start();
    for _ in 0..30 {
        assert_eq!(get(&world), 200);
        assert_eq!(world.ask("POST", "/public/x", "", "hello").status, 200);
    }
    assert_eq!(requests(&good), 60);
}

#[test]
fn what_is_under_way_at_an_endpoint_that_a_reload_takes_out_goes_on_and_nothing_new_goes_there() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec();
    let slow = [Act::Send(answer), Act::Wait(gate.clone()), Act::Send(b"old".to_vec())];
    old.answer("/public/slow", Reply::acts(slow));
    let world = plan(&[old.address()], "").start();
    assert_eq!(get(&world), 200, "a connection is idle afterwards");
    let mut client = world.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(old.wait_until(|log| log.requests.len() == 2));
    world.configure(&plan(&[new.address()], ""));
    world.reload();
    old.take();
    (0..10).for_each(|_| assert_eq!(get(&world), 200));
    assert_eq!((requests(&old), requests(&new)), (0, 10));
    assert!(eventually(|| old.open_connections() == 1), "what was idle is closed");
    gate.open();
    let (response, _) = client.final_response("GET").expect("a response");
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
    assert!(eventually(|| old.open_connections() == 0), "it is not kept");
}

#[test]
fn no_more_than_max_requests_are_under_way_and_the_queue_is_served_in_turn_or_refused() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
    let lines = "max_requests = 2\nqueue = 1\nqueue_timeout = \"20s\"";
    let world = plan(&[upstream.address()], lines).start();
    let ask = || {
        let mut client = world.client();
        client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client
    };
    let mut clients = vec![ask(), ask()];
    assert!(upstream.wait_until(|log| log.requests.len() == 2));
    clients.push(ask());
    assert!(eventually(|| world.metric("keyward_upstream_waiting", "upstream=\"app\"") == 1.0));
    let refused = world.ask("GET", "/public/refused", "", "");
    assert_eq!(refused.status, 503);
    assert!(refused.fields.one("retry-after").is_some(), "{refused}");
    let line = world.access_line("/public/refused");
    assert_eq!(line["refusal"], "upstream_busy");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("queue is full")), "{line}");
    assert_eq!(requests(&upstream), 2, "the third waits");
    gate.open();
    for client in &mut clients {
        let (response, _) = client.final_response("GET").expect("a response");
        assert_eq!(response.status, 200);
    }
    assert_eq!(requests(&upstream), 1);
    assert_eq!(world.ask("GET", "/public/later", "", "").status, 200, "the places are free again");
}

#[test]
fn the_time_in_the_queue_is_not_that_of_the_upstream_or_the_client() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec();
    let acts = [Act::Send(head), Act::Wait(gate.clone()), Act::Send(b"ok".to_vec())];
    upstream.answer("/public/slow", Reply::acts(acts));
    let lines = "max_requests = 1\nqueue = 5\nqueue_timeout = \"20s\"";
    let mut plan = plan(&[upstream.address()], lines);
    for key in ["response_head", "request_body"] {
        plan = plan.set("timeouts", key, "\"300ms\"");
    }
    let world = plan.start();
    let ask = |request: &str| {
        let mut client = world.client();
        client.send(format!("{request}Connection: close\r\n\r\nabc"));
        client
    };
    let mut first = world.client();
    first.send("GET /public/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(upstream.wait_until(|log| log.requests.len() == 1));
    let mut clients = [
        ("GET", ask("GET /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n")),
        ("POST", ask("POST /public/b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n")),
    ];
    assert!(eventually(|| world.metric("keyward_upstream_waiting", "upstream=\"app\"") == 2.0));
    lateness::pass(Duration::from_millis(600));
    gate.open();
    for (method, client) in &mut clients {
        let (response, _) = client.final_response(method).expect("a response");
        assert_eq!(response.status, 200, "{method}");
    }
}

#[test]
fn a_request_waits_in_the_queue_no_longer_than_its_deadline() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone())]));
    let lines = "max_requests = 1\nqueue = 5\nqueue_timeout = \"300ms\"";
    let world = plan(&[upstream.address()], lines).start();
    let mut client = world.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(upstream.wait_until(|log| log.requests.len() == 1));
    let begun = Instant::now();
    assert_eq!(get(&world), 503);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // A client that leaves gives its place back.
    client.reset();
    assert!(eventually(|| get(&world) == 200));
    gate.open();
}
