//! The keys of an issuer: a JWK set (RFC 7517) is read, and each key in it is good for its own
//! algorithms only.
//!
//! A set is judged key by key: one that cannot be used is passed over, with the reason, and spoils
//! no other. What the set as a whole promises wrongly (its form, its size) makes it no set, and
//! whoever has an older one keeps that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::refusal::names;
use crate::domain::{OutsideAlgorithm, json};
use crate::tokens::jwt::{self, VerifyingKey};

/// The largest set that is read, in bytes. Those of the large providers have some 10 KiB.
pub const MOST_BYTES: usize = 1024 * 1024;
/// The most keys that a set may have.
pub const MOST_KEYS: usize = 100;
/// The shortest and the longest RSA modulus, in bits (RFC 7518, section 3.3, and what aws-lc
/// verifies).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// In bytes; an exponent of more is nobody's, and slow.
const LONGEST_EXPONENT: usize = 4;
/// In bytes.
const LONGEST_KID: usize = 512;
/// How many keys are tried for one token at most: what a token that names none may cost.
pub const MOST_TRIED: usize = 8;

/// The second coordinates of the points of edwards25519 whose order is 1, 2, 4 or 8, as RFC 8032,
/// section 5.1.2, encodes them, and p and p + 1, which some take for 0 and 1: the upper and the
/// lower half. With such a key, signatures exist that fit many messages, or all.
const SMALL_ORDER: [(u128, u128); 7] = [
    (0, 0),
    (0, 1),
    (0x05fc536d_880238b1_3933c6d3_05acdfd5, 0xf098eff2_89f4c345_b027b2c2_8f95e826),
    (0x7a03ac92_77fdc74e_c6cc392c_fa53202a, 0x0f67100d_760b3cba_4fd84d3d_706a17c7),
    (0x7fffffff_ffffffff_ffffffff_ffffffff, 0xffffffff_ffffffff_ffffffff_ffffffec),
    (0x7fffffff_ffffffff_ffffffff_ffffffff, 0xffffffff_ffffffff_ffffffff_ffffffed),
    (0x7fffffff_ffffffff_ffffffff_ffffffff, 0xffffffff_ffffffff_ffffffff_ffffffee),
];

/// One key, for as long as its issuer publishes it.
pub struct Key {
    kid: Option<Box<str>>,
    /// What it verifies with, for each algorithm that it is good for.
    means: Vec<VerifyingKey>,
    /// SHA-256 over all that makes it this key: whether two are the same without comparing secrets.
    mark: [u8; 32],
    /// Its issuer has it no longer. Never goes back.
    is_retired: AtomicBool,
}

impl Key {
    /// Whether the signature of a token is this key's. Never, with an algorithm that this key is
    /// not good for, whatever the token says.
    pub(super) fn verifies(&self, algorithm: OutsideAlgorithm, token: &jwt::Compact<'_>) -> bool {
        self.means
            .iter()
            .find(|key| key.algorithm() == algorithm)
            .is_some_and(|key| key.verifies(token))
    }

    /// Whether it is the same key under the same name.
    fn is_same(&self, other: &Self) -> bool {
        self.mark == other.mark && self.kid == other.kid
    }

    fn is_good_for(&self, algorithm: OutsideAlgorithm) -> bool {
        self.means.iter().any(|key| key.algorithm() == algorithm)
    }

    /// Whether its issuer has it no longer.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

/// The keys of a set that a token may have been signed with.
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

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The keys that an issuer has at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    /// In the order of the set, each once; several may have one name.
    all: Vec<Arc<Key>>,
    /// A shared secret has no name, and whatever name a token gives means it.
    is_secret: bool,
    /// What was passed over, in words.
    passed_over: Vec<String>,
    /// Of that, the keys that have a name: the name, and the reason.
    unusable: Vec<(Box<str>, String)>,
}

/// What is no set of keys at all, in words that quote nothing of it.
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
        for (at, jwk) in keys.iter().enumerate() {
            let jwk = match json::parse(jwk.get().as_bytes()) {
                Ok(jwk) => jwk,
                Err(fault) => {
                    set.passed_over.push(format!("key number {}: {fault}", at + 1));
                    continue;
                }
            };
            match read_key(&jwk, accepted) {
                Ok(key) => set.add(key),
                Err(reason) => {
                    set.passed_over.push(format!("key {}: {reason}", label(at, &jwk)));
                    if let Some(kid) = jwk.get("kid").and_then(Value::as_str) {
                        set.unusable.push((kid.into(), reason));
                    }
                }
            }
        }
        Ok(set)
    }

    /// A shared secret. `accepted`: the algorithms with HMAC that the configuration allows.
    ///
    /// # Errors
    ///
    /// When it is too short for one of them, or is a public key by mistake: then anybody could sign
    /// (cf. CVE-2016-10555).
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
        if start.starts_with(b"-----BEGIN") || start.starts_with(b"ssh-") || start.starts_with(b"{")
        {
            return Err(NoKeySet(
                "the file holds a key that may be public, not a shared secret".into(),
            ));
        }
        let key = Key {
            kid: None,
            means: accepted
                .iter()
                .map(|algorithm| VerifyingKey::secret(*algorithm, secret))
                .collect(),
            mark: mark(&[b"secret", names(accepted).as_bytes(), secret]),
            is_retired: AtomicBool::new(false),
        };
        Ok(Self { all: vec![Arc::new(key)], is_secret: true, ..Self::default() })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none can.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What was passed over and why, in words that hold no key.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The keys to try for a token of this algorithm that names `kid`: those of this name, or,
    /// where it names none, all, those without a name first. Of them only those that are good for
    /// the algorithm.
    pub(super) fn select(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> Selection {
        // A shared secret has no name: whatever name a token gives means it.
        let kid = kid.filter(|_| !self.is_secret);
        let is_meant = |key: &&Arc<Key>| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let fits = |key: &&Arc<Key>| is_meant(key) && key.is_good_for(algorithm);
        let (named, unnamed): (Vec<_>, Vec<_>) =
            self.all.iter().filter(fits).map(Arc::clone).partition(|key| key.kid.is_some());
        let mut keys: Vec<_> = unnamed.into_iter().chain(named).collect();
        if !keys.is_empty() {
            let not_tried = keys.len().saturating_sub(MOST_TRIED);
            keys.truncate(MOST_TRIED);
            return Selection::Keys { keys, not_tried };
        }
        if kid.is_some() || self.is_secret {
            let meant = self.all.iter().filter(is_meant).flat_map(|key| &key.means);
            let mut good_for: Vec<_> = meant.map(VerifyingKey::algorithm).collect();
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

    /// Keeps the keys that stay as they are, retires those that are gone, and says how many came
    /// and went.
    pub(super) fn replace(&mut self, before: &Self) -> (usize, usize) {
        let mut added = 0;
        for key in &mut self.all {
            match before.all.iter().find(|old| old.is_same(key)) {
                Some(old) => *key = Arc::clone(old),
                None => added += 1,
            }
        }
        let mut removed = 0;
        for old in before.all.iter().filter(|old| !self.all.iter().any(|key| Arc::ptr_eq(key, old)))
        {
            old.is_retired.store(true, Ordering::Release);
            removed += 1;
        }
        (added, removed)
    }

    /// The same key twice is one key.
    fn add(&mut self, key: Key) {
        if !self.all.iter().any(|other| other.is_same(&key)) {
            self.all.push(Arc::new(key));
        }
    }
}

/// The keys of a set, not looked into: one that is written wrongly spoils no other. `None`: it is
/// no set.
fn unread_keys(text: &[u8]) -> Result<Option<Vec<&RawValue>>, json::NotJson> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Option<&'a RawValue>,
    }
    let whole: &RawValue = serde_json::from_slice(text)?;
    // A list would be taken for the members in their order.
    if !whole.get().starts_with('{') {
        return Ok(None);
    }
    let set: Set<'_> = serde_json::from_str(whole.get())?;
    Ok(set.keys.and_then(|keys| serde_json::from_str(keys.get()).ok()))
}

/// What a key is called in the log: by its `kid` where that can be shown.
fn label(at: usize, jwk: &Value) -> String {
    match jwk.get("kid").and_then(Value::as_str) {
        Some(kid) if kid.len() <= 64 => format!("{kid:?}"),
        _ => format!("number {}", at + 1),
    }
}

fn mark(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut mark = [0; 32];
    for (to, from) in mark.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    mark
}

/// Reads one key; the error says why it is passed over.
fn read_key(jwk: &Value, accepted: &[OutsideAlgorithm]) -> Result<Key, String> {
    // Null is absent.
    let mut jwk = jwk.as_object().ok_or("it is no object")?.clone();
    jwk.retain(|_, value| !value.is_null());
    let jwk = &jwk;
    let text = |name: &str| match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("its \"{name}\" is no string")),
    };
    let kty = text("kty")?.ok_or("it has no \"kty\"")?;
    let kid = text("kid")?;
    if kid.is_some_and(|kid| kid.is_empty() || kid.len() > LONGEST_KID) {
        return Err(format!("its \"kid\" has not 1 to {LONGEST_KID} bytes"));
    }
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its \"use\" is not \"sig\"".into());
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations))
            if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return Err("its \"key_ops\" do not hold \"verify\"".into()),
    }
    if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|private| jwk.contains_key(*private)) {
        return Err("it publishes its private half, so anybody could sign with it".into());
    }
    let (algorithms, material) = match kty {
        "RSA" => (OutsideAlgorithm::RSA.as_slice(), Material::rsa(jwk)?),
        "EC" => match text("crv")? {
            Some("P-256") => (&[OutsideAlgorithm::Es256][..], Material::point(jwk, 32)?),
            Some("P-384") => (&[OutsideAlgorithm::Es384][..], Material::point(jwk, 48)?),
            _ => return Err("its curve is not one that is understood".into()),
        },
        "OKP" => match text("crv")? {
            Some("Ed25519") => (&[OutsideAlgorithm::EdDsa][..], Material::edwards_point(jwk)?),
            _ => return Err("its curve is not one that is understood".into()),
        },
        // A secret that is published is none, and one from an issuer is no business of a key set's.
        "oct" => return Err("it is a shared secret, which has no place in a key set".into()),
        _ => return Err("its type is not one that is understood".into()),
    };
    let pinned = match text("alg")? {
        None => None,
        Some(name) => Some(
            OutsideAlgorithm::named(name)
                .ok_or("its \"alg\" is no signature that is understood")?,
        ),
    };
    let algorithms: Vec<_> = algorithms
        .iter()
        .copied()
        .filter(|algorithm| {
            pinned.is_none_or(|pinned| pinned == *algorithm) && accepted.contains(algorithm)
        })
        .collect();
    if algorithms.is_empty() {
        return Err("its algorithm does not fit its type, or is not accepted here".into());
    }
    let mut means = Vec::with_capacity(algorithms.len());
    for algorithm in algorithms {
        means.push(material.verifying_key(algorithm)?);
    }
    let names: String = means.iter().map(|key| key.algorithm().name()).collect();
    let (first, second) = material.parts();
    Ok(Key {
        kid: kid.map(Into::into),
        means,
        mark: mark(&[kty.as_bytes(), names.as_bytes(), first, second]),
        is_retired: AtomicBool::new(false),
    })
}

/// The bytes of a public key.
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Plain(Vec<u8>),
}

impl Material {
    fn rsa(jwk: &Map<String, Value>) -> Result<Self, String> {
        let number = |name: &str| {
            let bytes = base64url(jwk, name)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes
                .get(zeros..)
                .filter(|bytes| !bytes.is_empty())
                .map(<[u8]>::to_vec)
                .ok_or(format!("its \"{name}\" is 0"))
        };
        let (modulus, exponent) = (number("n")?, number("e")?);
        let bits =
            modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(format!(
                "it has {bits} bits, not {} to {}",
                RSA_BITS.start(),
                RSA_BITS.end()
            ));
        }
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
        // With an exponent of 1 every message is its own signature.
        if !is_odd(&modulus)
            || !is_odd(&exponent)
            || exponent == [1]
            || exponent.len() > LONGEST_EXPONENT
        {
            return Err("its numbers are not those of an RSA key".into());
        }
        Ok(Self::Rsa { modulus, exponent })
    }

    /// An uncompressed point: 0x04 ‖ x ‖ y (SEC 1, section 2.3.3), each coordinate at its full
    /// length. RFC 7518, section 6.2.1.2, wants them so in the key, too, but issuers leave zeros in
    /// front out, or put one more there (keycloak#14933, jjwt#901, oxAuth#1595): the number is the
    /// same.
    fn point(jwk: &Map<String, Value>, length: usize) -> Result<Self, String> {
        let mut point = vec![0x04];
        for name in ["x", "y"] {
            let given = base64url(jwk, name)?;
            let zeros = given.iter().take_while(|byte| **byte == 0).count();
            let number = given.get(zeros..).unwrap_or_default();
            let Some(missing) = length.checked_sub(number.len()) else {
                return Err(format!("its \"{name}\" has {} bytes, not {length}", number.len()));
            };
            point.resize(point.len() + missing, 0);
            point.extend_from_slice(number);
        }
        Ok(Self::Plain(point))
    }

    /// The encoded point of RFC 8032, section 5.1.2.
    fn edwards_point(jwk: &Map<String, Value>) -> Result<Self, String> {
        let bytes = base64url(jwk, "x")?;
        let (&[low, high], []) = bytes.as_chunks::<16>() else {
            return Err(format!("its \"x\" has {} bytes, not 32", bytes.len()));
        };
        // The highest bit is the sign of the other coordinate.
        let y = (u128::from_le_bytes(high) & (u128::MAX >> 1), u128::from_le_bytes(low));
        if SMALL_ORDER.contains(&y) {
            return Err("its point is of small order, so anybody could sign with it".into());
        }
        Ok(Self::Plain(bytes))
    }

    /// The key for one algorithm; an error where the bytes are no key for it.
    fn verifying_key(&self, algorithm: OutsideAlgorithm) -> Result<VerifyingKey, String> {
        let rejected = |_| "it is no point of its curve, or not a key at all".to_owned();
        let misfit = "its algorithm does not fit its type";
        match self {
            Self::Rsa { modulus, exponent } => {
                let parameters = rsa_parameters(algorithm).ok_or(misfit)?;
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .to_parsed_public_key(parameters)
                    .map_err(rejected)?;
                Ok(VerifyingKey::rsa(algorithm, modulus, exponent))
            }
            Self::Plain(bytes) => match algorithm {
                OutsideAlgorithm::Es256 => {
                    ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, bytes)
                        .map(|_| VerifyingKey::ec(algorithm, bytes))
                }
                OutsideAlgorithm::Es384 => {
                    ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, bytes)
                        .map(|_| VerifyingKey::ec(algorithm, bytes))
                }
                OutsideAlgorithm::EdDsa => ParsedPublicKey::new(&signature::ED25519, bytes)
                    .map(|_| VerifyingKey::ed25519(bytes)),
                _ => return Err(misfit.into()),
            }
            .map_err(rejected),
        }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Rsa { modulus, exponent } => (modulus, exponent),
            Self::Plain(bytes) => (bytes, &[]),
        }
    }
}

fn rsa_parameters(algorithm: OutsideAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        OutsideAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        OutsideAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        OutsideAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        OutsideAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        OutsideAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        OutsideAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        OutsideAlgorithm::Hs256
        | OutsideAlgorithm::Hs384
        | OutsideAlgorithm::Hs512
        | OutsideAlgorithm::Es256
        | OutsideAlgorithm::Es384
        | OutsideAlgorithm::EdDsa => {
            return None;
        }
    })
}

fn base64url(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or(format!("it has no \"{name}\""))?;
    // Of a key, unlike a token, it does not matter that it could be spelled in two ways.
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| format!("its \"{name}\" is not base64url"))
}
