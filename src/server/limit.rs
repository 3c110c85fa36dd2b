//! How many connections of clients are open at once, and what becomes of those beyond.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections beyond the limit may be answered at the same time: each may be a TLS
/// handshake, and lasts [`SURPLUS_LIFE`] at most.
const MOST_SURPLUS: usize = 64;

/// How long a connection beyond the limit may take, from its handshake to its end.
pub(super) const SURPLUS_LIFE: Duration = Duration::from_secs(2);

/// The limit of the whole process, shared by all listeners.
#[derive(Debug)]
pub struct ConnectionLimit {
    most: usize,
    /// For connections beyond the limit that a worker has, to answer them 503.
    surplus: Arc<Semaphore>,
    refused: AtomicU64,
    /// Whether every new connection is one beyond the limit.
    is_closed: AtomicBool,
}

impl ConnectionLimit {
    /// `most`: connections at the same time, at least 1.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            surplus: Arc::new(Semaphore::new(MOST_SURPLUS)),
            refused: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// How many connections may be open at the same time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many connections were turned away since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// From now on, every new connection is one beyond the limit, or is not any more.
    pub fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether no further connection may be served, where the workers have so many, those beyond
    /// the limit included.
    pub(super) fn is_reached(&self, connections: usize) -> bool {
        let surplus = MOST_SURPLUS.saturating_sub(self.surplus.available_permits());
        self.is_closed.load(Ordering::Relaxed) || connections.saturating_sub(surplus) >= self.most
    }

    /// A slot for a connection beyond the limit; `None`: all are taken, and it has to be closed at
    /// once.
    pub(super) fn surplus_slot(&self) -> Option<SurplusSlot> {
        Arc::clone(&self.surplus).try_acquire_owned().ok()
    }
}

/// The right to be answered beyond the limit. Free again when it is dropped.
pub(super) type SurplusSlot = OwnedSemaphorePermit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_limit_are_bounded_and_take_nothing_from_it() {
        let limit = ConnectionLimit::new(2);
        assert!(!limit.is_reached(1) && limit.is_reached(2));
        let slots: Vec<_> =
            (0..MOST_SURPLUS).map(|_| limit.surplus_slot().expect("a slot")).collect();
        assert!(limit.surplus_slot().is_none());
        assert!(limit.is_reached(2 + MOST_SURPLUS) && !limit.is_reached(1 + MOST_SURPLUS));
        drop(slots);
        assert!(limit.surplus_slot().is_some());
        assert!(limit.is_reached(2) && !limit.is_reached(1));
        limit.close(true);
        assert!(limit.is_reached(0));
        limit.close(false);
        assert!(!limit.is_reached(1));
    }
}
