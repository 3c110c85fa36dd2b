//! A key of each style from its creation to its revocation.

use serde_json::json;

use super::over_both_stores;
use crate::api::worlds::{
    AGENT_KEY, AGENT_KEY_ONCE, AllStylesWorld, api_key_field, bearer, expect_json, text,
};
use crate::support::{Request, TestUser, json as body_of};

over_both_stores! {
    allowlist_jwt_from_creation_to_revocation;
    tenant_tokens_from_creation_to_revocation;
    agent_tokens_from_creation_to_revocation;
    accounts_from_creation_to_revocation;
}

/// The upstream was told these identity fields, and did not get the credential.
#[track_caller]
fn assert_identity(seen: &Request, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(seen.fields.all(&format!("x-keyward-{name}")), [*value], "{name}");
    }
    assert!(
        !seen.fields.has("authorization") && !seen.fields.has("x-api-key"),
        "the credential is not forwarded"
    );
}

fn allowlist_jwt_from_creation_to_revocation(world: &AllStylesWorld) {
    let api = world.keyward.api(TestUser::ALICE);
    let first = world.keyward.key(TestUser::ALICE);
    let made = body_of(&api.issue(&first.token, r#"{"name":"laptop","expires_in_minutes":5}"#));
    let (token, id) = (text(&made["data"], "token"), text(&made["data"], "jti"));
    assert_eq!(api.jtis(&first.token), [first.jti.clone(), id.clone()]);
    let listed = body_of(&api.list(&token))["data"]["tokens"][1].clone();
    assert_eq!(
        (&listed["name"], &listed["expires_at"]),
        (&json!("laptop"), &made["data"]["expires_at"])
    );
    let seen = world.forwarded("/private/x", &token);
    let of_alice =
        [("subject", TestUser::ALICE.subject), ("username", "alice"), ("organization", "my-org")];
    assert_identity(&seen, &of_alice);
    assert_identity(&seen, &[("role", "user"), ("credential", "jarvispy"), ("token-id", &id)]);
    let gone = body_of(&api.revoke_by_jti(&first.token, &id));
    assert_eq!(gone["data"]["status"], "revoked");
    assert_eq!(world.status("/private/x", &token), 401, "at once");
    assert_eq!(api.list(&token).status, 401);
    assert_eq!(api.jtis(&first.token), std::slice::from_ref(&first.jti));
    assert_eq!(body_of(&api.revoke_by_jti(&first.token, &id))["data"]["status"], "not_found");
    assert_eq!(api.revoke_all(&first.token).status, 200);
    assert_eq!(world.status("/private/x", &first.token), 401);
}

fn tenant_tokens_from_creation_to_revocation(world: &AllStylesWorld) {
    let alice = world.alice();
    let (token, id) = world.tenant_key("globex");
    let list = || expect_json(&world.call("GET", "/api/v1/globex/tokens/", &alice, ""), 200);
    assert_eq!(
        list(),
        json!([{ "id": id, "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }])
    );
    let seen = world.forwarded("/api/v1/active/x", &token);
    assert_eq!(seen.target, "/api/v1/globex/x");
    assert_identity(
        &seen,
        &[
            ("subject", "alice"),
            ("organization", "globex"),
            ("credential", "platform"),
            ("token-id", &id),
        ],
    );
    let path = format!("/api/v1/globex/tokens/{id}");
    assert_eq!(world.call("DELETE", &path, &alice, "").status, 204);
    assert_eq!(world.status("/api/v1/globex/x", &token), 401, "at once");
    assert_eq!(list(), json!([]));
    assert_eq!(world.call("DELETE", &path, &alice, "").status, 404);
}

fn agent_tokens_from_creation_to_revocation(world: &AllStylesWorld) {
    let alice = world.alice();
    let shown = || expect_json(&world.call("GET", AGENT_KEY, &alice, ""), 200);
    assert_eq!(shown(), json!({ "has_token": false, "token_prefix": null }));
    let made = expect_json(&world.call("POST", AGENT_KEY_ONCE, &alice, ""), 200);
    let first = text(&made, "token");
    assert_eq!(
        (&made["is_new"], &shown()["token_prefix"]),
        (&json!(true), &json!(format!("{}...", &first[..15])))
    );
    assert_identity(
        &world.forwarded("/agents/x", &first),
        &[("subject", "alice"), ("email", "alice@example.com")],
    );
    assert_identity(
        &world.forwarded("/agents/x", &first),
        &[("credential", "agents"), ("organization", "acme")],
    );
    let again = expect_json(&world.call("POST", AGENT_KEY_ONCE, &alice, ""), 200);
    assert_eq!((&again["is_new"], &again["token"]), (&json!(false), &json!(null)));
    let second = world.agent_key();
    assert_eq!(
        (world.status("/agents/x", &first), world.status("/agents/x", &second)),
        (401, 200),
        "rotated"
    );
    assert_eq!(shown()["token_prefix"], json!(format!("{}...", &second[..15])));
    assert_eq!(world.call("DELETE", AGENT_KEY, &alice, "").status, 204);
    assert_eq!(world.status("/agents/x", &second), 401, "at once");
    assert_eq!(shown(), json!({ "has_token": false, "token_prefix": null }));
}

fn accounts_from_creation_to_revocation(world: &AllStylesWorld) {
    let session = world.session("hershel");
    let (key, id) = world.api_key(&session);
    let list = || expect_json(&world.call("GET", "/v1/auth/api-keys", &session, ""), 200);
    let (listed, rows) = (list(), list().as_array().map_or(0, Vec::len));
    assert_eq!((rows, &listed[0]["id"], &listed[0]["is_active"]), (1, &json!(id), &json!(true)));
    let seen = world.forwarded_with("/v1/me/x", &api_key_field(&key));
    assert_identity(
        &seen,
        &[("username", "hershel"), ("credential", "accounts"), ("token-id", &id)],
    );
    assert_identity(&seen, &[("email", "hershel@example.com")]);
    let path = format!("/v1/auth/api-keys/{id}");
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &path, &session, "").status, 204);
        assert_eq!(
            (
                world.status_with("/v1/me/x", &api_key_field(&key)),
                world.status_with("/v1/me/x", &bearer(&key))
            ),
            (401, 401),
            "at once"
        );
        assert_eq!(list()[0]["is_active"], false, "it stays listed");
    }
    // A user that is disabled has no key and no session any more.
    let (other, _) = world.api_key(&session);
    let disabled = world.keyward.run(&["user", "disable", "hershel"]);
    assert!(disabled.status.success(), "{}", String::from_utf8_lossy(&disabled.stderr));
    assert_eq!(world.status_with("/v1/me/x", &api_key_field(&other)), 401);
    assert_eq!(world.call("GET", "/v1/auth/api-keys", &session, "").status, 401);
}
