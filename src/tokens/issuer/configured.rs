//! An outside issuer of the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::refusal::IssuerUnavailable;
use super::ring::{KeyRing, RingHealth};
use super::settings::IssuerSettings;

/// An outside issuer with its keys.
#[derive(Debug)]
pub struct Issuer {
    /// As configured.
    pub settings: IssuerSettings,
    /// Its keys.
    pub ring: Arc<KeyRing>,
    /// The configuration does not have it any more, or has changed it. Never goes back.
    pub(super) is_retired: AtomicBool,
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

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    pub(super) fn unavailable(&self, now: Instant) -> IssuerUnavailable {
        let reason = match self.ring.health(now) {
            RingHealth::Well | RingHealth::Stale(_) => "they were not here a moment ago".to_owned(),
            RingHealth::Unusable(why) | RingHealth::Never(why) => why,
        };
        IssuerUnavailable { issuer: Arc::clone(self.name()), reason }
    }
}
