//! Which routes a key opens.

use super::key;
use crate::api::worlds::IssuerWorld;
use crate::support::TestUser;

use serde_json::json;

#[test]
fn the_key_opens_only_routes_that_accept_its_token_api() {
    let world = IssuerWorld::start();
    let (key, _) = key(&world, &world.alice(), "acme");
    for target in ["/people/x", "/agents/x", "/private/x"] {
        assert_eq!(world.status(target, &key), 401, "{target}");
    }
    assert_eq!(world.status("/api/v1/initech/x", &key), 403);
    assert_eq!(world.call("POST", "/api/agent-tokens/me", &key, "").status, 401);
    assert_eq!(world.keyward.api(TestUser::ALICE).list(&key).status, 401);
}

#[test]
fn x_api_key_is_forwarded_untouched_where_no_token_api_reads_it() {
    let world = IssuerWorld::start();
    let (key, _) = key(&world, &world.alice(), "acme");
    let fields = format!("Authorization: Bearer {key}\r\nX-API-Key: theirs\r\n");
    let seen = world.forwarded_with("/api/v1/acme/x", &fields);
    assert_eq!(seen.fields.one("x-api-key").as_deref(), Some("theirs"));
}

#[test]
fn a_route_may_ask_for_roles_tenants_and_claims() {
    let world = IssuerWorld::start_with(|plan| {
        let route = |path: &str, require: &str| {
            format!(
                "path = \"/{path}\"\nupstream = \"app\"\naccept = [\"platform\", \"keycloak\"]\n\
                 {require}"
            )
        };
        plan.route(&route("editors", "require.role = [\"editor\"]"))
            .route(&route("acme", "require.tenant = [\"acme\"]"))
            .route(&route("in/{tenant_id}", "require.tenant = [\"globex\"]"))
            .route(&route(
                "claimed",
                "require.claims = { \"realm_access.roles\" = [\"editor\"], level = 3 }",
            ))
    });
    let alice = world.alice();
    let (key, _) = key(&world, &alice, "acme");
    let claimed =
        world.issuer.access("al", json!({ "realm_access": { "roles": ["editor"] }, "level": 3 }));
    for (target, token, status) in [
        ("/editors", &alice, 200),
        ("/editors", &world.bob(), 403),
        ("/editors", &key, 403),
        ("/acme", &alice, 200),
        ("/acme", &key, 200),
        ("/acme", &world.bob(), 403),
        ("/in/globex", &alice, 200),
        ("/in/acme", &alice, 403),
        ("/in/active", &alice, 403),
        ("/claimed", &claimed, 200),
        ("/claimed", &alice, 403),
        ("/claimed", &key, 403),
    ] {
        assert_eq!(world.status(target, token), status, "{target}");
    }
}
