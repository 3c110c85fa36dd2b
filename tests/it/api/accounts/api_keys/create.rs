//! `POST /api-keys`.

use super::API_KEYS;
use crate::api::worlds::{AccountsWorld, bearer, expect_json, members, text};

#[test]
fn a_key_is_in_the_answer_that_makes_it_with_its_prefix() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    let made = world.post(API_KEYS, &bearer(&session), r#"{"name":"laptop"}"#);
    let made = expect_json(&made, 200);
    assert_eq!(members(&made), ["id", "name", "raw_key", "prefix", "is_active", "created_at"]);
    assert_eq!((&made["name"], &made["is_active"]), (&"laptop".into(), &true.into()));
    let key = text(&made, "raw_key");
    assert!(key.starts_with("rst_") && key.starts_with(&text(&made, "prefix")), "{made}");
    assert_eq!(world.status("/v1/me/x", &key), 200);
}

#[test]
fn a_key_without_a_name_is_not_made() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    for body in ["{}", r#"{"name":""}"#, r#"{"name":5}"#] {
        expect_json(&world.post(API_KEYS, &bearer(&session), body), 422);
    }
    let listed = expect_json(&world.call("GET", API_KEYS, &session, ""), 200);
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
}
