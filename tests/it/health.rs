//! Health checks: endpoints are asked whether they are well, and get requests only if they are.

use std::net::SocketAddr;

use crate::support::{Plan, Reply, Upstream, World, eventually};

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
