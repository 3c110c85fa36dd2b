//! A slash at the end of a call changes nothing.

use super::over_both_stores;
use crate::api::worlds::{AGENT_KEY, AGENT_KEY_ONCE, AllStylesWorld};
use crate::support::TestUser;

over_both_stores! {
    a_slash_at_the_end_of_a_call_changes_nothing;
}

/// If such a call were forwarded, and an upstream answered it with a success, a key that still
/// works would seem to be revoked.
fn a_slash_at_the_end_of_a_call_changes_nothing(world: &AllStylesWorld) {
    let (api, alice) = (world.keyward.api(TestUser::ALICE), world.alice());
    let (first, second) = (world.keyward.key(TestUser::ALICE), world.keyward.key(TestUser::ALICE));
    let agent = world.agent_key();
    let (session, (tenant, id)) = (world.session("hershel"), world.tenant_key("acme"));
    let (key, key_id) = world.api_key(&session);
    world.upstream.take();
    let call = |method, target: &str, token: &str| {
        world.call(method, &format!("{target}/"), token, "").status
    };
    assert_eq!(call("GET", &api.path("/auth/tokens"), &first.token), 200);
    assert_eq!(call("POST", &api.path("/auth/issue-token"), &first.token), 200);
    assert_eq!(call("POST", &api.path(&format!("/auth/revoke/{}", second.jti)), &first.token), 200);
    assert_eq!(call("POST", &api.path("/auth/revoke"), &first.token), 200);
    assert_eq!((call("GET", AGENT_KEY, &alice), call("DELETE", AGENT_KEY, &alice)), (200, 204));
    assert_eq!(call("POST", AGENT_KEY_ONCE, &alice), 200);
    assert_eq!(call("DELETE", &format!("/api/v1/acme/tokens/{id}"), &alice), 204);
    assert_eq!(call("DELETE", &format!("/v1/auth/api-keys/{key_id}"), &session), 204);
    assert!(world.upstream.take().requests.is_empty(), "none of it was forwarded");
    for (target, token) in [
        ("/private/x", &first.token),
        ("/private/x", &second.token),
        ("/agents/x", &agent),
        ("/api/v1/acme/x", &tenant),
        ("/v1/me/x", &key),
    ] {
        assert_eq!(world.status(target, token), 401, "{target}");
    }
}
