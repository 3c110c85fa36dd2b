//! Outside issuers: the JWTs of an OIDC provider, or of a site's own login, as credentials.
//!
//! A token is judged by what the configuration says of its issuer, and by keys that are here
//! already. The order is: its form, its header, its key, its signature, and only then its claims,
//! so that nothing is believed that nobody signed. The algorithm is pinned to the key ([`jwk`]);
//! the key comes from the issuer's set, which is kept fresh beside the requests ([`ring`]), and
//! never from the token. A token that names no key, or one whose name several bear, is tried with
//! those that fit. What passed is remembered until it expires or its key is gone ([`set`]).
//!
//! A "no" is a value; "cannot tell", because the issuer's keys are not here, is an error. How keys
//! are fetched is no business of this module: see [`KeySource`].
//!
//! How it differs from [`super::signed`]: those are our own tokens, which have a record each. An
//! outside token has none: it is good until it expires, and cannot be revoked here.

mod claims;
mod compact;
pub mod jwk;
pub mod metadata;
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
use jwk::Selection;

/// What the configuration says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// What routes, logs and metrics call it. Those of one template have the same name.
    pub name: Arc<str>,
    /// The `iss` of its tokens, to the letter; no other issuer has the same.
    pub issuer: String,
    /// Which of the tenants of a template it is; none: it is no template's.
    pub tenancy: Option<Tenancy>,
    /// One of these must be in a token's `aud`; none: `aud` is not looked at, and what a token is
    /// for, `required_claims` say.
    pub audience: Vec<String>,
    /// The algorithms that are accepted, at least one; each key narrows them further.
    pub algorithms: Vec<OutsideAlgorithm>,
    /// What else a token must say.
    pub required_claims: Vec<ClaimRule>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// How far the issuer's clock may be off, for `exp` and `nbf`.
    pub leeway: Duration,
    /// The claims that [`Outside::meets`] will be asked for.
    pub kept_claims: Vec<ClaimPath>,
}

/// One tenant of an issuer by template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The `iss` of all of them, with `{tenant}` where they differ.
    pub template: Arc<str>,
    /// What stands there.
    pub tenant: Box<str>,
    /// What its subjects are of, and no other tenant's: the issuer's name and the tenant.
    pub origin: Box<str>,
}

impl Tenancy {
    /// The tenant of the issuer of this name.
    #[must_use]
    pub fn new(name: &str, template: Arc<str>, tenant: &str) -> Self {
        // No name of an issuer holds a slash.
        Self { template, tenant: tenant.into(), origin: format!("{name}/{tenant}").into() }
    }
}

/// Why a token is refused. For the log; a client learns only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// It is longer than the limit, not three parts of canonical base64url, or not JSON with each
    /// name once.
    #[error("it is not a JWT: {0}")]
    Malformed(&'static str),
    /// Its header asks for what is not understood, or for another purpose.
    #[error("its header is refused: {0}")]
    Header(&'static str),
    /// The algorithm is none of those that its issuer, or its key, is good for.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// Its key is not among those of its issuer.
    #[error("its key is not published")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is wrong")]
    Signature,
    /// A claim that must be there is missing, has the wrong type, is out of range or holds a
    /// control character.
    #[error("its claim {0:?} is missing or malformed")]
    Claim(&'static str),
    /// It is for somebody else.
    #[error("its audience is another")]
    Audience,
    /// A required claim is not as it must be.
    #[error("a required claim is not as it must be")]
    RequiredClaim,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// A fault of a token with what an operator needs to know of it. Quotes claims and the names of
/// keys, cut at 100 characters; never a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OutsideRefusal {
    /// What is wrong.
    pub fault: OutsideFault,
    /// What was found, and what would be right.
    detail: Option<Box<str>>,
}

impl OutsideFault {
    fn with(self, detail: String) -> OutsideRefusal {
        OutsideRefusal { fault: self, detail: Some(detail.into()) }
    }
}

impl std::fmt::Display for OutsideRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl From<OutsideFault> for OutsideRefusal {
    fn from(fault: OutsideFault) -> Self {
        Self { fault, detail: None }
    }
}

/// A token cannot be judged: no key of its issuer is here, or they are too old. Nobody's fault who
/// sent one.
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
    Refused(OutsideRefusal),
    /// Its key is not here: perhaps it is new. If it is not, this is why the token is refused.
    KeyMissing(OutsideRefusal),
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
            Ok(_) | Err(OutsideRefusal { fault: OutsideFault::Algorithm, .. }) => {
                let accepted = format!("accepted are {}", names(&self.settings.algorithms));
                return Judgement::Refused(other_algorithm(token, &accepted));
            }
            Err(refusal) => return Judgement::Refused(refusal),
        };
        if !self.ring.are_usable(ring::now()) {
            return Judgement::Unavailable;
        }
        let kid = token.header.kid.as_deref();
        let (keys, not_tried) = match self.ring.select(kid, algorithm) {
            Selection::Keys { keys, not_tried } => (keys, not_tried),
            Selection::OtherAlgorithm(good_for) => {
                let accepted = format!("its key is good for {}", names(&good_for));
                return Judgement::Refused(other_algorithm(token, &accepted));
            }
            Selection::Unusable(why) => {
                return Judgement::KeyMissing(self.unusable_key(kid, &why));
            }
            Selection::Missing => return Judgement::KeyMissing(self.unknown_key(kid, algorithm)),
        };
        let Some(key) = keys.into_iter().find(|key| key.verifies(algorithm, &token.signed)) else {
            let refusal = token.header.signature_fault(not_tried);
            // A key without a name cannot be told from the one that takes its place.
            return if kid.is_none() {
                Judgement::KeyMissing(refusal)
            } else {
                Judgement::Refused(refusal)
            };
        };
        match claims::check(&token.claims, &self.settings, now.wall) {
            Ok(checked) => {
                Judgement::Passed(Arc::new(Outside { issuer: Arc::clone(self), key, checked }))
            }
            Err(refusal) => Judgement::Refused(refusal),
        }
    }

    fn unusable_key(&self, kid: Option<&str>, why: &str) -> OutsideRefusal {
        let (name, kid) = (&self.settings.name, quoted(kid.unwrap_or_default()));
        OutsideFault::UnknownKey
            .with(format!("issuer {name} has a key called {kid} that cannot be used: {why}"))
    }

    fn unknown_key(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> OutsideRefusal {
        let name = &self.settings.name;
        OutsideFault::UnknownKey.with(match kid {
            Some(kid) => format!("issuer {name} publishes no key called {}", quoted(kid)),
            None => format!("it names none, and issuer {name} publishes none for {algorithm}"),
        })
    }
}

/// `accepted`: what would be right, in words.
fn other_algorithm(token: &Compact<'_>, accepted: &str) -> OutsideRefusal {
    let found = token.header.algorithm_name.as_deref().unwrap_or("none that can be read");
    OutsideFault::Algorithm.with(format!("it is {}; {accepted}", quoted(found)))
}

fn names(algorithms: &[OutsideAlgorithm]) -> String {
    algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}

/// A text as the log shows it: in quotes, cut at 100 characters.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing")
    }
}

#[cfg(test)]
mod tests;
