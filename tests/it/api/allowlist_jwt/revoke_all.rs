//! `POST /auth/revoke-all`.

use super::{AllowlistJwtWorld, data, error, keys};
use crate::support::TestUser;

const ALL_REVOKED: &str = "All tokens for this user have been revoked";

#[test]
fn every_key_of_the_caller_ends_and_no_key_of_another_user() {
    let world = AllowlistJwtWorld::start();
    let bob = world.keyward.key(TestUser::BOB);
    let others: Vec<_> = (0..5).map(|_| world.api().mint(&world.alice.token)).collect();
    for key in &others {
        assert_eq!(world.keyward.status_with(&key.token), 200);
    }
    let data = data(&world.api().revoke_all(&world.alice.token), ALL_REVOKED);
    assert_eq!(keys(&data), ["status", "sub"]);
    assert_eq!(
        (data["sub"].as_str(), data["status"].as_str()),
        (Some(TestUser::ALICE.subject), Some("all_revoked"))
    );
    for key in others.iter().chain([&world.alice]) {
        assert_eq!(world.keyward.status_with(&key.token), 401);
    }
    error(&world.api().revoke_all(&world.alice.token), 401);
    assert_eq!(world.keyward.status_with(&bob.token), 200);
    let again = world.keyward.key(TestUser::ALICE);
    assert_eq!(world.api().jtis(&again.token), [again.jti]);
}

#[test]
fn an_admin_ends_only_their_own_keys() {
    let world = AllowlistJwtWorld::start();
    let admin = world.keyward.key(TestUser::ADMIN);
    data(&world.keyward.api(TestUser::ADMIN).revoke_all(&admin.token), ALL_REVOKED);
    assert_eq!(world.keyward.status_with(&admin.token), 401);
    assert_eq!(world.keyward.status_with(&world.alice.token), 200);
}

#[test]
fn a_bootstrap_token_ends_every_key_and_survives() {
    let world = AllowlistJwtWorld::start();
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 2);
    let first = world.api().mint(&bootstrap);
    data(&world.api().revoke_all(&bootstrap), ALL_REVOKED);
    assert_eq!(world.keyward.status_with(&first.token), 401);
    assert_eq!(world.keyward.status_with(&world.alice.token), 401);
    let second = world.api().mint(&bootstrap);
    assert_eq!(world.keyward.status_with(&second.token), 200);
}
