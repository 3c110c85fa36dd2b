//! Idle connections to upstreams: none is used that the upstream may be closing.

use std::time::{Duration, Instant};

use crate::support::{Plan, Reply, Upstream, World};

/// Waits until a moment: how long a connection is idle is what these tests are about.
fn wait_until(moment: Instant) {
    while let Some(left) =
        moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

/// A POST, which is not sent again when its connection turns out to be closed.
#[track_caller]
fn post(world: &World, pause: Duration) {
    let response = world.ask("POST", "/public/x", "", "hello");
    assert_eq!(response.status, 200, "behind a pause of {pause:?}: {response}");
}

/// Sends two requests with a pause between them, and says whether they came on one connection;
/// nothing, if this machine was so late that it may be either.
#[track_caller]
fn is_shared(world: &World, upstream: &Upstream, pause: Duration, limit: Duration) -> Option<bool> {
    upstream.take();
    let began = Instant::now();
    post(world, pause);
    wait_until(Instant::now() + pause);
    post(world, pause);
    let took = began.elapsed();
    let connections: Vec<_> =
        upstream.take().requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections.len(), 2, "each request once");
    (pause >= limit || took < limit).then(|| connections[0] == connections[1])
}

/// FIELD.md, F18: what the upstream announces, less a second.
#[test]
fn a_connection_is_not_used_for_longer_than_its_upstream_announces_less_a_second() {
    let upstream = Upstream::closing_after(Duration::from_secs(2));
    let answer = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2, max=100\r\nContent-Length: 2\r\n\r\nok";
    upstream.answer("/public/x", Reply::bytes(answer));
    let world = Plan::usual(&upstream).set("server", "workers", "1").start();
    let limit = Duration::from_secs(1);
    let shared = |millis| is_shared(&world, &upstream, Duration::from_millis(millis), limit);
    for millis in [0, 100] {
        assert_ne!(shared(millis), Some(false), "a connection is used again after {millis} ms");
    }
    for millis in [1000, 1500, 1900, 2000, 2050, 2500] {
        assert_eq!(shared(millis), Some(false), "a connection is not used again after {millis} ms");
    }
}

/// FIELD.md, F26.
#[test]
fn a_connection_is_not_used_for_longer_than_idle_timeout() {
    let upstream = Upstream::start();
    let endpoint = format!("name = \"app\"\nendpoints = [\"http://{}\"]", upstream.address());
    let world = Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &format!("{endpoint}\nidle_timeout = \"600ms\""))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let limit = Duration::from_millis(600);
    let shared = |millis| is_shared(&world, &upstream, Duration::from_millis(millis), limit);
    assert_ne!(shared(0), Some(false), "a connection is used again at once");
    for millis in [600, 650, 900, 1500] {
        assert_eq!(shared(millis), Some(false), "a connection is not used again after {millis} ms");
    }
}
