//! `POST /{tenant_id}/tokens/`.

use serde_json::json;

use super::{TOKENS, ids, key};
use crate::api::worlds::{IssuerWorld, NEW_TENANT_KEY, expect_json, members};

#[test]
fn wrong_bodies_are_told_as_fastapi_tells_them() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    for (body, expected) in [
        (
            "{}",
            json!([
                { "loc": ["body", "name"], "msg": "Field required", "type": "missing" },
                { "loc": ["body", "expiry_date"], "msg": "Field required", "type": "missing" },
            ]),
        ),
        (
            r#"{"name":"","expiry_date":"2020-01-01T00:00:00Z"}"#,
            json!([
                {
                    "loc": ["body", "name"],
                    "msg": "String should have at least 1 character",
                    "type": "string_too_short",
                },
                {
                    "loc": ["body", "expiry_date"],
                    "msg": "Input should be in the future",
                    "type": "datetime_future",
                },
            ]),
        ),
        (
            r#"{"name":"a","expiry_date":"2099-12-31T23:59:59"}"#,
            json!([{
                "loc": ["body", "expiry_date"],
                "msg": "Input should have timezone info",
                "type": "timezone_aware",
            }]),
        ),
        ("{", json!([{ "loc": ["body"], "msg": "JSON decode error", "type": "json_invalid" }])),
    ] {
        let detail = expect_json(&world.call("POST", TOKENS, &alice, body), 422)["detail"].clone();
        assert_eq!(detail, expected, "{body}");
        assert_eq!(members(&detail[0]), ["loc", "msg", "type"]);
    }
}

#[test]
fn a_body_over_64_kib_gets_413() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let large = format!(r#"{{"name":"a","x":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(world.call("POST", TOKENS, &alice, &large).status, 413);
}

#[test]
fn the_expiry_date_is_answered_in_utc_and_whole_seconds() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let body = r#"{"name":"a","expiry_date":"2099-06-01T02:00:00.999+02:00"}"#;
    let made = expect_json(&world.call("POST", TOKENS, &alice, body), 201);
    assert_eq!(made["expiry_date"], "2099-06-01T00:00:00Z");
}

#[test]
fn nothing_in_a_body_changes_the_identity_of_a_key() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let body = json!({
        "name": "a",
        "expiry_date": "2099-06-01T00:00:00Z",
        "sub": "root",
        "tenant_id": "initech",
        "role": "admin",
    });
    let made = expect_json(&world.call("POST", TOKENS, &alice, &body.to_string()), 201);
    let seen = world.forwarded("/api/v1/active/x", made["token"].as_str().expect("a token"));
    assert_eq!(seen.fields.one("x-keyward-subject").as_deref(), Some("alice"));
    assert_eq!(seen.fields.one("x-keyward-role").as_deref(), Some("user"));
}

#[test]
fn a_key_may_make_keys_for_its_own_tenant_alone_and_all_are_its_owners() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let (parent, parent_id) = key(&world, &alice, "globex");
    let (child, child_id) = key(&world, &parent, "active");
    assert_eq!(world.forwarded("/api/v1/active/x", &child).target, "/api/v1/globex/x");
    for tenant in ["acme", "initech", "Globex", "globex%20"] {
        let refused =
            world.call("POST", &format!("/api/v1/{tenant}/tokens/"), &parent, NEW_TENANT_KEY);
        assert_eq!(
            expect_json(&refused, 403),
            json!({ "detail": "Not a tenant of the caller" }),
            "{tenant}"
        );
        assert_eq!(world.status(&format!("/api/v1/{tenant}/agents/"), &parent), 403, "{tenant}");
    }
    let all = [parent_id.clone(), child_id.clone()];
    assert_eq!(ids(&world.call("GET", "/api/v1/globex/tokens/", &alice, "")), all);
    assert_eq!(ids(&world.call("GET", TOKENS, &child, "")), all);
    assert_eq!(
        ids(&world.call("GET", "/api/v1/acme/tokens/", &alice, "")),
        [] as [&str; 0],
        "another tenant"
    );
    // The child outlives its parent, until it is revoked itself.
    assert_eq!(world.call("DELETE", &format!("{TOKENS}{parent_id}"), &child, "").status, 204);
    assert_eq!(world.call("POST", TOKENS, &parent, NEW_TENANT_KEY).status, 401);
    assert_eq!(world.call("DELETE", &format!("{TOKENS}{child_id}"), &child, "").status, 204);
    assert_eq!(world.status("/api/v1/active/agents/", &child), 401);
}
