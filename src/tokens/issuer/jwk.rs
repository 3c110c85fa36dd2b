//! The keys of an issuer: a JWK set (RFC 7517) is read, and each key in it is good for its own
//! algorithms only.
//!
//! A key that cannot be used is passed over, with the reason, and does not affect the others. A set
//! whose form or size is wrong is refused as a whole, and the set from before stays in use.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::key::Key;
use crate::domain::{OutsideAlgorithm, json};

mod key;

/// The largest set that is read, in bytes. Those of the large providers have some 10 KiB.
pub const MOST_BYTES: usize = 1024 * 1024;
/// The most keys that a set may have.
pub const MOST_KEYS: usize = 100;
/// The most keys that are tried for one token, which bounds the cost of a token that names none.
pub const MOST_TRIED: usize = 8;

/// The keys of a set that may have signed a token.
#[derive(Debug)]
pub(super) enum Selection {
    /// These, at least one and at most [`MOST_TRIED`].
    Keys {
        /// To be tried.
        keys: Vec<Arc<Key>>,
        /// How many more there are.
        not_tried: usize,
    },
    /// There are keys of the name, and none is good for the algorithm, but they are for these.
    OtherAlgorithm(Vec<OutsideAlgorithm>),
    /// The issuer has a key of the name, which was passed over for this reason.
    Unusable(String),
    /// There is no key of the name; or the token names none, and no key is good for its algorithm.
    Missing,
}

/// The keys that an issuer has at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    /// In the order of the set, each once; several may have the same name.
    all: Vec<Arc<Key>>,
    /// It is a shared secret, which has no name: a token means it whatever name it gives.
    is_secret: bool,
    /// For the log: the keys that were passed over, and why.
    passed_over: Vec<String>,
    /// Of these, the keys that have a name: the name, and the reason.
    unusable: Vec<(Box<str>, String)>,
}

/// Why a text is no set of keys. It quotes nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKeySet(String);

impl KeySet {
    /// Reads a JWK set. `accepted`: the algorithms that the configuration allows; a key is good for
    /// those of them that its type, and its own `alg`, allow too.
    ///
    /// # Errors
    ///
    /// When it is no JWK set, or too large.
    pub fn read(text: &[u8], accepted: &[OutsideAlgorithm]) -> Result<Self, NoKeySet> {
        let no_set = |words: String| Err(NoKeySet(words));
        if text.len() > MOST_BYTES {
            return no_set(format!("it has more than {MOST_BYTES} bytes"));
        }
        if text.trim_ascii().is_empty() {
            return no_set("it is empty".into());
        }
        let Some(keys) = unread_keys(text).map_err(|fault| NoKeySet(fault.to_string()))? else {
            return no_set("it is no JWK set: it has no list called \"keys\"".into());
        };
        if keys.len() > MOST_KEYS {
            return no_set(format!("it has {} keys, more than {MOST_KEYS}", keys.len()));
        }
        let mut set = Self::default();
        for (number, jwk) in (1..).zip(keys) {
            let jwk = match json::parse(jwk.get().as_bytes()) {
                Ok(jwk) => jwk,
                Err(fault) => {
                    set.passed_over.push(format!("key number {number}: {fault}"));
                    continue;
                }
            };
            match Key::read(&jwk, accepted) {
                // The same key twice is one key.
                Ok(key) if set.all.iter().any(|other| other.is_same(&key)) => {}
                Ok(key) => set.all.push(Arc::new(key)),
                Err(reason) => {
                    let kid = jwk.get("kid").and_then(Value::as_str);
                    set.passed_over.push(match kid {
                        Some(kid) if kid.len() <= 64 => format!("key {kid:?}: {reason}"),
                        _ => format!("key number {number}: {reason}"),
                    });
                    set.unusable.extend(kid.map(|kid| (kid.into(), reason)));
                }
            }
        }
        Ok(set)
    }

    /// A shared secret. `accepted`: the algorithms with HMAC that the configuration allows.
    ///
    /// # Errors
    ///
    /// When it is too short for one of them, or looks like a public key, with which anybody could
    /// sign (cf. CVE-2016-10555).
    pub fn secret(secret: &[u8], accepted: &[OutsideAlgorithm]) -> Result<Self, NoKeySet> {
        for algorithm in accepted {
            let shortest = algorithm
                .shortest_secret()
                .ok_or_else(|| NoKeySet(format!("{algorithm} is not for a shared secret")))?;
            if secret.len() < shortest {
                return Err(NoKeySet(format!(
                    "the secret has {} bytes; RFC 7518, section 3.2, asks for {shortest} for \
                     {algorithm}",
                    secret.len()
                )));
            }
        }
        let start = secret.trim_ascii_start();
        let public: [&[u8]; 3] = [b"-----BEGIN", b"ssh-", b"{"];
        if public.iter().any(|beginning| start.starts_with(beginning)) {
            return Err(NoKeySet(
                "the file holds a key that may be public, not a shared secret".into(),
            ));
        }
        let all = vec![Arc::new(Key::secret(secret, accepted))];
        Ok(Self { all, is_secret: true, ..Self::default() })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// For the log: the keys that were passed over, and why, without their bytes.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The keys to try for a token of this algorithm that names `kid`: those of this name, or, if
    /// it names none, all, those without a name first. Of them only those that are good for the
    /// algorithm.
    pub(super) fn select(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> Selection {
        let kid = kid.filter(|_| !self.is_secret);
        let is_meant = |key: &&Arc<Key>| kid.is_none_or(|kid| key.kid() == Some(kid));
        let meant = || self.all.iter().filter(is_meant);
        let mut keys: Vec<_> =
            meant().filter(|key| key.algorithms().contains(&algorithm)).cloned().collect();
        if !keys.is_empty() {
            keys.sort_by_key(|key| key.kid().is_some());
            let not_tried = keys.len().saturating_sub(MOST_TRIED);
            keys.truncate(MOST_TRIED);
            return Selection::Keys { keys, not_tried };
        }
        if kid.is_some() || self.is_secret {
            let mut good_for: Vec<_> = meant().flat_map(|key| key.algorithms()).copied().collect();
            good_for.sort_unstable();
            good_for.dedup();
            if !good_for.is_empty() {
                return Selection::OtherAlgorithm(good_for);
            }
        }
        match self.unusable.iter().find(|(name, _)| kid == Some(&**name)) {
            Some((_, why)) => Selection::Unusable(why.clone()),
            None => Selection::Missing,
        }
    }

    /// Replaces `before`: keys that are in both stay the same, the others are retired. Returns how
    /// many were added and removed.
    pub(super) fn replace(&mut self, before: &Self) -> (usize, usize) {
        let mut added = 0;
        for key in &mut self.all {
            match before.all.iter().find(|old| old.is_same(key)) {
                Some(old) => *key = Arc::clone(old),
                None => added += 1,
            }
        }
        let mut removed = 0;
        for old in &before.all {
            if !self.all.iter().any(|key| Arc::ptr_eq(key, old)) {
                old.retire();
                removed += 1;
            }
        }
        (added, removed)
    }
}

/// The keys of a set, each to be parsed on its own: a malformed one does not affect the others.
/// `None`: the text is no set.
fn unread_keys(text: &[u8]) -> Result<Option<Vec<&RawValue>>, json::NotJson> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Option<&'a RawValue>,
    }
    let whole: &RawValue = serde_json::from_slice(text)?;
    // serde would take a list for the members in their order.
    if !whole.get().starts_with('{') {
        return Ok(None);
    }
    let set: Set<'_> = serde_json::from_str(whole.get())?;
    Ok(set.keys.and_then(|keys| serde_json::from_str(keys.get()).ok()))
}
