//! Signed JWTs in their compact form (RFC 7515, section 7.1): the strict reading in front, and the
//! one check of a signature, for our own tokens and for those of outside issuers.
//!
//! `jsonwebtoken` verifies signatures and decides nothing else: which key and which algorithm, what
//! a header may hold and what claims must say is up to [`super::signed`] and [`super::issuer`],
//! which read the same parts that were signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::domain::OutsideAlgorithm;

/// A token's parts, decoded. Nothing in it is to be believed yet.
pub(super) struct Compact<'t> {
    /// The bytes of the header.
    pub(super) header: Vec<u8>,
    /// The bytes of the claims.
    pub(super) claims: Vec<u8>,
    /// What the signature is over.
    signed: &'t str,
    /// The signature, encoded.
    signature: &'t str,
}

/// Why a text is no token in compact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotCompact(pub(super) &'static str);

impl<'t> Compact<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// When it is not three parts of canonical base64url: no padding, no stray bits in the last
    /// character, as otherwise one token would have several spellings.
    pub(super) fn read(token: &'t str) -> Result<Self, NotCompact> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            // RFC 7516, section 7.1.
            return Err(NotCompact(if token.split('.').count() == 5 {
                "it has five parts, so it is encrypted (JWE), and only signed ones can be judged"
            } else {
                "it has not three parts"
            }));
        };
        let decode = |part: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| NotCompact("it is not canonical base64url"))
        };
        let signed = token.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        // Only its form: it is decoded again when it is verified.
        decode(signature)?;
        Ok(Self { header: decode(header)?, claims: decode(claims)?, signed, signature })
    }
}

/// A key, and the one algorithm that it verifies with: never what a token says.
pub(super) struct VerifyingKey {
    algorithm: OutsideAlgorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// An RSA key by its modulus and its exponent, big-endian without leading zeros.
    pub(super) fn rsa(algorithm: OutsideAlgorithm, modulus: &[u8], exponent: &[u8]) -> Self {
        Self { algorithm, key: DecodingKey::from_rsa_raw_components(modulus, exponent) }
    }

    /// A key on a curve of NIST by its uncompressed point (SEC 1, section 2.3.3).
    pub(super) fn ec(algorithm: OutsideAlgorithm, point: &[u8]) -> Self {
        // Despite its name, it takes the point.
        Self { algorithm, key: DecodingKey::from_ec_der(point) }
    }

    /// An Ed25519 key by its encoded point (RFC 8032, section 5.1.2).
    pub(super) fn ed25519(point: &[u8]) -> Self {
        // Despite its name, it takes the point.
        Self { algorithm: OutsideAlgorithm::EdDsa, key: DecodingKey::from_ed_der(point) }
    }

    /// A shared secret, for an algorithm with HMAC.
    pub(super) fn secret(algorithm: OutsideAlgorithm, secret: &[u8]) -> Self {
        Self { algorithm, key: DecodingKey::from_secret(secret) }
    }

    /// What it verifies with.
    pub(super) fn algorithm(&self) -> OutsideAlgorithm {
        self.algorithm
    }

    /// Whether the signature of a token is this key's. Never, where key and algorithm do not go
    /// together.
    pub(super) fn verifies(&self, token: &Compact<'_>) -> bool {
        let verified = jsonwebtoken::crypto::verify(
            token.signature,
            token.signed.as_bytes(),
            &self.key,
            of(self.algorithm),
        );
        verified.unwrap_or(false)
    }
}

const fn of(algorithm: OutsideAlgorithm) -> Algorithm {
    match algorithm {
        OutsideAlgorithm::Hs256 => Algorithm::HS256,
        OutsideAlgorithm::Hs384 => Algorithm::HS384,
        OutsideAlgorithm::Hs512 => Algorithm::HS512,
        OutsideAlgorithm::Rs256 => Algorithm::RS256,
        OutsideAlgorithm::Rs384 => Algorithm::RS384,
        OutsideAlgorithm::Rs512 => Algorithm::RS512,
        OutsideAlgorithm::Ps256 => Algorithm::PS256,
        OutsideAlgorithm::Ps384 => Algorithm::PS384,
        OutsideAlgorithm::Ps512 => Algorithm::PS512,
        OutsideAlgorithm::Es256 => Algorithm::ES256,
        OutsideAlgorithm::Es384 => Algorithm::ES384,
        OutsideAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };

    use super::*;

    #[test]
    fn a_token_has_three_canonical_parts_and_its_signature_is_over_the_first_two() {
        let token = Compact::read("eyJ9.e30.AAAA").expect("three parts");
        assert_eq!((token.header.as_slice(), token.claims.as_slice()), (&b"{\"}"[..], &b"{}"[..]));
        assert_eq!((token.signed, token.signature), ("eyJ9.e30", "AAAA"));
        for (text, why) in [
            ("", "it has not three parts"),
            ("e30.e30", "it has not three parts"),
            ("e30.e30.AA.AA", "it has not three parts"),
            (
                "e30..AA.AA.AA",
                "it has five parts, so it is encrypted (JWE), and only signed ones can be judged",
            ),
            ("e30=.e30.AA", "it is not canonical base64url"),
            ("e30.e31.AA", "it is not canonical base64url"),
            ("e30.e30.AB", "it is not canonical base64url"),
            ("e30.e30.+/", "it is not canonical base64url"),
            (" e30.e30.AA", "it is not canonical base64url"),
        ] {
            assert_eq!(Compact::read(text).err(), Some(NotCompact(why)), "{text}");
        }
    }

    #[test]
    fn a_key_verifies_what_it_signed_and_a_key_of_another_type_or_algorithm_verifies_nothing() {
        let ed = Ed25519KeyPair::generate().expect("a key");
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let signed = |signature: &[u8]| format!("e30.e30.{}", URL_SAFE_NO_PAD.encode(signature));
        let by_ed = signed(ed.sign(b"e30.e30").as_ref());
        let random = aws_lc_rs::rand::SystemRandom::new();
        let by_ec = signed(ec.sign(&random, b"e30.e30").expect("signed").as_ref());
        let (ed, ec) = (ed.public_key().as_ref(), ec.public_key().as_ref());
        let verifies = |key: &VerifyingKey, token: &str| {
            key.verifies(&Compact::read(token).expect("three parts"))
        };
        assert!(verifies(&VerifyingKey::ed25519(ed), &by_ed));
        assert!(verifies(&VerifyingKey::ec(OutsideAlgorithm::Es256, ec), &by_ec));
        assert!(!verifies(&VerifyingKey::ed25519(ed), &by_ed.replacen("e30.", "eyJ9.", 1)));
        for key in [
            VerifyingKey::ed25519(ec),
            VerifyingKey::ec(OutsideAlgorithm::Es384, ec),
            VerifyingKey::ec(OutsideAlgorithm::EdDsa, ed),
            VerifyingKey::ec(OutsideAlgorithm::Es256, ed),
            VerifyingKey::rsa(OutsideAlgorithm::Rs256, ec, &[1, 0, 1]),
            VerifyingKey::rsa(OutsideAlgorithm::Es256, ec, &[1, 0, 1]),
            VerifyingKey::rsa(OutsideAlgorithm::Hs256, ec, &[1, 0, 1]),
            VerifyingKey::secret(OutsideAlgorithm::Hs256, ed),
            VerifyingKey::secret(OutsideAlgorithm::Hs512, b""),
            VerifyingKey::secret(OutsideAlgorithm::EdDsa, ed),
        ] {
            assert!(!verifies(&key, &by_ed) && !verifies(&key, &by_ec), "{:?}", key.algorithm());
        }
    }
}
