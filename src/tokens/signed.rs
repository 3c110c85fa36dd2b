//! keyward's own tokens that are signed JWTs: made and checked only in this module. What all JWTs
//! have in common is in `jwt`.
//!
//! A signature only says that keyward once made the token. Whether it is still good, its record
//! says: see [`super::authenticator`].

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::jwt::{self, Compact, VerifyingKey};
use crate::domain::{Identity, OutsideAlgorithm, RawToken, Record, Timestamp, TokenId};

/// How a token API signs: a closed list, so that no token can ask for another algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256 (RFC 7518, section 3.2): only keyward can verify. The default.
    #[default]
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA with P-256 and SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, section 3.3), 2048 bits.
    Rs256,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::EdDsa, Self::Es256, Self::Rs256];

    /// The `alg` value (RFC 7518, section 3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.verified_by().name()
    }

    const fn verified_by(self) -> OutsideAlgorithm {
        match self {
            Self::Hs256 => OutsideAlgorithm::Hs256,
            Self::EdDsa => OutsideAlgorithm::EdDsa,
            Self::Es256 => OutsideAlgorithm::Es256,
            Self::Rs256 => OutsideAlgorithm::Rs256,
        }
    }
}

/// The private half of a signing key as it is stored: 32 random bytes for HS256, PKCS#8 DER for the
/// other algorithms.
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes a new key for `algorithm`.
    ///
    /// # Errors
    ///
    /// When the operating system gives no randomness.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
        use aws_lc_rs::{rand, rsa, signature};
        let failed = |_| KeyError("the operating system gave no randomness".into());
        let rng = rand::SystemRandom::new();
        let ecdsa = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = match algorithm {
            SigningAlgorithm::Hs256 => {
                let mut secret = vec![0; 32];
                return rand::fill(&mut secret).map(|()| Self::new(secret)).map_err(failed);
            }
            SigningAlgorithm::EdDsa => signature::Ed25519KeyPair::generate_pkcs8(&rng),
            SigningAlgorithm::Es256 => signature::EcdsaKeyPair::generate_pkcs8(ecdsa, &rng),
            SigningAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                return Ok(Self::new(der.as_ref().to_vec()));
            }
        };
        document.map(|document| Self::new(document.as_ref().to_vec())).map_err(failed)
    }

    /// A PKCS#8 key as PEM (RFC 7468): the form in which it is kept, and the one that the JWT
    /// library takes an RSA key in.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(self.expose()));
        let mut pem = Zeroizing::new(String::with_capacity(text.len() + 80));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The bytes, for the directory of keys.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A key cannot be used. The text says nothing of its contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// A key that signs, or that signed before.
struct SigningKey {
    algorithm: SigningAlgorithm,
    sign: EncodingKey,
    verify: VerifyingKey,
    /// The public half as a JWK (RFC 7517); none for a shared secret.
    jwk: Option<serde_json::Value>,
}

/// Every key by its `kid`, and the newest of each algorithm, which signs.
pub struct SignedTokens {
    issuer: String,
    keys: ArcSwap<BTreeMap<String, SigningKey>>,
}

/// Why a token is not one of keyward's, or no longer good. For the log: a client learns only that
/// it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedTokenFault {
    /// Not three parts of canonical base64url, or a header that keyward does not write.
    #[error("it is unknown: it is not a token of this keyward")]
    Foreign,
    /// No such key, or the key is for another algorithm.
    #[error("its key is unknown: the key directory has none of that name for that algorithm")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is wrong")]
    BadSignature,
    /// The signature is right, but the claims are not as keyward writes them.
    #[error("its claims are malformed")]
    BadClaims,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// The header as keyward writes it. Any other member (`crit`, `jku`, `jwk`, `x5u`, `b64`, a second
/// `alg`) is refused as unknown: RFC 7515, section 4.1.11, and RFC 8725, sections 3.1 and 3.10.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoseHeader {
    alg: String,
    kid: String,
    typ: String,
}

/// The claims as keyward writes them; an absent one is left out, not null.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    jti: TokenId,
    iss: String,
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// The claims of a token whose signature is right. They count only if they match its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedClaims {
    /// `jti`.
    pub id: TokenId,
    /// `sub`, `username`, `organization`, `role`, `email`.
    pub identity: Identity,
    /// `exp`, in whole seconds.
    pub expires_at: Option<Timestamp>,
}

impl SignedTokens {
    /// Takes the keys, each under its `kid`. The one whose `kid` sorts last within its algorithm
    /// signs; the others still verify, so a key is rotated by adding one.
    ///
    /// # Errors
    ///
    /// When a key cannot be read, or two have the same `kid`: a fault of the operator.
    pub fn new(
        issuer: String,
        keys: impl IntoIterator<Item = (String, SigningAlgorithm, KeyMaterial)>,
    ) -> Result<Self, KeyError> {
        let mut all = BTreeMap::new();
        for (kid, algorithm, material) in keys {
            let key = SigningKey::read(&kid, algorithm, &material).map_err(|fault| {
                KeyError(format!("signing key {kid:?} for {}: {fault}", algorithm.name()))
            })?;
            if all.insert(kid.clone(), key).is_some() {
                return Err(KeyError(format!("two signing keys are called {kid:?}")));
            }
        }
        Ok(Self { issuer, keys: ArcSwap::from_pointee(all) })
    }

    /// The `iss` of the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Replaces the keys by those of `other`.
    pub fn replace(&self, other: Self) {
        self.keys.store(other.keys.into_inner());
    }

    /// Signs the token of `record`.
    ///
    /// # Errors
    ///
    /// When there is no key for the algorithm, or signing fails.
    pub fn sign(&self, algorithm: SigningAlgorithm, record: &Record) -> Result<RawToken, KeyError> {
        let keys = self.keys.load();
        let (kid, key) =
            keys.iter().rev().find(|(_, key)| key.algorithm == algorithm).ok_or_else(|| {
                KeyError(format!("there is no signing key for {}", algorithm.name()))
            })?;
        let mut header = Header::new(jwt::of(algorithm.verified_by()));
        header.kid = Some(kid.clone());
        let claims = Claims {
            jti: record.id,
            iss: self.issuer.clone(),
            sub: record.identity.subject.clone(),
            username: record.identity.username.clone(),
            organization: record.identity.organization.clone(),
            role: record.identity.role.clone(),
            email: record.identity.email.clone(),
            iat: record.issued_at.unix_seconds(),
            exp: record.expires_at.map(Timestamp::unix_seconds),
        };
        jsonwebtoken::encode(&header, &claims, &key.sign)
            .map(RawToken::new)
            .map_err(|_| KeyError(format!("signing with key {kid:?} failed")))
    }

    /// Verifies a token of keyward that has not expired at `now` (no leeway), without the store.
    ///
    /// # Errors
    ///
    /// Why it is refused. The signature is checked before any claim (cf. CVE-2024-51744).
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<SignedClaims, SignedTokenFault> {
        let token = Compact::read(token).map_err(|_| SignedTokenFault::Foreign)?;
        let header: JoseHeader =
            serde_json::from_slice(&token.header).map_err(|_| SignedTokenFault::Foreign)?;
        let keys = self.keys.load();
        let key = keys.get(&header.kid).ok_or(SignedTokenFault::UnknownKey)?;
        if header.alg != key.algorithm.name() || header.typ != "JWT" {
            return Err(SignedTokenFault::UnknownKey);
        }
        if !key.verify.verifies(key.algorithm.verified_by(), &token) {
            return Err(SignedTokenFault::BadSignature);
        }
        let claims: Claims =
            serde_json::from_slice(&token.claims).map_err(|_| SignedTokenFault::BadClaims)?;
        if claims.iss != self.issuer {
            return Err(SignedTokenFault::BadClaims);
        }
        let millis = |seconds: i64| seconds.checked_mul(1000).ok_or(SignedTokenFault::BadClaims);
        let expires_at = claims.exp.map(millis).transpose()?.map(Timestamp::from_unix_millis);
        if expires_at.is_some_and(|end| now >= end) {
            return Err(SignedTokenFault::Expired);
        }
        let Claims { jti, sub, username, organization, role, email, .. } = claims;
        Ok(SignedClaims {
            id: jti,
            identity: Identity { subject: sub, username, organization, role, email },
            expires_at,
        })
    }

    /// The public keys as a JWK set (RFC 7517, section 5). A shared secret is in none.
    #[must_use]
    pub fn public_keys(&self) -> serde_json::Value {
        let keys: Vec<_> = self.keys.load().values().filter_map(|key| key.jwk.clone()).collect();
        json!({ "keys": keys })
    }
}

impl SigningKey {
    fn read(
        kid: &str,
        algorithm: SigningAlgorithm,
        material: &KeyMaterial,
    ) -> Result<Self, String> {
        use aws_lc_rs::{rsa, signature};
        let bytes = material.expose();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let wrong = |_| format!("it is not a {} key in PKCS#8", algorithm.name());
        let verified_by = vec![algorithm.verified_by()];
        let (sign, verify, public) = match algorithm {
            SigningAlgorithm::Hs256 => {
                if bytes.len() < 32 {
                    return Err(format!(
                        "it has {} bytes; RFC 7518, section 3.2, asks for 32",
                        bytes.len()
                    ));
                }
                (EncodingKey::from_secret(bytes), VerifyingKey::secret(verified_by, bytes), None)
            }
            SigningAlgorithm::EdDsa => {
                let pair = signature::Ed25519KeyPair::from_pkcs8(bytes).map_err(wrong)?;
                let point = pair.public_key().as_ref();
                let public = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(point)});
                (EncodingKey::from_ed_der(bytes), VerifyingKey::ed25519(point), Some(public))
            }
            SigningAlgorithm::Es256 => {
                let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = signature::EcdsaKeyPair::from_pkcs8(curve, bytes).map_err(wrong)?;
                // 0x04 ‖ x ‖ y, 32 bytes each (SEC 1, section 2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = match point {
                    [0x04, point @ ..] if point.len() == 64 => point.split_at(32),
                    _ => return Err("its public point is not uncompressed".into()),
                };
                let public = json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
                let verify = VerifyingKey::ec(verified_by, point);
                (EncodingKey::from_ec_der(bytes), verify, Some(public))
            }
            SigningAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::from_pkcs8(bytes).map_err(wrong)?;
                let n = pair.public_key().modulus().big_endian_without_leading_zero();
                let e = pair.public_key().exponent().big_endian_without_leading_zero();
                let public = json!({"kty": "RSA", "n": b64(n), "e": b64(e)});
                let sign = EncodingKey::from_rsa_pem(material.to_pem().as_bytes())
                    .map_err(|fault| fault.to_string())?;
                (sign, VerifyingKey::rsa(verified_by, n, e), Some(public))
            }
        };
        let jwk = public.map(|mut jwk| {
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".into(), kid.into());
                members.insert("use".into(), "sig".into());
                members.insert("alg".into(), algorithm.name().into());
            }
            jwk
        });
        Ok(Self { algorithm, sign, verify, jwk })
    }
}

#[cfg(test)]
mod tests;
