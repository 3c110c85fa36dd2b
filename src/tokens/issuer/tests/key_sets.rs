//! Key sets with something wrong in them: what cannot be used is not, and what can is all the same.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};

use super::*;

const ALL: &[OutsideAlgorithm] = &OutsideAlgorithm::PUBLIC;

/// Whether a set has the Ed25519 key under this name.
fn has(set: &KeySet, kid: &str) -> bool {
    matches!(set.select(Some(kid), OutsideAlgorithm::EdDsa), jwk::Selection::Keys { keys, .. } if keys.len() == 1)
}

/// Whether a key is used when it stands beside a good one, which must always be used.
fn is_used(jwk: &Value) -> (bool, String) {
    let good = ed_jwk("good");
    let set = KeySet::read(&document(&[jwk.clone(), good]), ALL).expect("a key set");
    assert!(has(&set, "good"), "{jwk}");
    (set.len() == 2, set.passed_over().join("; "))
}

fn small_rsa(bits: usize, exponent: &[u8]) -> Value {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] = 0xff >> ((8 - bits % 8) % 8);
    json!({"kty": "RSA", "kid": "k", "n": b64(modulus), "e": b64(exponent)})
}

#[test]
fn a_key_that_cannot_be_used_is_passed_over_with_its_reason() {
    let rsa = rsa_jwk("k", &KEYS.rsa);
    let p256 = ec_jwk("k", "P-256", &KEYS.p256);
    let ed = ed_jwk("k");
    let with = |base: &Value, more: Value| merged(base.clone(), more);
    let y = |at: usize| {
        let mut y = URL_SAFE_NO_PAD.decode(p256["y"].as_str().expect("y")).expect("base64url");
        y[at] ^= 1;
        b64(y)
    };
    let cases = [
        (json!(null), "no object"),
        (json!([]), "no object"),
        (json!("key"), "no object"),
        (json!({}), "no \"kty\""),
        (json!({"kty": 5}), "no string"),
        (json!({"kty": "oct", "k": b64(SECRET), "kid": "k"}), "shared secret"),
        (json!({"kty": "oct", "k": b64(SECRET), "kid": "k", "alg": "HS256"}), "shared secret"),
        (json!({"kty": "XYZ", "kid": "k"}), "type is not one"),
        (json!({"kty": "rsa", "kid": "k"}), "type is not one"),
        (with(&rsa, json!({"use": "enc"})), "\"use\""),
        (with(&rsa, json!({"use": "SIG"})), "\"use\""),
        (with(&rsa, json!({"use": ["sig"]})), "no string"),
        (with(&rsa, json!({"key_ops": []})), "\"key_ops\""),
        (with(&rsa, json!({"key_ops": ["encrypt", "wrapKey"]})), "\"key_ops\""),
        (with(&rsa, json!({"key_ops": "verify"})), "\"key_ops\""),
        (with(&rsa, json!({"kid": ""})), "\"kid\""),
        (with(&rsa, json!({"kid": "k".repeat(513)})), "\"kid\""),
        (with(&rsa, json!({"kid": 5})), "no string"),
        (with(&rsa, json!({"alg": "RSA-OAEP"})), "\"alg\""),
        (with(&rsa, json!({"alg": "none"})), "\"alg\""),
        (with(&rsa, json!({"alg": "HS256"})), "does not fit"),
        (with(&rsa, json!({"alg": "ES256"})), "does not fit"),
        (with(&rsa, json!({"alg": 256})), "no string"),
        (with(&rsa, json!({"d": "AQAB"})), "private half"),
        (with(&rsa, json!({"p": "AQAB"})), "private half"),
        (with(&p256, json!({"d": "AQAB"})), "private half"),
        (with(&rsa, json!({"n": null})), "no \"n\""),
        (with(&rsa, json!({"e": null})), "no \"e\""),
        (with(&rsa, json!({"n": ""})), "is 0"),
        (with(&rsa, json!({"n": "AA"})), "is 0"),
        (with(&rsa, json!({"n": "not base64url!"})), "not base64url"),
        (with(&rsa, json!({"n": 65537})), "no \"n\""),
        (with(&rsa, json!({"e": "AQ"})), "not those of an RSA key"),
        (with(&rsa, json!({"e": "Ag"})), "not those of an RSA key"),
        (with(&rsa, json!({"e": "AQAAAAE"})), "not those of an RSA key"),
        (small_rsa(512, &[1, 0, 1]), "512 bits"),
        (small_rsa(1024, &[1, 0, 1]), "1024 bits"),
        (small_rsa(2047, &[1, 0, 1]), "2047 bits"),
        (small_rsa(8193, &[1, 0, 1]), "8193 bits"),
        (small_rsa(1 << 16, &[1, 0, 1]), "bits"),
        (with(&p256, json!({"crv": "P-521"})), "curve"),
        (with(&p256, json!({"crv": "secp256k1"})), "curve"),
        (with(&p256, json!({"crv": "p-256"})), "curve"),
        (with(&p256, json!({"crv": null})), "curve"),
        (with(&p256, json!({"crv": "P-384"})), "no point of its curve"),
        (with(&p256, json!({"y": y(31)})), "no point of its curve"),
        (with(&p256, json!({"y": y(0)})), "no point of its curve"),
        (with(&p256, json!({"x": b64([0; 32]), "y": b64([0; 32])})), "no point of its curve"),
        (with(&p256, json!({"x": b64([0xff; 32])})), "no point of its curve"),
        (with(&p256, json!({"x": b64([1; 31])})), "no point of its curve"),
        (with(&p256, json!({"x": "", "y": ""})), "no point of its curve"),
        (with(&p256, json!({"x": b64([1; 33])})), "33 bytes"),
        (with(&p256, json!({"y": null})), "no \"y\""),
        (with(&p256, json!({"alg": "ES384"})), "does not fit"),
        (with(&p256, json!({"alg": "ECDH-ES"})), "\"alg\""),
        (with(&ed, json!({"crv": "X25519"})), "curve"),
        (with(&ed, json!({"crv": "Ed448"})), "curve"),
        (with(&ed, json!({"x": b64([1; 31])})), "31 bytes"),
        (with(&ed, json!({"x": ""})), "0 bytes"),
        (with(&ed, json!({"alg": "ES256"})), "does not fit"),
    ];
    for (jwk, why) in &cases {
        let (used, reasons) = is_used(jwk);
        assert!(!used && reasons.contains(why), "{jwk}: {reasons}");
    }
    for good in [
        rsa.clone(),
        p256,
        ec_jwk("k", "P-384", &KEYS.p384),
        with(&rsa, json!({"use": null})),
        with(&rsa, json!({"key_ops": ["verify"], "x5c": ["AAAA"], "x5t": "A", "custom": {"a": 1}})),
        with(&rsa, json!({"alg": "PS384"})),
        with(&rsa, json!({"kid": null})),
    ] {
        assert_eq!(is_used(&good), (true, String::new()), "{good}");
    }
}

/// RFC 8032 allows such keys to be refused: with the first one, R = A and S = 0 sign every message,
/// without a private key.
#[test]
fn a_point_of_small_order_is_no_key() {
    let identity = |sign: u8| {
        let mut point = [0; 32];
        (point[0], point[31]) = (1, sign);
        point
    };
    let forged = [identity(0).as_slice(), &[0; 32]].concat();
    let danger = ParsedPublicKey::new(&ED25519, identity(0)).expect("the library takes it");
    assert!(danger.verify_sig(b"any message", &forged).is_ok(), "and signs without a private key");
    let of_order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let also_of_order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let mut points = vec![identity(0), identity(0x80), [0; 32]];
    for hex in [of_order_8, also_of_order_8] {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..][..2], 16).expect("hex");
        points.push(std::array::from_fn(byte));
        points.push(std::array::from_fn(|at| byte(at) | if at == 31 { 0x80 } else { 0 }));
    }
    for lowest in [0xec, 0xed, 0xee] {
        points.push(std::array::from_fn(|at| match at {
            0 => lowest,
            31 => 0x7f,
            _ => 0xff,
        }));
    }
    assert_eq!(points.len(), 10);
    for point in points {
        let (used, reasons) = is_used(&merged(ed_jwk("k"), json!({ "x": b64(point) })));
        assert!(!used && reasons.contains("small order"), "{point:02x?}: {reasons}");
    }
}

#[test]
fn a_key_that_cannot_even_be_read_spoils_no_other() {
    let good = ed_jwk("good").to_string();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for key in [
        r#"{"kty":"RSA","kid":"x","n":"#.to_owned() + &"9".repeat(600) + r#","e":"AQAB"}"#,
        r#"{"kty":"EC","kty":"EC"}"#.to_owned(),
        r#"{"kty":"EC","x":1e999}"#.to_owned(),
        r#"{"kty":"EC","kid":"\ud800"}"#.to_owned(),
        deep,
    ] {
        let set = KeySet::read(format!(r#"{{"keys":[{key},{good}],"keys2":[]}}"#).as_bytes(), ALL)
            .expect("a key set");
        assert!(set.len() == 1 && has(&set, "good"), "{key}");
        assert_eq!(set.passed_over().len(), 1, "{:?}", set.passed_over());
        assert!(
            set.passed_over()[0].starts_with("key number 1: not valid JSON"),
            "{:?}",
            set.passed_over()
        );
    }
}

#[test]
fn what_is_no_key_set_is_none_as_a_whole() {
    let keys: Vec<_> = (0..20_000)
        .map(|at| json!({"kty": "RSA", "kid": at.to_string(), "n": "AQAB", "e": "AQAB"}))
        .collect();
    let many = document(&keys);
    let large = [b"{\"keys\":[]".to_vec(), vec![b' '; jwk::MOST_BYTES], b"}".to_vec()].concat();
    let hundred_and_one: Vec<_> = (0..101).map(|at| rsa_jwk(&at.to_string(), &KEYS.rsa)).collect();
    let cases: [(&[u8], &str); 13] = [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"null", "no JWK set"),
        (b"[]", "no JWK set"),
        (b"{}", "no JWK set"),
        (b"{\"keys\":{}}", "no JWK set"),
        (b"{\"keys\":null}", "no JWK set"),
        (b"{\"KEYS\":[]}", "no JWK set"),
        (b"<html><body>Sign in</body></html>", "not valid JSON"),
        (b"{\"keys\":[],\"keys\":[]}", "not valid JSON"),
        (b"{\"keys\":[", "not valid JSON"),
        (&many, "20000 keys, more than 100"),
        (&large, "more than 1048576 bytes"),
    ];
    for (text, why) in cases {
        let fault = KeySet::read(text, ALL).expect_err(why).to_string();
        assert!(fault.contains(why), "{fault}");
    }
    assert!(KeySet::read(&document(&hundred_and_one), ALL).is_err());
    assert!(
        KeySet::read(&document(&hundred_and_one[..100]), ALL).is_ok_and(|set| set.len() == 100)
    );
    assert!(
        KeySet::read(b"{\"keys\":[]}", ALL).is_ok_and(|set| set.is_empty()),
        "an empty set is a set"
    );
}

/// FIELD.md, F3.
#[test]
fn of_keys_with_one_name_that_which_fits_the_algorithm_and_the_signature_counts() {
    let (rsa, other_rsa) = (rsa_jwk("k", &KEYS.rsa), rsa_jwk("k", &KEYS.other_rsa));
    let ec = ec_jwk("k", "P-256", &KEYS.p256);
    let named = |algorithm: &str| json!({"alg": algorithm, "kid": "k"});
    let good = |algorithm: &str| token(algorithm, &named(algorithm), &claims());
    // An RSA and an EC key under one name.
    let set = set_of(vec![issuer(settings(), &[rsa.clone(), ec.clone()])]);
    passed(verify(&set, good("RS256")));
    passed(verify(&set, good("ES256")));
    assert_eq!(refused(&verify(&set, good("ES384"))), Some(OutsideFault::Algorithm));
    // Two RSA keys under one name.
    let set = set_of(vec![issuer(settings(), &[other_rsa.clone(), rsa.clone(), ec.clone()])]);
    passed(verify(&set, good("RS256")));
    passed(verify(&set, token("another RSA key", &named("RS256"), &claims())));
    let forged = raw(named("RS256").to_string(), claims().to_string(), |_| vec![7; 256]);
    assert_eq!(refused(&verify(&set, forged)), Some(OutsideFault::Signature));
    // The same key twice is one, and a key for encryption is none.
    let read = |keys: &[Value]| KeySet::read(&document(keys), ALL).expect("a set");
    let set = read(&[rsa.clone(), other_rsa.clone(), rsa.clone(), ec.clone()]);
    assert_eq!((set.len(), set.passed_over()), (3, &[][..]));
    let encryption = merged(other_rsa, json!({"use": "enc"}));
    passed(verify(&set_of(vec![issuer(settings(), &[encryption, rsa])]), good("RS256")));
}

/// FIELD.md, F3.
#[test]
fn a_token_that_names_no_key_is_tried_with_those_that_fit_and_one_that_names_an_unknown_key_is_refused()
 {
    let unnamed = |algorithm: &str| token(algorithm, &json!({"alg": algorithm}), &claims());
    let nameless = |mut jwk: Value| {
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    for keys in [
        key_set(),
        key_set().into_iter().map(nameless).collect(),
        vec![
            nameless(rsa_jwk("", &KEYS.other_rsa)),
            nameless(rsa_jwk("", &KEYS.rsa)),
            key_set()[1].clone(),
        ],
    ] {
        let set = set_of(vec![issuer(settings(), &keys)]);
        passed(verify(&set, unnamed("RS256")));
        passed(verify(&set, unnamed("ES256")));
        let forged =
            raw(json!({"alg": "ES256"}).to_string(), claims().to_string(), |_| vec![7; 64]);
        assert_eq!(refused(&verify(&set, forged)), Some(OutsideFault::Signature));
        let unknown = with_header(json!({"kid": "unknown"}));
        assert_eq!(
            refused(&verify(&set, unknown)),
            Some(OutsideFault::UnknownKey),
            "a name means a name"
        );
    }
    let set = set_of(vec![issuer(settings(), &key_set()[..1])]);
    assert_eq!(
        refused(&verify(&set, unnamed("ES256"))),
        Some(OutsideFault::UnknownKey),
        "none fits"
    );
    assert_eq!(
        cause(&verify(&set, unnamed("ES256"))),
        "its key is not published: it names none, and issuer main publishes none for ES256"
    );
}

/// What a token that names no key may cost.
#[test]
fn at_most_eight_keys_are_tried_for_one_token_and_those_without_a_name_first() {
    let select = |keys: &[Value], kid| match KeySet::read(&document(keys), ALL)
        .expect("a set")
        .select(kid, OutsideAlgorithm::Rs256)
    {
        jwk::Selection::Keys { keys, .. } => keys.len(),
        other => panic!("{other:?}"),
    };
    // Ten keys by ten exponents.
    let key = |at: usize, name: Option<&str>| {
        let changed =
            json!({"e": b64([1, 0, u8::try_from(2 * at + 1).expect("small")]), "kid": name});
        merged(rsa_jwk("x", &KEYS.rsa), changed)
    };
    let ten: Vec<_> = (0..10).map(|at| key(at, None)).collect();
    assert_eq!((select(&ten, None), select(&ten[..8], None), select(&ten[..3], None)), (8, 8, 3));
    let of_one_name: Vec<_> = (1..11).map(|at| key(at, Some("k"))).collect();
    assert_eq!(select(&of_one_name, Some("k")), 8);
    let mut mixed = of_one_name;
    mixed.push(merged(rsa_jwk("x", &KEYS.rsa), json!({"kid": null})));
    let set = set_of(vec![issuer(settings(), &mixed)]);
    passed(verify(&set, token("RS256", &json!({"alg": "RS256"}), &claims())));
}

#[test]
fn a_secret_is_long_enough_and_no_key_that_may_be_public() {
    for (secret, why) in [
        (&b""[..], "0 bytes"),
        (&SECRET[..31], "31 bytes"),
        (
            b"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
            "may be public",
        ),
        (b"\n -----BEGIN RSA PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8", "may be public"),
        (b"{\"kty\":\"RSA\",\"n\":\"0123456789012345678901234567890\"}", "may be public"),
        (b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7", "may be public"),
    ] {
        let fault = KeySet::secret(secret, &[OutsideAlgorithm::Hs256]).expect_err(why).to_string();
        assert!(fault.contains(why), "{fault}");
    }
}

#[test]
fn no_word_about_a_key_holds_a_key() {
    let secret = "c2VjcmV0LWNhbmFyeS1zZWNyZXQtY2FuYXJ5LXNlY3JldC1jYW5hcnk";
    let set = KeySet::read(
        &document(&[json!({"kty": "oct", "k": secret, "kid": "k"}), json!({"kty": secret})]),
        ALL,
    );
    let set = set.expect("a key set");
    assert!(!set.passed_over().join("").contains(secret) && !format!("{set:?}").contains(secret));
    let keys = KeySet::secret(SECRET, &[OutsideAlgorithm::Hs256]).expect("a secret");
    assert!(!format!("{keys:?}").contains("0123456789abcdef"));
}
