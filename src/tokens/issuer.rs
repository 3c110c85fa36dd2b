//! Outside issuers: the JWTs of an OIDC provider, or of a site's own login, as credentials.
//!
//! A token is judged by what the configuration says of its issuer, and by keys that are here already. The order is: its form,
//! its header, its key, its signature, and only then its claims, so that nothing is believed that nobody signed. The algorithm is
//! pinned to the key ([`jwk`]); the key comes from the issuer's set, which is kept fresh beside the requests ([`ring`]), and
//! never from the token. What passed is remembered until it expires or its key is gone ([`set`]).
//!
//! A "no" is a value; "cannot tell", because the issuer's keys are not here, is an error. How keys are fetched is no business of
//! this module: see [`KeySource`].
//!
//! How it differs from [`super::signed`]: those are our own tokens, which have a record each. An outside token has none: it is
//! good until it expires, and cannot be revoked here.

mod claims;
mod compact;
pub mod jwk;
mod outside;
pub mod ring;
pub mod set;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use jwk::{KeySet, NoKeySet};
pub use outside::Outside;
pub use ring::{KeyFetch, KeyRing, KeySource, KeySourceFault, Rhythm, RingHealth};
pub use set::IssuerSet;

use crate::domain::{ClaimNames, ClaimPath, ClaimRule, Moment, OutsideAlgorithm};
use compact::Compact;
use jwk::Mismatch;

/// What the configuration says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// What routes, logs and metrics call it.
    pub name: Arc<str>,
    /// The `iss` of its tokens, to the letter; no other issuer has the same.
    pub issuer: String,
    /// One of these must be in a token's `aud`; at least one.
    pub audience: Vec<String>,
    /// The algorithms that are accepted, at least one; each key narrows them further.
    pub algorithms: Vec<OutsideAlgorithm>,
    /// What else a token must say.
    pub required_claims: Vec<ClaimRule>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// How far the issuer's clock may be off, for `exp` and `nbf`. Default 0.
    pub leeway: Duration,
    /// The claims that [`Outside::meets`] will be asked for.
    pub kept_claims: Vec<ClaimPath>,
}

/// Why a token is refused. For the log; a client learns only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// It is longer than the limit, not three parts of canonical base64url, or not JSON with each name once.
    #[error("it is not a JWT: {0}")]
    Malformed(&'static str),
    /// Its header asks for what is not understood, or for another purpose.
    #[error("its header is refused: {0}")]
    Header(&'static str),
    /// The algorithm is none of those that its issuer, or its key, is good for.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// Its key is not among those of its issuer.
    #[error("it names a key that its issuer does not publish")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing, has the wrong type, is out of range or holds a control character.
    #[error("its claim {0:?} is missing or malformed")]
    Claim(&'static str),
    /// It is for somebody else.
    #[error("its audience is another")]
    Audience,
    /// A required claim is not as it must be.
    #[error("a required claim is not as it must be")]
    RequiredClaim,
    /// Its time has not come.
    #[error("it is not good yet")]
    NotYet,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// A token cannot be judged: no key of its issuer is here, or they are too old. Nobody's fault who sent one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of issuer {issuer} are not available: {reason}")]
pub struct IssuerUnavailable {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// Why, for the log.
    pub reason: String,
}

/// An outside issuer with its keys.
#[derive(Debug)]
pub struct Issuer {
    settings: IssuerSettings,
    ring: Arc<KeyRing>,
    /// The configuration has it no longer, or otherwise. Never goes back.
    is_retired: AtomicBool,
}

/// What can be said of a token with the keys that are here.
enum Judgement {
    Passed(Arc<Outside>),
    Refused(OutsideFault),
    /// Its key is not here: perhaps it is new.
    KeyMissing,
    /// No key is.
    Unavailable,
}

impl Issuer {
    /// An issuer whose keys are in `ring`.
    #[must_use]
    pub fn new(settings: IssuerSettings, ring: Arc<KeyRing>) -> Self {
        Self { settings, ring, is_retired: AtomicBool::new(false) }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Its keys.
    #[must_use]
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    fn unavailable(&self, now: Instant) -> IssuerUnavailable {
        let reason = match self.ring.health(now) {
            RingHealth::Well | RingHealth::Stale(_) => "they were not here a moment ago".to_owned(),
            RingHealth::Unusable(why) | RingHealth::Never(why) => why,
        };
        IssuerUnavailable { issuer: Arc::clone(self.name()), reason }
    }

    fn judge(self: &Arc<Self>, token: &Compact<'_>, now: Moment) -> Judgement {
        let algorithm = match token.header.check() {
            Ok(algorithm) if self.settings.algorithms.contains(&algorithm) => algorithm,
            Ok(_) => return Judgement::Refused(OutsideFault::Algorithm),
            Err(fault) => return Judgement::Refused(fault),
        };
        if !self.ring.are_usable(ring::now()) {
            return Judgement::Unavailable;
        }
        let Some(key) = self.ring.select(token.header.kid.as_deref()) else { return Judgement::KeyMissing };
        match key.verify(algorithm, token.signed.as_bytes(), &token.signature) {
            Ok(()) => {}
            Err(Mismatch::Algorithm) => return Judgement::Refused(OutsideFault::Algorithm),
            Err(Mismatch::Signature) => return Judgement::Refused(OutsideFault::Signature),
        }
        match claims::check(&token.claims, &self.settings, now.wall) {
            Ok(checked) => Judgement::Passed(Arc::new(Outside { issuer: Arc::clone(self), key, checked })),
            Err(fault) => Judgement::Refused(fault),
        }
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing")
    }
}

#[cfg(test)]
mod tests;
