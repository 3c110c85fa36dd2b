//! The metrics by token API and credential: calls, and checks.

use serde_json::json;

use crate::support::{Plan, TestIssuer, TestUser, Upstream};

#[test]
fn calls_of_a_token_api_are_counted_by_what_they_ask_for_and_their_outcome() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/accounts\"")
        .start();
    let api = world.api(TestUser::ALICE);
    let bootstrap = world.bootstrap(TestUser::ALICE, 2);
    let key = api.mint(&bootstrap);
    assert_eq!(api.list(&key.token).status, 200);
    assert_eq!(api.list("forged").status, 401);
    assert_eq!(api.call("DELETE", "/auth/tokens", &key.token, "").status, 405);
    assert_eq!(api.revoke(&key.token).status, 200);
    assert_eq!(api.revoke(&key.token).status, 401);
    let login = json!({ "username": "nobody", "password": "a wrong password" }).to_string();
    let fields = "Content-Type: application/json\r\n";
    assert_eq!(world.ask("POST", "/accounts/login", fields, login).status, 401);
    world.assert_series(
        "keyward_token_api_calls_total",
        [
            (r#"token_api="jarvispy",operation="issue",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="list",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="list",outcome="refused""#, 1.0),
            (r#"token_api="jarvispy",operation="revoke",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="revoke",outcome="refused""#, 1.0),
            (r#"token_api="jarvispy",operation="other",outcome="refused""#, 1.0),
            (r#"token_api="accounts",operation="login",outcome="refused""#, 1.0),
        ],
    );
}

#[test]
fn checks_of_credentials_are_counted_by_whose_they_are_and_their_outcome() {
    let upstream = Upstream::start();
    let issuer = TestIssuer::open();
    let world = Plan::usual(&upstream)
        .table("issuer", &issuer.table("login"))
        .table(
            "token_api",
            "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/agents\"\nissuer = \"login\"",
        )
        .route(
            "path = \"/all\"\nupstream = \"app\"\naccept = [\"login\", \"agents\", \"jarvispy\"]",
        )
        .start();
    let key = world.key(TestUser::ALICE);
    let status = |token: &str| world.get_with("/all", token).status;
    let good = issuer.access("u-1", json!({}));
    for _ in 0..3 {
        assert_eq!(status(&key.token), 200);
        assert_eq!(status(&good), 200);
    }
    assert_eq!(status(&issuer.access("u-1", json!({ "exp": 1000 }))), 401);
    assert_eq!(status(&issuer.access("u-1", json!({ "aud": "another" }))), 401);
    assert_eq!(status(&format!("sk_agt_{}", "0".repeat(64))), 401);
    assert_eq!(status("forged"), 401);
    assert_eq!(world.api(TestUser::ALICE).revoke(&key.token).status, 200);
    assert_eq!(status(&key.token), 401);
    world.assert_series(
        "keyward_token_checks_total",
        [
            // Of the bootstrap token, the requests, and the revocation.
            (r#"credential="jarvispy",outcome="accepted""#, 5.0),
            (r#"credential="login",outcome="accepted""#, 3.0),
            (r#"credential="login",outcome="expired""#, 1.0),
            (r#"credential="login",outcome="bad_credential""#, 1.0),
            (r#"credential="agents",outcome="bad_credential""#, 1.0),
            (r#"credential="",outcome="bad_credential""#, 1.0),
            (r#"credential="",outcome="no_record""#, 1.0),
        ],
    );
}
