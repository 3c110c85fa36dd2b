//! Limits of a key: asked for when it is made, shown with it, and never wider than those of what
//! made it.

use serde_json::{Value, json};

use super::over_both_stores;
use crate::api::worlds::{
    AGENT_KEY, AGENT_KEY_ONCE, AllStylesWorld, bearer, expect_json, members, text,
};
use crate::support::{TestUser, json as body_of};

over_both_stores! {
    allowlist_jwt_keys_show_their_limits_and_hand_them_on;
    tenant_keys_show_their_limits_and_hand_them_on;
    agent_keys_show_their_limits_and_keep_them_when_they_are_renewed;
    account_keys_show_their_limits;
    a_bootstrap_token_hands_its_limits_on;
}

const TENANT_KEYS: &str = "/api/v1/acme/tokens/";
const ACCOUNT_KEYS: &str = "/v1/auth/api-keys";

fn allowlist_jwt_keys_show_their_limits_and_hand_them_on(world: &AllStylesWorld) {
    let api = world.keyward.api(TestUser::ALICE);
    let first = world.keyward.key(TestUser::ALICE);
    let issue = |token: &str, body: &str| {
        let made = api.issue(token, body);
        assert_eq!(made.status, 200, "{made}");
        body_of(&made)["data"].clone()
    };
    let limited =
        issue(&first.token, r#"{"limits":{"rate":"10/s","burst":20,"concurrent_requests":2}}"#);
    let limits = json!({ "rate": "10/s", "burst": 20, "concurrent_requests": 2 });
    assert_eq!(limited["limits"], limits);
    let limited = text(&limited, "token");
    assert_eq!(issue(&limited, "")["limits"], limits, "inherited");
    assert_eq!(issue(&limited, r#"{"limits":null}"#)["limits"], limits);
    let wide = r#"{"limits":{"rate":"100/s","concurrent_requests":50}}"#;
    assert_eq!(issue(&limited, wide)["limits"], limits, "never wider");
    let narrow = issue(&limited, r#"{"limits":{"rate":"5/m","burst":99}}"#);
    let narrowed = json!({ "rate": "5/m", "burst": 20, "concurrent_requests": 2 });
    assert_eq!(narrow["limits"], narrowed);
    let grandchild = issue(&text(&narrow, "token"), wide);
    assert_eq!(grandchild["limits"], narrowed, "of the key that makes it");
    let listed = body_of(&api.list(&first.token))["data"]["tokens"].clone();
    let shown: Vec<Value> =
        listed.as_array().expect("a list").iter().map(|key| key["limits"].clone()).collect();
    let all =
        [Value::Null, limits.clone(), limits.clone(), limits.clone(), limits, narrowed.clone()];
    assert_eq!(shown, [&all[..], &[narrowed]].concat());
    assert_eq!(members(&listed[0]), ["jti", "name", "issued_at", "expires_at"], "none, not null");
    assert_eq!(
        members(&issue(&first.token, r#"{"limits":{}}"#)),
        ["token", "jti", "name", "expires_at", "expires_in_minutes"]
    );
}

fn tenant_keys_show_their_limits_and_hand_them_on(world: &AllStylesWorld) {
    let alice = world.alice();
    let make = |token: &str, limits: Value| {
        let body = json!({ "name": "a", "expiry_date": "2099-12-31T23:59:59Z", "limits": limits });
        expect_json(&world.call("POST", TENANT_KEYS, token, &body.to_string()), 201)
    };
    let made = make(&alice, json!({ "concurrent_requests": 3 }));
    assert_eq!(members(&made), ["id", "name", "expiry_date", "limits", "token"]);
    assert_eq!(made["limits"], json!({ "concurrent_requests": 3 }));
    let child = make(&text(&made, "token"), json!({ "rate": "1/s", "concurrent_requests": 4 }));
    let narrowed = json!({ "rate": "1/s", "burst": 1, "concurrent_requests": 3 });
    assert_eq!(child["limits"], narrowed);
    assert_eq!(members(&make(&alice, Value::Null)), ["id", "name", "expiry_date", "token"]);
    let listed = expect_json(&world.call("GET", TENANT_KEYS, &alice, ""), 200);
    assert_eq!(listed[1]["limits"], narrowed);
    assert_eq!(members(&listed[2]), ["id", "name", "expiry_date"]);
}

fn agent_keys_show_their_limits_and_keep_them_when_they_are_renewed(world: &AllStylesWorld) {
    let alice = world.alice();
    let call = |method, path, body| expect_json(&world.call(method, path, &alice, body), 200);
    let made = call("POST", AGENT_KEY_ONCE, r#"{"limits":{"rate":"60/m","burst":5}}"#);
    let limits = json!({ "rate": "60/m", "burst": 5 });
    assert_eq!((&made["is_new"], &made["limits"]), (&json!(true), &limits));
    assert_eq!(call("GET", AGENT_KEY, "")["limits"], limits);
    let found = call("POST", AGENT_KEY_ONCE, r#"{"limits":{"rate":"1/d"}}"#);
    assert_eq!((&found["is_new"], &found["limits"]), (&json!(false), &limits), "those it has");
    for body in ["", "{}", "[]", r#"{"limits":{"rate":"100/s","burst":50}}"#] {
        assert_eq!(call("POST", AGENT_KEY, body)["limits"], limits, "{body}");
    }
    let narrow = call("POST", AGENT_KEY, r#"{"limits":{"concurrent_requests":1}}"#);
    let narrowed = json!({ "rate": "60/m", "burst": 5, "concurrent_requests": 1 });
    assert_eq!(narrow["limits"], narrowed);
    // Its owner takes the limits away by revoking it first.
    assert_eq!(world.call("DELETE", AGENT_KEY, &alice, "").status, 204);
    assert_eq!(
        members(&call("POST", AGENT_KEY, "")),
        ["token", "token_prefix", "message"],
        "as without the member"
    );
}

fn account_keys_show_their_limits(world: &AllStylesWorld) {
    let session = world.session("hershel");
    let body = r#"{"name":"laptop","limits":{"rate":"2/h"}}"#;
    let made = expect_json(&world.post(ACCOUNT_KEYS, &bearer(&session), body), 200);
    let limits = json!({ "rate": "2/h", "burst": 1 });
    assert_eq!(made["limits"], limits);
    let id = text(&made, "id");
    world.api_key(&session);
    let list = || expect_json(&world.call("GET", ACCOUNT_KEYS, &session, ""), 200);
    assert_eq!(list()[0]["limits"], limits);
    assert_eq!(members(&list()[1]), ["id", "name", "prefix", "is_active", "created_at"]);
    assert_eq!(world.call("DELETE", &format!("{ACCOUNT_KEYS}/{id}"), &session, "").status, 204);
    assert_eq!(list()[0]["limits"], limits, "also when it is retired");
}

fn a_bootstrap_token_hands_its_limits_on(world: &AllStylesWorld) {
    let made = world.keyward.run(&[
        "bootstrap",
        "create",
        "--token-api",
        "jarvispy",
        "--sub",
        TestUser::BOB.subject,
        "--username",
        TestUser::BOB.username,
        "--organization",
        TestUser::BOB.organization,
        "--role",
        "user",
        "--rate",
        "7/m",
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bootstrap = String::from_utf8(made.stdout).expect("a token");
    let api = world.keyward.api(TestUser::BOB);
    let key = body_of(&api.issue(bootstrap.trim(), r#"{"limits":{"rate":"1/s"}}"#));
    assert_eq!(key["data"]["limits"], json!({ "rate": "7/m", "burst": 1 }));
    for (command, at) in [("token", key["data"]["jti"].clone()), ("bootstrap", Value::Null)] {
        let listed = world.keyward.run(&[command, "list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let mut listed = listed.as_array().expect("a list").iter();
        let limited = listed.find(|token| at.is_null() || token["id"] == at).expect("it is listed");
        assert_eq!(limited["limits"], json!({ "rate": "7/m", "burst": 1 }), "{command}");
    }
}

#[test]
fn wrong_limits_make_no_key_and_are_told_in_the_words_of_the_style() {
    let world = AllStylesWorld::with_embedded_store();
    let (alice, session) = (world.alice(), world.session("hershel"));
    let jwt = world.keyward.key(TestUser::ALICE);
    let api = world.keyward.api(TestUser::ALICE);
    let pattern = "String should match pattern '^[1-9][0-9]{0,5}/[smhd]$'";
    let rate = json!([
        { "loc": ["body", "limits", "rate"], "msg": pattern, "type": "string_pattern_mismatch" },
    ]);
    let refused = api.issue(&jwt.token, r#"{"limits":{"rate":"10"}}"#);
    assert_eq!(
        expect_json(&refused, 422),
        json!({
            "status": "error",
            "message": "limits.rate: must be a whole number from 1 to 999999, a slash and s, m, h \
                        or d, as in 10/s",
            "data": null,
        })
    );
    let body = r#"{"name":"a","expiry_date":"2099-12-31T23:59:59Z","limits":{"rate":"10"}}"#;
    let refused = world.call("POST", TENANT_KEYS, &alice, body);
    assert_eq!(expect_json(&refused, 422), json!({ "detail": rate }));
    let refused = world.post(ACCOUNT_KEYS, &bearer(&session), body);
    assert_eq!(expect_json(&refused, 422), json!({ "detail": rate }));
    for (body, status, words) in [
        (r#"{"limits":{"rat":"10/s"}}"#, 422, "limits: must be null or an object"),
        (r#"{"limits":{"burst":3}}"#, 422, "limits.rate: must be there beside burst"),
        (r#"{"limits":{"concurrent_requests":0}}"#, 422, "limits.concurrent_requests: must be"),
        (r#"{"limits":{"rate":"1/s"}"#, 400, "Request body is not valid JSON"),
        (r#"{"limits":{},"limits":{"rate":"1/s"}}"#, 400, "Request body is not valid JSON"),
    ] {
        for path in [AGENT_KEY, AGENT_KEY_ONCE] {
            let refused = expect_json(&world.call("POST", path, &alice, body), status);
            assert!(text(&refused, "error").starts_with(words), "{body}: {refused}");
        }
    }
    assert_eq!(expect_json(&world.call("GET", AGENT_KEY, &alice, ""), 200)["has_token"], false);
    assert_eq!(expect_json(&world.call("GET", TENANT_KEYS, &alice, ""), 200), json!([]));
    assert_eq!(expect_json(&world.call("GET", ACCOUNT_KEYS, &session, ""), 200), json!([]));
    assert_eq!(api.jtis(&jwt.token), std::slice::from_ref(&jwt.jti));
}
