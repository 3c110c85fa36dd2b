//! The secrets of a fleet: the pepper under which tokens are known, and what is derived from it.

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::domain::TokenDigest;

/// 256 secret bits: wiped on drop, shown by nothing.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes([u8; 32]);

impl SecretBytes {
    /// Takes the bytes over.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes([secret])")
    }
}

/// What sort of string is digested: two credentials of different sorts never share a digest, even where their characters
/// are the same (cf. CVE-2026-33496: a cache key that lacked the authenticator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CredentialSort {
    /// A JWT, of whomever.
    SignedToken = 1,
    /// A token with a prefix and a MAC.
    OpaqueToken = 2,
}

/// The pepper: turns tokens into digests. It is not in the store, so that who reads the store learns no token, and who
/// writes it cannot plant one.
pub struct Pepper {
    tokens: hmac::Key,
    secret: SecretBytes,
}

impl Pepper {
    /// Takes the secret over.
    #[must_use]
    pub fn new(secret: SecretBytes) -> Self {
        let tokens = derive(&secret, b"keyward token digest v1");
        Self { tokens: hmac::Key::new(hmac::HMAC_SHA256, tokens.expose()), secret }
    }

    /// HMAC-SHA-256 over sort ‖ length ‖ token. One call a request, on the hot path: the key schedule is made once.
    #[must_use]
    pub fn digest(&self, sort: CredentialSort, token: &[u8]) -> TokenDigest {
        let mut mac = hmac::Context::with_key(&self.tokens);
        let [a, b, c, d, ..] = (token.len() as u64).to_le_bytes();
        mac.update(&[sort as u8, a, b, c, d]);
        mac.update(token);
        let mut bytes = [0; 32];
        // HMAC-SHA-256 is 32 bytes long: the two always have the same length.
        for (to, from) in bytes.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
        TokenDigest::from_bytes(bytes)
    }

    /// The key under which records are sealed in the store.
    #[must_use]
    pub fn record_key(&self) -> SecretBytes {
        derive(&self.secret, b"keyward record seal v1")
    }

    /// The first key under which opaque tokens are told from made-up ones; those that follow it owe nothing to the pepper.
    #[must_use]
    pub fn opaque_key(&self) -> SecretBytes {
        derive(&self.secret, b"keyward opaque token mac v1")
    }

    /// The key under which the counters of failed logins are named.
    #[must_use]
    pub fn counter_key(&self) -> SecretBytes {
        derive(&self.secret, b"keyward login counters v1")
    }

    /// What tells one pepper from another without telling anything of it: kept in the store, so that an instance with other
    /// keys is noticed at its start.
    #[must_use]
    pub fn fingerprint(&self) -> SecretBytes {
        derive(&self.secret, b"keyward key fingerprint v1")
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper([secret])")
    }
}

/// One key for one purpose: HMAC-SHA-256 as a pseudo-random function, as the expand step of RFC 5869 with one block.
fn derive(secret: &SecretBytes, purpose: &[u8]) -> SecretBytes {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(hmac::sign(&key, purpose).as_ref()) {
        *to = *from;
    }
    SecretBytes::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_every_bit_of_token_and_pepper() {
        let one = Pepper::new(SecretBytes::new([1; 32]));
        let two = Pepper::new(SecretBytes::new([2; 32]));
        let digest = one.digest(CredentialSort::SignedToken, b"abc");
        assert_eq!(digest, one.digest(CredentialSort::SignedToken, b"abc"));
        assert_ne!(digest, one.digest(CredentialSort::SignedToken, b"abd"));
        assert_ne!(digest, one.digest(CredentialSort::SignedToken, b"abc\0"));
        assert_ne!(digest, two.digest(CredentialSort::SignedToken, b"abc"));
        assert_ne!(one.record_key().expose(), one.fingerprint().expose());
        assert_ne!(one.fingerprint().expose(), two.fingerprint().expose());
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let pepper = Pepper::new(SecretBytes::new([0x41; 32]));
        assert_eq!(format!("{pepper:?}{:?}", pepper.record_key()), "Pepper([secret])SecretBytes([secret])");
    }
}
