//! `POST /auth/revoke-all`.

use super::{Office, data, error, keys};
use crate::support::Person;

const ALL_REVOKED: &str = "All tokens for this user have been revoked";

#[test]
fn every_key_of_the_caller_ends_and_nobody_elses() {
    let office = Office::open();
    let bob = office.world.key(Person::BOB);
    let others: Vec<_> = (0..5).map(|_| office.api().mint(&office.alice.token)).collect();
    for key in &others {
        assert_eq!(office.world.status_with(&key.token), 200);
    }
    let data = data(&office.api().revoke_all(&office.alice.token), ALL_REVOKED);
    assert_eq!(keys(&data), ["status", "sub"]);
    assert_eq!(
        (data["sub"].as_str(), data["status"].as_str()),
        (Some(Person::ALICE.subject), Some("all_revoked"))
    );
    for key in others.iter().chain([&office.alice]) {
        assert_eq!(office.world.status_with(&key.token), 401);
    }
    error(&office.api().revoke_all(&office.alice.token), 401);
    assert_eq!(office.world.status_with(&bob.token), 200);
    let again = office.world.key(Person::ALICE);
    assert_eq!(office.api().jtis(&again.token), [again.jti]);
}

#[test]
fn an_admin_ends_only_the_keys_of_their_own() {
    let office = Office::open();
    let admin = office.world.key(Person::ADMIN);
    data(&office.world.api(Person::ADMIN).revoke_all(&admin.token), ALL_REVOKED);
    assert_eq!(office.world.status_with(&admin.token), 401);
    assert_eq!(office.world.status_with(&office.alice.token), 200);
}

#[test]
fn a_bootstrap_token_ends_every_key_and_survives() {
    let office = Office::open();
    let bootstrap = office.world.bootstrap(Person::ALICE, 2);
    let first = office.api().mint(&bootstrap);
    data(&office.api().revoke_all(&bootstrap), ALL_REVOKED);
    assert_eq!(office.world.status_with(&first.token), 401);
    assert_eq!(office.world.status_with(&office.alice.token), 401);
    let second = office.api().mint(&bootstrap);
    assert_eq!(office.world.status_with(&second.token), 200);
}
