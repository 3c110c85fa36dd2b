//! A key from its creation to its revocation.

use serde_json::json;

use super::{TOKENS, ids, key};
use crate::api::worlds::{IssuerWorld, NEW_TENANT_KEY, expect_json, members};

/// The seed's own example, step by step.
#[test]
fn a_key_is_made_with_an_access_token_used_listed_and_revoked() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let made = expect_json(&world.call("POST", TOKENS, &alice, NEW_TENANT_KEY), 201);
    assert_eq!(members(&made), ["id", "name", "expiry_date", "token"]);
    assert_eq!(
        (&made["name"], &made["expiry_date"]),
        (&json!("my-api-token"), &json!("2099-12-31T23:59:59Z"))
    );
    let (token, id) =
        (made["token"].as_str().expect("a token"), made["id"].as_str().expect("an id"));
    let body = token.strip_prefix("sk-").expect("the prefix");
    assert!(body.len() == 33 && body.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");

    let seen = world.forwarded("/api/v1/active/agents/?x=1", token);
    assert_eq!(seen.target, "/api/v1/acme/agents/?x=1", "`active` is resolved");
    for (name, value) in [
        ("x-keyward-subject", "alice"),
        ("x-keyward-username", "alice"),
        ("x-keyward-email", "alice@example.com"),
        ("x-keyward-organization", "acme"),
        ("x-keyward-role", "user"),
        ("x-keyward-credential", "platform"),
        ("x-keyward-token-id", id),
    ] {
        assert_eq!(seen.fields.one(name).as_deref(), Some(value), "{name}");
    }
    assert!(!seen.fields.has("authorization"));

    let listed = expect_json(&world.call("GET", TOKENS, &alice, ""), 200);
    assert_eq!(
        listed,
        json!([{ "id": id, "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }])
    );
    assert_eq!(members(&listed[0]), ["id", "name", "expiry_date"]);

    let path = format!("{TOKENS}{id}");
    let gone = world.call("DELETE", &path, &alice, "");
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone}");
    assert_eq!(world.status("/api/v1/active/agents/", token), 401, "revoked at once");
    assert_eq!(
        expect_json(&world.call("DELETE", &path, &alice, ""), 404),
        json!({ "detail": "Token not found" })
    );
    assert_eq!(expect_json(&world.call("GET", TOKENS, &alice, ""), 200), json!([]));
}

#[test]
fn the_calls_are_there_with_and_without_the_trailing_slash() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let made = expect_json(&world.call("POST", "/api/v1/acme/tokens", &alice, NEW_TENANT_KEY), 201);
    assert_eq!(ids(&world.call("GET", "/api/v1/acme/tokens", &alice, "")).len(), 1);
    let path = format!("/api/v1/acme/tokens/{}/", made["id"].as_str().expect("an id"));
    assert_eq!(world.call("DELETE", &path, &alice, "").status, 204);
    let put = world.call("PUT", TOKENS, &alice, "");
    assert_eq!((put.status, put.fields.one("allow").as_deref()), (405, Some("GET, HEAD, POST")));
}

#[test]
fn secrets_are_in_no_file_and_no_metric() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let (key, _) = key(&world, &alice, "acme");
    let agent = world.agent_key();
    assert_eq!(world.status("/api/v1/acme/x", &key), 200);
    for folder in [world.keyward.folder().to_owned(), world.keyward.folder().join("keys")] {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            let shown = [&alice[alice.len() - 30..], &key[3..], &agent[15..]];
            for secret in shown {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds a secret", entry.path().display());
            }
        }
    }
    assert!(!world.keyward.admin_get("/metrics").expect("metrics").text().contains(&key[3..]));
}
