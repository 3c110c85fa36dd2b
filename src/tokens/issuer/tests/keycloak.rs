//! Tokens as Keycloak writes them: an access token passes, and none of the others that it hands out
//! beside it.

use super::*;

/// The access token of a client that calls an API of its own and the account console.
const ACCESS: &str = r#"{
    "exp": 1800000300, "iat": 1800000000, "auth_time": 1799999000,
    "jti": "onrtac:7e0c3b0c-6a3c-4f9b-a1d7-0c5b6a3f2d11",
    "iss": "https://id.example.com/realms/main", "aud": ["realm-management", "account"],
    "sub": "f:5b2f:ann", "typ": "Bearer", "azp": "portal",
    "sid": "0c8b6c0e-5a0e-4f55-9ad5-7f3b6a1c9e10", "acr": "1",
    "allowed-origins": ["https://app.example.com"],
    "realm_access": {"roles": ["default-roles-main", "offline_access", "uma_authorization"]},
    "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}, "portal": {"roles": ["editor"]}},
    "scope": "openid profile email", "email_verified": true, "organization": ["acme", "globex"],
    "name": "Ann Example", "preferred_username": "ann", "given_name": "Ann",
    "family_name": "Example",
    "email": "ann@example.com", "tenants": ["t-1", "t-2"], "active_tenant": "t-1"
}"#;

/// The id token of the same login. Its audience is the client.
const ID: &str = r#"{
    "exp": 1800000300, "iat": 1800000000, "auth_time": 1799999000,
    "jti": "1f7c1f8a-2f3e-4f0a-8f4a-0e9a7f1b2c3d",
    "iss": "https://id.example.com/realms/main", "aud": "portal", "sub": "f:5b2f:ann", "typ": "ID",
    "azp": "portal",
    "sid": "0c8b6c0e-5a0e-4f55-9ad5-7f3b6a1c9e10", "at_hash": "n0tReallyAHash", "acr": "1",
    "email_verified": true,
    "name": "Ann Example", "preferred_username": "ann", "email": "ann@example.com"
}"#;

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture")
}

fn keycloak(claims: &Value) -> OutsideVerdict {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"});
    // Its key set has a key for encryption beside the one for signatures.
    let mut encryption =
        merged(rsa_jwk("enc", &KEYS.other_rsa), json!({"use": "enc", "alg": "RSA-OAEP"}));
    encryption["x5c"] = json!(["MIIB"]);
    let signing =
        merged(rsa_jwk("rsa", &KEYS.rsa), json!({"alg": "RS256", "x5c": ["MIIB"], "x5t": "abc"}));
    let set = set_of(vec![issuer(settings(), &[encryption, signing])]);
    verify(&set, token("RS256", &header, claims))
}

#[test]
fn an_access_token_passes_with_all_that_it_says() {
    let outside = passed(keycloak(&read(ACCESS)));
    let expected = Identity {
        subject: "f:5b2f:ann".into(),
        username: Some("ann".into()),
        organization: Some("acme".into()),
        role: Some("default-roles-main".into()),
        email: Some("ann@example.com".into()),
    };
    assert_eq!(outside.claims.identity, expected);
    assert_eq!(
        outside.roles().collect::<Vec<_>>(),
        ["default-roles-main", "offline_access", "uma_authorization"]
    );
    assert_eq!(outside.claims.tenants, ["t-1", "t-2"].map(Box::<str>::from));
    assert_eq!(outside.claims.active_tenant.as_deref(), Some("t-1"));
    passed(keycloak(&merged(read(ACCESS), json!({"aud": "account"}))));
    // With attributes, an organization is a member of an object.
    let with_attributes = json!({"organization": {"acme": {"id": "42", "tier": ["gold"]}}});
    assert_eq!(
        passed(keycloak(&merged(read(ACCESS), with_attributes)))
            .claims
            .identity
            .organization
            .as_deref(),
        Some("acme")
    );
    let service = json!({"preferred_username": "service-account-portal", "email": null, "organization": null,
        "tenants": null, "active_tenant": null, "realm_access": null});
    let outside = passed(keycloak(&merged(read(ACCESS), service)));
    assert_eq!(
        (outside.roles().count(), outside.claims.identity.organization.as_deref()),
        (0, None)
    );
}

#[test]
fn the_other_tokens_of_a_login_do_not_pass() {
    assert_eq!(refused(&keycloak(&read(ID))), Some(OutsideFault::Audience));
    let for_us = merged(read(ID), json!({"aud": ["portal", "account"]}));
    assert_eq!(refused(&keycloak(&for_us)), Some(OutsideFault::RequiredClaim));
    for kind in ["Refresh", "Offline", "Logout", "ID", "bearer"] {
        let other = merged(read(ACCESS), json!({"typ": kind}));
        assert_eq!(refused(&keycloak(&other)), Some(OutsideFault::RequiredClaim), "{kind}");
    }
    let elsewhere = merged(read(ACCESS), json!({"aud": ["portal"]}));
    assert_eq!(refused(&keycloak(&elsewhere)), Some(OutsideFault::Audience), "azp is no audience");
    let realm = merged(read(ACCESS), json!({"iss": "https://id.example.com/realms/other"}));
    assert!(matches!(keycloak(&realm), OutsideVerdict::Foreign));
}
