//! A site's own login, with which keyward shares a secret: it signs whatever a test wants it to say.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The login. Its secret is in a folder that goes with it.
pub(crate) struct Login {
    folder: TempDir,
    key: hmac::Key,
}

/// The `iss` of its tokens.
const ISSUER: &str = "https://id.example.com/realms/main";

impl Login {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = b"a secret that is only good for tests, and long enough";
        std::fs::write(folder.path().join("secret"), secret).expect("a file");
        Self { folder, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// The lines of its `[[issuer]]`.
    pub(crate) fn table(&self, name: &str) -> String {
        format!(
            "name = {name:?}\nissuer = {ISSUER:?}\nsecret_file = {:?}\naudience = [\"account\"]\n\
             required_claims = {{ typ = \"Bearer\" }}",
            self.secret().display().to_string()
        )
    }

    /// The access token of this subject, with these claims beside the usual ones, or instead of them; null leaves one out.
    pub(crate) fn access(&self, subject: &str, more: Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": ISSUER, "aud": ["account", "other"], "typ": "Bearer", "sub": subject, "iat": now, "exp": now + 3600,
        });
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        self.sign(&claims)
    }

    /// The ID token of this subject: for the browser, not for us.
    pub(crate) fn identity(&self, subject: &str) -> String {
        self.access(subject, json!({ "aud": "web", "typ": "ID", "azp": "web" }))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}
