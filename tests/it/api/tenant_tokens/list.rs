//! `GET /{tenant_id}/tokens/`.

use serde_json::json;

use super::TOKENS;
use crate::api::worlds::{IssuerWorld, expect_json};
use crate::support::{eventually, now};

#[test]
fn a_key_ends_with_its_date_and_is_then_in_no_list() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let soon = now() + 3;
    let date = jiff::Timestamp::from_second(soon).expect("a moment");
    let body = json!({ "name": "short", "expiry_date": date.to_string() }).to_string();
    let made = expect_json(&world.call("POST", TOKENS, &alice, &body), 201);
    let token = made["token"].as_str().expect("a token");
    assert!(eventually(|| world.status("/api/v1/acme/x", token) == 401));
    assert!(now() >= soon, "not before that date");
    assert_eq!(expect_json(&world.call("GET", TOKENS, &alice, ""), 200), json!([]));
}
