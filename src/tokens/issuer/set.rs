//! All issuers of one configuration, and the tokens of theirs that were verified lately.
//!
//! The memory is one of positive answers only, bounded, keyed by the token's digest; what is in it
//! counts while it [is current](Outside::is_current), so a key that is gone takes its tokens with it. A
//! configuration has a set of its own: what was verified under another one is not in it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;

use super::configured::Issuer;
use super::judge::Judgement;
use super::outside::Outside;
use super::refusal::{IssuerUnavailable, OutsideFault, OutsideRefusal, quoted};
use super::ring::{KeyRing, RingHealth};
use super::{compact, ring};
use crate::domain::{Moment, TENANT, TokenDigest};
use crate::telemetry::metrics::IssuerGauges;
use crate::tokens::cache::DigestHasher;
use crate::tokens::keyring::{CredentialSort, Peppers};

/// How many of the configured issuers the log names where a token is of none of them.
const MOST_SHOWN: usize = 3;

/// The answer to "is this outside token good?".
#[derive(Clone, Debug)]
pub enum OutsideVerdict {
    /// Yes, and this is who holds it.
    Passed(Arc<Outside>),
    /// No.
    Refused(OutsideRefusal),
    /// It is a JWT of nobody whom the configuration knows. To be refused, unless it is one of our
    /// own.
    Foreign,
}

type Memory = quick_cache::sync::Cache<
    TokenDigest,
    Arc<Outside>,
    UnitWeighter,
    DigestHasher,
    DefaultLifecycle<TokenDigest, Arc<Outside>>,
>;

/// The issuers, and what is remembered of their tokens.
pub struct IssuerSet {
    issuers: Vec<Arc<Issuer>>,
    peppers: Arc<Peppers>,
    memory: Memory,
    longest_token: usize,
}

impl IssuerSet {
    /// `capacity`: how many tokens are remembered at most; `longest_token`: in bytes. No two
    /// issuers may have the same `iss`: the second would never be asked.
    #[must_use]
    pub fn new(
        issuers: Vec<Arc<Issuer>>,
        peppers: Arc<Peppers>,
        capacity: usize,
        longest_token: usize,
    ) -> Self {
        let memory = Memory::with(
            capacity.min(1024),
            capacity as u64,
            UnitWeighter,
            DigestHasher,
            DefaultLifecycle::default(),
        );
        Self { issuers, peppers, memory, longest_token }
    }

    /// Takes the place of `before`: tokens of issuers that are not in this set as they were are
    /// dead in every copy.
    pub fn replace(&self, before: &Self) {
        for issuer in &before.issuers {
            if !self.issuers.iter().any(|own| Arc::ptr_eq(own, issuer)) {
                issuer.is_retired.store(true, Ordering::Release);
            }
        }
    }

    /// The issuers, in the order of the configuration.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// The keys of all issuers, each once: those of one template may share them.
    fn rings(&self) -> impl Iterator<Item = &Arc<KeyRing>> {
        let is_first = |at: usize, ring: &Arc<KeyRing>| {
            !self.issuers.iter().take(at).any(|earlier| Arc::ptr_eq(earlier.ring(), ring))
        };
        self.issuers
            .iter()
            .map(|issuer| issuer.ring())
            .enumerate()
            .filter_map(move |(at, ring)| is_first(at, ring).then_some(ring))
    }

    /// How the keys of each issuer are at `now`, by the name of its [`KeyRing`].
    pub fn health(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, RingHealth)> {
        self.rings().map(move |ring| (ring.name(), ring.health(now)))
    }

    /// What is to be seen of each issuer's keys at `now`.
    #[must_use]
    pub fn gauges(&self, now: Instant) -> Vec<IssuerGauges> {
        self.rings().map(|ring| ring.gauges(now)).collect()
    }

    /// Whose a JWT says that it is, in words for the log, if that is neither an issuer of this set
    /// nor `own`, the `iss` of our own tokens; nothing, of what is no JWT. Nothing of it is
    /// verified.
    #[must_use]
    pub fn foreign_issuer(&self, token: &[u8], own: &str) -> Option<String> {
        let token =
            std::str::from_utf8(token).ok().filter(|token| token.len() <= self.longest_token)?;
        let token = compact::read(token).ok()?;
        let Some(iss) = token.claims.get("iss").and_then(serde_json::Value::as_str) else {
            return Some("it has no \"iss\"".to_owned());
        };
        if iss == own {
            return None;
        }
        let found = quoted(iss);
        let all = || self.issuers.iter().map(|issuer| issuer.settings());
        if let Some(near) = all()
            .find(|settings| settings.issuer.trim_end_matches('/') == iss.trim_end_matches('/'))
        {
            return Some(format!(
                "it is {found}, and [[issuer]] {} has {:?}: they differ in the slash at the end",
                near.name, near.issuer
            ));
        }
        let is_other_tenant = |template: &str| {
            template.split_once(TENANT).is_some_and(|(before, after)| {
                let middle = iss.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                middle.is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('/'))
            })
        };
        let of_template = all().find(|settings| {
            settings.tenancy.as_ref().is_some_and(|tenancy| is_other_tenant(&tenancy.template))
        });
        Some(match of_template {
            Some(settings) => {
                format!(
                    "it is {found}, whose tenant is not in \"tenants\" of [[issuer]] {}",
                    settings.name
                )
            }
            None => format!("it is {found}, which is that of no [[issuer]]{}", self.known()),
        })
    }

    /// Some of the issuers that there are, in words; nothing, if there are none.
    fn known(&self) -> String {
        let mut texts: Vec<&str> = Vec::new();
        for issuer in &self.issuers {
            let settings = issuer.settings();
            let tenancy = settings.tenancy.as_ref();
            let text = tenancy.map_or(settings.issuer.as_str(), |tenancy| &tenancy.template);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let shown: Vec<_> = texts.iter().take(MOST_SHOWN).map(|text| quoted(text)).collect();
        match texts.len().saturating_sub(MOST_SHOWN) {
            _ if texts.is_empty() => String::new(),
            0 => format!("; configured are {}", shown.join(", ")),
            more => format!("; configured are {} and {more} more", shown.join(", ")),
        }
    }

    /// What a token is known by: as any JWT, of whomever.
    #[must_use]
    pub fn digest(&self, token: &[u8]) -> TokenDigest {
        self.peppers.digest(CredentialSort::SignedToken, token)
    }

    /// What is remembered, and still stands: the hit path, without a signature check.
    ///
    /// # Errors
    ///
    /// When the keys of its issuer have become too old to say.
    pub fn recall(
        &self,
        digest: &TokenDigest,
        now: Moment,
    ) -> Result<Option<Arc<Outside>>, IssuerUnavailable> {
        let Some(outside) = self.memory.get(digest) else { return Ok(None) };
        if outside.is_current(now)? {
            return Ok(Some(outside));
        }
        self.memory.remove(digest);
        Ok(None)
    }

    /// The whole check, for a token that is not remembered. The issuer is chosen by the unverified
    /// `iss`, which must then turn out to be signed. Waits at most
    /// [`MISS_PATIENCE`](super::ring::MISS_PATIENCE), and only for a key that is not here.
    ///
    /// # Errors
    ///
    /// When the keys of its issuer are not here, so that nothing can be said.
    ///
    /// # Cancel safety
    ///
    /// Nothing is half done when it is dropped.
    pub async fn check(
        &self,
        token: &[u8],
        digest: TokenDigest,
        now: Moment,
    ) -> Result<OutsideVerdict, IssuerUnavailable> {
        let refused = |fault: OutsideFault| Ok(OutsideVerdict::Refused(fault.into()));
        if token.len() > self.longest_token {
            return refused(OutsideFault::Malformed("it is too long"));
        }
        let Ok(token) = std::str::from_utf8(token) else {
            return refused(OutsideFault::Malformed("it is not ASCII"));
        };
        let token = match compact::read(token) {
            Ok(token) => token,
            Err(fault) => return refused(fault),
        };
        let Some(iss) = token.claims.get("iss").and_then(serde_json::Value::as_str) else {
            return Ok(OutsideVerdict::Foreign);
        };
        let Some(issuer) = self.issuers.iter().find(|issuer| issuer.settings().issuer == iss)
        else {
            return Ok(OutsideVerdict::Foreign);
        };
        let mut judgement = issuer.judge(&token, now);
        if matches!(judgement, Judgement::KeyMissing(_) | Judgement::Unavailable) {
            issuer.ring().missed(ring::now()).await;
            // The keys may be younger than `now`; the calendar is still read once per exchange.
            judgement = issuer.judge(&token, now);
        }
        match judgement {
            Judgement::Passed(outside) => {
                self.memory.insert(digest, Arc::clone(&outside));
                Ok(OutsideVerdict::Passed(outside))
            }
            Judgement::Refused(refusal) | Judgement::KeyMissing(refusal) => {
                Ok(OutsideVerdict::Refused(refusal))
            }
            Judgement::Unavailable => Err(issuer.unavailable(ring::now())),
        }
    }

    /// [`recall`](Self::recall), or else [`check`](Self::check): for whoever has no digest at hand.
    ///
    /// # Errors
    ///
    /// As those two.
    pub async fn verify(
        &self,
        token: &[u8],
        now: Moment,
    ) -> Result<OutsideVerdict, IssuerUnavailable> {
        let digest = self.digest(token);
        match self.recall(&digest, now)? {
            Some(outside) => Ok(OutsideVerdict::Passed(outside)),
            None => self.check(token, digest, now).await,
        }
    }

    /// How many tokens are remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
