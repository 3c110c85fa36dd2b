//! What goes wrong with each provider: a token that is another than the one that the API wants.

use serde_json::{Value, json};

use super::tokens::{APPLICATION, TENANT, merged, provider, token};
use crate::support::now;

pub(super) struct Mistake {
    pub(super) provider: &'static str,
    /// In words, for the path.
    pub(super) what: &'static str,
    pub(super) token: String,
    /// What `cause` in the access log says of it.
    pub(super) cause: &'static str,
    pub(super) refusal: &'static str,
    /// Whether it is the one that the page names.
    pub(super) is_commonest: bool,
}

/// A token of this provider with other claims; null takes one away.
fn with(
    provider: &'static str,
    what: &'static str,
    changed: Value,
    cause: &'static str,
) -> Mistake {
    let token = self::provider(provider).with(changed);
    Mistake { provider, what, token, cause, refusal: "bad_credential", is_commonest: false }
}

fn commonest(mistake: Mistake) -> Mistake {
    Mistake { is_commonest: true, ..mistake }
}

fn expired(provider: &'static str) -> Mistake {
    let past = json!({"nbf": null, "iat": now() - 4200, "exp": now() - 600});
    Mistake { refusal: "expired", ..with(provider, "expired", past, "it has expired: 6") }
}

pub(super) fn all() -> Vec<Mistake> {
    let id_token = "it looks like an id token, not an access token";
    let other_issuer = "its issuer is another: it is \"";
    let other_audience = "its audience is another: it is for ";
    let mut all = vec![
        commonest(with(
            "keycloak",
            "id token",
            json!({"aud": "portal", "typ": "ID", "at_hash": "n0t", "realm_access": null}),
            id_token,
        )),
        with(
            "keycloak",
            "id token for us",
            json!({"typ": "ID", "at_hash": "n0t"}),
            "\"typ\" is \"ID\", it must be \"Bearer\"",
        ),
        with(
            "keycloak",
            "other realm",
            json!({"iss": "https://id.example.com/realms/staging"}),
            other_issuer,
        ),
        with("keycloak", "other audience", json!({"aud": "account"}), other_audience),
        with(
            "keycloak",
            "clock ahead",
            json!({"nbf": now() + 90}),
            "it is not valid yet: its \"nbf\" is ",
        ),
        commonest(with(
            "auth0",
            "no slash",
            json!({"iss": "https://example.eu.auth0.com"}),
            "they differ in the slash at the end",
        )),
        with("auth0", "id token", json!({"aud": "my_client_id", "nonce": "n"}), id_token),
        commonest(with(
            "okta",
            "org server",
            json!({"iss": "https://example.okta.com", "aud": "https://example.okta.com"}),
            other_issuer,
        )),
        with(
            "okta",
            "id token",
            json!({"aud": "nmdP1fcyvdVO11AL7ECm", "at_hash": "x", "scp": null}),
            id_token,
        ),
        commonest(with(
            "entra-v2",
            "v1 token",
            json!({
                "iss": "https://sts.windows.net/00000000-1111-4222-8333-444444444444/",
                "ver": "1.0",
            }),
            "its issuer is another: it is \"https://sts.windows.net/",
        )),
        with(
            "entra-v2",
            "other application",
            json!({"aud": "00000000-aaaa-4bbb-8ccc-dddddddddddd"}),
            other_audience,
        ),
        commonest(with(
            "entra",
            "other tenant",
            json!({
                "iss":
                    "https://login.microsoftonline.com/55555555-0000-4111-8222-666666666666/v2.0",
            }),
            "whose tenant is not in \"tenants\" of [[issuer]] entra",
        )),
        commonest(with(
            "cognito",
            "id token",
            json!({
                "aud": "3n4b5urk1ft4fl3mg5e62d9ado", "client_id": null, "token_use": "id",
                "at_hash": "x",
            }),
            "\"client_id\" is missing, it must be \"3n4b5urk1ft4fl3mg5e62d9ado\"; it looks like an \
             id token",
        )),
        with(
            "cognito",
            "other client",
            json!({"client_id": "4other"}),
            "\"client_id\" is \"4other\", it must be ",
        ),
        with(
            "b2c",
            "other user flow",
            json!({"tfp": "B2C_1_reset"}),
            "\"tfp\" is \"B2C_1_reset\", it must be \"B2C_1_signin\"",
        ),
        with(
            "google",
            "other client",
            json!({"aud": "999-other.apps.googleusercontent.com"}),
            other_audience,
        ),
        with(
            "google",
            "other domain",
            json!({"hd": null}),
            "\"hd\" is missing, it must be \"example.com\"",
        ),
        commonest(with(
            "firebase",
            "other project",
            json!({
                "iss": "https://securetoken.google.com/example-staging", "aud": "example-staging",
            }),
            other_issuer,
        )),
        commonest(with(
            "zitadel",
            "client alone",
            json!({"aud": ["195123456789012345@portal"]}),
            other_audience,
        )),
        commonest(with(
            "authentik",
            "other application",
            json!({"iss": "https://auth.example.com/application/o/wiki/"}),
            other_issuer,
        )),
        commonest(with(
            "supabase",
            "anon key",
            json!({
                "iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "anon", "sub": null,
                "aud": null,
            }),
            "its issuer is another: it is \"supabase\"",
        )),
        commonest(with(
            "kubernetes",
            "token of the pod",
            json!({"aud": ["https://kubernetes.default.svc.cluster.local"]}),
            other_audience,
        )),
        commonest(with(
            "flask",
            "refresh token",
            json!({"type": "refresh"}),
            "\"type\" is \"refresh\", it must be \"access\"",
        )),
        with(
            "flask",
            "no issuer",
            json!({"iss": null}),
            "its issuer is another: it has no \"iss\"",
        ),
        with(
            "django",
            "refresh token",
            json!({"token_type": "refresh"}),
            "\"token_type\" is \"refresh\"",
        ),
    ];
    all.extend([
        commonest(expired("b2c")),
        commonest(expired("django")),
        expired("keycloak"),
        expired("kubernetes"),
    ]);
    // For Graph, Entra ID signs another header than it sends.
    let v1 = provider("entra-v1");
    let graph = merged(v1.claims.clone(), json!({"aud": "00000003-0000-0000-c000-000000000000"}));
    let signed = token("RS256", &v1.header, &graph);
    let (_, rest) = signed.split_once('.').expect("three parts");
    let sent = crate::outside_jwts::forge::b64(
        merged(v1.header.clone(), json!({"nonce": "hashed"})).to_string(),
    );
    all.push(Mistake {
        provider: "entra-v1",
        what: "for Graph",
        token: format!("{sent}.{rest}"),
        cause: "as tokens for Microsoft Graph have",
        refusal: "bad_credential",
        is_commonest: true,
    });
    let v2 = json!({
        "iss": format!("https://login.microsoftonline.com/{TENANT}0/v2.0"), "aud": APPLICATION,
        "ver": "2.0",
    });
    all.push(with("entra-v1", "v2 token", v2, other_issuer));
    all.push(Mistake {
        provider: "google",
        what: "access token",
        token: "ya29.a0AfH6SMBx-opaque".to_owned(),
        cause: "it is not a JWT",
        refusal: "bad_credential",
        is_commonest: true,
    });
    // Signed by a key that the provider does not publish.
    let okta = provider("okta");
    all.push(Mistake {
        provider: "okta",
        what: "unknown key",
        token: token(
            "RS256",
            &merged(okta.header.clone(), json!({"kid": "preview"})),
            &okta.claims,
        ),
        cause: "its key is not published: issuer okta publishes no key called \"preview\"",
        refusal: "bad_credential",
        is_commonest: false,
    });
    all
}
