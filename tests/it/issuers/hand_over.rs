//! A hand-over while keys are fetched: the process that takes over serves when it has them.

use serde_json::json;

use crate::outside_jwts::forge::{document, key_set};
use crate::support::{Act, Gate, Reply, Upstream, eventually};

use super::{keys_of, with, world};

#[test]
fn a_process_that_takes_over_serves_once_it_has_the_keys_and_the_old_one_serves_until_then() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let world = world(&upstream, &id, &key_set());
    let token = with(json!({}));
    let status = || world.get_with("/outside/x", &token).status;
    assert_eq!(status(), 200);
    let gate = Gate::default();
    let keys = String::from_utf8(document(&key_set())).expect("JSON");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
    let late = Act::Send([head, keys].concat().into_bytes());
    id.answer("/keys", Reply::acts([Act::Wait(gate.clone()), late]));
    let asked = || id.take().heads.len();
    asked();
    std::thread::scope(|scope| {
        let taking_over = scope.spawn(|| world.take_over());
        assert!(eventually(|| asked() > 0), "the new process asks for the keys");
        for _ in 0..20 {
            assert_eq!(status(), 200, "the old process serves meanwhile");
        }
        assert!(!world.output().contains("\"taken over\""), "{}", world.output());
        gate.open();
        while !taking_over.is_finished() {
            assert_eq!(status(), 200, "whichever process it is");
        }
        taking_over.join().expect("it has taken over");
    });
    assert_eq!(status(), 200, "the new process has the keys");
}

/// Keys that cannot be had here can be had there: the old process has them.
#[test]
fn a_process_that_cannot_fetch_the_keys_does_not_take_over() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let world = world(&upstream, &id, &key_set());
    let token = with(json!({}));
    id.answer("/keys", Reply::of("500 Internal Server Error", "", "down"));
    let mut next = world.command(&[]).arg("--take-over").spawn().expect("the binary starts");
    let mut status = None;
    // It gives up by itself, after 20 s, and this waits for 30 s or longer.
    assert!(
        eventually(|| {
            status = next.try_wait().expect("our child can be waited for");
            status.is_some()
        }),
        "{}",
        world.output()
    );
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{}", world.output());
    assert!(
        world.output().contains("nothing was taken over, as requests would fail here")
            && world.output().contains("the keys of issuer id"),
        "{}",
        world.output()
    );
    assert!(!world.output().contains("has said nothing"), "it is at work: {}", world.output());
    assert_eq!(world.get_with("/outside/x", &token).status, 200, "the old one goes on");
    id.answer("/keys", keys_of(&key_set()));
    world.take_over();
    assert_eq!(world.get_with("/outside/x", &token).status, 200);
}
