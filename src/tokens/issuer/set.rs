//! All issuers of one configuration, and their tokens that were verified lately.
//!
//! Only tokens that passed are remembered, bounded, by digest. An entry counts while it [is
//! current](Outside::is_current), so a key that is gone takes its tokens with it. Each
//! configuration has a set of its own, without what was verified under another one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::configured::Issuer;
use super::judge::Judgement;
use super::outside::Outside;
use super::refusal::{IssuerUnavailable, OutsideFault, OutsideRefusal, quoted};
use super::ring::{KeyRing, RingHealth};
use super::settings::IssuerSettings;
use super::{compact, ring};
use crate::domain::{Moment, TENANT, TokenDigest};
use crate::telemetry::gauges::IssuerGauges;
use crate::tokens::cache::{DigestTable, digest_table};
use crate::tokens::keyring::{CredentialSort, Peppers};

/// How many of the configured issuers the log names if a token is of none of them.
const MOST_SHOWN: usize = 3;

/// The answer to "is this outside token good?".
#[derive(Clone, Debug)]
pub enum OutsideVerdict {
    /// It is good, and this is its holder.
    Passed(Arc<Outside>),
    /// It is not accepted.
    Refused(OutsideRefusal),
    /// It is of no issuer that is configured. To be refused, unless keyward signed it.
    Foreign,
}

/// The issuers, and what is remembered of their tokens.
pub struct IssuerSet {
    issuers: Vec<Arc<Issuer>>,
    peppers: Arc<Peppers>,
    pub(super) memory: DigestTable<Arc<Outside>>,
    longest_token: usize,
}

impl IssuerSet {
    /// `capacity`: how many tokens are remembered at most; `longest_token`: in bytes. Each issuer
    /// must have an `iss` of its own.
    #[must_use]
    pub fn new(
        issuers: Vec<Arc<Issuer>>,
        peppers: Arc<Peppers>,
        capacity: usize,
        longest_token: usize,
    ) -> Self {
        Self { issuers, peppers, memory: digest_table(capacity, 1024), longest_token }
    }

    /// Replaces `before`: the tokens of issuers that are not in this set, or not as they were, are
    /// not accepted any more, in every copy.
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

    /// The keys of all issuers, each once: issuers of one template may share them.
    fn rings(&self) -> Vec<&Arc<KeyRing>> {
        let mut rings: Vec<&Arc<KeyRing>> = Vec::new();
        for issuer in &self.issuers {
            if !rings.iter().any(|ring| Arc::ptr_eq(ring, &issuer.ring)) {
                rings.push(&issuer.ring);
            }
        }
        rings
    }

    /// The health of the keys of each issuer at `now`, by the name of its [`KeyRing`].
    pub fn health(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, RingHealth)> {
        self.rings().into_iter().map(move |ring| (ring.name(), ring.health(now)))
    }

    /// The metrics of the keys of each issuer at `now`.
    #[must_use]
    pub fn gauges(&self, now: Instant) -> Vec<IssuerGauges> {
        self.rings().into_iter().map(|ring| ring.gauges(now)).collect()
    }

    /// For the log: the `iss` of a JWT that is neither of an issuer of this set nor of keyward
    /// itself (`own`), and why it may be another; `None` of what is no JWT. Nothing of it is
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
        let all = || self.issuers.iter().map(|issuer| &issuer.settings);
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
            Some(IssuerSettings { name, .. }) => {
                format!("it is {found}, whose tenant is not in \"tenants\" of [[issuer]] {name}")
            }
            None => format!("it is {found}, which is that of no [[issuer]]{}", self.known()),
        })
    }

    /// Some of the issuers, for the log; empty if there are none.
    fn known(&self) -> String {
        let mut texts: Vec<&str> = Vec::new();
        for issuer in &self.issuers {
            let settings = &issuer.settings;
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

    /// The digest of a token.
    #[must_use]
    pub fn digest(&self, token: &[u8]) -> TokenDigest {
        self.peppers.digest(CredentialSort::SignedToken, token)
    }

    /// What is remembered and still current, without a check of the signature.
    ///
    /// # Errors
    ///
    /// When the keys of its issuer are too old to tell.
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

    /// The whole check, for a token that is not remembered. The unverified `iss` chooses the
    /// issuer, whose key must then fit. Waits at most [`MISS_TIMEOUT`](super::ring::MISS_TIMEOUT),
    /// and only for a key that is missing.
    ///
    /// # Errors
    ///
    /// When there are no keys of its issuer, or they are too old to tell.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
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
        let Some(issuer) = self.issuers.iter().find(|issuer| issuer.settings.issuer == iss) else {
            return Ok(OutsideVerdict::Foreign);
        };
        let mut judgement = issuer.judge(&token, now);
        if matches!(judgement, Judgement::KeyMissing(_) | Judgement::Unavailable) {
            issuer.ring.missed(ring::now()).await;
            // The keys may be younger than `now`: the wall clock is read once per exchange.
            judgement = issuer.judge(&token, now);
        }
        match judgement {
            Judgement::Passed(outside) => {
                self.memory.insert(digest, Arc::clone(&outside));
                Ok(OutsideVerdict::Passed(outside))
            }
            Judgement::Refused(refusal) | Judgement::KeyMissing(refusal) => {
                let issuer = Some(Arc::clone(issuer.name()));
                Ok(OutsideVerdict::Refused(OutsideRefusal { issuer, ..refusal }))
            }
            Judgement::Unavailable => Err(issuer.unavailable(ring::now())),
        }
    }
}
