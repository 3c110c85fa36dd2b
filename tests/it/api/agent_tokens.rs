//! The style `agent-tokens`: one key per user, for the user's agents.

use std::sync::Barrier;

use serde_json::json;

use super::platform::{Platform, answered, members};

const ME: &str = "/api/agent-tokens/me";
const GET_OR_CREATE: &str = "/api/agent-tokens/me/get-or-create";

#[test]
fn a_key_is_made_shown_renewed_and_revoked_as_the_seed_says() {
    let platform = Platform::open();
    let alice = platform.alice();
    let status = || platform.call("GET", ME, &alice, "");
    assert_eq!(status().text(), r#"{"has_token":false,"token_prefix":null}"#);

    let made = answered(&platform.call("POST", ME, &alice, ""), 200);
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
        answered(&status(), 200),
        json!({ "has_token": true, "token_prefix": made["token_prefix"] })
    );

    let seen = platform.seen("/agents/x", &first);
    for (name, value) in [
        ("x-keyward-subject", "alice"),
        ("x-keyward-organization", "acme"),
        ("x-keyward-credential", "agents"),
    ] {
        assert_eq!(seen.fields.one(name).as_deref(), Some(value), "{name}");
    }

    let renewed = answered(&platform.call("POST", ME, &alice, r#"{"ignored":"#), 200);
    let second = renewed["token"].as_str().expect("a token").to_owned();
    assert_eq!(platform.status("/agents/x", &first), 401, "the old one is gone at once");
    assert_eq!(platform.status("/agents/x", &second), 200);
    assert_eq!(answered(&status(), 200)["token_prefix"], format!("{}...", &second[..15]));

    for _ in 0..2 {
        let gone = platform.call("DELETE", ME, &alice, "");
        assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone}");
        assert_eq!(platform.status("/agents/x", &second), 401);
    }
    assert_eq!(status().text(), r#"{"has_token":false,"token_prefix":null}"#);
}

#[test]
fn get_or_create_gives_the_key_once() {
    let platform = Platform::open();
    let alice = platform.alice();
    let made = answered(&platform.call("POST", GET_OR_CREATE, &alice, ""), 200);
    assert_eq!(members(&made), ["is_new", "token", "token_prefix", "message"]);
    assert_eq!(made["is_new"], true);
    assert_eq!(made["message"], "Token created. Store it securely — it will not be shown again.");
    let token = made["token"].as_str().expect("a token").to_owned();
    let again = platform.call("POST", GET_OR_CREATE, &alice, "");
    let expected = format!(
        "{{\"is_new\":false,\"token\":null,\"token_prefix\":\"{}...\",\"message\":\"Token already \
         exists. Rotate it from \
         Settings if you need a new one.\"}}",
        &token[..15]
    );
    assert_eq!((again.status, again.text()), (200, expected));
    assert_eq!(platform.status("/agents/x", &token), 200);
    // Bob's is another.
    assert_eq!(
        answered(&platform.call("POST", GET_OR_CREATE, &platform.bob(), ""), 200)["is_new"],
        true
    );
    assert_eq!(platform.status("/agents/x", &token), 200);
}

#[test]
fn of_any_number_of_calls_at_once_exactly_one_gets_the_key() {
    const CALLS: usize = 100;
    let platform = Platform::open();
    for round in 0..3 {
        let alice = platform.login.access(&format!("user-{round}"), json!({}));
        let barrier = Barrier::new(CALLS);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        answered(&platform.call("POST", GET_OR_CREATE, &alice, ""), 200)
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
        assert_eq!(platform.status("/agents/x", token), 200);
    }
}

#[test]
fn of_renewals_at_once_one_key_is_left() {
    let platform = Platform::open();
    let alice = platform.alice();
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let renew = || {
            let made = answered(&platform.call("POST", ME, &alice, ""), 200);
            made["token"].as_str().expect("a token").to_owned()
        };
        let calls: Vec<_> = (0..30).map(|_| scope.spawn(renew)).collect();
        calls.into_iter().map(|call| call.join().expect("no panic")).collect()
    });
    let alive: Vec<_> =
        tokens.iter().filter(|token| platform.status("/agents/x", token) == 200).collect();
    assert_eq!(alive.len(), 1);
    let shown = answered(&platform.call("GET", ME, &alice, ""), 200);
    assert_eq!(shown["token_prefix"], format!("{}...", &alive[0][..15]));
}

#[test]
fn only_a_users_own_jwt_manages_keys() {
    let platform = Platform::open();
    let alice = platform.alice();
    let agent = answered(&platform.call("POST", ME, &alice, ""), 200);
    let agent = agent["token"].as_str().expect("a token").to_owned();
    let body = r#"{"name":"a","expiry_date":"2099-01-01T00:00:00Z"}"#;
    let tenant_key = answered(&platform.call("POST", "/api/v1/acme/tokens/", &alice, body), 201);
    let tenant_key = tenant_key["token"].as_str().expect("a token").to_owned();
    let made_up = format!("sk_agt_{}", "0".repeat(64));
    let bootstrap = platform.world.bootstrap(crate::support::Person::ALICE, 1);
    for (what, token) in [
        ("the agent's own", agent.clone()),
        ("a key for a tenant", tenant_key),
        ("a key of another token API", platform.foreign_key()),
        ("a bootstrap token", bootstrap),
        ("an ID token", platform.login.identity("alice")),
        ("made up", made_up),
    ] {
        for (method, target) in [("GET", ME), ("POST", ME), ("DELETE", ME), ("POST", GET_OR_CREATE)]
        {
            let refused = platform.call(method, target, &token, "");
            assert_eq!(
                answered(&refused, 401),
                json!({ "error": "Missing or invalid JWT." }),
                "{what}: {method}"
            );
        }
    }
    let nobody = platform.world.ask("GET", ME, "", "");
    assert_eq!(answered(&nobody, 401), json!({ "error": "Missing or invalid JWT." }));
    assert_eq!(platform.status("/agents/x", &agent), 200, "nothing has happened to it");
    for target in ["/people/x", "/private/x", "/api/v1/acme/x"] {
        assert_eq!(platform.status(target, &agent), 401, "{target}");
    }
    assert_eq!(platform.status("/agents/x", &alice), 401, "the route is for agents");
    let put = platform.call("PUT", ME, &alice, "");
    assert_eq!(
        (put.status, put.fields.one("allow").as_deref()),
        (405, Some("GET, HEAD, POST, DELETE"))
    );
}

#[test]
fn the_page_for_agents_is_there_for_everybody() {
    let platform = Platform::open();
    let page = platform.world.ask("GET", "/api/doc/raw/token-management-user-jwt", "", "");
    assert_eq!(page.status, 200, "{page}");
    assert_eq!(page.fields.one("content-type").as_deref(), Some("text/markdown; charset=utf-8"));
    assert!(page.text().contains("POST /api/agent-tokens/me/get-or-create"), "{page}");
    assert_eq!(
        platform.world.ask("POST", "/api/doc/raw/token-management-user-jwt", "", "").status,
        405
    );
}

#[test]
fn a_store_that_does_not_answer_is_told_in_the_seeds_words_and_then_all_is_well_again() {
    let platform = Platform::open_with(|plan| plan.set("store", "timeout", "\"100ms\""));
    let alice = platform.alice();
    // Somebody holds the database.
    let database =
        rusqlite::Connection::open(platform.world.folder().join("keyward.db")).expect("a database");
    database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    for (method, target, words) in [
        ("POST", ME, "Failed to store agent token."),
        ("POST", GET_OR_CREATE, "Failed to check or store token."),
        ("DELETE", ME, "Failed to revoke token."),
    ] {
        let failed = platform.call(method, target, &alice, "");
        assert_eq!(answered(&failed, 500), json!({ "error": words }));
        assert!(!failed.fields.has("retry-after"), "{failed}");
    }
    let body = r#"{"name":"a","expiry_date":"2099-01-01T00:00:00Z"}"#;
    let failed = platform.call("POST", "/api/v1/acme/tokens/", &alice, body);
    let words = json!({ "detail": "The service is temporarily unavailable; please retry" });
    assert_eq!(answered(&failed, 503), words, "another style says it in its own way");
    assert!(failed.fields.has("retry-after"), "{failed}");
    // Who needs no store passes all the same.
    assert_eq!(platform.status("/people/x", &alice), 200);
    database.execute_batch("ROLLBACK").expect("the lock is given back");
    assert!(crate::support::eventually(|| platform.call("POST", ME, &alice, "").status == 200));
}
