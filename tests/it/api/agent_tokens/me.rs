//! `/me`: the key is shown (GET), made or renewed (POST) and revoked (DELETE).

use serde_json::json;

use crate::api::worlds::{AGENT_KEY, IssuerWorld, expect_json, members, text};

#[test]
fn a_key_is_made_shown_renewed_and_revoked_as_the_seed_says() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let status = || world.call("GET", AGENT_KEY, &alice, "");
    assert_eq!(status().text(), r#"{"has_token":false,"token_prefix":null}"#);

    let made = expect_json(&world.call("POST", AGENT_KEY, &alice, ""), 200);
    assert_eq!(members(&made), ["token", "token_prefix", "message"]);
    assert_eq!(made["message"], "Store this token securely — it will not be shown again.");
    let first = made["token"].as_str().expect("a token").to_owned();
    let digits = first.strip_prefix("sk_agt_").expect("the prefix");
    assert!(
        digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{first}"
    );
    assert_eq!(made["token_prefix"], format!("{}...", &first[..15]));
    assert_eq!(
        expect_json(&status(), 200),
        json!({ "has_token": true, "token_prefix": made["token_prefix"] })
    );

    let seen = world.forwarded("/agents/x", &first);
    for (name, value) in [
        ("x-keyward-subject", "alice"),
        ("x-keyward-organization", "acme"),
        ("x-keyward-credential", "agents"),
    ] {
        assert_eq!(seen.fields.one(name).as_deref(), Some(value), "{name}");
    }

    let broken = world.call("POST", AGENT_KEY, &alice, r#"{"ignored":"#);
    assert_eq!(broken.status, 400, "it may have said something of limits: {broken}");
    let renewed = expect_json(&world.call("POST", AGENT_KEY, &alice, r#"{"ignored":1}"#), 200);
    let second = renewed["token"].as_str().expect("a token").to_owned();
    assert_eq!(world.status("/agents/x", &first), 401, "the old one is gone at once");
    assert_eq!(world.status("/agents/x", &second), 200);
    assert_eq!(expect_json(&status(), 200)["token_prefix"], format!("{}...", &second[..15]));

    for _ in 0..2 {
        let gone = world.call("DELETE", AGENT_KEY, &alice, "");
        assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone}");
        assert_eq!(world.status("/agents/x", &second), 401);
    }
    assert_eq!(status().text(), r#"{"has_token":false,"token_prefix":null}"#);
}

#[test]
fn of_renewals_at_once_one_key_is_left() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let renew = || text(&expect_json(&world.call("POST", AGENT_KEY, &alice, ""), 200), "token");
        let calls: Vec<_> = (0..30).map(|_| scope.spawn(renew)).collect();
        calls.into_iter().map(|call| call.join().expect("no panic")).collect()
    });
    let alive: Vec<_> =
        tokens.iter().filter(|token| world.status("/agents/x", token) == 200).collect();
    assert_eq!(alive.len(), 1);
    let shown = expect_json(&world.call("GET", AGENT_KEY, &alice, ""), 200);
    assert_eq!(shown["token_prefix"], format!("{}...", &alive[0][..15]));
}
