//! `GET /auth/tokens`.

use super::{AllowlistJwtWorld, data, json, keys, seconds};
use crate::support::{TestUser, now};

const LISTED: &str = "Tokens listed successfully";

#[test]
fn the_callers_active_keys_are_listed_oldest_first() {
    let world = AllowlistJwtWorld::start();
    let api = world.api();
    let before = now();
    let mut expected = vec![world.alice.jti.clone()];
    for n in 0..12 {
        let response = api.issue(
            &world.alice.token,
            &format!(r#"{{"name":"key {n}","expires_in_minutes":{}}}"#, n * 10),
        );
        expected.push(json(&response)["data"]["jti"].as_str().expect("a jti").to_owned());
    }
    let response = api.list(&world.alice.token);
    let data = data(&response, LISTED);
    assert_eq!(keys(&data), ["tokens"]);
    let tokens = data["tokens"].as_array().expect("an array");
    let ids: Vec<_> =
        tokens.iter().map(|entry| entry["jti"].as_str().expect("a jti").to_owned()).collect();
    assert_eq!(ids, expected);
    for (n, entry) in tokens.iter().enumerate() {
        assert_eq!(keys(entry), ["expires_at", "issued_at", "jti", "name"], "{entry}");
        let issued = seconds(&entry["issued_at"]);
        assert!((before - 10..=now()).contains(&issued), "{entry}");
        match n {
            0 => assert!(entry["name"].is_null() && entry["expires_at"].is_null(), "{entry}"),
            1 => assert!(entry["name"] == "key 0" && entry["expires_at"].is_null(), "{entry}"),
            _ => {
                assert_eq!(entry["name"], format!("key {}", n - 1));
                assert_eq!(seconds(&entry["expires_at"]) - issued, (n as i64 - 1) * 600, "{entry}");
            }
        }
    }
}

#[test]
fn a_list_never_holds_a_token() {
    let world = AllowlistJwtWorld::start();
    let response = world.api().list(&world.alice.token);
    let signature = world.alice.token.rsplit('.').next().expect("a signature");
    assert!(!response.text().contains(signature) && !response.text().contains("eyJ"), "{response}");
}

#[test]
fn a_list_holds_no_key_of_another_user() {
    let world = AllowlistJwtWorld::start();
    let bob = world.keyward.key(TestUser::BOB);
    assert_eq!(world.api().jtis(&world.alice.token), [world.alice.jti.as_str()]);
    assert_eq!(world.keyward.api(TestUser::BOB).jtis(&bob.token), [bob.jti]);
}

/// Users of the same name in two organizations are two users.
#[test]
fn a_list_keeps_organizations_apart() {
    let world = AllowlistJwtWorld::start();
    let elsewhere =
        TestUser { organization: "other-org", ..TestUser::user("auth0|alice-elsewhere", "alice") };
    let other = world.keyward.key(elsewhere);
    assert_eq!(world.keyward.api(elsewhere).jtis(&other.token), [other.jti]);
    assert_eq!(world.api().jtis(&world.alice.token).len(), 1);
}

#[test]
fn a_revoked_key_is_not_listed() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    world.api().revoke_by_jti(&world.alice.token, &second.jti);
    assert_eq!(world.api().jtis(&world.alice.token), [world.alice.jti.as_str()]);
}

#[test]
fn three_hundred_keys_are_listed_whole() {
    let world = AllowlistJwtWorld::start();
    let mut expected = vec![world.alice.jti.clone()];
    expected.extend((0..300).map(|_| world.api().mint(&world.alice.token).jti));
    assert_eq!(world.api().jtis(&world.alice.token), expected);
}
