//! The table of hostile tokens, shown to an issuer in memory.

use super::hostile_table::Expected::{Fault, Foreign, Header, Malformed};
use super::hostile_table::hostile;
use super::*;

#[test]
fn no_hostile_token_passes_and_each_is_refused_for_its_own_reason() {
    let set = usual();
    let tokens = hostile().0;
    assert!(tokens.len() >= 220, "{}", tokens.len());
    for (name, token, expected) in &tokens {
        // The second time is no other than the first.
        for _ in 0..2 {
            let verdict = verify(&set, token);
            let is_expected = match (refused(&verdict), expected) {
                (Some(OutsideFault::Malformed(_)), Malformed)
                | (Some(OutsideFault::Header(_)), Header) => true,
                (None, Foreign) => matches!(verdict, OutsideVerdict::Foreign),
                (Some(fault), Fault(expected)) => fault == *expected,
                _ => false,
            };
            assert!(is_expected, "{name}: {verdict:?} instead of {expected:?}");
        }
    }
    assert!(set.len() == 0, "nothing of it is remembered");
    passed(verify(&set, with_claims(json!({}))));
}

#[test]
fn with_a_shared_secret_only_hs256_passes() {
    let set = with_secret();
    for algorithm in OutsideAlgorithm::PUBLIC.map(OutsideAlgorithm::name) {
        let verdict = verify(&set, token(algorithm, &header(algorithm), &claims()));
        assert_eq!(refused(&verdict), Some(OutsideFault::Algorithm), "{algorithm}");
    }
    for secret in [
        &b""[..],
        b"0",
        &SECRET[..31],
        b"0123456789abcdef0123456789abcdef\n",
        b"0123456789ABCDEF0123456789abcdef",
    ] {
        let forged =
            raw(r#"{"alg":"HS256"}"#, claims().to_string(), |message| hmac_sha256(secret, message));
        assert_eq!(refused(&verify(&set, forged)), Some(OutsideFault::Signature), "{secret:?}");
    }
    for name in ["none", "HS384", "HS512", "hs256"] {
        let forged = token("HS256", &json!({"alg": name}), &claims());
        assert_eq!(refused(&verify(&set, forged)), Some(OutsideFault::Algorithm), "{name}");
    }
}

#[test]
fn the_configuration_narrows_the_algorithms_and_so_does_the_key() {
    let only = |algorithms: &[OutsideAlgorithm], jwk: Value| {
        set_of(vec![issuer(
            IssuerSettings { algorithms: algorithms.to_vec(), ..settings() },
            &[jwk],
        )])
    };
    let rs512 = token("RS512", &header("RS512"), &claims());
    let narrowed = only(&[OutsideAlgorithm::Rs256], rsa_jwk("rsa", &KEYS.rsa));
    assert_eq!(refused(&verify(&narrowed, &rs512)), Some(OutsideFault::Algorithm));
    passed(verify(&narrowed, token("RS256", &header("RS256"), &claims())));
    let pinned =
        only(&OutsideAlgorithm::PUBLIC, merged(rsa_jwk("rsa", &KEYS.rsa), json!({"alg": "PS256"})));
    assert_eq!(refused(&verify(&pinned, &rs512)), Some(OutsideFault::Algorithm));
    passed(verify(&pinned, token("PS256", &header("PS256"), &claims())));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (set, good) = (usual(), with_claims(json!({})));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(
                !matches!(verify(&set, bytes), OutsideVerdict::Passed(_)),
                "byte {at}, bit {bit}"
            );
        }
    }
}
