//! `POST /auth/revoke/{jti}`.

use super::{AllowlistJwtWorld, data, error, json, keys};
use crate::support::TestUser;

const REVOKED: &str = "Token revoked successfully";

#[test]
fn a_key_of_ones_own_is_revoked_by_its_id() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    assert_eq!(world.keyward.status_with(&second.token), 200);
    let data = data(&world.api().revoke_by_jti(&world.alice.token, &second.jti), REVOKED);
    assert_eq!(keys(&data), ["jti", "status"]);
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(second.jti.as_str()), Some("revoked"))
    );
    assert_eq!(world.keyward.status_with(&second.token), 401);
    assert_eq!(world.keyward.status_with(&world.alice.token), 200);
}

#[test]
fn a_key_may_name_itself() {
    let world = AllowlistJwtWorld::start();
    data(&world.api().revoke_by_jti(&world.alice.token, &world.alice.jti), REVOKED);
    assert_eq!(world.keyward.status_with(&world.alice.token), 401);
}

#[test]
fn an_unknown_id_gets_200_and_not_found_as_often_as_one_asks() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    data(&world.api().revoke_by_jti(&world.alice.token, &second.jti), REVOKED);
    for jti in [second.jti.as_str(), second.jti.as_str(), "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b"] {
        let response = world.api().revoke_by_jti(&world.alice.token, jti);
        assert_eq!(response.status, 200, "{response}");
        let body = json(&response);
        assert_eq!(
            (body["status"].as_str(), body["data"]["status"].as_str()),
            (Some("success"), Some("not_found")),
            "{body}"
        );
        assert_eq!(body["data"]["jti"], jti, "{body}");
    }
}

#[test]
fn an_id_in_upper_case_is_the_same_id() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    let data =
        data(&world.api().revoke_by_jti(&world.alice.token, &second.jti.to_uppercase()), REVOKED);
    assert_eq!(data["status"], "revoked");
    assert!(
        data["jti"].as_str().is_some_and(|jti| jti.eq_ignore_ascii_case(&second.jti)),
        "{data}"
    );
    assert_eq!(world.keyward.status_with(&second.token), 401);
}

#[test]
fn what_is_no_uuid_gets_422() {
    let world = AllowlistJwtWorld::start();
    for jti in [
        "x",
        "1",
        "null",
        "not-a-uuid",
        "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6",
        "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b0",
        "g1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b",
        "f1c2a3b4_5d6e_7f80_9a0b_1c2d3e4f5a6b",
        "f1c2a3b4-5d6e-7f80-9a0b1c2d3e4f-5a6b",
        "%20",
        "*",
        "%F0%9F%98%80",
        "'%20OR%201=1",
        "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b%20",
        "%7Bf1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b%7D",
        "urn:uuid:f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b",
    ] {
        error(&world.api().revoke_by_jti(&world.alice.token, jti), 422);
    }
}

#[test]
fn another_users_key_gets_403_and_lives_on() {
    let world = AllowlistJwtWorld::start();
    let bob = world.keyward.key(TestUser::BOB);
    error(&world.api().revoke_by_jti(&world.alice.token, &bob.jti), 403);
    assert_eq!(world.keyward.status_with(&bob.token), 200);
    error(&world.api().revoke_by_jti(&world.alice.token, &bob.jti.to_uppercase()), 403);
    assert_eq!(world.keyward.api(TestUser::BOB).jtis(&bob.token), [bob.jti]);
}

#[test]
fn an_admin_revokes_the_key_of_any_user() {
    let world = AllowlistJwtWorld::start();
    let admin = world.keyward.key(TestUser::ADMIN);
    let data = data(
        &world.keyward.api(TestUser::ADMIN).revoke_by_jti(&admin.token, &world.alice.jti),
        REVOKED,
    );
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(world.alice.jti.as_str()), Some("revoked"))
    );
    assert_eq!(world.keyward.status_with(&world.alice.token), 401);
    assert_eq!(world.keyward.status_with(&admin.token), 200);
}

/// The role of an administrator is `admin`, in this spelling alone.
#[test]
fn no_other_role_is_admin() {
    let world = AllowlistJwtWorld::start();
    for (subject, username, role) in [
        ("r1", "r1", "Admin"),
        ("r2", "r2", "ADMIN"),
        ("r3", "r3", "administrator"),
        ("r4", "r4", "user,admin"),
    ] {
        let person = TestUser { role, ..TestUser::user(subject, username) };
        let key = world.keyward.key(person);
        error(&world.keyward.api(person).revoke_by_jti(&key.token, &world.alice.jti), 403);
    }
    assert_eq!(world.keyward.status_with(&world.alice.token), 200);
}

/// A path that is no call of the contract changes nothing.
#[test]
fn an_id_with_more_behind_it_is_another_path() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    for call in [format!("/auth/revoke/{}/x", second.jti), format!("/auth/revoke/x/{}", second.jti)]
    {
        let response = world.api().call("POST", &call, &world.alice.token, "");
        assert_eq!(response.status, 404, "{call}: {response}");
    }
    assert_eq!(world.keyward.status_with(&second.token), 200);
}
