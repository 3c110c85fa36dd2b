//! Tokens that pass: by scopes, by keys without names, with clocks and claims as issuers have them.

use serde_json::{Value, json};

use crate::outside_jwts::forge::{KEYS, document, ec_jwk, key_set, rsa_jwk, token};
use crate::support::{TestUser, Upstream, World, now};

use super::{by, cause, claims, keys_of, plan, url, with, world};

/// FIELD.md, F5; RFC 6750, section 3.1.
#[test]
fn a_route_asks_for_one_of_several_scopes_and_says_which_when_the_token_has_none_of_them() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route(
            "path = \"/reports/{*rest}\"\nupstream = \"app\"\naccept = [\"id\", \"jarvispy\"]\n\
             require.scope = [\"read:reports\", \"admin\"]",
        )
        .start();
    for good in [
        json!({"scope": "openid read:reports"}),
        json!({"scope": ["email", "admin"]}),
        json!({"scp": "read:reports"}),
        json!({"scp": ["a", "read:reports"]}),
        json!({"scope": "openid", "scp": ["admin"]}),
    ] {
        assert_eq!(world.get_with("/reports/good", &with(good.clone())).status, 200, "{good}");
    }
    for (at, wrong) in [
        json!({}),
        json!({"scope": ""}),
        json!({"scope": "read:report read:reportss"}),
        json!({"scope": "READ:REPORTS"}),
        json!({"scope": {"read:reports": true}}),
        json!({"scopes": "read:reports"}),
        json!({"roles": ["admin"]}),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/reports/wrong-{at}");
        let response = world.get_with(&path, &with(wrong.clone()));
        assert_eq!(response.status, 403, "{wrong}");
        assert_eq!(
            response.fields.one("www-authenticate").as_deref(),
            Some(
                r#"Bearer realm="keyward", error="insufficient_scope", scope="read:reports admin""#
            ),
            "{wrong}"
        );
        let line = world.access_line(&path);
        assert_eq!(line["refusal"], "forbidden", "{line}");
        let said = line["cause"].as_str().unwrap_or_default();
        assert!(
            said.starts_with(
                "the route asks for scope \"read:reports\" or \"admin\", the token has "
            ),
            "{said}"
        );
    }
    assert_eq!(
        world.get_with("/reports/own", &world.key(TestUser::ALICE).token).status,
        403,
        "a token of ours has none"
    );
    assert_eq!(
        world.get_with("/outside/x", &with(json!({}))).status,
        200,
        "other routes ask for nothing"
    );
}

/// FIELD.md, F3: also for a set that has always been there, and one that is fetched because a key
/// is missing.
#[test]
fn keys_without_names_or_with_one_name_are_told_apart_by_their_type_and_their_signature() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let nameless = |mut jwk: Value| {
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    let (other, rsa) = (nameless(rsa_jwk("", &KEYS.other_rsa)), nameless(rsa_jwk("", &KEYS.rsa)));
    let keys = [other, rsa, nameless(ec_jwk("", "P-256", &KEYS.p256))];
    let unnamed = |algorithm: &str, signer: &str| {
        token(signer, &json!({"alg": algorithm, "typ": "JWT"}), &claims())
    };
    let by_type = world(&upstream, &id, &keys);
    for (algorithm, signer) in
        [("RS256", "RS256"), ("RS256", "another RSA key"), ("ES256", "ES256")]
    {
        assert_eq!(
            by_type.get_with("/outside/x", &unnamed(algorithm, signer)).status,
            200,
            "{algorithm} by {signer}"
        );
    }
    let said = cause(&by_type, "/outside/unknown-key", &with(json!({})));
    assert_eq!(said, "its key is not published: issuer id publishes no key called \"p256\"");
    assert!(id.take().heads.len() <= 2, "it is asked once more, for the key that was named");
    let of_one_name = [rsa_jwk("k", &KEYS.rsa), ec_jwk("k", "P-256", &KEYS.p256)];
    let statuses = |world: &World| {
        ["RS256", "ES256"].map(|algorithm| world.get_with("/outside/x", &by(algorithm, "k")).status)
    };
    let fetched = world(&upstream, &id, &of_one_name);
    assert_eq!(statuses(&fetched), [200; 2]);
    // A file is read before keyward starts.
    let file = fetched.folder().join("set.json");
    std::fs::write(&file, document(&of_one_name)).expect("a file");
    let read = plan(&upstream, &format!("jwks_file = {file:?}")).start();
    assert_eq!(statuses(&read), [200; 2]);
}

/// FIELD.md, F19 and F21.
#[test]
fn clocks_may_be_off_by_half_a_minute_and_claims_have_the_shapes_that_issuers_give_them() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let world = world(&upstream, &id, &key_set());
    let status = |changed: Value| world.get_with("/outside/x", &with(changed)).status;
    assert_eq!(
        (status(json!({"nbf": now() + 20})), status(json!({"exp": now() - 20}))),
        (200, 200)
    );
    assert_eq!(
        (status(json!({"nbf": now() + 60})), status(json!({"exp": now() - 60}))),
        (401, 401)
    );
    let shapes = json!({
        "sub": 42, "email": ["ann@example.com"], "preferred_username": {"first": "Ann"}, "jti": 7,
        "realm_access": {"roles": [3, "editor", null]}, "organization": 5,
    });
    let response = world.get_with("/outside/shapes", &with(shapes));
    assert_eq!(response.status, 200, "{response}");
    let text = response.text();
    for told in [
        r#"["X-Keyward-Subject","42"]"#,
        r#"["X-Keyward-Email","ann@example.com"]"#,
        r#"["X-Keyward-Role","editor"]"#,
    ] {
        assert!(text.to_ascii_lowercase().contains(&told.to_ascii_lowercase()), "{told} in {text}");
    }
    for absent in ["x-keyward-username", "x-keyward-organization", "x-keyward-token-id"] {
        assert!(!text.to_ascii_lowercase().contains(absent), "{absent} in {text}");
    }
    assert_eq!(status(json!({"exp": (now() + 300).to_string()})), 401, "dates are strict");
}
