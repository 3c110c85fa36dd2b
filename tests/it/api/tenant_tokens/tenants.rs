//! Which tenants a caller may name, and which one the upstream is told.

use serde_json::json;

use crate::api::worlds::IssuerWorld;

#[test]
fn a_tenant_is_one_of_the_callers_or_the_active_one() {
    let world = IssuerWorld::start();
    let none = world.issuer.access("dave", json!({}));
    let many = world.issuer.access("dave", json!({ "tenants": ["a", "b"] }));
    let stale = world.issuer.access("dave", json!({ "tenants": ["a", "b"], "active_tenant": "c" }));
    let active_only = world.issuer.access("dave", json!({ "active_tenant": "a" }));
    let by_organization = world.issuer.access("dave", json!({ "organization": "a" }));
    for (what, token, tenant, status) in [
        ("no tenant", &none, "active", 403),
        ("no tenant", &none, "a", 403),
        ("none is active", &many, "active", 403),
        ("none is active", &many, "b", 200),
        ("left it", &stale, "active", 403),
        ("left it", &stale, "c", 403),
        ("left it", &stale, "a", 200),
        ("only the active one", &active_only, "active", 200),
        ("only the active one", &active_only, "a", 200),
        ("only the active one", &active_only, "b", 403),
        ("the organization", &by_organization, "active", 200),
        ("the only one", &world.bob(), "active", 200),
        ("foreign", &world.alice(), "initech", 403),
    ] {
        assert_eq!(
            world.status(&format!("/api/v1/{tenant}/tokens/"), token),
            status,
            "{what}: {tenant}"
        );
        assert_eq!(
            world.status(&format!("/api/v1/{tenant}/agents/"), token),
            status,
            "{what}: {tenant}, a route"
        );
    }
}

#[test]
fn the_upstream_is_told_the_tenant_in_force() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let organization = |target: &str| {
        let seen = world.forwarded(target, &alice);
        (seen.target.clone(), seen.fields.all("x-keyward-organization").join("|"))
    };
    let told = |target: &str, tenant: &str| (target.to_owned(), tenant.to_owned());
    assert_eq!(organization("/api/v1/globex/x"), told("/api/v1/globex/x", "globex"));
    assert_eq!(organization("/api/v1/active/x"), told("/api/v1/acme/x", "acme"));
    assert_eq!(organization("/seen/globex/x"), told("/seen/globex/x", "globex"));
    assert_eq!(
        organization("/seen/active/x"),
        told("/seen/active/x", "acme"),
        "not rewritten unless asked for"
    );
    let seen = world.forwarded("/people/x", &alice);
    for (name, value) in [("x-keyward-credential", "keycloak"), ("x-keyward-token-id", "session-1")]
    {
        assert_eq!(seen.fields.one(name).as_deref(), Some(value), "{name}");
    }
    assert!(
        !world.forwarded("/people/x", &world.bob()).fields.has("x-keyward-token-id"),
        "it has no jti"
    );
    // A tenant whose name would change the path is refused.
    for tenant in ["..", ".", "a/b", "a\\b", ""] {
        let odd = world.issuer.access("eve", json!({ "tenants": [tenant] }));
        assert_eq!(world.status("/api/v1/active/x", &odd), 403, "{tenant:?}");
    }
    let spaced = world.issuer.access("eve", json!({ "tenants": ["a b?c"] }));
    assert_eq!(world.forwarded("/api/v1/active/x", &spaced).target, "/api/v1/a%20b%3Fc/x");
}
