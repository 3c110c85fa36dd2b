//! Bootstrap tokens: made out of band, good for so many keys, never listed, not to be revoked here.

use super::{Office, data, error};
use crate::support::{Person, claims};

#[test]
fn a_bootstrap_token_makes_one_key_and_is_spent() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::BOB, 1);
    let api = office.world.api(Person::BOB);
    let key = api.mint(&bootstrap);
    let claims = claims(&key.token);
    assert_eq!(
        (claims["sub"].as_str(), claims["role"].as_str()),
        (Some(Person::BOB.subject), Some(Person::BOB.role))
    );
    assert_eq!(office.world.status_with(&key.token), 200);
    error(&api.issue(&bootstrap, ""), 401);
    error(&api.issue(&bootstrap, "{}"), 401);
    assert_eq!(api.jtis(&key.token), [key.jti]);
}

#[test]
fn a_bad_request_does_not_spend_a_bootstrap_token() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::BOB, 1);
    let api = office.world.api(Person::BOB);
    error(&api.issue(&bootstrap, r#"{"expires_in_minutes":-1}"#), 422);
    error(&api.issue(&bootstrap, "{"), 400);
    error(&office.api().issue(&bootstrap, ""), 403);
    api.mint(&bootstrap);
}

#[test]
fn so_many_mints_are_so_many_keys() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::BOB, 3);
    let api = office.world.api(Person::BOB);
    let keys: Vec<_> = (0..3).map(|_| api.mint(&bootstrap).jti).collect();
    error(&api.issue(&bootstrap, ""), 401);
    let last = office.world.key(Person::BOB);
    assert_eq!(api.jtis(&last.token), [keys, vec![last.jti]].concat());
}

#[test]
fn a_bootstrap_token_opens_no_route() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 2);
    assert_eq!(office.world.status_with(&bootstrap), 403);
    let response = office.world.ask(
        "GET",
        "/private/x",
        &format!("Authorization: Bearer {bootstrap}\r\n"),
        "",
    );
    assert_eq!(
        response.fields.one("content-type").as_deref(),
        Some("application/problem+json"),
        "{response}"
    );
}

#[test]
fn a_bootstrap_token_lists_keys_and_is_not_among_them() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 2);
    assert_eq!(office.api().jtis(&bootstrap), [office.alice.jti.as_str()]);
    assert_eq!(office.api().jtis(&office.alice.token), [office.alice.jti.as_str()]);
}

#[test]
fn revoking_a_bootstrap_token_gets_409_whether_or_not_it_is_spent() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 1);
    error(&office.api().revoke(&bootstrap), 409);
    let key = office.api().mint(&bootstrap);
    error(&office.api().revoke(&bootstrap), 409);
    assert_eq!(office.world.status_with(&key.token), 200);
}

#[test]
fn revoking_a_bootstrap_token_by_its_id_gets_409() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 2);
    let claims = claims(&bootstrap);
    let jti = claims["jti"].as_str().expect("a jti");
    error(&office.api().revoke_by_jti(&office.alice.token, jti), 409);
    error(&office.api().revoke_by_jti(&bootstrap, jti), 409);
    let admin = office.world.key(Person::ADMIN);
    error(&office.world.api(Person::ADMIN).revoke_by_jti(&admin.token, jti), 409);
    office.api().mint(&bootstrap);
}

#[test]
fn a_bootstrap_token_revokes_a_key_by_its_id() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 1);
    data(&office.api().revoke_by_jti(&bootstrap, &office.alice.jti), "Token revoked successfully");
    assert_eq!(office.world.status_with(&office.alice.token), 401);
}

#[test]
fn a_username_outside_ascii_travels_whole() {
    let office = Office::open();
    let person = Person {
        organization: "größe & söhne",
        role: "rôle",
        ..Person::user("auth0|jörg", "jörg ☃")
    };
    let bootstrap = office.world.bootstrap(person, 1);
    let mount = "/jarvispy/gr%C3%B6%C3%9Fe%20&%20s%C3%B6hne/j%C3%B6rg%20%E2%98%83/api/v1";
    let fields = format!("Authorization: Bearer {bootstrap}\r\n");
    let response = office.world.ask("POST", &format!("{mount}/auth/issue-token"), &fields, "");
    let data = data(&response, "Token issued successfully");
    let fields = format!("Authorization: Bearer {}\r\n", data["token"].as_str().expect("a token"));
    let response = office.world.ask("GET", "/private/x", &fields, "");
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
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::BOB, 5);
    let claims = claims(&bootstrap);
    let jti = claims["jti"].as_str().expect("a jti");
    let listed = office.world.run(&["bootstrap", "list", "--json"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && text.contains(jti), "{listed:?}");
    assert!(!text.contains(&bootstrap), "a list holds no token");
    let revoked = office.world.run(&["bootstrap", "revoke", jti]);
    assert!(revoked.status.success(), "{revoked:?}");
    error(&office.world.api(Person::BOB).issue(&bootstrap, ""), 401);
}
