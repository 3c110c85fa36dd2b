//! The listener of probes and metrics.

use super::*;

#[test]
fn livez_answers_whatever_the_store_says() {
    let world = World::start();
    *world.status.reasons.lock().expect("lock") = vec![NotReady::StoreUnavailable("gone".into())];
    world.status.hangs.store(true, Ordering::SeqCst);
    let answer = world.probe(&get("/livez?verbose"));
    assert_eq!(status_of(&answer), "200");
    assert_eq!(body_of(&answer), r#"{"status":"alive"}"#);
}

#[test]
fn readyz_names_every_reason() {
    let world = World::start();
    assert_eq!(status_of(&world.probe(&get("/readyz"))), "200");
    *world.status.reasons.lock().expect("lock") =
        vec![NotReady::Starting, NotReady::Draining, NotReady::StoreUnavailable("no room".into())];
    let answer = world.probe(&get("/readyz"));
    assert_eq!(status_of(&answer), "503");
    assert!(answer.to_ascii_lowercase().contains("cache-control: no-store"), "{answer}");
    assert_eq!(
        body_of(&answer),
        r#"{"status":"not ready","reasons":["starting","draining","store unavailable: no room"]}"#
    );
    let reasons = runtime().block_on(probe_readiness(world.probes)).expect("answered");
    assert_eq!(reasons, ["starting", "draining", "store unavailable: no room"]);
}

#[test]
fn a_readiness_that_is_not_known_in_time_is_a_no() {
    let world = World::start();
    world.status.hangs.store(true, Ordering::SeqCst);
    let answer = world.probe(&get("/readyz"));
    assert_eq!(status_of(&answer), "503");
    assert!(body_of(&answer).contains("no answer within 3 s"), "{answer}");
}

#[test]
fn startupz_healthz_and_metrics_say_what_the_status_says() {
    let world = World::start();
    assert_eq!(status_of(&world.probe(&get("/startupz"))), "503");
    world.status.started.store(true, Ordering::SeqCst);
    assert_eq!(status_of(&world.probe(&get("/startupz"))), "200");

    *world.status.components.lock().expect("lock") =
        vec![Component::well("store"), Component::degraded("upstream app", "1 of 2 endpoints")];
    let answer = world.probe(&get("/healthz"));
    assert_eq!(status_of(&answer), "200");
    assert_eq!(
        body_of(&answer),
        r#"{"status":"degraded","components":[{"name":"store","state":"ok"},{"name":"upstream app","state":"degraded","reason":"1 of 2 endpoints"}]}"#
    );
    world.status.components.lock().expect("lock").push(Component::failed("keys", "unreadable"));
    assert_eq!(status_of(&world.probe(&get("/healthz"))), "503");

    let answer = world.probe(&get("/metrics"));
    assert!(
        answer.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4\r\n"),
        "{answer}"
    );
    assert!(body_of(&answer).ends_with("keyward_up 1\n"));
}

#[test]
fn the_probe_listener_takes_only_get_and_head_and_no_body() {
    let world = World::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = world
            .probe(&format!("{method} /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!(status_of(&answer), "405", "{method}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let answer = world.probe("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((status_of(&answer), body_of(&answer)), ("200", ""));
    for path in ["/", "/v1/tokens", "/metrics/", "/LIVEZ", "/livez/x"] {
        assert_eq!(status_of(&world.probe(&get(path))), "404", "{path}");
    }
    // Not asked to close, but it does: the body was not read.
    let answer = world.probe("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(status_of(&answer), "413");
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024));
    assert_eq!(status_of(&world.probe(&long)), "431");
}

#[test]
fn half_a_head_is_not_waited_for_for_ever() {
    let world = World::start();
    let mut stream = std::net::TcpStream::connect(world.probes).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    stream.write_all(b"GET /livez HT").expect("sent");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed by keyward before the read times out");
}
