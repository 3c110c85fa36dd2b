//! `DELETE /{tenant_id}/tokens/{token_id}`.

use serde_json::json;

use super::{ids, key};
use crate::api::worlds::{IssuerWorld, expect_json};

#[test]
fn keys_of_others_and_of_other_tenants_are_as_unknown_as_ids_never_given() {
    let world = IssuerWorld::start();
    let (alice, bob) = (world.alice(), world.bob());
    let carol = world.issuer.access("carol", json!({ "tenants": ["acme"] }));
    let (token, id) = key(&world, &alice, "acme");
    for (caller, path) in [
        (&bob, format!("/api/v1/initech/tokens/{id}")),
        (&carol, format!("/api/v1/acme/tokens/{id}")),
        (&alice, format!("/api/v1/globex/tokens/{id}")),
        (&alice, "/api/v1/acme/tokens/00000000-0000-4000-8000-000000000000".into()),
        (&alice, "/api/v1/acme/tokens/7".into()),
    ] {
        let refused = world.call("DELETE", &path, caller, "");
        assert_eq!(expect_json(&refused, 404), json!({ "detail": "Token not found" }), "{path}");
    }
    assert_eq!(ids(&world.call("GET", "/api/v1/acme/tokens/", &carol, "")), [] as [&str; 0]);
    assert_eq!(world.status("/api/v1/acme/agents/", &token), 200);
    assert_eq!(
        world.call("DELETE", &format!("/api/v1/acme/tokens/{id}"), &bob, "").status,
        403,
        "not his tenant"
    );
}
