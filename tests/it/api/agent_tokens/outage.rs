//! What the calls answer while the store does not.

use serde_json::json;

use crate::api::worlds::{AGENT_KEY, AGENT_KEY_ONCE, IssuerWorld, expect_json};
use crate::support::eventually;

#[test]
fn while_the_store_is_locked_calls_fail_with_the_words_of_their_style_and_work_again_after() {
    let world = IssuerWorld::start_with(|plan| plan.set("store", "timeout", "\"100ms\""));
    let alice = world.alice();
    // Another process holds the write lock of the database.
    let database =
        rusqlite::Connection::open(world.keyward.folder().join("keyward.db")).expect("a database");
    database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    for (method, target, words) in [
        ("POST", AGENT_KEY, "Failed to store agent token."),
        ("POST", AGENT_KEY_ONCE, "Failed to check or store token."),
        ("DELETE", AGENT_KEY, "Failed to revoke token."),
    ] {
        let failed = world.call(method, target, &alice, "");
        assert_eq!(expect_json(&failed, 500), json!({ "error": words }));
        assert!(!failed.fields.has("retry-after"), "{failed}");
    }
    let body = r#"{"name":"a","expiry_date":"2099-01-01T00:00:00Z"}"#;
    let failed = world.call("POST", "/api/v1/acme/tokens/", &alice, body);
    let words = json!({ "detail": "The service is temporarily unavailable; please retry" });
    assert_eq!(expect_json(&failed, 503), words, "another style says it in its own way");
    assert!(failed.fields.has("retry-after"), "{failed}");
    // A request that needs no store passes.
    assert_eq!(world.status("/people/x", &alice), 200);
    database.execute_batch("ROLLBACK").expect("the lock is given back");
    assert!(eventually(|| world.call("POST", AGENT_KEY, &alice, "").status == 200));
}
