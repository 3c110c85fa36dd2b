use std::time::Duration;

use super::*;
use crate::domain::{RecordKind, TokenDigest};

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

fn record(expires_at: Option<Timestamp>) -> Record {
    Record {
        digest: TokenDigest::from_bytes([0; 32]),
        id: TokenId::parse("f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b").expect("a UUID"),
        token_api: "api".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity: Identity {
            subject: "auth0|abc123".into(),
            username: Some("ann".into()),
            organization: Some("acme".into()),
            role: Some("user".into()),
            email: None,
        },
        name: None,
        hint: None,
        limits: None,
        issued_at: NOW,
        expires_at,
        last_used_at: None,
    }
}

fn tokens(algorithm: SigningAlgorithm) -> SignedTokens {
    let material = KeyMaterial::generate(algorithm).expect("a key");
    SignedTokens::new("keyward".into(), [("k1".into(), algorithm, material)])
        .expect("a readable key")
}

fn hs256() -> SignedTokens {
    SignedTokens::new(
        "keyward".into(),
        [("k1".into(), SigningAlgorithm::Hs256, KeyMaterial::new(vec![7; 32]))],
    )
    .expect("a readable key")
}

/// Signs any header and claims with the HS256 key of `hs256`, as the holder of the key could.
fn forge(header: &str, claims: &str, secret: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, input.as_bytes())))
}

const HEADER: &str = r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"jti":"f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b","iss":"keyward","sub":"ann","iat":1800000000}"#;

#[test]
fn every_algorithm_verifies_what_it_signed_and_publishes_only_public_keys() {
    for algorithm in SigningAlgorithm::ALL {
        let tokens = tokens(algorithm);
        let end = NOW.after(Duration::from_secs(60));
        let token = tokens.sign(algorithm, &record(Some(end))).expect("signed");
        let claims = tokens.verify(token.expose(), NOW).expect("verified");
        assert_eq!(claims.identity, record(None).identity);
        assert_eq!(claims.expires_at, Some(end));
        let keys = tokens.public_keys();
        let published = keys["keys"].as_array().expect("an array");
        assert_eq!(
            published.len(),
            usize::from(algorithm != SigningAlgorithm::Hs256),
            "{algorithm:?}"
        );
        for key in published {
            assert!(key.get("d").is_none() && key.get("k").is_none() && key.get("p").is_none());
        }
    }
}

#[test]
fn a_token_is_dead_at_the_second_of_its_expiry_and_alive_just_before() {
    let tokens = hs256();
    let end = NOW.after(Duration::from_secs(60));
    let token = tokens.sign(SigningAlgorithm::Hs256, &record(Some(end))).expect("signed");
    let just_before = Timestamp::from_unix_millis(end.unix_millis() - 1);
    assert!(tokens.verify(token.expose(), just_before).is_ok());
    assert_eq!(tokens.verify(token.expose(), end), Err(SignedTokenFault::Expired));
    assert_eq!(
        tokens.verify(token.expose(), end.after(Duration::from_secs(1))),
        Err(SignedTokenFault::Expired)
    );
}

#[test]
fn the_newest_key_signs_and_older_ones_still_verify() {
    let key = |byte| KeyMaterial::new(vec![byte; 32]);
    let old = SignedTokens::new("keyward".into(), [("a".into(), SigningAlgorithm::Hs256, key(1))])
        .expect("keys");
    let token = old.sign(SigningAlgorithm::Hs256, &record(None)).expect("signed");
    let both = SignedTokens::new(
        "keyward".into(),
        [
            ("a".into(), SigningAlgorithm::Hs256, key(1)),
            ("b".into(), SigningAlgorithm::Hs256, key(2)),
        ],
    )
    .expect("keys");
    assert!(both.verify(token.expose(), NOW).is_ok());
    let new = both.sign(SigningAlgorithm::Hs256, &record(None)).expect("signed");
    assert_eq!(old.verify(new.expose(), NOW), Err(SignedTokenFault::UnknownKey));
}

#[test]
fn forgeries_are_refused_whatever_they_try() {
    let tokens = hs256();
    assert!(
        tokens.verify(&forge(HEADER, CLAIMS, &[7; 32]), NOW).is_ok(),
        "the forger's own tool works"
    );
    let headers = [
        r#"{"alg":"none","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"None","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"hs256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS384","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"../k1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1\u0000","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":null,"typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":["k1"],"typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","crit":["exp"]}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","b64":false}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","jku":"https://evil.example/keys"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"alg":"HS256","alg":"none","kid":"k1","typ":"JWT"}"#,
        r#"["HS256"]"#,
        "{}",
        "",
    ];
    for header in headers {
        assert!(tokens.verify(&forge(header, CLAIMS, &[7; 32]), NOW).is_err(), "{header}");
    }
    assert_eq!(
        tokens.verify(&forge(HEADER, CLAIMS, &[8; 32]), NOW),
        Err(SignedTokenFault::BadSignature)
    );
    assert_eq!(
        tokens.verify(&forge(HEADER, CLAIMS, b""), NOW),
        Err(SignedTokenFault::BadSignature)
    );
}

#[test]
fn mistyped_claims_are_refused_even_when_signed() {
    let tokens = hs256();
    let with = |extra: &str| CLAIMS.replace(r#""iat":1800000000"#, extra);
    for claims in [
        with(r#""iat":1800000000,"exp":"x""#),
        with(r#""iat":1800000000,"exp":"1900000000""#),
        with(r#""iat":1800000000,"exp":1900000000.5"#),
        with(r#""iat":1800000000,"exp":true"#),
        with(r#""iat":1800000000,"exp":9223372036854775807"#),
        with(r#""iat":1800000000,"exp":-1"#),
        with(r#""iat":1800000000,"exp":0"#),
        with(r#""iat":1800000000,"nbf":1"#),
        with(r#""iat":"1800000000""#),
        CLAIMS.replace("keyward", "elsewhere"),
        CLAIMS.replace(r#""sub":"ann","#, ""),
        CLAIMS.replace(r#""sub":"ann""#, r#""sub":["ann"]"#),
        CLAIMS.replace(r#""sub":"ann""#, r#""sub":"ann","sub":"bob""#),
        CLAIMS.replace("f1c2a3b4-", ""),
        "[]".into(),
        "null".into(),
        String::new(),
    ] {
        assert!(tokens.verify(&forge(HEADER, &claims, &[7; 32]), NOW).is_err(), "{claims}");
    }
}

#[test]
fn one_token_has_one_spelling() {
    let tokens = hs256();
    let token = tokens.sign(SigningAlgorithm::Hs256, &record(None)).expect("signed");
    let token = token.expose();
    assert!(tokens.verify(token, NOW).is_ok());
    let mut spellings = vec![
        format!("{token}="),
        format!("{token}A"),
        format!("{token}."),
        format!("{token}.x"),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', "=.", 1),
        token.replace('.', ".."),
        token.trim_end_matches(|c| c != '.').to_owned(),
    ];
    // HMAC-SHA-256 is 43 characters, of which the last carries two bits too many: three other
    // spellings of the same bytes.
    let last = token.chars().last().expect("not empty");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in alphabet.chars().filter(|c| *c != last) {
        spellings.push(format!("{}{other}", &token[..token.len() - 1]));
    }
    for spelling in spellings {
        assert!(tokens.verify(&spelling, NOW).is_err(), "{spelling}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let tokens = hs256();
    let token = tokens.sign(SigningAlgorithm::Hs256, &record(None)).expect("signed");
    for at in 0..token.expose().len() {
        for bit in 0..7 {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let text = String::from_utf8(bytes).expect("still ASCII");
            assert!(tokens.verify(&text, NOW).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn an_asymmetric_public_key_is_no_hmac_secret() {
    let tokens = tokens(SigningAlgorithm::EdDsa);
    let x = tokens.public_keys()["keys"][0]["x"].as_str().expect("x").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&x).expect("base64url");
    for secret in [raw.as_slice(), x.as_bytes()] {
        assert!(tokens.verify(&forge(HEADER, CLAIMS, secret), NOW).is_err());
    }
}

#[test]
fn a_short_secret_and_a_wrong_key_are_refused_in_words() {
    let short = SignedTokens::new(
        "keyward".into(),
        [("k1".into(), SigningAlgorithm::Hs256, KeyMaterial::new(vec![1; 31]))],
    );
    assert!(short.err().expect("refused").to_string().contains("31 bytes"));
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
        let wrong = SignedTokens::new(
            "keyward".into(),
            [("k1".into(), algorithm, KeyMaterial::new(vec![1; 48]))],
        );
        assert!(wrong.err().expect("refused").to_string().contains(algorithm.name()));
    }
}
