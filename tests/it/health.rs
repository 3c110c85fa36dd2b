//! Health checks: endpoints are asked whether they are well, and get requests only if they are.

use std::net::SocketAddr;

use crate::support::http2_upstream::Http2Upstream;
use crate::support::{Act, Gate, Plan, Reply, Upstream, World, eventually};

const WELL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";

fn plan(endpoints: &[SocketAddr], check: &str) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let check = format!(
        "health_check = {{ path = \"/health?deep=1\", interval = \"100ms\", timeout = \"500ms\", \
         healthy_after = 2, unhealthy_after = 2{check} }}"
    );
    Plan::bare()
        .set("server", "workers", "1")
        .table(
            "upstream",
            &format!(
                "name = \"app\"\nendpoints = [{}]\n{check}\nejection.slow_return = \"0s\"",
                listed.join(", ")
            ),
        )
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

/// Whether an endpoint gets requests, as the metrics say.
fn is_up(world: &World, upstream: &Upstream) -> bool {
    let labels = format!("endpoint=\"{}\"", upstream.address());
    world.metric("keyward_upstream_endpoint_up", &labels) == 1.0
}

/// How many of these requests came to an upstream that were no checks.
fn asked(world: &World, upstream: &Upstream) -> usize {
    upstream.take();
    for _ in 0..10 {
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
    upstream.take().heads.iter().filter(|target| *target == "/public/x").count()
}

#[test]
fn an_endpoint_gets_requests_only_while_its_checks_succeed() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let world = plan(&[one.address(), two.address()], "").start();
    assert!(two.wait_until(|log| log.heads.iter().any(|target| target == "/health?deep=1")));
    assert_eq!(asked(&world, &two), 5, "an endpoint that is well gets its share");
    two.answer("/health", Reply::bytes(UNWELL));
    assert!(eventually(|| !is_up(&world, &two)), "{}", world.output());
    assert!(is_up(&world, &one));
    assert_eq!(asked(&world, &two), 0);
    two.answer("/health", Reply::bytes(WELL));
    assert!(eventually(|| is_up(&world, &two)), "{}", world.output());
    assert!(asked(&world, &two) > 0);
    assert!(world.output().contains("health checks fail"), "it is logged");
}

#[test]
fn where_no_endpoint_is_well_all_are_tried() {
    let (one, two) = (Upstream::start(), Upstream::start());
    for upstream in [&one, &two] {
        upstream.answer("/health", Reply::bytes(UNWELL));
    }
    let world = plan(&[one.address(), two.address()], "").start();
    assert!(eventually(|| !is_up(&world, &one) && !is_up(&world, &two)));
    assert_eq!(asked(&world, &one), 5);
}

#[test]
fn checks_come_once_per_process_whatever_the_number_of_workers() {
    let upstream = Upstream::start();
    let check = ", statuses = [204]";
    let world = plan(&[upstream.address()], check).set("server", "workers", "4").start();
    // Another status than the one that is configured is a failure.
    assert!(eventually(|| !is_up(&world, &upstream)));
    upstream.answer("/health", Reply::bytes("HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(eventually(|| is_up(&world, &upstream)));
    upstream.take();
    let begun = std::time::Instant::now();
    assert!(upstream.wait_until(|log| log.heads.len() >= 10));
    assert!(begun.elapsed() >= std::time::Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn a_reload_begins_checks_and_keeps_what_they_have_found() {
    let (one, two) = (Upstream::start(), Upstream::start());
    two.answer("/health", Reply::bytes(UNWELL));
    let addresses = [one.address(), two.address()];
    let world = Plan::usual(&one).start();
    world.configure(&plan(&addresses, ""));
    world.reload();
    assert!(eventually(|| !is_up(&world, &two)), "{}", world.output());
    world.configure(&plan(&addresses, "").set("limits", "headers", "99"));
    world.reload();
    assert!(!is_up(&world, &two), "it stays out");
    assert_eq!(asked(&world, &two), 0);
}

/// A second endpoint that is up and not ready: it answers checks and requests with 503.
fn not_ready() -> Upstream {
    let upstream = Upstream::start();
    for path in ["/health", "/public/x"] {
        upstream.answer(path, Reply::of("503 Not Ready", "", "not ready"));
    }
    upstream
}

/// Checks that come seldom, and a failure of which has to be seen several times.
fn seldom(endpoints: &[SocketAddr]) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let lines = format!(
        "name = \"app\"\nendpoints = [{}]\nretries.budget = 0\nretries.floor = 0\n\
         health_check = {{ path = \"/health\", interval = \"1h\", unhealthy_after = 3 }}",
        listed.join(", ")
    );
    Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &lines)
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

#[track_caller]
fn all_are_answered(world: &World) {
    let statuses: Vec<_> = (0..20).map(|_| world.ask("GET", "/public/x", "", "").status).collect();
    assert_eq!(statuses, [200; 20], "{}", world.output());
}

#[test]
fn a_start_knows_which_endpoints_are_unwell_before_it_serves() {
    let (one, two) = (Upstream::start(), not_ready());
    let world = seldom(&[one.address(), two.address()]).start();
    all_are_answered(&world);
    assert!(!is_up(&world, &two));
    assert!(world.output().contains("health checks fail"), "it is logged");
}

#[test]
fn a_process_that_takes_over_knows_which_endpoints_are_unwell_before_it_serves() {
    let (one, two) = (Upstream::start(), not_ready());
    let world = seldom(&[one.address(), two.address()]).start();
    world.take_over();
    all_are_answered(&world);
}

#[test]
fn an_endpoint_that_answers_no_check_does_not_hold_a_start_up_for_long() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let gate = Gate::default();
    two.answer("/health", Reply::acts([Act::Wait(gate.clone())]));
    let begun = std::time::Instant::now();
    let world = seldom(&[one.address(), two.address()]).start();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(eventually(|| !is_up(&world, &two)), "{}", world.output());
    gate.open();
}

#[test]
fn an_endpoint_that_a_reload_adds_to_others_gets_no_request_before_it_is_checked() {
    let (one, two, three) = (Upstream::start(), not_ready(), Upstream::start());
    let gate = Gate::default();
    let well = Act::Send(WELL.as_bytes().to_vec());
    three.answer("/health", Reply::acts([Act::Wait(gate.clone()), well]));
    let world = seldom(&[one.address()]).start();
    world.configure(&seldom(&[one.address(), two.address(), three.address()]));
    world.reload();
    all_are_answered(&world);
    assert!(two.wait_until(|log| log.heads == ["/health"]));
    all_are_answered(&world);
    assert_eq!(
        (two.take().heads, three.take().heads),
        (vec!["/health".into()], vec!["/health".into()])
    );
    gate.open();
    assert!(eventually(|| {
        all_are_answered(&world);
        three.take().heads.iter().any(|target| target == "/public/x")
    }));
}

#[test]
fn other_times_of_checks_count_from_a_reload_on() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/health", Reply::acts([Act::Wait(gate.clone())]));
    let plan_of = |interval: &str, timeout: &str| {
        Plan::bare()
            .table(
                "upstream",
                &format!(
                    "name = \"app\"\nendpoints = [\"http://{}\"]\nhealth_check = {{ path = \
                     \"/health\", interval = {interval:?}, timeout = {timeout:?} }}",
                    upstream.address()
                ),
            )
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
    };
    // The first check neither ends nor is repeated.
    let world = plan_of("1h", "1h").start();
    assert!(upstream.wait_until(|log| log.heads == ["/health"]));
    world.configure(&plan_of("100ms", "100ms"));
    world.reload();
    assert!(upstream.wait_until(|log| log.heads.len() >= 4), "{}", world.output());
    gate.open();
}

#[test]
fn a_check_has_the_host_that_is_configured_and_else_that_of_the_endpoint() {
    for (line, expected) in [("", None), (", host = \"app.example.com\"", Some("app.example.com"))]
    {
        let upstream = Upstream::start();
        let _world = plan(&[upstream.address()], line).start();
        assert!(upstream.wait_until(|log| !log.requests.is_empty()));
        let checks = upstream.take().requests;
        let address = upstream.address().to_string();
        let host = checks[0].fields.one("host");
        assert_eq!(host.as_deref(), Some(expected.unwrap_or(&address)));
        let http2 = Http2Upstream::start(10);
        let lines = format!(
            "name = \"app\"\nendpoints = [\"http://{}\"]\nprotocol = \"http2\"\n\
             health_check = {{ path = \"/health\"{line} }}",
            http2.address()
        );
        let route = "path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true";
        let _world = Plan::bare().table("upstream", &lines).route(route).start();
        assert!(eventually(|| !http2.arrivals().is_empty()));
        let address = http2.address().to_string();
        assert_eq!(http2.arrivals()[0].host, expected.unwrap_or(&address));
    }
}
