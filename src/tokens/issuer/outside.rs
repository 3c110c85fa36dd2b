//! An outside token that passed, and its holder.

use std::sync::Arc;

use serde_json::Value;

use super::claims::{self, CheckedClaims};
use super::configured::Issuer;
use super::jwk::Key;
use super::refusal::IssuerUnavailable;
use super::ring;
use crate::domain::{ClaimPath, ClaimRule, Moment};

/// An outside token that was verified. It counts while it [is current](Self::is_current).
#[derive(Debug)]
pub struct Outside {
    pub(super) issuer: Arc<Issuer>,
    pub(super) key: Arc<Key>,
    pub(in crate::tokens) claims: CheckedClaims,
}

impl Outside {
    /// The name of its issuer in the configuration, as in the `accept` of a route.
    #[must_use]
    pub fn issuer(&self) -> &Arc<str> {
        self.issuer.name()
    }

    /// The origin of its subject, within which subjects are unique: the issuer's name, with the
    /// tenant if the issuer is one by template.
    #[must_use]
    pub fn origin(&self) -> &str {
        let tenancy = self.issuer.settings.tenancy.as_ref();
        tenancy.map_or(self.issuer.name(), |tenancy| &tenancy.origin)
    }

    /// All roles, in the order of the claim.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.claims.roles.iter().map(AsRef::as_ref)
    }

    /// The scopes, of `scope` and `scp`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.claims.scopes.iter().map(AsRef::as_ref)
    }

    /// Whether a claim meets a rule of a route. Only the claims of
    /// [`IssuerSettings::kept_claims`](super::IssuerSettings) are known: no other one does.
    #[must_use]
    pub fn meets(&self, rule: &ClaimRule) -> bool {
        rule.is_met(self.kept(&rule.path))
    }

    /// A claim that [`meets`](Self::meets) knows, as the log shows it: cut at 100 characters.
    #[must_use]
    pub fn shown(&self, path: &ClaimPath) -> Option<String> {
        self.kept(path).map(|value| claims::shown(Some(value)))
    }

    fn kept(&self, path: &ClaimPath) -> Option<&Value> {
        let at = self.issuer.settings.kept_claims.iter().position(|kept| kept == path)?;
        self.claims.kept.get(at)?.as_ref()
    }

    /// Whether it still counts: it has not expired, its key is still published, and its issuer is
    /// configured as it was. If not, it must be checked anew. Three loads; asked at every use of a
    /// remembered token, and for open connections.
    ///
    /// # Errors
    ///
    /// When the keys of its issuer are too old to tell.
    pub fn is_current(&self, now: Moment) -> Result<bool, IssuerUnavailable> {
        if now.wall >= self.claims.expires_at || self.key.is_retired() || self.issuer.is_retired() {
            return Ok(false);
        }
        let now = ring::now();
        if self.issuer.ring.are_usable(now) { Ok(true) } else { Err(self.issuer.unavailable(now)) }
    }
}
