//! `POST /auth/revoke`.

use super::{AllowlistJwtWorld, data, error, keys};
use crate::support::{Client, TestUser};

const REVOKED: &str = "Token revoked successfully";

#[test]
fn a_key_revokes_itself_and_opens_nothing_from_then_on() {
    let world = AllowlistJwtWorld::start();
    let second = world.api().mint(&world.alice.token);
    assert_eq!(world.keyward.status_with(&second.token), 200);
    let data = data(&world.api().revoke(&second.token), REVOKED);
    assert_eq!(keys(&data), ["jti", "status"]);
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(second.jti.as_str()), Some("revoked"))
    );
    assert_eq!(world.keyward.status_with(&second.token), 401);
    for response in [
        world.api().revoke(&second.token),
        world.api().issue(&second.token, ""),
        world.api().list(&second.token),
        world.api().revoke_all(&second.token),
        world.api().revoke_by_jti(&second.token, &second.jti),
    ] {
        error(&response, 401);
    }
    assert_eq!(world.keyward.status_with(&world.alice.token), 200, "the other key lives");
}

/// DESIGN, section 5, within one process: a request that starts after the answer is not served, on
/// any connection of any worker, also where the token is in the caches.
#[test]
fn no_request_after_the_answer_is_served_on_any_connection() {
    let world = AllowlistJwtWorld::start();
    let request = |token: &str| {
        format!(
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    for _ in 0..20 {
        let victim = world.api().mint(&world.alice.token);
        let mut clients: Vec<Client> = (0..8).map(|_| world.keyward.client()).collect();
        for client in &mut clients {
            for _ in 0..3 {
                assert_eq!(client.ask(request(&victim.token)).status, 200);
            }
        }
        data(&world.api().revoke(&victim.token), REVOKED);
        for client in &mut clients {
            assert_eq!(client.ask(request(&victim.token)).status, 401);
        }
    }
}

/// The cache must not keep a refusal of a token that is good, nor an acceptance of one that is
/// revoked.
#[test]
fn revoking_some_keys_of_a_user_leaves_the_others() {
    let world = AllowlistJwtWorld::start();
    let keys: Vec<_> = (0..10).map(|_| world.api().mint(&world.alice.token)).collect();
    for key in keys.iter().step_by(2) {
        data(&world.api().revoke(&key.token), REVOKED);
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(world.keyward.status_with(&key.token), if n % 2 == 0 { 401 } else { 200 });
    }
}

#[test]
fn revoking_with_a_body_or_without_is_the_same() {
    let world = AllowlistJwtWorld::start();
    for body in ["", "{}"] {
        let key = world.api().mint(&world.alice.token);
        data(&world.api().call("POST", "/auth/revoke", &key.token, body), REVOKED);
    }
}

#[test]
fn a_parent_that_is_revoked_leaves_its_children_listed_or_dead() {
    let world = AllowlistJwtWorld::start();
    let parent = world.api().mint(&world.alice.token);
    let child = world.api().mint(&parent.token);
    data(&world.api().revoke(&parent.token), REVOKED);
    let listed = world.api().jtis(&world.alice.token).contains(&child.jti);
    assert_eq!(world.keyward.status_with(&child.token), if listed { 200 } else { 401 });
}

/// A token with the same claims, signed with another key, is refused.
#[test]
fn a_token_of_another_keyward_is_refused() {
    let (here, there) = (AllowlistJwtWorld::start(), AllowlistJwtWorld::start());
    assert_eq!(here.keyward.status_with(&there.alice.token), 401);
    assert_eq!(there.keyward.status_with(&here.alice.token), 401);
    error(&here.keyward.api(TestUser::ALICE).list(&there.alice.token), 401);
}
