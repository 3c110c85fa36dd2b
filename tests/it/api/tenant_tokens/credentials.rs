//! Which credentials the calls take.

use serde_json::json;

use super::{TOKENS, key};
use crate::api::worlds::{IssuerWorld, NEW_TENANT_KEY, expect_json};
use crate::support::TestIssuer;

#[test]
fn every_other_credential_is_refused() {
    let world = IssuerWorld::start();
    let alice = world.alice();
    let agent = world.agent_key();
    let (key, _) = key(&world, &alice, "acme");
    let tampered = {
        let (rest, last) = alice.rsplit_once('.').expect("a signature");
        format!("{rest}.{}", last.chars().rev().collect::<String>())
    };
    let made_up = format!("sk-{}", "A".repeat(33));
    let mut near = key.clone().into_bytes();
    near[4] = if near[4] == b'a' { b'b' } else { b'a' };
    for (what, token) in [
        ("an ID token", world.issuer.identity("alice")),
        ("for another audience", world.issuer.access("alice", json!({ "aud": "web" }))),
        ("not a Bearer", world.issuer.access("alice", json!({ "typ": null }))),
        ("expired", world.issuer.access("alice", json!({ "exp": 1_700_000_000 }))),
        (
            "of another issuer",
            world.issuer.access("alice", json!({ "iss": "https://evil.example" })),
        ),
        ("claims to be keyward's", world.issuer.access("alice", json!({ "iss": "keyward" }))),
        ("a changed signature", tampered),
        ("an agent's", agent),
        ("of another token API", world.allowlist_jwt_key()),
        ("made up", made_up),
        ("one character off", String::from_utf8(near).expect("ASCII")),
        ("nonsense", "x".into()),
    ] {
        for (method, target) in
            [("GET", TOKENS), ("POST", TOKENS), ("DELETE", "/api/v1/active/tokens/7")]
        {
            let refused = world.call(
                method,
                target,
                &token,
                if method == "POST" { NEW_TENANT_KEY } else { "" },
            );
            assert_eq!(
                expect_json(&refused, 401),
                json!({ "detail": "Invalid token" }),
                "{what}: {method}"
            );
        }
        assert_eq!(world.status("/api/v1/active/agents/", &token), 401, "{what}: a route");
    }
    let without = world.keyward.ask("GET", TOKENS, "", "");
    assert_eq!(expect_json(&without, 401), json!({ "detail": "Not authenticated" }));
    // No token API of this configuration reads X-API-Key.
    let by_field = world.keyward.ask("GET", TOKENS, &format!("X-API-Key: {key}\r\n"), "");
    assert_eq!(expect_json(&by_field, 401), json!({ "detail": "Not authenticated" }));
    let twice = format!("Authorization: Bearer {key}\r\nAuthorization: Bearer {key}\r\n");
    assert_eq!(
        expect_json(&world.keyward.ask("GET", TOKENS, &twice, ""), 400),
        json!({ "detail": "Malformed credentials" })
    );
}

#[test]
fn tokens_of_an_issuer_with_public_keys_are_verified_by_their_signature() {
    let world = IssuerWorld::start_with_issuer(TestIssuer::with_public_keys(), |plan| plan);
    let alice = world.alice();
    for _ in 0..3 {
        assert_eq!(world.status("/people/x", &alice), 200);
    }
    let (key, _) = key(&world, &alice, "globex");
    assert_eq!(world.forwarded("/api/v1/active/x", &key).target, "/api/v1/globex/x");
    // The same claims, signed with another key.
    for other in [TestIssuer::with_public_keys(), TestIssuer::open()] {
        let forged = other.access("alice", json!({ "tenants": ["acme"] }));
        assert_eq!(
            expect_json(&world.call("GET", TOKENS, &forged, ""), 401),
            json!({ "detail": "Invalid token" })
        );
        assert_eq!(world.status("/people/x", &forged), 401);
    }
}
