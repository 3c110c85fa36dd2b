//! A circuit: while all endpoints of an upstream fail, requests are answered at once, and single
//! ones try whether it is back.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{
    Act, ClosedPort, Gate, Plan, Reply, Response, Upstream, World, eventually, lateness,
};

/// An upstream of these endpoints with a circuit; `lines`: more keys.
fn plan(endpoints: &[SocketAddr], lines: &str) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let listed = listed.join(", ");
    Plan::bare()
        .set("server", "workers", "1")
        .table(
            "upstream",
            &format!("name = \"app\"\nendpoints = [{listed}]\ncircuit = true\n{lines}"),
        )
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn get(world: &World) -> Response {
    world.ask("GET", "/public/x", "", "")
}

#[test]
fn while_the_only_endpoint_is_out_requests_get_503_at_once_with_the_time_that_is_left() {
    let closed = ClosedPort::reserve();
    let lines = "ejection = { failures = 3, for = \"30s\" }";
    let world = plan(&[closed.address()], lines).start();
    let statuses: Vec<_> = (0..3).map(|_| get(&world).status).collect();
    assert_eq!(statuses, [502; 3]);
    let upstream = closed.listen();
    let refused = world.ask("POST", "/public/refused", "", "hello");
    assert_eq!(refused.status, 503);
    let seconds: u64 = refused.fields.one("retry-after").expect("one").parse().expect("seconds");
    assert!((20..=30).contains(&seconds), "{seconds}");
    let line = world.access_line("/public/refused");
    assert_eq!(line["refusal"], "circuit_open");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("circuit")), "{line}");
    assert!(world.metric("keyward_refusals_total", "reason=\"circuit_open\"") >= 1.0);
    assert_eq!(upstream.take().requests.len(), 0);
}

#[test]
fn a_circuit_opens_only_when_all_endpoints_are_out() {
    let (one, two) = (ClosedPort::reserve(), ClosedPort::reserve());
    let lines = "ejection = { failures = 1, for = \"1h\", longest = \"1h\" }";
    let world = plan(&[one.address(), two.address()], lines).start();
    let upstream = two.listen();
    for _ in 0..10 {
        assert_eq!(get(&world).status, 200);
    }
    assert_eq!(world.metric("keyward_upstream_endpoint_ejected", ""), 1.0);
    let _closed = upstream.close();
    assert!(eventually(|| get(&world).status == 503), "{}", world.output());
    assert_eq!(world.metric("keyward_upstream_endpoint_ejected", ""), 2.0);
}

#[test]
fn a_single_request_tries_an_endpoint_and_the_others_are_refused_until_it_has_answered() {
    let closed = ClosedPort::reserve();
    let lines = "ejection = { failures = 1, for = \"300ms\", slow_return = \"0s\" }";
    let world = plan(&[closed.address()], lines).start();
    assert_eq!(get(&world).status, 502);
    let gate = Gate::default();
    let upstream = closed.listen();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    upstream.answer("/public/x", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
    std::thread::scope(|scope| {
        let asked = || eventually(|| get(&world).status == 200);
        let first = scope.spawn(asked);
        assert!(upstream.wait_until(|log| log.requests.len() == 1), "{}", world.output());
        for _ in 0..20 {
            assert_eq!(world.ask("GET", "/public/other", "", "").status, 503);
        }
        assert_eq!(upstream.take().heads, ["/public/x"], "one alone");
        gate.open();
        assert!(first.join().expect("it ends"));
    });
    for _ in 0..20 {
        assert_eq!(world.ask("GET", "/public/other", "", "").status, 200, "it is back");
    }
}

#[test]
fn one_that_fails_again_is_out_for_twice_as_long_after_a_single_request() {
    let upstream = Upstream::start();
    upstream.answer("/public/x", Reply::acts([Act::Reset]));
    let lines = "ejection = { failures = 2, for = \"400ms\", slow_return = \"0s\" }";
    let world = plan(&[upstream.address()], lines).start();
    let post = || world.ask("POST", "/public/x", "", "hello").status;
    assert_eq!([post(), post()], [502; 2]);
    upstream.take();
    let mut refused = 0;
    assert!(eventually(|| {
        let status = post();
        refused += usize::from(status == 503);
        status == 502
    }));
    assert!(refused > 0);
    assert_eq!(post(), 503, "at once");
    assert_eq!(upstream.take().requests.len(), 1);
    assert_eq!(world.metric("keyward_upstream_ejections_total", ""), 2.0);
}

#[test]
fn where_health_checks_fail_at_all_endpoints_the_circuit_is_open_and_closes_with_them() {
    let upstream = Upstream::start();
    upstream.answer("/health", Reply::bytes("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"));
    let check = "health_check = { path = \"/health\", interval = \"100ms\", healthy_after = 1, \
                 unhealthy_after = 1 }\nejection.slow_return = \"0s\"";
    let world = plan(&[upstream.address()], check).start();
    assert!(eventually(|| get(&world).status == 503), "{}", world.output());
    upstream.answer("/health", Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(eventually(|| get(&world).status == 200), "{}", world.output());
}

#[test]
fn what_waits_in_the_queue_is_answered_when_the_circuit_opens() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone()), Act::Reset]));
    let lines = "max_requests = 1\nqueue = 5\nqueue_timeout = \"1h\"\n\
                 ejection = { failures = 1, for = \"1h\", longest = \"1h\" }";
    let world = plan(&[upstream.address()], lines).start();
    let ask = |method: &str| {
        let mut client = world.client();
        client.send(format!("{method} /public/slow HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let mut first = ask("GET");
    assert!(upstream.wait_until(|log| log.requests.len() == 1));
    let mut waiting = [ask("GET"), ask("GET"), ask("GET")];
    assert!(eventually(|| world.metric("keyward_upstream_waiting", "") == 3.0));
    gate.open();
    assert_eq!(first.final_response("GET").expect("a response").0.status, 502);
    for client in &mut waiting {
        assert_eq!(client.final_response("GET").expect("a response").0.status, 503);
    }
}

#[test]
fn an_ejection_ends_with_a_reload_that_ejects_none() {
    let (one, two) = (ClosedPort::reserve(), ClosedPort::reserve());
    let endpoints = [one.address(), two.address()];
    let lines = |failures: u32| {
        format!("ejection = {{ failures = {failures}, for = \"1h\", longest = \"1h\" }}")
    };
    let check = "health_check = { path = \"/health\" }";
    let plan_of = |failures| plan(&endpoints, &format!("{}\n{check}", lines(failures)));
    let world = plan_of(1).start();
    assert!(eventually(|| get(&world).status == 503), "{}", world.output());
    let _upstreams = [one.listen(), two.listen()];
    world.configure(&plan_of(0));
    world.reload();
    assert_eq!(world.metric("keyward_upstream_endpoint_ejected", ""), 0.0);
    assert!(eventually(|| get(&world).status == 200), "{}", world.output());
}

#[test]
fn requests_that_are_refused_at_once_do_not_wait_for_the_connection() {
    // A listener whose backlog is full takes no connection and refuses none.
    let listener = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("it listens");
    let address = listener.local_addr().expect("an address").as_socket().expect("an address");
    let fillers: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    let lines = "ejection = { failures = 1, for = \"1h\", longest = \"1h\" }";
    let world = plan(&[address], lines).set("timeouts", "connect", "\"1s\"").start();
    assert_eq!(get(&world).status, 502);
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(get(&world).status, 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "not a second for each");
    drop(fillers);
    lateness::pass(Duration::from_millis(1));
}

#[test]
fn a_process_that_takes_over_leaves_out_what_the_one_before_has_left_out() {
    let closed = ClosedPort::reserve();
    let lines = "ejection = { failures = 3, for = \"1h\", longest = \"1h\" }";
    let world = plan(&[closed.address()], lines).start();
    let statuses: Vec<_> = (0..4).map(|_| get(&world).status).collect();
    assert_eq!(statuses, [502, 502, 502, 503]);
    world.take_over();
    let upstream = closed.listen();
    let refused = get(&world);
    assert_eq!(refused.status, 503);
    let seconds: u64 = refused.fields.one("retry-after").expect("one").parse().expect("seconds");
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    assert_eq!(upstream.take().requests.len(), 0);
}
