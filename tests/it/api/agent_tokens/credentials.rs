//! Which credentials the calls take, and which routes a key opens.

use serde_json::json;

use crate::api::worlds::{AGENT_KEY, AGENT_KEY_ONCE, IssuerWorld, expect_json};
use crate::support::TestUser;

#[test]
fn only_a_users_own_jwt_manages_keys() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let agent = world.agent_key();
    let (tenant_key, _) = world.tenant_key("acme");
    let made_up = format!("sk_agt_{}", "0".repeat(64));
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 1);
    for (what, token) in [
        ("the agent's own", agent.clone()),
        ("a key for a tenant", tenant_key),
        ("a key of another token API", world.allowlist_jwt_key()),
        ("a bootstrap token", bootstrap),
        ("an ID token", world.issuer.identity("alice")),
        ("made up", made_up),
    ] {
        for (method, target) in [
            ("GET", AGENT_KEY),
            ("POST", AGENT_KEY),
            ("DELETE", AGENT_KEY),
            ("POST", AGENT_KEY_ONCE),
        ] {
            let refused = world.call(method, target, &token, "");
            assert_eq!(
                expect_json(&refused, 401),
                json!({ "error": "Missing or invalid JWT." }),
                "{what}: {method}"
            );
        }
    }
    let without = world.keyward.ask("GET", AGENT_KEY, "", "");
    assert_eq!(expect_json(&without, 401), json!({ "error": "Missing or invalid JWT." }));
    assert_eq!(world.status("/agents/x", &agent), 200, "nothing has happened to it");
    for target in ["/people/x", "/private/x", "/api/v1/acme/x"] {
        assert_eq!(world.status(target, &agent), 401, "{target}");
    }
    assert_eq!(world.status("/agents/x", &alice), 401, "the route is for agents");
    let put = world.call("PUT", AGENT_KEY, &alice, "");
    assert_eq!(
        (put.status, put.fields.one("allow").as_deref()),
        (405, Some("GET, HEAD, POST, DELETE"))
    );
}
