//! API keys, which have a field of their own: explained by a running keyward and from the store
//! alone.

use serde_json::{Value, json};

use super::{explained, header, is_forwarded_as};
use crate::support::redis::RedisServer;
use crate::support::{Plan, TestUser, Upstream, World};

/// Registers, logs in and makes an API key of the token API at `/v1/auth`.
fn api_key_of(world: &World, username: &str) -> String {
    let post = |target: &str, fields: &str, body: &Value| {
        let fields = format!("{fields}Content-Type: application/json\r\n");
        let response = world.ask("POST", target, &fields, body.to_string());
        assert_eq!(response.status, 200, "{target}: {response}");
        serde_json::from_str::<Value>(&response.text()).expect("JSON")
    };
    let person = json!({
        "username": username, "password": "correct horse", "full_name": "Hershel",
        "email": format!("{username}@example.com"),
    });
    post("/v1/auth/register", "", &person);
    let login = post("/v1/auth/login", "", &person);
    let session = login["access_token"].as_str().expect("a session");
    let fields = format!("Authorization: Bearer {session}\r\n");
    let made = post("/v1/auth/api-keys", &fields, &json!({"name": "laptop"}));
    made["raw_key"].as_str().expect("a key").to_owned()
}

/// Of a running keyward and of none, with either store.
fn explains_a_key_in_its_own_field(plan: impl FnOnce(Plan) -> Plan) {
    let upstream = Upstream::start();
    let accounts = "name = \"users\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"";
    let mut world = plan(Plan::usual(&upstream))
        .table("token_api", accounts)
        .route("path = \"/keys/{*rest}\"\nupstream = \"app\"\naccept = [\"users\"]")
        .start();
    let (key, alice) = (api_key_of(&world, "hershel"), world.key(TestUser::ALICE));
    let field = format!("X-API-Key: {key}\n");
    let ask = |world: &World| {
        let of = |path: &str, input: &str| {
            explained(world, "GET", &format!("http://a.example{path}"), input)
        };
        [
            of("/keys/x", &field),
            of("/keys/x", &key),
            of("/keys/x", &format!("{field}Authorization: Bearer {key}\n")),
            of("/keys/x", "X-API-Key: hello\n"),
            of("/private/x", &field),
            of("/private/x", &alice.token),
        ]
    };
    let running = ask(&world);
    let [by_field, as_bearer, both, other, elsewhere, private] = &running;
    for (said, source) in [(by_field, "X-API-Key"), (as_bearer, "Authorization: Bearer")] {
        assert_eq!(said["decision"], "forwarded", "{said}");
        assert_eq!(said["credential"]["source"], source);
        assert_eq!(header(said, "x-keyward-username"), Some("hershel"), "{said}");
    }
    for (said, status, cause) in [
        (both, 400, "it has both X-API-Key and Authorization: Bearer"),
        (other, 401, "it is unknown: X-API-Key takes the API keys of token APIs of style"),
        (elsewhere, 401, "it has X-API-Key, which is read only on routes that accept"),
    ] {
        assert_eq!(said["status"], status, "{said}");
        assert!(said["cause"].as_str().is_some_and(|said| said.starts_with(cause)), "{said}");
    }
    is_forwarded_as(private, TestUser::ALICE, &alice.jti);
    for said in &running {
        assert!(!said.to_string().contains(&key));
    }
    world.stop();
    assert_eq!(ask(&world), running);
}

#[test]
fn a_key_in_its_own_field_is_explained_from_the_embedded_store() {
    explains_a_key_in_its_own_field(|plan| plan);
}

#[test]
fn a_key_in_its_own_field_is_explained_from_redis() {
    let redis = RedisServer::start();
    explains_a_key_in_its_own_field(|plan| plan.redis(&redis.url()));
}
