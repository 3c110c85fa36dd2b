//! The style `tenant-tokens`: keys of a user for one tenant, until a stated date.

use serde_json::json;

use super::platform::{Platform, answered, members};
use crate::support::{Login, Response};

const TOKENS: &str = "/api/v1/active/tokens/";
const SEED: &str = r#"{ "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }"#;

/// A key of this caller, made in a tenant.
fn key(platform: &Platform, token: &str, tenant: &str) -> (String, String) {
    let made =
        answered(&platform.call("POST", &format!("/api/v1/{tenant}/tokens/"), token, SEED), 201);
    let text = |member: &str| made[member].as_str().expect("text").to_owned();
    (text("token"), text("id"))
}

fn ids(response: &Response) -> Vec<String> {
    let list = answered(response, 200);
    list.as_array()
        .expect("an array")
        .iter()
        .map(|key| key["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The seed's own example, step by step.
#[test]
fn a_key_is_made_with_an_access_token_used_listed_and_revoked() {
    let platform = Platform::open();
    let alice = platform.alice();
    let made = answered(&platform.call("POST", TOKENS, &alice, SEED), 201);
    assert_eq!(members(&made), ["id", "name", "expiry_date", "token"]);
    assert_eq!(
        (&made["name"], &made["expiry_date"]),
        (&json!("my-api-token"), &json!("2099-12-31T23:59:59Z"))
    );
    let (token, id) =
        (made["token"].as_str().expect("a token"), made["id"].as_str().expect("an id"));
    let body = token.strip_prefix("sk-").expect("the prefix");
    assert!(body.len() == 33 && body.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");

    let seen = platform.seen("/api/v1/active/agents/?x=1", token);
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

    let listed = answered(&platform.call("GET", TOKENS, &alice, ""), 200);
    assert_eq!(
        listed,
        json!([{ "id": id, "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }])
    );
    assert_eq!(members(&listed[0]), ["id", "name", "expiry_date"]);

    let path = format!("{TOKENS}{id}");
    let gone = platform.call("DELETE", &path, &alice, "");
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone}");
    assert_eq!(platform.status("/api/v1/active/agents/", token), 401, "revoked at once");
    assert_eq!(
        answered(&platform.call("DELETE", &path, &alice, ""), 404),
        json!({ "detail": "Token not found" })
    );
    assert_eq!(answered(&platform.call("GET", TOKENS, &alice, ""), 200), json!([]));
}

#[test]
fn the_calls_are_there_with_and_without_the_trailing_slash() {
    let platform = Platform::open();
    let alice = platform.alice();
    let made = answered(&platform.call("POST", "/api/v1/acme/tokens", &alice, SEED), 201);
    assert_eq!(ids(&platform.call("GET", "/api/v1/acme/tokens", &alice, "")).len(), 1);
    let path = format!("/api/v1/acme/tokens/{}/", made["id"].as_str().expect("an id"));
    assert_eq!(platform.call("DELETE", &path, &alice, "").status, 204);
    let put = platform.call("PUT", TOKENS, &alice, "");
    assert_eq!((put.status, put.fields.one("allow").as_deref()), (405, Some("GET, HEAD, POST")));
}

#[test]
fn a_key_may_make_keys_for_its_own_tenant_alone_and_all_are_its_owners() {
    let platform = Platform::open();
    let alice = platform.alice();
    let (parent, parent_id) = key(&platform, &alice, "globex");
    let (child, child_id) = key(&platform, &parent, "active");
    assert_eq!(platform.seen("/api/v1/active/x", &child).target, "/api/v1/globex/x");
    for tenant in ["acme", "initech", "Globex", "globex%20"] {
        let refused = platform.call("POST", &format!("/api/v1/{tenant}/tokens/"), &parent, SEED);
        assert_eq!(
            answered(&refused, 403),
            json!({ "detail": "Not a tenant of the caller" }),
            "{tenant}"
        );
        assert_eq!(platform.status(&format!("/api/v1/{tenant}/agents/"), &parent), 403, "{tenant}");
    }
    let all = [parent_id.clone(), child_id.clone()];
    assert_eq!(ids(&platform.call("GET", "/api/v1/globex/tokens/", &alice, "")), all);
    assert_eq!(ids(&platform.call("GET", TOKENS, &child, "")), all);
    assert_eq!(
        ids(&platform.call("GET", "/api/v1/acme/tokens/", &alice, "")),
        [] as [&str; 0],
        "another tenant"
    );
    // The child outlives its parent, until it is revoked itself.
    assert_eq!(platform.call("DELETE", &format!("{TOKENS}{parent_id}"), &child, "").status, 204);
    assert_eq!(platform.call("POST", TOKENS, &parent, SEED).status, 401);
    assert_eq!(platform.call("DELETE", &format!("{TOKENS}{child_id}"), &child, "").status, 204);
    assert_eq!(platform.status("/api/v1/active/agents/", &child), 401);
}

#[test]
fn keys_of_others_and_of_other_tenants_are_as_unknown_as_ids_never_given() {
    let platform = Platform::open();
    let (alice, bob) = (platform.alice(), platform.bob());
    let carol = platform.login.access("carol", json!({ "tenants": ["acme"] }));
    let (token, id) = key(&platform, &alice, "acme");
    for (caller, path) in [
        (&bob, format!("/api/v1/initech/tokens/{id}")),
        (&carol, format!("/api/v1/acme/tokens/{id}")),
        (&alice, format!("/api/v1/globex/tokens/{id}")),
        (&alice, "/api/v1/acme/tokens/00000000-0000-4000-8000-000000000000".into()),
        (&alice, "/api/v1/acme/tokens/7".into()),
    ] {
        let refused = platform.call("DELETE", &path, caller, "");
        assert_eq!(answered(&refused, 404), json!({ "detail": "Token not found" }), "{path}");
    }
    assert_eq!(ids(&platform.call("GET", "/api/v1/acme/tokens/", &carol, "")), [] as [&str; 0]);
    assert_eq!(platform.status("/api/v1/acme/agents/", &token), 200);
    assert_eq!(
        platform.call("DELETE", &format!("/api/v1/acme/tokens/{id}"), &bob, "").status,
        403,
        "not his tenant"
    );
}

#[test]
fn a_tenant_is_one_of_the_callers_or_the_active_one() {
    let platform = Platform::open();
    let none = platform.login.access("dave", json!({}));
    let many = platform.login.access("dave", json!({ "tenants": ["a", "b"] }));
    let stale =
        platform.login.access("dave", json!({ "tenants": ["a", "b"], "active_tenant": "c" }));
    let active_only = platform.login.access("dave", json!({ "active_tenant": "a" }));
    let by_organization = platform.login.access("dave", json!({ "organization": "a" }));
    for (what, token, tenant, status) in [
        ("no tenant", &none, "active", 403),
        ("no tenant", &none, "a", 403),
        ("none is active", &many, "active", 403),
        ("none is active", &many, "b", 200),
        ("left it", &stale, "active", 403),
        ("left it", &stale, "c", 403),
        ("left it", &stale, "a", 200),
        ("only the active one", &active_only, "active", 200),
        ("only the active one", &active_only, "a", 200),
        ("only the active one", &active_only, "b", 403),
        ("the organization", &by_organization, "active", 200),
        ("the only one", &platform.bob(), "active", 200),
        ("foreign", &platform.alice(), "initech", 403),
    ] {
        assert_eq!(
            platform.status(&format!("/api/v1/{tenant}/tokens/"), token),
            status,
            "{what}: {tenant}"
        );
        assert_eq!(
            platform.status(&format!("/api/v1/{tenant}/agents/"), token),
            status,
            "{what}: {tenant}, a route"
        );
    }
}

#[test]
fn the_upstream_is_told_the_tenant_in_force() {
    let platform = Platform::open();
    let alice = platform.alice();
    let organization = |target: &str| {
        let seen = platform.seen(target, &alice);
        (seen.target.clone(), seen.fields.all("x-keyward-organization").join("|"))
    };
    let told = |target: &str, tenant: &str| (target.to_owned(), tenant.to_owned());
    assert_eq!(organization("/api/v1/globex/x"), told("/api/v1/globex/x", "globex"));
    assert_eq!(organization("/api/v1/active/x"), told("/api/v1/acme/x", "acme"));
    assert_eq!(organization("/seen/globex/x"), told("/seen/globex/x", "globex"));
    assert_eq!(
        organization("/seen/active/x"),
        told("/seen/active/x", "acme"),
        "not rewritten unless asked for"
    );
    let seen = platform.seen("/people/x", &alice);
    for (name, value) in [("x-keyward-credential", "keycloak"), ("x-keyward-token-id", "session-1")]
    {
        assert_eq!(seen.fields.one(name).as_deref(), Some(value), "{name}");
    }
    assert!(
        !platform.seen("/people/x", &platform.bob()).fields.has("x-keyward-token-id"),
        "it has no jti"
    );
    // A tenant that would make another path of it goes nowhere.
    for tenant in ["..", ".", "a/b", "a\\b", ""] {
        let odd = platform.login.access("eve", json!({ "tenants": [tenant] }));
        assert_eq!(platform.status("/api/v1/active/x", &odd), 403, "{tenant:?}");
    }
    let spaced = platform.login.access("eve", json!({ "tenants": ["a b?c"] }));
    assert_eq!(platform.seen("/api/v1/active/x", &spaced).target, "/api/v1/a%20b%3Fc/x");
}

#[test]
fn every_other_credential_is_refused_at_this_door() {
    let platform = Platform::open();
    let alice = platform.alice();
    let agent = answered(&platform.call("POST", "/api/agent-tokens/me", &alice, ""), 200);
    let agent = agent["token"].as_str().expect("a token").to_owned();
    let (key, _) = key(&platform, &alice, "acme");
    let tampered = {
        let (rest, last) = alice.rsplit_once('.').expect("a signature");
        format!("{rest}.{}", last.chars().rev().collect::<String>())
    };
    let made_up = format!("sk-{}", "A".repeat(33));
    let mut near = key.clone().into_bytes();
    near[4] = if near[4] == b'a' { b'b' } else { b'a' };
    for (what, token) in [
        ("an ID token", platform.login.identity("alice")),
        ("for another audience", platform.login.access("alice", json!({ "aud": "web" }))),
        ("not a Bearer", platform.login.access("alice", json!({ "typ": null }))),
        ("expired", platform.login.access("alice", json!({ "exp": 1_700_000_000 }))),
        (
            "of another issuer",
            platform.login.access("alice", json!({ "iss": "https://evil.example" })),
        ),
        ("claims to be ours", platform.login.access("alice", json!({ "iss": "keyward" }))),
        ("a changed signature", tampered),
        ("an agent's", agent),
        ("of another token API", platform.foreign_key()),
        ("made up", made_up),
        ("one character off", String::from_utf8(near).expect("ASCII")),
        ("nonsense", "x".into()),
    ] {
        for (method, target) in
            [("GET", TOKENS), ("POST", TOKENS), ("DELETE", "/api/v1/active/tokens/7")]
        {
            let refused =
                platform.call(method, target, &token, if method == "POST" { SEED } else { "" });
            assert_eq!(
                answered(&refused, 401),
                json!({ "detail": "Invalid token" }),
                "{what}: {method}"
            );
        }
        assert_eq!(platform.status("/api/v1/active/agents/", &token), 401, "{what}: a route");
    }
    let nobody = platform.world.ask("GET", TOKENS, "", "");
    assert_eq!(answered(&nobody, 401), json!({ "detail": "Not authenticated" }));
    // Where no token API takes it, X-API-Key is not ours.
    let by_field = platform.world.ask("GET", TOKENS, &format!("X-API-Key: {key}\r\n"), "");
    assert_eq!(answered(&by_field, 401), json!({ "detail": "Not authenticated" }));
    let twice = format!("Authorization: Bearer {key}\r\nAuthorization: Bearer {key}\r\n");
    assert_eq!(
        answered(&platform.world.ask("GET", TOKENS, &twice, ""), 400),
        json!({ "detail": "Malformed credentials" })
    );
}

#[test]
fn an_issuer_with_public_keys_is_believed_by_its_signature_alone() {
    let platform = Platform::open_at(Login::with_public_keys(), |plan| plan);
    let alice = platform.alice();
    for _ in 0..3 {
        assert_eq!(platform.status("/people/x", &alice), 200);
    }
    let (key, _) = key(&platform, &alice, "globex");
    assert_eq!(platform.seen("/api/v1/active/x", &key).target, "/api/v1/globex/x");
    // The same claims, signed by somebody else.
    for other in [Login::with_public_keys(), Login::open()] {
        let forged = other.access("alice", json!({ "tenants": ["acme"] }));
        assert_eq!(
            answered(&platform.call("GET", TOKENS, &forged, ""), 401),
            json!({ "detail": "Invalid token" })
        );
        assert_eq!(platform.status("/people/x", &forged), 401);
    }
}

#[test]
fn the_key_opens_only_routes_that_accept_its_token_api() {
    let platform = Platform::open();
    let (key, _) = key(&platform, &platform.alice(), "acme");
    for target in ["/people/x", "/agents/x", "/private/x"] {
        assert_eq!(platform.status(target, &key), 401, "{target}");
    }
    assert_eq!(platform.status("/api/v1/initech/x", &key), 403);
    assert_eq!(platform.call("POST", "/api/agent-tokens/me", &key, "").status, 401);
    assert_eq!(platform.world.api(crate::support::Person::ALICE).list(&key).status, 401);
}

#[test]
fn a_client_field_of_a_key_goes_on_untouched_where_it_is_not_ours() {
    let platform = Platform::open();
    let (key, _) = key(&platform, &platform.alice(), "acme");
    let fields = format!("Authorization: Bearer {key}\r\nX-API-Key: theirs\r\n");
    platform.upstream.take();
    assert_eq!(platform.world.ask("GET", "/api/v1/acme/x", &fields, "").status, 200);
    let seen = platform.upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(seen.fields.one("x-api-key").as_deref(), Some("theirs"));
}

#[test]
fn wrong_bodies_are_told_as_fastapi_tells_them() {
    let platform = Platform::open();
    let alice = platform.alice();
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
                { "loc": ["body", "name"], "msg": "String should have at least 1 \
                 character", "type": "string_too_short" },
                { "loc": ["body", "expiry_date"], "msg": "Input should be in the future", "type": "datetime_future" },
            ]),
        ),
        (
            r#"{"name":"a","expiry_date":"2099-12-31T23:59:59"}"#,
            json!([{ "loc": ["body", "expiry_date"], "msg": "Input should have timezone \
             info", "type": "timezone_aware" }]),
        ),
        ("{", json!([{ "loc": ["body"], "msg": "JSON decode error", "type": "json_invalid" }])),
    ] {
        let detail = answered(&platform.call("POST", TOKENS, &alice, body), 422)["detail"].clone();
        assert_eq!(detail, expected, "{body}");
        assert_eq!(members(&detail[0]), ["loc", "msg", "type"]);
    }
    let large = format!(r#"{{"name":"a","x":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(platform.call("POST", TOKENS, &alice, &large).status, 413);
    // What is answered is what holds: in UTC, in whole seconds.
    let body = r#"{"name":"a","expiry_date":"2099-06-01T02:00:00.999+02:00"}"#;
    let made = answered(&platform.call("POST", TOKENS, &alice, body), 201);
    assert_eq!(made["expiry_date"], "2099-06-01T00:00:00Z");
    // Nothing in a body changes whom the key speaks for.
    let body = r#"{"name":"a","expiry_date":"2099-06-01T00:00:00Z","sub":"root","tenant_id":"initech","role":"admin"}"#;
    let made = answered(&platform.call("POST", TOKENS, &alice, body), 201);
    let seen = platform.seen("/api/v1/active/x", made["token"].as_str().expect("a token"));
    assert_eq!(seen.fields.one("x-keyward-subject").as_deref(), Some("alice"));
    assert_eq!(seen.fields.one("x-keyward-role").as_deref(), Some("user"));
}

#[test]
fn a_key_ends_with_its_date_and_is_then_in_no_list() {
    let platform = Platform::open();
    let alice = platform.alice();
    let soon = jiff::Timestamp::now().as_second() + 2;
    let date = jiff::Timestamp::from_second(soon).expect("a moment");
    let body = json!({ "name": "short", "expiry_date": date.to_string() }).to_string();
    let made = answered(&platform.call("POST", TOKENS, &alice, &body), 201);
    let token = made["token"].as_str().expect("a token");
    assert!(crate::support::eventually(|| platform.status("/api/v1/acme/x", token) == 401));
    assert!(jiff::Timestamp::now().as_second() >= soon, "not before its time");
    assert_eq!(answered(&platform.call("GET", TOKENS, &alice, ""), 200), json!([]));
}

#[test]
fn a_route_may_ask_for_roles_tenants_and_claims() {
    let platform = Platform::open_with(|plan| {
        let route = |path: &str, require: &str| {
            format!(
                "path = \"/{path}\"\nupstream = \"app\"\naccept = [\"platform\", \"keycloak\"]\n\
                 {require}"
            )
        };
        plan.route(&route("editors", "require.role = [\"editor\"]"))
            .route(&route("acme", "require.tenant = [\"acme\"]"))
            .route(&route("in/{tenant_id}", "require.tenant = [\"globex\"]"))
            .route(&route(
                "claimed",
                "require.claims = { \"realm_access.roles\" = [\"editor\"], level = 3 }",
            ))
    });
    let alice = platform.alice();
    let (key, _) = key(&platform, &alice, "acme");
    let claimed =
        platform.login.access("al", json!({ "realm_access": { "roles": ["editor"] }, "level": 3 }));
    for (target, token, status) in [
        ("/editors", &alice, 200),
        ("/editors", &platform.bob(), 403),
        ("/editors", &key, 403),
        ("/acme", &alice, 200),
        ("/acme", &key, 200),
        ("/acme", &platform.bob(), 403),
        ("/in/globex", &alice, 200),
        ("/in/acme", &alice, 403),
        ("/in/active", &alice, 403),
        ("/claimed", &claimed, 200),
        ("/claimed", &alice, 403),
        ("/claimed", &key, 403),
    ] {
        assert_eq!(platform.status(target, token), status, "{target}");
    }
}

#[test]
fn secrets_are_in_no_file_and_no_metric() {
    let platform = Platform::open();
    let alice = platform.alice();
    let (key, _) = key(&platform, &alice, "acme");
    let agent = answered(&platform.call("POST", "/api/agent-tokens/me", &alice, ""), 200);
    let agent = agent["token"].as_str().expect("a token").to_owned();
    assert_eq!(platform.status("/api/v1/acme/x", &key), 200);
    for folder in [platform.world.folder().to_owned(), platform.world.folder().join("keys")] {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            let shown = [&alice[alice.len() - 30..], &key[3..], &agent[15..]];
            for secret in shown {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds a secret", entry.path().display());
            }
        }
    }
    assert!(!platform.world.admin_get("/metrics").expect("metrics").text().contains(&key[3..]));
}
