//! `POST /me/get-or-create`.

use std::sync::Barrier;

use serde_json::json;

use crate::api::worlds::{AGENT_KEY_ONCE, IssuerWorld, expect_json, members};

#[test]
fn get_or_create_gives_the_key_once() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let made = expect_json(&world.call("POST", AGENT_KEY_ONCE, &alice, ""), 200);
    assert_eq!(members(&made), ["is_new", "token", "token_prefix", "message"]);
    assert_eq!(made["is_new"], true);
    assert_eq!(made["message"], "Token created. Store it securely — it will not be shown again.");
    let token = made["token"].as_str().expect("a token").to_owned();
    let again = world.call("POST", AGENT_KEY_ONCE, &alice, "");
    let message = "Token already exists. Rotate it from Settings if you need a new one.";
    let expected = format!(
        r#"{{"is_new":false,"token":null,"token_prefix":"{}...","message":"{message}"}}"#,
        &token[..15]
    );
    assert_eq!((again.status, again.text()), (200, expected));
    assert_eq!(world.status("/agents/x", &token), 200);
    // Bob gets a key of his own.
    assert_eq!(
        expect_json(&world.call("POST", AGENT_KEY_ONCE, &world.bob(), ""), 200)["is_new"],
        true
    );
    assert_eq!(world.status("/agents/x", &token), 200);
}

#[test]
fn of_any_number_of_calls_at_once_exactly_one_gets_the_key() {
    const CALLS: usize = 100;
    let world = IssuerWorld::start();
    for round in 0..3 {
        let alice = world.issuer.access(&format!("user-{round}"), json!({}));
        let barrier = Barrier::new(CALLS);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        expect_json(&world.call("POST", AGENT_KEY_ONCE, &alice, ""), 200)
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("no panic")).collect()
        });
        let new: Vec<_> = answers.iter().filter(|answer| answer["is_new"] == true).collect();
        assert_eq!(new.len(), 1);
        let token = new[0]["token"].as_str().expect("a token");
        assert!(answers.iter().all(|answer| answer["token_prefix"] == new[0]["token_prefix"]));
        assert_eq!(answers.iter().filter(|answer| answer["token"].is_null()).count(), CALLS - 1);
        assert_eq!(world.status("/agents/x", token), 200);
    }
}
