//! What is needed to write any token: keys of each type, their public halves as JWKs, and
//! signatures over whatever is wanted.
//!
//! It knows nothing of keyward. The module above it has the time: in the unit tests of issuers the
//! clock stands, in the tests over TCP it runs.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::now;

pub(crate) const ISS: &str = "https://id.example.com/realms/main";
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

pub(crate) struct Keys {
    pub(crate) rsa: rsa::KeyPair,
    pub(crate) other_rsa: rsa::KeyPair,
    pub(crate) p256: EcdsaKeyPair,
    pub(crate) p384: EcdsaKeyPair,
    pub(crate) ed25519: Ed25519KeyPair,
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key"),
    other_rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key"),
    p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
    p384: EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
    ed25519: Ed25519KeyPair::generate().expect("a key"),
});

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn rsa_jwk(kid: &str, key: &rsa::KeyPair) -> Value {
    let public = key.public_key();
    let n = b64(public.modulus().big_endian_without_leading_zero());
    let e = b64(public.exponent().big_endian_without_leading_zero());
    json!({"kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e})
}

pub(crate) fn ec_jwk(kid: &str, curve: &str, key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    json!({"kty": "EC", "crv": curve, "use": "sig", "kid": kid, "x": b64(x), "y": b64(y)})
}

pub(crate) fn ed_jwk(kid: &str) -> Value {
    let x = b64(KEYS.ed25519.public_key().as_ref());
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x})
}

/// One key of each type, called by its type.
pub(crate) fn key_set() -> Vec<Value> {
    vec![
        rsa_jwk("rsa", &KEYS.rsa),
        ec_jwk("p256", "P-256", &KEYS.p256),
        ec_jwk("p384", "P-384", &KEYS.p384),
        ed_jwk("ed25519"),
    ]
}

pub(crate) fn document(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// The public RSA key in the forms in which it could be taken for an HMAC secret.
pub(crate) fn public_rsa_spellings() -> Vec<Vec<u8>> {
    let public = KEYS.rsa.public_key();
    let spki: PublicKeyX509Der<'_> = public.as_der().expect("DER");
    let pem = |what: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n").into_bytes()
    };
    let (spki, pkcs1) = (spki.as_ref().to_vec(), public.as_ref().to_vec());
    let n = public.modulus().big_endian_without_leading_zero().to_vec();
    vec![
        pem("PUBLIC KEY", &spki),
        pem("RSA PUBLIC KEY", &pkcs1),
        [b" \n".to_vec(), pem("PUBLIC KEY", &spki)].concat(),
        pem("PUBLIC KEY", &spki).trim_ascii().to_vec(),
        spki,
        pkcs1,
        b64(&n).into_bytes(),
        n,
        rsa_jwk("rsa", &KEYS.rsa).to_string().into_bytes(),
        Vec::new(),
    ]
}

pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn rsa_sign(
    key: &rsa::KeyPair,
    how: &'static dyn signature::RsaEncoding,
    message: &[u8],
) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(how, &SystemRandom::new(), message, &mut signature).expect("signed");
    signature
}

/// Signs as this algorithm asks for, with the key of its type.
pub(crate) fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let keys = &*KEYS;
    let random = SystemRandom::new();
    match algorithm {
        "HS256" => hmac_sha256(SECRET, message),
        "RS256" => rsa_sign(&keys.rsa, &signature::RSA_PKCS1_SHA256, message),
        "RS384" => rsa_sign(&keys.rsa, &signature::RSA_PKCS1_SHA384, message),
        "RS512" => rsa_sign(&keys.rsa, &signature::RSA_PKCS1_SHA512, message),
        "PS256" => rsa_sign(&keys.rsa, &signature::RSA_PSS_SHA256, message),
        "PS384" => rsa_sign(&keys.rsa, &signature::RSA_PSS_SHA384, message),
        "PS512" => rsa_sign(&keys.rsa, &signature::RSA_PSS_SHA512, message),
        "ES256" => keys.p256.sign(&random, message).expect("signed").as_ref().to_vec(),
        "ES384" => keys.p384.sign(&random, message).expect("signed").as_ref().to_vec(),
        "EdDSA" => keys.ed25519.sign(message).as_ref().to_vec(),
        "another RSA key" => rsa_sign(&keys.other_rsa, &signature::RSA_PKCS1_SHA256, message),
        other => panic!("no key signs as {other}"),
    }
}

/// The key that an algorithm goes with.
pub(crate) fn kid(algorithm: &str) -> &'static str {
    match algorithm {
        "ES256" => "p256",
        "ES384" => "p384",
        "EdDSA" => "ed25519",
        _ => "rsa",
    }
}

pub(crate) fn header(algorithm: &str) -> Value {
    json!({"alg": algorithm, "typ": "JWT", "kid": kid(algorithm)})
}

/// Claims that are as they must be.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISS, "aud": "account", "sub": "7d9f", "typ": "Bearer", "preferred_username": "ann",
        "iat": now() - 10, "exp": now() + 300,
    })
}

/// Puts a token together from any bytes.
pub(crate) fn raw(
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

/// A token of this header and these claims, well signed.
pub(crate) fn token(algorithm: &str, header: &Value, claims: &Value) -> String {
    raw(header.to_string(), claims.to_string(), |message| sign(algorithm, message))
}

/// A good token but for these claims; null takes one away.
pub(crate) fn with_claims(changed: Value) -> String {
    token("ES256", &header("ES256"), &merged(claims(), changed))
}

/// A good token but for these members of its header; null is put in as it is.
pub(crate) fn with_header(changed: Value) -> String {
    let mut members = header("ES256");
    for (name, value) in changed.as_object().expect("an object") {
        members[name] = value.clone();
    }
    token("ES256", &members, &claims())
}

pub(crate) fn merged(mut base: Value, changed: Value) -> Value {
    let members = base.as_object_mut().expect("an object");
    for (name, value) in changed.as_object().expect("an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    base
}
