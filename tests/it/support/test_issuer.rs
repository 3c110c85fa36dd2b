//! An outside issuer of JWTs: it signs any claims, with a secret that keyward shares or with a key
//! pair of its own.

use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, KeyPair, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::now;

/// The issuer. The file with which keyward verifies is in a folder that is removed with it.
pub(crate) struct TestIssuer {
    folder: TempDir,
    key: Key,
}

enum Key {
    Secret(Box<hmac::Key>),
    Rsa(RsaKeyPair),
}

/// A key set with the public key of RFC 8037, appendix A.2.
pub(crate) const RFC_8037_KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The `iss` of its tokens.
const ISSUER: &str = "https://id.example.com/realms/main";

impl TestIssuer {
    /// With RS256 and a file of public keys.
    pub(crate) fn with_public_keys() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = pair.public_key();
        let jwk = json!({
            "kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig",
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        });
        let set = json!({ "keys": [jwk] }).to_string();
        std::fs::write(folder.path().join("keys.json"), set).expect("a file");
        Self { folder, key: Key::Rsa(pair) }
    }

    /// With HS256 and a shared secret.
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = b"a secret that is only good for tests, and long enough";
        std::fs::write(folder.path().join("secret"), secret).expect("a file");
        Self { folder, key: Key::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))) }
    }

    fn keys(&self) -> (&'static str, PathBuf) {
        match self.key {
            Key::Secret(_) => ("secret_file", self.folder.path().join("secret")),
            Key::Rsa(_) => ("jwks_file", self.folder.path().join("keys.json")),
        }
    }

    /// The lines of its `[[issuer]]`.
    pub(crate) fn table(&self, name: &str) -> String {
        let (kind, keys) = self.keys();
        format!(
            "name = {name:?}\nissuer = {ISSUER:?}\n{kind} = {:?}\naudience = [\"account\"]\n\
             required_claims = {{ typ = \"Bearer\" }}",
            keys.display().to_string()
        )
    }

    /// An access token of this subject. These claims are added to the usual ones or replace them;
    /// null leaves one out.
    pub(crate) fn access(&self, subject: &str, more: Value) -> String {
        let now = now();
        let mut claims = json!({
            "iss": ISSUER,
            "aud": ["account", "other"],
            "typ": "Bearer",
            "sub": subject,
            "iat": now,
            "exp": now + 3600,
        });
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        self.sign(&claims)
    }

    /// An ID token of this subject, whose audience is a browser's application and not keyward.
    pub(crate) fn identity(&self, subject: &str) -> String {
        self.access(subject, json!({ "aud": "web", "typ": "ID", "azp": "web" }))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = |header: Value| format!("{}.{}", part(&header), part(claims));
        let (signed, signature) = match &self.key {
            Key::Secret(secret) => {
                let signed = signed(json!({ "alg": "HS256", "typ": "JWT" }));
                let tag = hmac::sign(secret, signed.as_bytes());
                (signed, tag.as_ref().to_vec())
            }
            Key::Rsa(pair) => {
                let signed = signed(json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    signed.as_bytes(),
                    &mut signature,
                )
                .expect("it is signed");
                (signed, signature)
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
