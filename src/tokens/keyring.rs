//! The secrets of a fleet: the peppers of the digests, and the key of its store with the keys that
//! are derived from it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::{digest as hash, hmac};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::domain::TokenDigest;

/// 256 secret bits: wiped on drop, redacted in `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes([u8; 32]);

impl SecretBytes {
    /// Wraps the bytes.
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

/// The sort of a credential, which is part of its digest: two credentials of different sorts never
/// share a digest, even if their characters are the same (cf. CVE-2026-33496: a cache key that
/// lacked the authenticator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CredentialSort {
    /// A JWT, of keyward or of an outside issuer.
    SignedToken = 1,
    /// A token with a prefix and a MAC.
    OpaqueToken = 2,
}

/// Turn tokens into digests, so that a reader of the store learns no token. The first pepper makes
/// the digests of new tokens. The others are retired or not in use yet; tokens are looked up under
/// them, too.
pub struct Peppers {
    /// Replaced as a whole: read for each token, changed once a year.
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

    /// The digest of a token under the first pepper.
    #[must_use]
    pub fn digest(&self, sort: CredentialSort, token: &[u8]) -> TokenDigest {
        let ring = self.ring.load();
        #[expect(clippy::indexing_slicing, reason = "there is at least one")]
        digest(&ring[0], sort, token)
    }

    /// The digests of a token under each pepper.
    #[must_use]
    pub fn digests(&self, sort: CredentialSort, token: &[u8]) -> Vec<TokenDigest> {
        self.ring.load().iter().map(|key| digest(key, sort, token)).collect()
    }

    /// Whether one of the peppers makes this digest of the token.
    #[must_use]
    pub fn know(&self, sort: CredentialSort, token: &[u8], known_by: TokenDigest) -> bool {
        self.ring.load().iter().any(|key| digest(key, sort, token) == known_by)
    }

    /// Whether there is more than the first one.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.ring.load().len() > 1
    }

    /// Changes with the peppers: a digest that was made at the same version is still right.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Replaces the peppers by those of `other`: tokens of a pepper that is gone are not found any
    /// more.
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
    TokenDigest::from_bytes(bytes(&mac.sign()))
}

/// The key that seals the data of the store and identifies it. It is not in the store, so that a
/// program that writes there can forge no record. It lives as long as the store does.
pub struct StoreKey(SecretBytes);

impl StoreKey {
    /// Wraps the secret.
    #[must_use]
    pub const fn new(secret: SecretBytes) -> Self {
        Self(secret)
    }

    /// The key under which records are sealed in the store.
    #[must_use]
    pub fn record_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward record seal v1")
    }

    /// The first key of the MACs of opaque tokens. Later keys are not derived from the store key.
    #[must_use]
    pub fn opaque_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward opaque token mac v1")
    }

    /// The key under which the counters of failed logins are named.
    #[must_use]
    pub fn counter_key(&self) -> SecretBytes {
        derive(&self.0, b"keyward login counters v1")
    }

    /// Identifies the store key without telling anything of it: kept in the store, so that an
    /// instance with another key is noticed at its start.
    #[must_use]
    pub fn fingerprint(&self) -> SecretBytes {
        derive(&self.0, b"keyward key fingerprint v1")
    }
}

/// What keys are told apart by, in memory alone: hashes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyIds(BTreeSet<[u8; 32]>);

impl KeyIds {
    /// Of these keys.
    #[must_use]
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let id = |key: &[u8]| {
            let hash = hash::digest(&hash::SHA256, key);
            hash.as_ref().first_chunk().copied().unwrap_or_default()
        };
        Self(keys.into_iter().map(id).collect())
    }

    /// Whether each of `others` is among them.
    #[must_use]
    pub fn hold_all(&self, others: &Self) -> bool {
        others.0.is_subset(&self.0)
    }
}

/// Derives a key for one purpose: HMAC-SHA-256, as the expand step of RFC 5869 with one block.
fn derive(secret: &SecretBytes, purpose: &[u8]) -> SecretBytes {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    SecretBytes::new(bytes(&hmac::sign(&key, purpose)))
}

/// The bytes of an HMAC-SHA-256, which are always 32.
fn bytes(tag: &hmac::Tag) -> [u8; 32] {
    tag.as_ref().first_chunk().copied().unwrap_or_default()
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
    fn the_first_pepper_makes_digests_and_the_others_are_tried_until_they_are_gone() {
        let digest = |peppers: &Peppers| peppers.digest(CredentialSort::OpaqueToken, b"abc");
        let all = |peppers: &Peppers| peppers.digests(CredentialSort::OpaqueToken, b"abc");
        let (one, two, three) =
            (digest(&peppers(&[1])), digest(&peppers(&[2])), digest(&peppers(&[3])));
        let ring = peppers(&[1]);
        assert_eq!((digest(&ring), all(&ring), ring.are_several()), (one, vec![one], false));
        let before = ring.version();
        ring.replace(peppers(&[3, 2, 1]));
        assert_eq!(
            (digest(&ring), all(&ring), ring.are_several()),
            (three, vec![three, two, one], true)
        );
        let knows =
            |ring: &Peppers, known_by| ring.know(CredentialSort::OpaqueToken, b"abc", known_by);
        assert!(knows(&ring, one) && knows(&ring, three));
        assert_ne!(before, ring.version());
        ring.replace(peppers(&[3]));
        assert_eq!((digest(&ring), all(&ring), ring.are_several()), (three, vec![three], false));
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
        assert_eq!(format!("{:?}", SecretBytes::new([0x41; 32])), "SecretBytes([secret])");
    }
}
