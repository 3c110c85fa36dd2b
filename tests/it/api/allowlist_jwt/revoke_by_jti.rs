//! `POST /auth/revoke/{jti}`.

use super::{Office, data, error, json, keys};
use crate::support::Person;

const REVOKED: &str = "Token revoked successfully";

#[test]
fn a_key_of_ones_own_is_revoked_by_its_id() {
    let office = Office::open();
    let second = office.api().mint(&office.alice.token);
    assert_eq!(office.world.status_with(&second.token), 200);
    let data = data(&office.api().revoke_by_jti(&office.alice.token, &second.jti), REVOKED);
    assert_eq!(keys(&data), ["jti", "status"]);
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(second.jti.as_str()), Some("revoked"))
    );
    assert_eq!(office.world.status_with(&second.token), 401);
    assert_eq!(office.world.status_with(&office.alice.token), 200);
}

#[test]
fn a_key_may_name_itself() {
    let office = Office::open();
    data(&office.api().revoke_by_jti(&office.alice.token, &office.alice.jti), REVOKED);
    assert_eq!(office.world.status_with(&office.alice.token), 401);
}

#[test]
fn an_unknown_id_gets_200_and_not_found_as_often_as_one_asks() {
    let office = Office::open();
    let second = office.api().mint(&office.alice.token);
    data(&office.api().revoke_by_jti(&office.alice.token, &second.jti), REVOKED);
    for jti in [second.jti.as_str(), second.jti.as_str(), "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b"] {
        let response = office.api().revoke_by_jti(&office.alice.token, jti);
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
    let office = Office::open();
    let second = office.api().mint(&office.alice.token);
    let data =
        data(&office.api().revoke_by_jti(&office.alice.token, &second.jti.to_uppercase()), REVOKED);
    assert_eq!(data["status"], "revoked");
    assert!(
        data["jti"].as_str().is_some_and(|jti| jti.eq_ignore_ascii_case(&second.jti)),
        "{data}"
    );
    assert_eq!(office.world.status_with(&second.token), 401);
}

#[test]
fn what_is_no_uuid_gets_422() {
    let office = Office::open();
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
        error(&office.api().revoke_by_jti(&office.alice.token, jti), 422);
    }
}

#[test]
fn another_users_key_gets_403_and_lives_on() {
    let office = Office::open();
    let bob = office.world.key(Person::BOB);
    error(&office.api().revoke_by_jti(&office.alice.token, &bob.jti), 403);
    assert_eq!(office.world.status_with(&bob.token), 200);
    error(&office.api().revoke_by_jti(&office.alice.token, &bob.jti.to_uppercase()), 403);
    assert_eq!(office.world.api(Person::BOB).jtis(&bob.token), [bob.jti]);
}

#[test]
fn an_admin_revokes_anybodys_key() {
    let office = Office::open();
    let admin = office.world.key(Person::ADMIN);
    let data = data(
        &office.world.api(Person::ADMIN).revoke_by_jti(&admin.token, &office.alice.jti),
        REVOKED,
    );
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(office.alice.jti.as_str()), Some("revoked"))
    );
    assert_eq!(office.world.status_with(&office.alice.token), 401);
    assert_eq!(office.world.status_with(&admin.token), 200);
}

/// Only the role `admin` to the letter is the role admin.
#[test]
fn no_other_role_is_admin() {
    let office = Office::open();
    for (subject, username, role) in [
        ("r1", "r1", "Admin"),
        ("r2", "r2", "ADMIN"),
        ("r3", "r3", "administrator"),
        ("r4", "r4", "user,admin"),
    ] {
        let person = Person { role, ..Person::user(subject, username) };
        let key = office.world.key(person);
        error(&office.world.api(person).revoke_by_jti(&key.token, &office.alice.jti), 403);
    }
    assert_eq!(office.world.status_with(&office.alice.token), 200);
}

/// What is no call of the contract does nothing.
#[test]
fn an_id_with_more_behind_it_is_another_path() {
    let office = Office::open();
    let second = office.api().mint(&office.alice.token);
    for call in [format!("/auth/revoke/{}/x", second.jti), format!("/auth/revoke/x/{}", second.jti)]
    {
        let response = office.api().call("POST", &call, &office.alice.token, "");
        assert_eq!(response.status, 404, "{call}: {response}");
    }
    assert_eq!(office.world.status_with(&second.token), 200);
}
