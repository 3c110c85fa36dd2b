//! Keys and secrets in another form than most: each form that has one meaning is accepted.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::outside_jwts::forge::{KEYS, b64, ec_jwk, ed_jwk, merged, raw, rsa_jwk, token};
use crate::support::{Upstream, eventually};

use super::{by, cause, claims, keys_of, plan, readiness, url, world};

/// A key on P-256 whose first coordinate begins with a zero byte.
fn key_with_a_zero_in_front() -> EcdsaKeyPair {
    let any = std::iter::repeat_with(|| {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")
    });
    any.take(10_000).find(|key| key.public_key().as_ref()[1] == 0).expect("one of 256 is so")
}

/// keycloak#14933, jjwt#901 and oxAuth#1595 for the coordinates; null, as some libraries write what
/// is absent; padding, as RFC 4648 has it and RFC 7515 does not.
#[test]
fn a_key_in_another_form_than_most_is_the_same_key() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let short = key_with_a_zero_in_front();
    let coordinate = |key: &EcdsaKeyPair, at: usize| {
        key.public_key().as_ref()[1 + 32 * at..33 + 32 * at].to_vec()
    };
    let mut nulls = rsa_jwk("nulls", &KEYS.rsa);
    for absent in ["alg", "use", "key_ops", "d", "p", "q", "dp", "dq", "qi", "oth", "x5c", "crv"] {
        nulls[absent] = Value::Null;
    }
    let n = rsa_jwk("", &KEYS.rsa)["n"].as_str().expect("text").to_owned();
    let keys = [
        nulls,
        merged(rsa_jwk("padded", &KEYS.rsa), json!({ "n": format!("{n}==") })),
        merged(
            ec_jwk("longer", "P-256", &KEYS.p256),
            json!({
                "x": b64([vec![0], coordinate(&KEYS.p256, 0)].concat()),
                "y": b64([vec![0], coordinate(&KEYS.p256, 1)].concat()),
            }),
        ),
        merged(
            ec_jwk("shorter", "P-256", &short),
            json!({ "x": b64(&coordinate(&short, 0)[1..]) }),
        ),
    ];
    let world = world(&upstream, &id, &keys);
    for (algorithm, kid) in [("RS256", "nulls"), ("RS256", "padded"), ("ES256", "longer")] {
        assert_eq!(world.get_with("/outside/x", &by(algorithm, kid)).status, 200, "{kid}");
    }
    let header = json!({"alg": "ES256", "kid": "shorter"}).to_string();
    let token = raw(header, claims().to_string(), |message| {
        short.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec()
    });
    assert_eq!(world.get_with("/outside/x", &token).status, 200);
    let other = by("ES256", "shorter");
    assert_eq!(cause(&world, "/outside/another-signer", &other), "its signature is wrong");
}

#[test]
fn a_key_that_is_published_and_cannot_be_used_is_named_with_its_reason() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let keys = [
        merged(rsa_jwk("enc", &KEYS.rsa), json!({"use": "enc"})),
        json!({"kty": "RSA", "kid": "certificate", "x5c": ["MIIB"]}),
        json!({"kty": "AKP", "kid": "lattice", "alg": "ML-DSA-44", "pub": "AA"}),
        merged(rsa_jwk("pinned", &KEYS.rsa), json!({"alg": "RS512"})),
        ed_jwk("good"),
    ];
    let one = world(&upstream, &id, &keys);
    let unusable = "its key is not published: issuer id has a key called ";
    for (kid, why) in [
        ("enc", "\"enc\" that cannot be used: its \"use\" is not \"sig\""),
        ("certificate", "\"certificate\" that cannot be used: it has no \"n\""),
        ("lattice", "\"lattice\" that cannot be used: its type is not one that is understood"),
    ] {
        let said = cause(&one, &format!("/outside/{kid}"), &by("RS256", kid));
        assert_eq!(said, format!("{unusable}{why}"));
    }
    assert_eq!(
        cause(&one, "/outside/pinned", &by("RS256", "pinned")),
        "its algorithm is not accepted: it is \"RS256\"; its key is good for RS512"
    );
    assert_eq!(one.get_with("/outside/good", &by("EdDSA", "good")).status, 200);
    // Nine that fit, and the one that signed is the last.
    let nameless = |exponent: u8| {
        let key = merged(rsa_jwk("", &KEYS.rsa), json!({"e": b64([1, 0, exponent])}));
        merged(key, json!({ "kid": null }))
    };
    let nine: Vec<_> = [3, 5, 7, 9, 11, 13, 15, 17, 1].into_iter().map(nameless).collect();
    let several = world(&upstream, &id, &nine);
    let unnamed = token("RS256", &json!({"alg": "RS256"}), &claims());
    assert_eq!(
        cause(&several, "/outside/ninth", &unnamed),
        "its signature is wrong: it is of none of the 8 keys that were tried, and 1 more could \
         not be: its issuer should tell its keys apart by \"kid\""
    );
    // None at all.
    id.answer("/keys", keys_of(&keys[..2]));
    let none = plan(&upstream, &url(&id)).launch();
    let why = "it publishes no key that can be used: key \"enc\": its \"use\" is not \"sig\"; key \
               \"certificate\": it has no \"n\"";
    assert!(eventually(|| readiness(&none).contains(why)), "{}", readiness(&none));
    assert_eq!(
        cause(&none, "/outside/none", &by("RS256", "enc")),
        format!("the keys of issuer id are not available: {why}")
    );
}

/// Flask-JWT-Extended and Simple JWT can sign so.
#[test]
fn a_shared_secret_signs_with_the_hash_that_the_configuration_names_and_is_as_long_as_it() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let secret = [b"0123456789abcdef".as_slice(); 4].concat();
    let file = |name: &str, length: usize| {
        let path = folder.path().join(name);
        std::fs::write(&path, &secret[..length]).expect("a file");
        format!("secret_file = {path:?}")
    };
    let signed = |algorithm: &str| {
        let how = match algorithm {
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(how, &secret);
        raw(json!({ "alg": algorithm }).to_string(), claims().to_string(), |message| {
            hmac::sign(&key, message).as_ref().to_vec()
        })
    };
    let long = file("long", 64);
    for (algorithms, passes) in [
        ("", vec!["HS256"]),
        ("algorithms = [\"HS512\"]", vec!["HS512"]),
        ("algorithms = [\"HS384\", \"HS512\"]", vec!["HS384", "HS512"]),
    ] {
        let world = plan(&upstream, &format!("{long}\n{algorithms}")).start();
        for algorithm in ["HS256", "HS384", "HS512"] {
            let is_accepted = passes.contains(&algorithm);
            let status = world.get_with("/outside/x", &signed(algorithm)).status;
            assert_eq!(status, if is_accepted { 200 } else { 401 }, "{algorithms}: {algorithm}");
        }
    }
    let world = plan(&upstream, &long).prepare();
    for (algorithm, length, expected) in
        [("HS256", 31, "31 bytes"), ("HS384", 47, "47 bytes"), ("HS512", 63, "63 bytes")]
    {
        let short = file("short", length);
        world.configure(&plan(&upstream, &format!("{short}\nalgorithms = [{algorithm:?}]")));
        let output = world.run(&["validate"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.contains(algorithm), "{said}");
    }
}
