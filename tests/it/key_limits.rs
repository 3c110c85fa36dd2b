//! Keys with limits of their own, where neither the token API nor a route has any.

use serde_json::Value;

use crate::support::{Ongoing, Plan, Response, TestUser, Upstream, World, eventually, json, open};

/// A keyward without any limit of requests.
struct KeyLimitsWorld {
    keyward: World,
    upstream: Upstream,
    /// A key of Alice without limits.
    root: String,
}

impl KeyLimitsWorld {
    fn start() -> Self {
        let upstream = Upstream::start();
        let keyward = Plan::usual(&upstream).start();
        let root = keyward.key(TestUser::ALICE).token;
        Self { keyward, upstream, root }
    }

    /// A key that this token makes with these limits.
    fn key(&self, maker: &str, limits: &str) -> String {
        let body = format!(r#"{{"limits":{limits}}}"#);
        let made = self.keyward.api(TestUser::ALICE).issue(maker, &body);
        assert_eq!(made.status, 200, "{made}");
        json(&made)["data"]["token"].as_str().expect("a token").to_owned()
    }

    fn get(&self, token: &str) -> Response {
        self.keyward.get_with("/private/x", token)
    }
}

#[track_caller]
fn assert_refused(response: &Response, reason: &str, world: &KeyLimitsWorld) {
    assert_eq!(response.status, 429, "{response}");
    let seconds = response.fields.one("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "{response}");
    let is_logged =
        || world.keyward.access_lines().iter().any(|line: &Value| line["refusal"] == reason);
    assert!(eventually(is_logged), "{reason}");
}

#[test]
fn a_key_is_held_to_its_own_rate_and_no_other_key_is() {
    let world = KeyLimitsWorld::start();
    let limited = world.key(&world.root, r#"{"rate":"3/h","burst":3}"#);
    let statuses: Vec<u16> = (0..3).map(|_| world.get(&limited).status).collect();
    assert_eq!(statuses, [200, 200, 200]);
    let refused = world.get(&limited);
    assert_refused(&refused, "rate_limited", &world);
    let policy = refused.fields.one("ratelimit-policy").unwrap_or_default();
    assert_eq!(policy, "\"key\";q=3;w=3600", "{refused}");
    for _ in 0..10 {
        let other = world.get(&world.root);
        assert_eq!(other.status, 200, "{other}");
        assert!(!other.fields.has("ratelimit-policy"), "nothing is said where there is no limit");
    }
    let sibling = world.key(&world.root, r#"{"rate":"3/h","burst":3}"#);
    assert_eq!(world.get(&sibling).status, 200, "each counts for itself");
}

#[test]
fn what_a_key_inherits_is_in_force() {
    let world = KeyLimitsWorld::start();
    let parent = world.key(&world.root, r#"{"rate":"2/h","burst":2}"#);
    let child = world.key(&parent, r#"{"rate":"1000/s","burst":1000}"#);
    let statuses: Vec<u16> = (0..4).map(|_| world.get(&child).status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn calls_of_the_token_api_count_and_are_refused_in_its_own_words() {
    let world = KeyLimitsWorld::start();
    let limited = world.key(&world.root, r#"{"rate":"2/h","burst":2}"#);
    let api = world.keyward.api(TestUser::ALICE);
    assert_eq!((world.get(&limited).status, api.list(&limited).status), (200, 200));
    let refused = api.list(&limited);
    assert_refused(&refused, "rate_limited", &world);
    assert_eq!(json(&refused)["status"], "error", "{refused}");
    assert_eq!(world.get(&limited).status, 429);
}

#[test]
fn the_limits_of_a_bootstrap_token_are_for_the_keys_that_it_makes() {
    let world = KeyLimitsWorld::start();
    let made = world.keyward.run(&[
        "bootstrap",
        "create",
        "--token-api",
        "jarvispy",
        "--sub",
        TestUser::ALICE.subject,
        "--username",
        TestUser::ALICE.username,
        "--organization",
        TestUser::ALICE.organization,
        "--role",
        "user",
        "--mints",
        "5",
        "--rate",
        "1/h",
    ]);
    let bootstrap = String::from_utf8(made.stdout).expect("a token");
    for _ in 0..5 {
        let key = world.keyward.api(TestUser::ALICE).mint(bootstrap.trim()).token;
        assert_eq!((world.get(&key).status, world.get(&key).status), (200, 429));
    }
}

#[test]
fn a_key_is_held_to_its_own_number_of_requests_at_a_time() {
    let world = KeyLimitsWorld::start();
    let limited = world.key(&world.root, r#"{"concurrent_requests":1}"#);
    let (client, _) =
        open(&world.keyward, &world.upstream, "/private/events", Ongoing::Events, &limited);
    let refused = world.get(&limited);
    assert_refused(&refused, "too_many_concurrent", &world);
    assert_eq!(world.get(&world.root).status, 200);
    client.reset();
    assert!(eventually(|| world.get(&limited).status == 200), "the place is free again");
}

#[test]
fn a_reload_does_not_give_a_key_its_permits_back() {
    let world = KeyLimitsWorld::start();
    let limited = world.key(&world.root, r#"{"rate":"2/h","burst":2}"#);
    assert_eq!((world.get(&limited).status, world.get(&limited).status), (200, 200));
    world.keyward.reload();
    assert_eq!(world.get(&limited).status, 429);
}

#[test]
fn a_key_can_always_be_revoked_whatever_is_done_with_it() {
    let world = KeyLimitsWorld::start();
    let api = world.keyward.api(TestUser::ALICE);
    let spent = world.key(&world.root, r#"{"rate":"1/d","burst":1}"#);
    assert_eq!((world.get(&spent).status, world.get(&spent).status), (200, 429));
    assert_eq!(api.revoke(&spent).status, 200);
    assert_eq!(world.get(&spent).status, 401);
    let busy = world.key(&world.root, r#"{"concurrent_requests":1}"#);
    let held = open(&world.keyward, &world.upstream, "/private/events", Ongoing::Events, &busy);
    assert_eq!(world.get(&busy).status, 429);
    assert_eq!(api.revoke_all(&busy).status, 200);
    assert_eq!(world.get(&busy).status, 401);
    drop(held);
}
