//! Which credentials manage keys.

use super::API_KEYS;
use crate::api::worlds::{AccountsWorld, api_key_field, bearer, expect_json};

#[test]
fn keys_do_not_manage_keys_and_sessions_open_no_routes() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    let (key, _) = world.api_key(&session);
    for token in [key.as_str(), &world.alice(), &world.allowlist_jwt_key(), "x"] {
        for method in ["GET", "POST"] {
            let body = if method == "POST" { r#"{"name":"a"}"# } else { "" };
            expect_json(&world.call(method, API_KEYS, token, body), 401);
        }
    }
    expect_json(&world.keyward.ask("GET", API_KEYS, &api_key_field(&key), ""), 401);
    assert_eq!(world.status_with("/v1/me/x", &bearer(&session)), 403);
    assert_eq!(world.call("GET", "/api/v1/active/tokens/", &session, "").status, 401);
}
