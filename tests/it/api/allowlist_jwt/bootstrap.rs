//! Bootstrap tokens: the administrator makes them, each makes a stated number of keys, and no call
//! lists or revokes them.

use super::{AllowlistJwtWorld, data, error};
use crate::support::{TestUser, claims};

#[test]
fn a_bootstrap_token_makes_one_key_and_is_spent() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::BOB, 1);
    let api = world.keyward.api(TestUser::BOB);
    let key = api.mint(&bootstrap);
    let claims = claims(&key.token);
    assert_eq!(
        (claims["sub"].as_str(), claims["role"].as_str()),
        (Some(TestUser::BOB.subject), Some(TestUser::BOB.role))
    );
    assert_eq!(world.keyward.status_with(&key.token), 200);
    error(&api.issue(&bootstrap, ""), 401);
    error(&api.issue(&bootstrap, "{}"), 401);
    assert_eq!(api.jtis(&key.token), [key.jti]);
}

#[test]
fn a_bad_request_does_not_spend_a_bootstrap_token() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::BOB, 1);
    let api = world.keyward.api(TestUser::BOB);
    error(&api.issue(&bootstrap, r#"{"expires_in_minutes":-1}"#), 422);
    error(&api.issue(&bootstrap, "{"), 400);
    error(&world.api().issue(&bootstrap, ""), 403);
    api.mint(&bootstrap);
}

#[test]
fn so_many_mints_are_so_many_keys() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::BOB, 3);
    let api = world.keyward.api(TestUser::BOB);
    let keys: Vec<_> = (0..3).map(|_| api.mint(&bootstrap).jti).collect();
    error(&api.issue(&bootstrap, ""), 401);
    let last = world.keyward.key(TestUser::BOB);
    assert_eq!(api.jtis(&last.token), [keys, vec![last.jti]].concat());
}

#[test]
fn a_bootstrap_token_opens_no_route() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 2);
    assert_eq!(world.keyward.status_with(&bootstrap), 403);
    let response = world.keyward.get_with("/private/x", &bootstrap);
    assert_eq!(
        response.fields.one("content-type").as_deref(),
        Some("application/problem+json"),
        "{response}"
    );
}

#[test]
fn a_bootstrap_token_lists_keys_and_is_not_among_them() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 2);
    assert_eq!(world.api().jtis(&bootstrap), [world.alice.jti.as_str()]);
    assert_eq!(world.api().jtis(&world.alice.token), [world.alice.jti.as_str()]);
}

#[test]
fn revoking_a_bootstrap_token_gets_409_whether_or_not_it_is_spent() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 1);
    error(&world.api().revoke(&bootstrap), 409);
    let key = world.api().mint(&bootstrap);
    error(&world.api().revoke(&bootstrap), 409);
    assert_eq!(world.keyward.status_with(&key.token), 200);
}

#[test]
fn revoking_a_bootstrap_token_by_its_id_gets_409() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 2);
    let claims = claims(&bootstrap);
    let jti = claims["jti"].as_str().expect("a jti");
    error(&world.api().revoke_by_jti(&world.alice.token, jti), 409);
    error(&world.api().revoke_by_jti(&bootstrap, jti), 409);
    let admin = world.keyward.key(TestUser::ADMIN);
    error(&world.keyward.api(TestUser::ADMIN).revoke_by_jti(&admin.token, jti), 409);
    world.api().mint(&bootstrap);
}

#[test]
fn a_bootstrap_token_revokes_a_key_by_its_id() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 1);
    data(&world.api().revoke_by_jti(&bootstrap, &world.alice.jti), "Token revoked successfully");
    assert_eq!(world.keyward.status_with(&world.alice.token), 401);
}

#[test]
fn a_username_outside_ascii_travels_whole() {
    let world = AllowlistJwtWorld::start();
    let person = TestUser {
        organization: "größe & söhne",
        role: "rôle",
        ..TestUser::user("auth0|jörg", "jörg ☃")
    };
    let bootstrap = world.keyward.bootstrap(person, 1);
    let mount = "/jarvispy/gr%C3%B6%C3%9Fe%20&%20s%C3%B6hne/j%C3%B6rg%20%E2%98%83/api/v1";
    let fields = format!("Authorization: Bearer {bootstrap}\r\n");
    let response = world.keyward.ask("POST", &format!("{mount}/auth/issue-token"), &fields, "");
    let data = data(&response, "Token issued successfully");
    let fields = format!("Authorization: Bearer {}\r\n", data["token"].as_str().expect("a token"));
    let response = world.keyward.ask("GET", "/private/x", &fields, "");
    assert_eq!(response.status, 200, "{response}");
    let text = response.text();
    for (name, value) in [
        ("x-keyward-subject", "auth0|j%C3%B6rg"),
        ("x-keyward-username", "j%C3%B6rg%20%E2%98%83"),
        ("x-keyward-organization", "gr%C3%B6%C3%9Fe%20&%20s%C3%B6hne"),
        ("x-keyward-role", "r%C3%B4le"),
    ] {
        let echoed =
            crate::support::json(&response)["headers"].as_array().expect("headers").iter().any(
                |field| {
                    field[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name))
                        && field[1] == value
                },
            );
        assert!(echoed, "{name}: {value} is missing in {text}");
    }
}

#[test]
fn the_command_lists_and_revokes_what_it_made() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::BOB, 5);
    let claims = claims(&bootstrap);
    let jti = claims["jti"].as_str().expect("a jti");
    let listed = world.keyward.run(&["bootstrap", "list", "--json"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && text.contains(jti), "{listed:?}");
    assert!(!text.contains(&bootstrap), "a list holds no token");
    let revoked = world.keyward.run(&["bootstrap", "revoke", jti]);
    assert!(revoked.status.success(), "{revoked:?}");
    error(&world.keyward.api(TestUser::BOB).issue(&bootstrap, ""), 401);
}
