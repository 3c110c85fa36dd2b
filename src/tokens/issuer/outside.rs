//! What is known of the holder of an outside token that passed.

use std::sync::Arc;

use serde_json::Value;

use super::claims::{self, Checked};
use super::configured::Issuer;
use super::jwk::Key;
use super::refusal::IssuerUnavailable;
use super::ring;
use crate::domain::{ClaimPath, ClaimRule, Identity, Moment, Timestamp};

/// An outside token that was verified. Immutable; it counts while it [is current](Self::is_current).
#[derive(Debug)]
pub struct Outside {
    pub(super) issuer: Arc<Issuer>,
    pub(super) key: Arc<Key>,
    pub(super) checked: Checked,
}

impl Outside {
    /// The name of its issuer in the configuration: what a route's `accept` names.
    #[must_use]
    pub fn issuer(&self) -> &Arc<str> {
        self.issuer.name()
    }

    /// What its subject is of: no two holders of tokens have both this and the subject in common.
    /// The issuer's name, and of an issuer by template the tenant too.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.issuer
            .settings()
            .tenancy
            .as_ref()
            .map_or(self.issuer.name(), |tenancy| &tenancy.origin)
    }

    /// Who it is. The organization is the active tenant where there is no claim for it; the role is
    /// the first of [`roles`](Self::roles).
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.checked.identity
    }

    /// All roles, in the order of the claim.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.checked.roles.iter().map(AsRef::as_ref)
    }

    /// What it is good for, from `scope` and `scp`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.checked.scopes.iter().map(AsRef::as_ref)
    }

    /// The tenants of the holder, in the order of the claim.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.checked.tenants.iter().map(AsRef::as_ref)
    }

    /// The tenant that the holder acts for now. Nothing says that it is among
    /// [`tenants`](Self::tenants).
    #[must_use]
    pub fn active_tenant(&self) -> Option<&str> {
        self.checked.active_tenant.as_deref()
    }

    /// The `jti`, at most 255 bytes without control characters; unique only within its issuer, and
    /// not every token has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.checked.token_id.as_deref()
    }

    /// The first moment at which it is no longer accepted, leeway included.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.checked.expires_at
    }

    /// Whether its time is over at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.checked.expires_at
    }

    /// Whether a claim is as a route wants it. Only claims that
    /// [`IssuerSettings::kept_claims`](super::IssuerSettings) names are known: any other meets
    /// nothing.
    #[must_use]
    pub fn meets(&self, rule: &ClaimRule) -> bool {
        rule.is_met(self.kept(&rule.path))
    }

    /// A claim as the log shows it, cut at 100 characters; of those that
    /// [`meets`](Self::meets) knows.
    #[must_use]
    pub fn shown(&self, path: &ClaimPath) -> Option<String> {
        self.kept(path).map(|value| claims::shown(Some(value)))
    }

    fn kept(&self, path: &ClaimPath) -> Option<&Value> {
        let at = self.issuer.settings().kept_claims.iter().position(|kept| kept == path)?;
        self.checked.kept.get(at)?.as_ref()
    }

    /// Whether it still counts: not expired, its key still published, its issuer still configured
    /// as it was. A "no" means that it must be checked anew. Three loads; for every use of a
    /// remembered one, and for what is open already.
    ///
    /// # Errors
    ///
    /// When the keys of its issuer are too old to say.
    pub fn is_current(&self, now: Moment) -> Result<bool, IssuerUnavailable> {
        if self.is_expired(now.wall) || self.key.is_retired() || self.issuer.is_retired() {
            return Ok(false);
        }
        let now = ring::now();
        if self.issuer.ring().are_usable(now) {
            Ok(true)
        } else {
            Err(self.issuer.unavailable(now))
        }
    }
}
