//! The secrets of a fleet: the peppers under which tokens are known, and the key of its store with
//! what is derived from it.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
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

/// What sort of string is digested: two credentials of different sorts never share a digest, even
/// where their characters are the same (cf. CVE-2026-33496: a cache key that lacked the
/// authenticator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CredentialSort {
    /// A JWT, of whomever.
    SignedToken = 1,
    /// A token with a prefix and a MAC.
    OpaqueToken = 2,
}

/// The peppers turn tokens into digests, so that a reader of the store learns no token. The first
/// one makes the digests of new tokens. The others are retired or not yet in use; tokens are looked
/// up under them, too.
pub struct Peppers {
    /// Replaced as a whole: read once a token, changed once a year.
    ring: ArcSwap<Vec<hmac::Key>>,
    /// How often it was replaced.
    version: AtomicU64,
}

impl Peppers {
    /// The present pepper first; at least one.
    #[must_use]
    pub fn new<'a>(first: &SecretBytes, others: impl IntoIterator<Item = &'a SecretBytes>) -> Self {
        let key = |secret: &SecretBytes| {
            hmac::Key::new(hmac::HMAC_SHA256, derive(secret, b"keyward token digest v1").expose())
        };
        let ring = std::iter::once(key(first)).chain(others.into_iter().map(key)).collect();
        Self { ring: ArcSwap::from_pointee(ring), version: AtomicU64::new(0) }
    }

    /// What a token that is made now is known by. The key schedule is made once, not once a token.
    #[must_use]
    pub fn digest(&self, sort: CredentialSort, token: &[u8]) -> TokenDigest {
        let ring = self.ring.load();
        #[expect(clippy::indexing_slicing, reason = "there is at least one")]
        digest(&ring[0], sort, token)
    }

    /// What the token is known by if it was made under another pepper than the first one.
    #[must_use]
    pub fn other_digests(&self, sort: CredentialSort, token: &[u8]) -> Vec<TokenDigest> {
        self.ring.load().iter().skip(1).map(|key| digest(key, sort, token)).collect()
    }

    /// Whether one of them makes this digest of the token.
    #[must_use]
    pub fn know(&self, sort: CredentialSort, token: &[u8], known_by: TokenDigest) -> bool {
        self.ring.load().iter().any(|key| digest(key, sort, token) == known_by)
    }

    /// Whether there is more than the first one.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.ring.load().len() > 1
    }

    /// Another number for other peppers: what was digested when it was the same is still good.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes those of `other` in the place of its own: tokens of a pepper that is gone are known by
    /// nothing from now on.
    pub fn replace(&self, other: Self) {
        self.ring.store(other.ring.into_inner());
        // The version is raised last: a reader of the new number uses the new peppers.
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// HMAC-SHA-256 over sort ‖ length ‖ token.
fn digest(key: &hmac::Key, sort: CredentialSort, token: &[u8]) -> TokenDigest {
    let mut mac = hmac::Context::with_key(key);
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

impl std::fmt::Debug for Peppers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peppers([secret])")
    }
}

/// The key that seals the store's data and identifies the store. It is not in the store, so that a
/// writer there can plant nothing. It lives as long as the store does.
pub struct StoreKey(SecretBytes);

impl StoreKey {
    /// Takes the secret over.
    #[must_use]
    pub const fn new(secret: SecretBytes) -> Self {
        Self(secret)
    }

    /// The key under which records are sealed in the store.
    #[must_use]
    pub fn record_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward record seal v1")
    }

    /// The first key under which opaque tokens are told from made-up ones; those that follow it owe
    /// nothing to this one.
    #[must_use]
    pub fn opaque_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward opaque token mac v1")
    }

    /// The key under which the counters of failed logins are named.
    #[must_use]
    pub fn counter_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward login counters v1")
    }

    /// What tells one store key from another without telling anything of it: kept in the store, so
    /// that an instance with other keys is noticed at its start.
    #[must_use]
    pub fn fingerprint(&self) -> SecretBytes {
        derive(&self.0, b"keyward key fingerprint v1")
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey([secret])")
    }
}

/// One key for one purpose: HMAC-SHA-256 as a pseudo-random function, as the expand step of RFC
/// 5869 with one block.
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

    fn peppers(bytes: &[u8]) -> Peppers {
        let secrets: Vec<_> = bytes.iter().map(|&byte| SecretBytes::new([byte; 32])).collect();
        let (first, others) = secrets.split_first().expect("one at least");
        Peppers::new(first, others)
    }

    #[test]
    fn a_digest_depends_on_every_bit_of_token_and_pepper() {
        let (one, two) = (peppers(&[1]), peppers(&[2]));
        let digest = one.digest(CredentialSort::SignedToken, b"abc");
        assert_eq!(digest, one.digest(CredentialSort::SignedToken, b"abc"));
        assert_ne!(digest, one.digest(CredentialSort::SignedToken, b"abd"));
        assert_ne!(digest, one.digest(CredentialSort::SignedToken, b"abc\0"));
        assert_ne!(digest, one.digest(CredentialSort::OpaqueToken, b"abc"));
        assert_ne!(digest, two.digest(CredentialSort::SignedToken, b"abc"));
    }

    #[test]
    fn the_first_pepper_makes_and_the_others_are_looked_under_until_they_are_gone() {
        let digest = |peppers: &Peppers| peppers.digest(CredentialSort::OpaqueToken, b"abc");
        let others = |peppers: &Peppers| peppers.other_digests(CredentialSort::OpaqueToken, b"abc");
        let (one, two, three) =
            (digest(&peppers(&[1])), digest(&peppers(&[2])), digest(&peppers(&[3])));
        let ring = peppers(&[1]);
        assert_eq!((digest(&ring), others(&ring), ring.are_several()), (one, vec![], false));
        let before = ring.version();
        ring.replace(peppers(&[3, 2, 1]));
        assert_eq!(
            (digest(&ring), others(&ring), ring.are_several()),
            (three, vec![two, one], true)
        );
        let knows =
            |ring: &Peppers, known_by| ring.know(CredentialSort::OpaqueToken, b"abc", known_by);
        assert!(knows(&ring, one) && knows(&ring, three));
        assert_ne!(before, ring.version());
        ring.replace(peppers(&[3]));
        assert_eq!((digest(&ring), others(&ring), ring.are_several()), (three, vec![], false));
        assert!(knows(&ring, three) && !knows(&ring, one));
    }

    #[test]
    fn what_is_derived_of_a_store_key_is_its_own_and_each_for_one_purpose() {
        let derived = |byte: u8| {
            let key = StoreKey::new(SecretBytes::new([byte; 32]));
            let all = [key.record_key(), key.opaque_key(), key.counter_key(), key.fingerprint()];
            all.map(|secret| *secret.expose())
        };
        let all: std::collections::BTreeSet<_> = derived(1).into_iter().chain(derived(2)).collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let key = StoreKey::new(SecretBytes::new([0x41; 32]));
        let shown = format!("{:?}{key:?}{:?}", peppers(&[0x41]), key.record_key());
        assert_eq!(shown, "Peppers([secret])StoreKey([secret])SecretBytes([secret])");
    }
}
