//! Accounts are migrated with what belongs to them.

use serde_json::{Value, json};

use super::{BACK, EMBEDDED, REDIS, counts, summary};
use crate::support::redis::RedisServer;
use crate::support::{Plan, Upstream, World, json as body_of};

/// Retired keys, too.
#[test]
fn accounts_move_with_their_passwords_sessions_and_keys() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let plan = || {
        Plan::usual(&upstream)
            .table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
            .route("path = \"/v1/me/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]")
    };
    let mut keyward = plan().start();
    keyward.write(REDIS, &plan().redis(&redis.url()));
    keyward.write(BACK, &plan().set("store", "path", "\"back.db\""));
    let call = |keyward: &World, method: &str, target: &str, session: &str, body: Value| {
        let fields =
            format!("Content-Type: application/json\r\nAuthorization: Bearer {session}\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        keyward.ask(
            method,
            target,
            if session.is_empty() { "Content-Type: application/json\r\n" } else { &fields },
            body,
        )
    };
    let register = |keyward: &World, name: &str| {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.com"),
            "password": "correct horse",
            "full_name": "A",
        });
        assert_eq!(call(keyward, "POST", "/v1/auth/register", "", body).status, 200);
    };
    let login = |keyward: &World, name: &str| {
        let answer = call(
            keyward,
            "POST",
            "/v1/auth/login",
            "",
            json!({ "username": name, "password": "correct horse" }),
        );
        (answer.status, body_of(&answer)["access_token"].as_str().unwrap_or_default().to_owned())
    };
    register(&keyward, "ann");
    register(&keyward, "bob");
    let (_, session) = login(&keyward, "ann");
    let key = || {
        let made =
            body_of(&call(&keyward, "POST", "/v1/auth/api-keys", &session, json!({ "name": "k" })));
        (
            made["raw_key"].as_str().expect("a key").to_owned(),
            made["id"].as_str().expect("an id").to_owned(),
        )
    };
    let ((kept, _), (gone, gone_id)) = (key(), key());
    let target = format!("/v1/auth/api-keys/{gone_id}");
    assert_eq!(call(&keyward, "DELETE", &target, &session, Value::Null).status, 204);
    assert!(keyward.run(&["user", "disable", "bob"]).status.success());
    let list = |keyward: &World| {
        body_of(&call(keyward, "GET", "/v1/auth/api-keys", &session, Value::Null))
    };
    let listed = list(&keyward);
    keyward.stop();
    let migrate = |keyward: &World, from: &str, to: &str| {
        summary(&keyward.run(&["store", "migrate", "--from", from, "--to", to, "--json"]), 0)
    };
    for (from, to, there) in [
        (EMBEDDED, REDIS, plan().redis(&redis.url())),
        (REDIS, BACK, plan().set("store", "path", "\"back.db\"")),
    ] {
        // The first is overwritten by what is served below.
        keyward.write(EMBEDDED, &plan());
        let found = migrate(&keyward, from, to);
        assert_eq!(counts(&found, "accounts")[..2], [2, 0]);
        assert_eq!(counts(&found, "retired_keys"), [1, 0, 0, 1, 1]);
        keyward.configure(&there);
        keyward.restart();
        let status =
            |key: &str| keyward.ask("GET", "/v1/me/x", &format!("X-API-Key: {key}\r\n"), "").status;
        assert_eq!((status(&kept), status(&gone)), (200, 401));
        assert_eq!(list(&keyward), listed, "with the one that was retired");
        assert_eq!((login(&keyward, "ann").0, login(&keyward, "bob").0), (200, 401));
        let taken = json!({
            "username": "ANN",
            "email": "x@example.com",
            "password": "correct horse",
            "full_name": "A",
        });
        assert_eq!(call(&keyward, "POST", "/v1/auth/register", "", taken).status, 409);
        keyward.stop();
    }
}
