//! What each provider publishes, and the access token of a user as it writes it. It is one file
//! because it is one table.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::outside_jwts::forge::{KEYS, ec_jwk, rsa_jwk};
pub(super) use crate::outside_jwts::forge::{SECRET, merged, token};
use crate::support::now;

pub(super) const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
pub(super) const APPLICATION: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";
const KUBERNETES: &str = "https://kubernetes.default.svc.cluster.local";

/// A provider as the page configures it.
pub(super) struct Provider {
    /// The `name` on the page.
    pub(super) name: &'static str,
    pub(super) algorithm: &'static str,
    pub(super) header: Value,
    pub(super) claims: Value,
    /// Subject, username, organization, role and email that the upstream is told; empty: it is told
    /// none.
    pub(super) identity: [&'static str; 5],
}

impl Provider {
    pub(super) fn token(&self) -> String {
        token(self.algorithm, &self.header, &self.claims)
    }

    /// The same with other claims; null takes one away.
    pub(super) fn with(&self, changed: Value) -> String {
        token(self.algorithm, &self.header, &merged(self.claims.clone(), changed))
    }
}

/// The provider of this name.
pub(super) fn provider(name: &str) -> Provider {
    providers().into_iter().find(|provider| provider.name == name).expect("a provider")
}

/// All of them, in the order of the page.
pub(super) fn providers() -> Vec<Provider> {
    let rs256 = |kid: &str| json!({"alg": "RS256", "typ": "JWT", "kid": kid});
    let (iat, exp) = (now() - 5, now() + 600);
    let entra_v2 = |tenant: &str| {
        json!({
            "aud": APPLICATION, "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            "iat": iat, "nbf": iat,
            "exp": exp, "aio": "AXQAi/8TAAAA", "azp": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
            "azpacr": "0",
            "name": "Ann Example", "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "preferred_username": "ann@example.com",
            "rh": "0.AX0A", "roles": ["Reports.Read"], "scp": "access_as_user",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": tenant, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
        })
    };
    vec![
        Provider {
            name: "keycloak",
            algorithm: "RS256",
            header: rs256("kc-sig"),
            claims: json!({
                "exp": exp, "iat": iat, "auth_time": iat,
                "jti": "onrtac:7e0c3b0c-6a3c-4f9b-a1d7-0c5b6a3f2d11",
                "iss": "https://id.example.com/realms/main", "aud": ["my-api", "account"],
                "sub": "b0c1f5c4-5a0e-4f55-9ad5-7f3b6a1c9e10",
                "typ": "Bearer", "azp": "portal", "sid": "0c8b6c0e-5a0e-4f55-9ad5-7f3b6a1c9e10",
                "acr": "1",
                "allowed-origins": ["https://app.example.com"],
                "realm_access": {"roles": ["editor", "offline_access"]},
                "resource_access": {"account": {"roles": ["view-profile"]}}, "scope": "openid profile email",
                "email_verified": true, "organization": {"acme": {"id": "42"}}, "name": "Ann Example",
                "preferred_username": "ann", "given_name": "Ann", "family_name": "Example",
                "email": "ann@example.com",
            }),
            identity: [
                "b0c1f5c4-5a0e-4f55-9ad5-7f3b6a1c9e10",
                "ann",
                "acme",
                "editor",
                "ann@example.com",
            ],
        },
        Provider {
            name: "auth0",
            algorithm: "RS256",
            header: json!({"alg": "RS256", "typ": "at+jwt", "kid": "auth0-1"}),
            claims: json!({
                "https://example.com/username": "ann",
                "https://example.com/email": "ann@example.com",
                "iss": "https://example.eu.auth0.com/", "sub": "auth0|507f1f77bcf86cd799439011",
                "aud": ["https://api.example.com", "https://example.eu.auth0.com/userinfo"],
                "iat": iat, "exp": exp,
                "scope": "openid profile read:reports", "azp": "my_client_id",
                "permissions": ["read:reports"], "jti": "a1b2",
            }),
            // A bar is percent-encoded in no header, as it is visible ASCII.
            identity: [
                "auth0|507f1f77bcf86cd799439011",
                "ann",
                "",
                "read:reports",
                "ann@example.com",
            ],
        },
        Provider {
            name: "okta",
            algorithm: "RS256",
            header: json!({"kid": "okta-1", "alg": "RS256"}),
            claims: json!({
                "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
                "iss": "https://example.okta.com/oauth2/default",
                "aud": "api://default", "iat": iat, "exp": exp, "cid": "nmdP1fcyvdVO11AL7ECm",
                "uid": "00ugrenMeqvYla4HW0g3",
                "scp": ["openid", "read:reports"], "auth_time": iat, "sub": "ann@example.com",
                "groups": ["Everyone", "Editors"],
            }),
            identity: ["00ugrenMeqvYla4HW0g3", "ann@example.com", "", "Everyone", ""],
        },
        Provider {
            name: "entra-v2",
            algorithm: "RS256",
            header: rs256("entra-1"),
            claims: entra_v2(TENANT),
            identity: [
                "690222be-ff1a-4d56-abd1-7e4f7d38e474",
                "ann@example.com",
                TENANT,
                "Reports.Read",
                "",
            ],
        },
        Provider {
            name: "entra-v1",
            algorithm: "RS256",
            header: json!({"typ": "JWT", "alg": "RS256", "x5t": "entra-1", "kid": "entra-1"}),
            claims: json!({
                "aud": format!("api://{APPLICATION}"),
                "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": iat, "nbf": iat,
                "exp": exp, "acr": "1", "aio": "ASQA2/8TAAAA", "amr": ["pwd"],
                "appid": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
                "appidacr": "0", "ipaddr": "192.0.2.7", "name": "Ann Example",
                "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
                "roles": ["Reports.Read"], "scp": "access_as_user",
                "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
                "tid": TENANT, "unique_name": "ann@example.com", "upn": "ann@example.com",
                "uti": "fqiBqXLPj0eQ", "ver": "1.0",
            }),
            identity: [
                "690222be-ff1a-4d56-abd1-7e4f7d38e474",
                "ann@example.com",
                TENANT,
                "Reports.Read",
                "ann@example.com",
            ],
        },
        Provider {
            name: "entra",
            algorithm: "RS256",
            header: rs256("entra-1"),
            claims: entra_v2("33333333-dddd-4eee-9fff-444444444444"),
            identity: [
                "690222be-ff1a-4d56-abd1-7e4f7d38e474",
                "ann@example.com",
                "33333333-dddd-4eee-9fff-444444444444",
                "Reports.Read",
                "",
            ],
        },
        Provider {
            name: "cognito",
            algorithm: "RS256",
            header: json!({"kid": "cognito-access", "alg": "RS256"}),
            claims: json!({
                "sub": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "cognito:groups": ["editors"],
                "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
                "version": 2,
                "client_id": "3n4b5urk1ft4fl3mg5e62d9ado", "origin_jti": "b0c1", "event_id": "1f2e",
                "token_use": "access",
                "scope": "aws.cognito.signin.user.admin openid", "auth_time": iat, "exp": exp,
                "iat": iat, "jti": "c0ff",
                "username": "ann",
            }),
            identity: ["aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "ann", "", "editors", ""],
        },
        Provider {
            name: "b2c",
            algorithm: "RS256",
            header: rs256("b2c-1"),
            claims: json!({
                "iss": "https://example.b2clogin.com/775527ff-9a37-4307-8b3d-cc311f58d925/v2.0/",
                "exp": exp, "nbf": iat,
                "aud": "90c0fe63-bcf2-44d5-8fb7-b8bbc0b29dc6",
                "sub": "884408e1-2918-4cz0-b12d-3aa027d7563b", "name": "Ann Example",
                "emails": ["ann@example.com"], "tfp": "B2C_1_signin", "scp": "read",
                "azp": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
                "ver": "1.0", "iat": iat,
            }),
            identity: [
                "884408e1-2918-4cz0-b12d-3aa027d7563b",
                "Ann%20Example",
                "",
                "",
                "ann@example.com",
            ],
        },
        Provider {
            name: "google",
            algorithm: "RS256",
            header: rs256("google-1"),
            claims: json!({
                "iss": "https://accounts.google.com",
                "azp": "1234567890-abc123def456.apps.googleusercontent.com",
                "aud": "1234567890-abc123def456.apps.googleusercontent.com",
                "sub": "110169484474386276334", "hd": "example.com",
                "email": "ann@example.com", "email_verified": true,
                "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "name": "Ann Example",
                "picture": "https://images.example.com/a.png", "iat": iat, "exp": exp,
            }),
            identity: [
                "110169484474386276334",
                "ann@example.com",
                "example.com",
                "",
                "ann@example.com",
            ],
        },
        Provider {
            name: "firebase",
            algorithm: "RS256",
            header: rs256("firebase-1"),
            claims: json!({
                "name": "Ann", "role": "editor",
                "iss": "https://securetoken.google.com/example-project", "aud": "example-project",
                "auth_time": iat, "user_id": "Zk3vJ8", "sub": "Zk3vJ8", "iat": iat, "exp": exp,
                "email": "ann@example.com",
                "email_verified": true,
                "firebase": {
                    "identities": {"email": ["ann@example.com"]}, "sign_in_provider": "password",
                    "tenant": "acme-7",
                },
            }),
            identity: ["Zk3vJ8", "Ann", "acme-7", "editor", "ann@example.com"],
        },
        Provider {
            name: "zitadel",
            algorithm: "RS256",
            header: rs256("zitadel-1"),
            claims: json!({
                "iss": "https://example-abc123.zitadel.cloud", "sub": "163840776835432705",
                "aud": ["195123456789012345@portal", "246813579024681357"], "exp": exp, "iat": iat,
                "nbf": iat,
                "client_id": "195123456789012345@portal", "jti": "V2_2468-at_1357",
                "urn:zitadel:iam:org:project:roles": {
                    "editor": {"160606060606060606": "acme.example.com"},
                },
                "urn:zitadel:iam:user:resourceowner:id": "160606060606060606",
                "urn:zitadel:iam:user:resourceowner:name": "acme",
                "preferred_username": "ann@acme.example.com", "email": "ann@example.com",
                "email_verified": true,
            }),
            identity: [
                "163840776835432705",
                "ann@acme.example.com",
                "acme",
                "editor",
                "ann@example.com",
            ],
        },
        Provider {
            name: "authentik",
            algorithm: "RS256",
            header: rs256("authentik-1"),
            claims: json!({
                "iss": "https://auth.example.com/application/o/my-api/", "sub": "4f1d3c2b",
                "exp": exp, "iat": iat, "auth_time": iat,
                "aud": "Yh6kBtmQ2wJcR8vLxN4sD0gFzP1aKeUi7oTqWbCy",
                "acr": "goauthentik.io/providers/oauth2/default",
                "amr": ["pwd"], "email": "ann@example.com", "email_verified": true, "name": "Ann Example",
                "preferred_username": "ann", "nickname": "ann", "groups": ["editors", "staff"],
                "azp": "Yh6kBtmQ2wJcR8vLxN4sD0gFzP1aKeUi7oTqWbCy", "uid": "kd93", "scope": "openid \
                 email profile",
            }),
            identity: ["4f1d3c2b", "ann", "", "editors", "ann@example.com"],
        },
        Provider {
            name: "supabase",
            algorithm: "ES256",
            header: json!({"alg": "ES256", "typ": "JWT", "kid": "supabase-1"}),
            claims: json!({
                "iss": "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
                "sub": "5be8c3f0-0c5f-4d2c-9a1e-6b7a8c9d0e1f",
                "aud": "authenticated", "exp": exp, "iat": iat, "email": "ann@example.com",
                "phone": "",
                "app_metadata": {"provider": "email", "providers": ["email"]},
                "user_metadata": {"full_name": "Ann"},
                "role": "authenticated", "aal": "aal1",
                "amr": [{"method": "password", "timestamp": iat}],
                "session_id": "c1d2", "is_anonymous": false,
            }),
            identity: [
                "5be8c3f0-0c5f-4d2c-9a1e-6b7a8c9d0e1f",
                "Ann",
                "",
                "authenticated",
                "ann@example.com",
            ],
        },
        Provider {
            name: "kubernetes",
            algorithm: "RS256",
            header: json!({"alg": "RS256", "kid": "kubernetes-1"}),
            claims: json!({
                "aud": ["keyward"], "exp": exp, "iat": iat, "iss": KUBERNETES, "jti": "2e1d",
                "nbf": iat,
                "kubernetes.io": {
                    "namespace": "shop", "node": {"name": "node-1", "uid": "aa"},
                    "pod": {"name": "cart-0", "uid": "bb"},
                    "serviceaccount": {"name": "cart", "uid": "cc"},
                },
                "sub": "system:serviceaccount:shop:cart",
            }),
            identity: ["system:serviceaccount:shop:cart", "cart", "shop", "", ""],
        },
        Provider {
            name: "flask",
            algorithm: "HS256",
            header: json!({"alg": "HS256", "typ": "JWT"}),
            claims: json!({
                "fresh": false, "iat": iat, "jti": "d3b0", "type": "access", "sub": "7", "nbf": iat,
                "csrf": "e0a1", "exp": exp,
                "iss": "https://www.example.com/login", "name": "ann", "roles": ["editor"],
            }),
            identity: ["7", "ann", "", "editor", ""],
        },
        Provider {
            name: "django",
            algorithm: "HS256",
            header: json!({"alg": "HS256", "typ": "JWT"}),
            claims: json!({
                "token_type": "access", "exp": exp, "iat": iat, "jti": "f00d", "user_id": 1,
                "username": "ann",
                "aud": "my-api", "iss": "https://www.example.com/accounts",
            }),
            identity: ["1", "ann", "", "", ""],
        },
    ]
}

/// Every document that a provider publishes, by its address without the scheme.
pub(super) fn documents() -> HashMap<String, String> {
    let mut documents = HashMap::new();
    let mut publish = |url: &str, document: Value| {
        documents
            .insert(url.strip_prefix("https://").expect("https").to_owned(), document.to_string());
    };
    let rsa = |kid: &str| json!({"keys": [rsa_jwk(kid, &KEYS.rsa)]});
    // What the metadata of an issuer say, and the keys behind them.
    let discovered = [
        (
            "https://id.example.com/realms/main",
            "https://id.example.com/realms/main/protocol/openid-connect/certs",
            "kc-sig",
        ),
        (
            "https://example.eu.auth0.com/",
            "https://example.eu.auth0.com/.well-known/jwks.json",
            "auth0-1",
        ),
        (
            "https://example.okta.com/oauth2/default",
            "https://example.okta.com/oauth2/default/v1/keys",
            "okta-1",
        ),
        (
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI/.well-known/jwks.json",
            "cognito-access",
        ),
        ("https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs", "google-1"),
        (
            "https://securetoken.google.com/example-project",
            "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
            "firebase-1",
        ),
        (
            "https://example-abc123.zitadel.cloud",
            "https://example-abc123.zitadel.cloud/oauth/v2/keys",
            "zitadel-1",
        ),
        (
            "https://auth.example.com/application/o/my-api/",
            "https://auth.example.com/application/o/my-api/jwks/",
            "authentik-1",
        ),
    ];
    for (issuer, keys, kid) in discovered {
        let metadata = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        publish(
            &metadata,
            json!({"issuer": issuer, "jwks_uri": keys, "response_types_supported": ["code"]}),
        );
        publish(keys, rsa(kid));
    }
    // Keycloak has a key for encryption beside it, and Cognito another for id tokens.
    let mut encryption =
        merged(rsa_jwk("kc-enc", &KEYS.other_rsa), json!({"use": "enc", "alg": "RSA-OAEP"}));
    encryption["x5c"] = json!(["MIIB"]);
    let signing = merged(
        rsa_jwk("kc-sig", &KEYS.rsa),
        json!({"alg": "RS256", "x5c": ["MIIB"], "x5t": "abc"}),
    );
    publish(
        "https://id.example.com/realms/main/protocol/openid-connect/certs",
        json!({"keys": [encryption, signing]}),
    );
    publish(
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI/.well-known/jwks.json",
        json!({"keys": [rsa_jwk("cognito-id", &KEYS.rsa), rsa_jwk("cognito-access", &KEYS.rsa)]}),
    );
    let tenants =
        [TENANT, "11111111-aaaa-4bbb-8ccc-222222222222", "33333333-dddd-4eee-9fff-444444444444"];
    for tenant in tenants {
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        let keys = format!("https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys");
        let jwk = merged(
            rsa_jwk("entra-1", &KEYS.rsa),
            json!({"x5t": "entra-1", "issuer": issuer, "x5c": ["MIIC"]}),
        );
        publish(
            &format!("{issuer}/.well-known/openid-configuration"),
            json!({"issuer": issuer, "jwks_uri": keys}),
        );
        publish(&keys, json!({"keys": [jwk]}));
    }
    let issuer = format!("https://sts.windows.net/{TENANT}/");
    let keys = "https://login.windows.net/common/discovery/keys";
    publish(
        &format!("{issuer}.well-known/openid-configuration"),
        json!({"issuer": issuer, "jwks_uri": keys}),
    );
    publish(keys, rsa("entra-1"));
    publish(
        "https://example.b2clogin.com/example.onmicrosoft.com/B2C_1_signin/discovery/v2.0/keys",
        rsa("b2c-1"),
    );
    publish(
        "https://abcdefghijklmnopqrst.supabase.co/auth/v1/.well-known/jwks.json",
        json!({"keys": [ec_jwk("supabase-1", "P-256", &KEYS.p256)]}),
    );
    publish("https://kubernetes.default.svc/openid/v1/jwks", rsa("kubernetes-1"));
    documents
}
