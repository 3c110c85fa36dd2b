//! `POST /auth/revoke`.

use super::{Office, data, error, keys};
use crate::support::{Client, Person};

const REVOKED: &str = "Token revoked successfully";

#[test]
fn a_key_revokes_itself_and_opens_nothing_from_then_on() {
    let office = Office::open();
    let second = office.api().mint(&office.alice.token);
    assert_eq!(office.world.status_with(&second.token), 200);
    let data = data(&office.api().revoke(&second.token), REVOKED);
    assert_eq!(keys(&data), ["jti", "status"]);
    assert_eq!(
        (data["jti"].as_str(), data["status"].as_str()),
        (Some(second.jti.as_str()), Some("revoked"))
    );
    assert_eq!(office.world.status_with(&second.token), 401);
    for response in [
        office.api().revoke(&second.token),
        office.api().issue(&second.token, ""),
        office.api().list(&second.token),
        office.api().revoke_all(&second.token),
        office.api().revoke_by_jti(&second.token, &second.jti),
    ] {
        error(&response, 401);
    }
    assert_eq!(office.world.status_with(&office.alice.token), 200, "the other key lives");
}

/// The promise of DESIGN section 5 within one process: no request that starts after the answer is
/// served, on whatever connection and worker, however warm the token was.
#[test]
fn no_request_after_the_answer_is_served_on_any_connection() {
    let office = Office::open();
    let request = |token: &str| {
        format!(
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    for _ in 0..20 {
        let victim = office.api().mint(&office.alice.token);
        let mut clients: Vec<Client> = (0..8).map(|_| office.world.client()).collect();
        for client in &mut clients {
            for _ in 0..3 {
                assert_eq!(client.ask(request(&victim.token)).status, 200);
            }
        }
        data(&office.api().revoke(&victim.token), REVOKED);
        for client in &mut clients {
            assert_eq!(client.ask(request(&victim.token)).status, 401);
        }
    }
}

/// A token that was refused before it existed in the cache must not stay refused, nor one that was
/// accepted stay so.
#[test]
fn keys_of_one_person_live_and_die_apart() {
    let office = Office::open();
    let keys: Vec<_> = (0..10).map(|_| office.api().mint(&office.alice.token)).collect();
    for key in keys.iter().step_by(2) {
        data(&office.api().revoke(&key.token), REVOKED);
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(office.world.status_with(&key.token), if n % 2 == 0 { 401 } else { 200 });
    }
}

#[test]
fn revoking_with_a_body_or_without_is_the_same() {
    let office = Office::open();
    for body in ["", "{}"] {
        let key = office.api().mint(&office.alice.token);
        data(&office.api().call("POST", "/auth/revoke", &key.token, body), REVOKED);
    }
}

#[test]
fn a_parent_that_is_revoked_leaves_its_children_listed_or_dead() {
    let office = Office::open();
    let parent = office.api().mint(&office.alice.token);
    let child = office.api().mint(&parent.token);
    data(&office.api().revoke(&parent.token), REVOKED);
    let listed = office.api().jtis(&office.alice.token).contains(&child.jti);
    assert_eq!(office.world.status_with(&child.token), if listed { 200 } else { 401 });
}

/// The same claims under another key are nobody.
#[test]
fn a_token_of_another_keyward_is_refused() {
    let (here, there) = (Office::open(), Office::open());
    assert_eq!(here.world.status_with(&there.alice.token), 401);
    assert_eq!(there.world.status_with(&here.alice.token), 401);
    error(&here.world.api(Person::ALICE).list(&there.alice.token), 401);
}
