//! The keys of the key directory are rotated without an outage: tokens live until the key that made
//! them is removed.

use super::over_both_stores;
use crate::api::worlds::{AGENT_KEY, AllStylesWorld, bearer, expect_json, text};
use crate::support::{Client, TestUser};

over_both_stores! {
    a_mac_key_is_rotated_and_its_tokens_live_until_it_is_removed;
    a_pepper_is_rotated_and_its_tokens_live_until_it_is_removed;
}

/// DESIGN, section 3: a current key and retired ones that still verify. `first` is the file of the
/// key that was made at the start.
fn rotate_and_retire(world: &AllStylesWorld, first: &str, next: &str) {
    let keyward = &world.keyward;
    let keys = keyward.keys();
    let session = world.session("hershel");
    // One of each format, each with a route that it opens. The agent's key is renewed by the next
    // call.
    let make = |agent: String| {
        [
            (world.tenant_key("acme").0, "/api/v1/acme/x"),
            (agent, "/agents/x"),
            (world.api_key(&session).0, "/v1/me/x"),
        ]
    };
    let statuses = |tokens: &[(String, &str)]| {
        tokens
            .iter()
            .map(|(token, route)| world.status_with(route, &bearer(token)))
            .collect::<Vec<_>>()
    };
    let old = make(world.agent_key());
    let (victim, id) = world.tenant_key("acme");
    let jwts = [keyward.key(TestUser::ALICE).token, keyward.key(TestUser::ALICE).token];
    let jwt_statuses =
        || jwts.iter().map(|token| world.status("/private/x", token)).collect::<Vec<_>>();
    assert_eq!((statuses(&old), jwt_statuses()), (vec![200; 3], vec![200; 2]));

    keyward.add_key(next);
    keyward.reload();
    for _ in 0..2 {
        assert_eq!(
            (statuses(&old), jwt_statuses()),
            (vec![200; 3], vec![200; 2]),
            "the retired key still verifies"
        );
    }
    assert_eq!(
        world.status_with(AGENT_KEY, &bearer(&session)),
        200,
        "and so it does for a session"
    );
    // The agent's key is Bob's, because Alice's own has to stay.
    let new =
        make(text(&expect_json(&world.call("POST", AGENT_KEY, &world.bob(), ""), 200), "token"));
    assert_eq!(statuses(&new), [200; 3]);
    assert_eq!(world.status("/api/v1/acme/x", &victim), 200);
    let path = format!("/api/v1/acme/tokens/{id}");
    assert_eq!(world.call("DELETE", &path, &world.alice(), "").status, 204);
    assert_eq!(
        world.status("/api/v1/acme/x", &victim),
        401,
        "a token that a retired key made is revoked like any other"
    );
    assert_eq!(keyward.api(TestUser::ALICE).revoke(&jwts[1]).status, 200);
    assert_eq!(jwt_statuses(), [200, 401]);

    // The same on a connection that has used the tokens before.
    let mut open = keyward.client();
    let (token, route) = &old[0];
    let on_it = |open: &mut Client| {
        open.ask(format!(
            "GET {route} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .status
    };
    assert_eq!(on_it(&mut open), 200);
    std::fs::rename(keys.join(first), keyward.folder().join("away")).expect("moved");
    keyward.reload();
    assert_eq!(
        (statuses(&old), on_it(&mut open)),
        (vec![401; 3], 401),
        "a key that is removed ends its tokens"
    );
    assert_eq!(statuses(&new), [200; 3], "which were made with the new one");
    assert_eq!(world.status("/api/v1/acme/x", &victim), 401);
    // Their records are there, so nothing but the key was missing.
    std::fs::rename(keyward.folder().join("away"), keys.join(first)).expect("moved back");
    keyward.reload();
    assert_eq!(
        (statuses(&old), statuses(&new), on_it(&mut open)),
        (vec![200; 3], vec![200; 3], 200)
    );
    assert_eq!((world.status("/api/v1/acme/x", &victim), jwt_statuses()), (401, vec![200, 401]));
}

fn a_mac_key_is_rotated_and_its_tokens_live_until_it_is_removed(world: &AllStylesWorld) {
    rotate_and_retire(world, "mac-1.key", "mac-20270625T100000Z.key");
}

fn a_pepper_is_rotated_and_its_tokens_live_until_it_is_removed(world: &AllStylesWorld) {
    rotate_and_retire(world, "pepper.key", "pepper-20270625T100000Z.key");
}
