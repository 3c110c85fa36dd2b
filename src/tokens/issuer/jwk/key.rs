//! One key of an issuer, and how it is read from a JWK (RFC 7517).

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::domain::OutsideAlgorithm;
use crate::tokens::issuer::refusal::names;
use crate::tokens::jwt::{self, VerifyingKey};

/// The shortest and the longest RSA modulus, in bits (RFC 7518, section 3.3, and what aws-lc
/// verifies).
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;
/// In bytes. Longer exponents are not in use, and slow.
const LONGEST_EXPONENT: usize = 4;
/// In bytes.
const LONGEST_KID: usize = 512;

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
    key: VerifyingKey,
    /// SHA-256 over all that makes it this key, so that secrets are not compared.
    fingerprint: [u8; 32],
    /// Its issuer does not publish it any more. Never goes back.
    is_retired: AtomicBool,
}

impl Key {
    /// Reads a key; the error says why it is passed over. `accepted`: the algorithms that the
    /// configuration allows.
    pub(super) fn read(jwk: &Value, accepted: &[OutsideAlgorithm]) -> Result<Self, String> {
        let jwk = Members(jwk.as_object().ok_or("it is no object")?);
        let kty = jwk.text("kty")?.ok_or("it has no \"kty\"")?;
        let kid = jwk.text("kid")?;
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > LONGEST_KID) {
            return Err(format!("its \"kid\" has not 1 to {LONGEST_KID} bytes"));
        }
        if jwk.text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err("its \"use\" is not \"sig\"".into());
        }
        let is_for_verifying = jwk.get("key_ops").is_none_or(|operations| {
            operations
                .as_array()
                .is_some_and(|operations| operations.iter().any(|op| op == "verify"))
        });
        if !is_for_verifying {
            return Err("its \"key_ops\" do not hold \"verify\"".into());
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.get(name).is_some()) {
            return Err("it publishes its private half, so anybody could sign with it".into());
        }
        let (of_type, material): (&[OutsideAlgorithm], _) = match kty {
            "RSA" => (&OutsideAlgorithm::RSA, Material::rsa(&jwk)?),
            "EC" | "OKP" => match (kty, jwk.text("crv")?) {
                ("EC", Some("P-256")) => (
                    &[OutsideAlgorithm::Es256],
                    Material::Ec(&ECDSA_P256_SHA256_FIXED, uncompressed_point(&jwk, 32)?),
                ),
                ("EC", Some("P-384")) => (
                    &[OutsideAlgorithm::Es384],
                    Material::Ec(&ECDSA_P384_SHA384_FIXED, uncompressed_point(&jwk, 48)?),
                ),
                ("OKP", Some("Ed25519")) => {
                    (&[OutsideAlgorithm::EdDsa], Material::Ed25519(edwards_point(&jwk)?))
                }
                _ => return Err("its curve is not one that is understood".into()),
            },
            // A secret that is published is none.
            "oct" => return Err("it is a shared secret, which has no place in a key set".into()),
            _ => return Err("its type is not one that is understood".into()),
        };
        let pinned = match jwk.text("alg")? {
            None => None,
            Some(name) => Some(
                OutsideAlgorithm::named(name)
                    .ok_or("its \"alg\" is no signature that is understood")?,
            ),
        };
        let algorithms: Vec<_> = of_type
            .iter()
            .copied()
            .filter(|own| pinned.is_none_or(|pinned| pinned == *own) && accepted.contains(own))
            .collect();
        if algorithms.is_empty() {
            return Err("its algorithm does not fit its type, or is not accepted here".into());
        }
        let key = material
            .verifying_key(algorithms)
            .map_err(|_| "it is no point of its curve, or not a key at all")?;
        let [first, second] = material.parts();
        Ok(Self::new(kid, key, &[kty.as_bytes(), first, second]))
    }

    /// `parts`: its type and its bytes.
    fn new(kid: Option<&str>, key: VerifyingKey, parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [names(key.algorithms()).as_bytes()].iter().chain(parts) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let fingerprint = context.finish().as_ref().first_chunk().copied().unwrap_or_default();
        let is_retired = AtomicBool::new(false);
        Self { kid: kid.map(Into::into), key, fingerprint, is_retired }
    }

    /// A shared secret, for these algorithms with HMAC.
    pub(super) fn secret(secret: &[u8], algorithms: &[OutsideAlgorithm]) -> Self {
        let key = VerifyingKey::secret(algorithms.to_vec(), secret);
        Self::new(None, key, &[b"secret", secret])
    }

    /// Its `kid`.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms that it is good for.
    pub(super) fn algorithms(&self) -> &[OutsideAlgorithm] {
        self.key.algorithms()
    }

    /// Whether the signature of a token is this key's. Never with an algorithm that this key is not
    /// good for, whatever the token says.
    pub(in crate::tokens::issuer) fn verifies(
        &self,
        algorithm: OutsideAlgorithm,
        token: &jwt::Compact<'_>,
    ) -> bool {
        self.key.verifies(algorithm, token)
    }

    /// Whether it is the same key under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.kid == other.kid
    }

    /// Whether its issuer does not publish it any more.
    pub(in crate::tokens::issuer) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// Its issuer does not publish it any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The members of a JWK whose values are not null.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its \"{name}\" is no string")),
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.get(name).and_then(Value::as_str).ok_or(format!("it has no \"{name}\""))?;
        // Padding does no harm: unlike a token, a key may have several spellings.
        URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| format!("its \"{name}\" is not base64url"))
    }

    /// A big-endian number, without leading zeros.
    fn number(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut bytes = self.bytes(name)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok(bytes.split_off(zeros))
    }
}

/// The bytes of a public key.
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec(&'static EcdsaVerificationAlgorithm, Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Material {
    fn rsa(jwk: &Members<'_>) -> Result<Self, String> {
        let number = |name: &str| match jwk.number(name)? {
            number if number.is_empty() => Err(format!("its \"{name}\" is 0")),
            number => Ok(number),
        };
        let (modulus, exponent) = (number("n")?, number("e")?);
        let bits =
            modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (least, most) = RSA_BITS.into_inner();
            return Err(format!("it has {bits} bits, not {least} to {most}"));
        }
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
        // With an exponent of 1 every message is its own signature.
        let is_good = exponent != [1] && exponent.len() <= LONGEST_EXPONENT;
        if !is_good || !is_odd(&modulus) || !is_odd(&exponent) {
            return Err("its numbers are not those of an RSA key".into());
        }
        Ok(Self::Rsa { modulus, exponent })
    }

    /// The key; an error if the bytes are none.
    fn verifying_key(
        &self,
        algorithms: Vec<OutsideAlgorithm>,
    ) -> Result<VerifyingKey, KeyRejected> {
        Ok(match self {
            Self::Rsa { modulus, exponent } => {
                // What a key must be is the same for all algorithms of RSA.
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?;
                VerifyingKey::rsa(algorithms, modulus, exponent)
            }
            Self::Ec(curve, point) => {
                ParsedPublicKey::new(*curve, point)?;
                VerifyingKey::ec(algorithms, point)
            }
            Self::Ed25519(point) => {
                ParsedPublicKey::new(&ED25519, point)?;
                VerifyingKey::ed25519(point)
            }
        })
    }

    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Rsa { modulus, exponent } => [modulus, exponent],
            Self::Ec(_, point) | Self::Ed25519(point) => [point, &[]],
        }
    }
}

/// An uncompressed point: 0x04 ‖ x ‖ y (SEC 1, section 2.3.3), each coordinate at its full
/// length. RFC 7518, section 6.2.1.2, wants them so in the key, too, but issuers leave zeros in
/// front out, or put one more there (keycloak#14933, jjwt#901, oxAuth#1595): the number is the
/// same.
fn uncompressed_point(jwk: &Members<'_>, length: usize) -> Result<Vec<u8>, String> {
    let mut point = vec![0x04];
    for name in ["x", "y"] {
        let number = jwk.number(name)?;
        let Some(missing) = length.checked_sub(number.len()) else {
            return Err(format!("its \"{name}\" has {} bytes, not {length}", number.len()));
        };
        point.resize(point.len() + missing, 0);
        point.extend_from_slice(&number);
    }
    Ok(point)
}

/// The encoded point of RFC 8032, section 5.1.2.
fn edwards_point(jwk: &Members<'_>) -> Result<Vec<u8>, String> {
    let bytes = jwk.bytes("x")?;
    let (&[low, high], []) = bytes.as_chunks::<16>() else {
        return Err(format!("its \"x\" has {} bytes, not 32", bytes.len()));
    };
    // The highest bit is the sign of the other coordinate.
    let y = (u128::from_le_bytes(high) & (u128::MAX >> 1), u128::from_le_bytes(low));
    if SMALL_ORDER.contains(&y) {
        return Err("its point is of small order, so anybody could sign with it".into());
    }
    Ok(bytes)
}
