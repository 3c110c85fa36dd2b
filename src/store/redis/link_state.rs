//! What can be seen of the link from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::telemetry::gauges::FleetGauges;
use crate::tokens::clock;
use crate::tokens::lease::Lease;

/// See the module.
#[derive(Debug, Default)]
pub struct LinkState {
    /// How often the link has been established.
    pub(super) terms: AtomicU64,
    /// How often the data turned out to be other data than before.
    pub(super) generations_lost: AtomicU64,
    /// How often everything was dropped.
    pub(super) drops: AtomicU64,
    /// How often an instance did not confirm a removal.
    pub(super) unconfirmed: AtomicU64,
    /// Why there is no link.
    fault: Mutex<Option<String>>,
}

impl LinkState {
    /// What is to be measured, of a fleet under this lease.
    #[must_use]
    pub fn gauges(&self, lease: &Lease) -> FleetGauges {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FleetGauges {
            lease_left: lease.left(clock::uptime()),
            lease: lease.terms().span,
            bound: lease.bound(),
            links: read(&self.terms),
            drops: read(&self.drops),
            generations_lost: read(&self.generations_lost),
            unconfirmed: read(&self.unconfirmed),
        }
    }

    /// Why there is no link; `None`: there is one.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
