//! Our own tokens that are signed JWTs. Only this module makes and checks them. What is common to
//! all JWTs is in `jwt`.
//!
//! A signature only says that keyward once made the token. Whether it is still good, its record
//! says: see [`super::authenticator`].
//!
//! One file, as keys and what they sign are checked against each other.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::jwt::{Compact, VerifyingKey};
use crate::domain::{Identity, OutsideAlgorithm, RawToken, Record, Timestamp, TokenId};

/// How a token API signs. One closed list: what is not in it cannot be configured, and no token can
/// ask for it.
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
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

/// The private half of a signing key as it is kept: 32 random bytes for HS256, PKCS#8 DER for the
/// others.
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Takes the bytes over.
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
        use aws_lc_rs::encoding::AsDer as _;
        use aws_lc_rs::{rand, rsa, signature};
        let failed = |_| KeyError("the operating system gave no randomness".into());
        let rng = rand::SystemRandom::new();
        let bytes = match algorithm {
            SigningAlgorithm::Hs256 => {
                let mut secret = vec![0; 32];
                rand::fill(&mut secret).map_err(failed)?;
                secret
            }
            SigningAlgorithm::EdDsa => {
                signature::Ed25519KeyPair::generate_pkcs8(&rng).map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Es256 => signature::EcdsaKeyPair::generate_pkcs8(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                &rng,
            )
            .map_err(failed)?
            .as_ref()
            .to_vec(),
            SigningAlgorithm::Rs256 => rsa::KeyPair::generate(rsa::KeySize::Rsa2048)
                .and_then(|pair| {
                    pair.as_der()
                        .map(|der: aws_lc_rs::encoding::Pkcs8V1Der<'_>| der.as_ref().to_vec())
                })
                .map_err(failed)?,
        };
        Ok(Self::new(bytes))
    }

    /// A PKCS#8 key as PEM (RFC 7468): the form in which it is kept, and the one that the JWT
    /// library takes an RSA key in.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(self.expose()));
        let mut pem = Zeroizing::new(String::with_capacity(text.len() + 80));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The bytes, to be stored in the directory of keys.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A key is not what it should be. Says nothing of its contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// One key that signs or once signed.
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

/// Why a token is not one of ours, or no longer good. For the log; a client learns only that it is
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedTokenFault {
    /// Not three parts of canonical base64url, or a header with anything in it that ours have not.
    #[error("it is unknown: it is not a token of this keyward")]
    Foreign,
    /// No such key, or the key is for another algorithm.
    #[error("its key is unknown: the key directory has none of that name for that algorithm")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is wrong")]
    BadSignature,
    /// Signed by us, but the claims are not as we write them.
    #[error("its claims are malformed")]
    BadClaims,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// The header as we write it. Anything else in it (`crit`, `jku`, `jwk`, `x5u`, `b64`, a second
/// `alg`) is refused by not being known: RFC 7515, section 4.1.11, and RFC 8725, sections 3.1 and
/// 3.10.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoseHeader {
    alg: String,
    kid: String,
    typ: String,
}

/// The claims as we write them; an absent one is absent, not null.
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

/// What a token says of itself, its signature checked. It must match its record before it counts.
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
    /// When a key cannot be read; the operator's to mend.
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

    /// Takes the keys of `other` from now on.
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
        let mut header = Header::new(algorithm.algorithm());
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

    /// Whether `token` is one of ours and its time is not over at `now` (no leeway). No store is
    /// asked.
    ///
    /// # Errors
    ///
    /// Why not. The signature is judged before any claim (cf. CVE-2024-51744).
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<SignedClaims, SignedTokenFault> {
        let token = Compact::read(token).map_err(|_| SignedTokenFault::Foreign)?;
        let header: JoseHeader =
            serde_json::from_slice(&token.header).map_err(|_| SignedTokenFault::Foreign)?;
        let keys = self.keys.load();
        let key = keys.get(&header.kid).ok_or(SignedTokenFault::UnknownKey)?;
        if header.alg != key.algorithm.name() || header.typ != "JWT" {
            return Err(SignedTokenFault::UnknownKey);
        }
        if !key.verify.verifies(&token) {
            return Err(SignedTokenFault::BadSignature);
        }
        let claims: Claims =
            serde_json::from_slice(&token.claims).map_err(|_| SignedTokenFault::BadClaims)?;
        self.check(claims, now)
    }

    fn check(&self, claims: Claims, now: Timestamp) -> Result<SignedClaims, SignedTokenFault> {
        if claims.iss != self.issuer {
            return Err(SignedTokenFault::BadClaims);
        }
        let expires_at = claims
            .exp
            .map(|seconds| {
                seconds
                    .checked_mul(1000)
                    .map(Timestamp::from_unix_millis)
                    .ok_or(SignedTokenFault::BadClaims)
            })
            .transpose()?;
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
        serde_json::json!({ "keys": keys })
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
        let (sign, verify, public) = match algorithm {
            SigningAlgorithm::Hs256 => {
                if bytes.len() < 32 {
                    return Err(format!(
                        "it has {} bytes; RFC 7518, section 3.2, asks for 32",
                        bytes.len()
                    ));
                }
                (
                    EncodingKey::from_secret(bytes),
                    VerifyingKey::secret(OutsideAlgorithm::Hs256, bytes),
                    None,
                )
            }
            SigningAlgorithm::EdDsa => {
                let pair = signature::Ed25519KeyPair::from_pkcs8(bytes).map_err(wrong)?;
                let public = pair.public_key().as_ref();
                (
                    EncodingKey::from_ed_der(bytes),
                    VerifyingKey::ed25519(public),
                    Some(serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": b64(public)})),
                )
            }
            SigningAlgorithm::Es256 => {
                let pair = signature::EcdsaKeyPair::from_pkcs8(
                    &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                    bytes,
                )
                .map_err(wrong)?;
                // An uncompressed point: 0x04 ‖ x ‖ y, 32 bytes each (SEC 1, section 2.3.3).
                let public = pair.public_key().as_ref();
                let (x, y) = match public {
                    [0x04, point @ ..] if point.len() == 64 => point.split_at(32),
                    _ => return Err("its public point is not uncompressed".into()),
                };
                (
                    EncodingKey::from_ec_der(bytes),
                    VerifyingKey::ec(OutsideAlgorithm::Es256, public),
                    Some(
                        serde_json::json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)}),
                    ),
                )
            }
            SigningAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::from_pkcs8(bytes).map_err(wrong)?;
                let n = pair.public_key().modulus().big_endian_without_leading_zero();
                let e = pair.public_key().exponent().big_endian_without_leading_zero();
                let verify = VerifyingKey::rsa(OutsideAlgorithm::Rs256, n, e);
                let pem = material.to_pem();
                let sign =
                    EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|fault| fault.to_string())?;
                (sign, verify, Some(serde_json::json!({"kty": "RSA", "n": b64(n), "e": b64(e)})))
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
