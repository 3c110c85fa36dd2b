//! Signed JWTs in their compact form (RFC 7515, section 7.1): parsing, and the check of a
//! signature, for keyward's own tokens and for those of outside issuers.
//!
//! `jsonwebtoken` only verifies signatures. [`super::signed`] and [`super::issuer`] choose key and
//! algorithm, and check header and claims, in the bytes that were signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::domain::OutsideAlgorithm;

/// The parts of a token, decoded and not verified.
pub(super) struct Compact<'t> {
    /// The bytes of the header.
    pub(super) header: Vec<u8>,
    /// The bytes of the claims.
    pub(super) claims: Vec<u8>,
    /// The text that is signed.
    signed: &'t str,
    /// The signature, encoded.
    signature: &'t str,
}

/// Why a text is no token in compact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotCompact(pub(super) &'static str);

impl<'t> Compact<'t> {
    /// Parses a token.
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
        // Only to check its form: `jsonwebtoken` takes it encoded.
        decode(signature)?;
        Ok(Self { header: decode(header)?, claims: decode(claims)?, signed, signature })
    }
}

/// A key, and the algorithms that it verifies with, whatever a token says.
pub(super) struct VerifyingKey {
    algorithms: Vec<OutsideAlgorithm>,
    key: DecodingKey,
}

impl VerifyingKey {
    /// An RSA key by its modulus and its exponent, big-endian without leading zeros.
    pub(super) fn rsa(algorithms: Vec<OutsideAlgorithm>, modulus: &[u8], exponent: &[u8]) -> Self {
        Self { algorithms, key: DecodingKey::from_rsa_raw_components(modulus, exponent) }
    }

    /// A key on a curve of NIST by its uncompressed point (SEC 1, section 2.3.3).
    pub(super) fn ec(algorithms: Vec<OutsideAlgorithm>, point: &[u8]) -> Self {
        // Despite its name, it takes the point.
        Self { algorithms, key: DecodingKey::from_ec_der(point) }
    }

    /// An Ed25519 key by its encoded point (RFC 8032, section 5.1.2).
    pub(super) fn ed25519(point: &[u8]) -> Self {
        // Despite its name, it takes the point.
        Self { algorithms: vec![OutsideAlgorithm::EdDsa], key: DecodingKey::from_ed_der(point) }
    }

    /// A shared secret, for algorithms with HMAC.
    pub(super) fn secret(algorithms: Vec<OutsideAlgorithm>, secret: &[u8]) -> Self {
        Self { algorithms, key: DecodingKey::from_secret(secret) }
    }

    /// The algorithms that it verifies with.
    pub(super) fn algorithms(&self) -> &[OutsideAlgorithm] {
        &self.algorithms
    }

    /// Whether the signature of a token is this key's, by this algorithm. Never, if the algorithm
    /// is none of this key's, or does not fit the type of the key.
    pub(super) fn verifies(&self, algorithm: OutsideAlgorithm, token: &Compact<'_>) -> bool {
        let Compact { signed, signature, .. } = token;
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, of(algorithm))
                .unwrap_or(false)
    }
}

/// The algorithm in the terms of `jsonwebtoken`.
pub(super) const fn of(algorithm: OutsideAlgorithm) -> Algorithm {
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
            let token = Compact::read(token).expect("three parts");
            key.algorithms().iter().any(|algorithm| key.verifies(*algorithm, &token))
        };
        assert!(verifies(&VerifyingKey::ed25519(ed), &by_ed));
        assert!(verifies(&VerifyingKey::ec(vec![OutsideAlgorithm::Es256], ec), &by_ec));
        assert!(!verifies(&VerifyingKey::ed25519(ed), &by_ed.replacen("e30.", "eyJ9.", 1)));
        let (key, token) = (VerifyingKey::ed25519(ed), Compact::read(&by_ed).expect("three parts"));
        assert!(OutsideAlgorithm::SECRET.iter().all(|other| !key.verifies(*other, &token)));
        for key in [
            VerifyingKey::ed25519(ec),
            VerifyingKey::ec(vec![OutsideAlgorithm::Es384], ec),
            VerifyingKey::ec(vec![OutsideAlgorithm::EdDsa], ed),
            VerifyingKey::ec(vec![OutsideAlgorithm::Es256], ed),
            VerifyingKey::rsa(vec![OutsideAlgorithm::Rs256], ec, &[1, 0, 1]),
            VerifyingKey::rsa(vec![OutsideAlgorithm::Es256], ec, &[1, 0, 1]),
            VerifyingKey::rsa(vec![OutsideAlgorithm::Hs256], ec, &[1, 0, 1]),
            VerifyingKey::secret(vec![OutsideAlgorithm::Hs256], ed),
            VerifyingKey::secret(vec![OutsideAlgorithm::Hs512], b""),
            VerifyingKey::secret(vec![OutsideAlgorithm::EdDsa], ed),
        ] {
            assert!(!verifies(&key, &by_ed) && !verifies(&key, &by_ec), "{:?}", key.algorithms());
        }
    }
}
