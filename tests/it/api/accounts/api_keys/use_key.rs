//! How a key is sent, and what the upstream gets of it.

use super::API_KEYS;
use crate::api::worlds::{AccountsWorld, api_key_field, bearer};

#[test]
fn a_key_opens_the_routes_in_its_own_field_and_as_a_bearer_and_never_beside_another() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    let (key, id) = world.api_key(&session);
    assert_eq!(world.status_with("/v1/me/x", &api_key_field(&key)), 200);
    assert_eq!(world.status_with("/v1/me/x", &bearer(&key)), 200);
    assert_eq!(
        world
            .status_with("/v1/me/x", &format!("Authorization: Basic x\r\n{}", api_key_field(&key))),
        200
    );
    for fields in [
        bearer(&key) + &api_key_field(&key),
        bearer(&session) + &api_key_field(&key),
        api_key_field(&key) + &api_key_field(&key),
        bearer(&key) + &bearer(&key),
    ] {
        assert_eq!(world.status_with("/v1/me/x", &fields), 400, "{fields}");
    }
    for fields in [
        String::new(),
        api_key_field(""),
        api_key_field("x"),
        api_key_field(&session),
        api_key_field(&format!("rst_{}", "0".repeat(39))),
    ] {
        assert_eq!(world.status_with("/v1/me/x", &fields), 401, "{fields}");
    }
    // A key of another token API does not come in this field, also where the route accepts both.
    let other = world.allowlist_jwt_key();
    assert_eq!(
        (
            world.status_with("/mixed/x", &bearer(&other)),
            world.status_with("/mixed/x", &api_key_field(&other))
        ),
        (200, 401)
    );
    assert_eq!(world.status_with("/mixed/x", &api_key_field(&key)), 200);
    assert_eq!(
        world.status_with("/people/x", &api_key_field(&key)),
        401,
        "that route does not read it"
    );
    // Revoked, it opens nothing at once, in either way.
    let gone = world.call("DELETE", &format!("{API_KEYS}/{id}"), &session, "");
    assert_eq!(gone.status, 204, "{gone}");
    assert_eq!(
        (
            world.status_with("/v1/me/x", &api_key_field(&key)),
            world.status_with("/v1/me/x", &bearer(&key))
        ),
        (401, 401)
    );
}

/// This holds for routes that do not accept it, and for public ones, too.
#[test]
fn a_key_in_its_own_field_never_reaches_an_upstream_unless_the_route_says_so() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    let (key, _) = world.api_key(&session);
    let alice = bearer(&world.alice());
    let seen =
        |target: &str, fields: &str| world.forwarded_with(target, fields).fields.one("x-api-key");
    assert_eq!(seen("/public/x", &api_key_field(&key)), None);
    assert_eq!(seen("/people/x", &(alice.clone() + &api_key_field(&key))), None);
    assert_eq!(seen("/v1/me/x", &api_key_field(&key)), None);
    assert_eq!(seen("/kept/x", &api_key_field(&key)).as_deref(), Some(key.as_str()));
    // A value that is no key of keyward is forwarded.
    assert_eq!(seen("/public/x", &api_key_field("sk-theirs")).as_deref(), Some("sk-theirs"));
    assert_eq!(seen("/people/x", &(alice + &api_key_field("theirs"))).as_deref(), Some("theirs"));
}

#[test]
fn the_upstream_sees_neither_form_of_the_credential_unless_the_route_says_so() {
    let world = AccountsWorld::start();
    let (key, _) = world.api_key(&world.session("hershel"));
    let seen = |target: &str| world.forwarded_with(target, &api_key_field(&key));
    let request = seen("/v1/me/x");
    assert!(!request.fields.has("x-api-key") && !request.fields.has("authorization"));
    assert_eq!(request.fields.one("x-keyward-username").as_deref(), Some("hershel"));
    assert_eq!(request.fields.one("x-keyward-credential").as_deref(), Some("accounts"));
    assert_eq!(seen("/kept/x").fields.one("x-api-key").as_deref(), Some(key.as_str()));
}
