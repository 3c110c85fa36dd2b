//! The port to counters that a fleet shares.
//!
//! An instance does not ask for each request: it takes permits in bundles, and lets requests pass
//! on them for a while.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use super::{CounterKey, Quota};

/// What an operation returns: `Send`, because a store works on a thread of its own.
pub type CountersFuture<T> =
    Pin<Box<dyn Future<Output = Result<T, CountersError>> + Send + 'static>>;

/// Counters that all instances of a fleet share. Nothing of them survives what the store loses: a
/// counter that is gone is one with all its permits.
pub trait SharedCounters: Send + Sync + 'static {
    /// Takes up to `wanted` permits of the counter under `key`, at the store's own time, atomically
    /// against every other call. A counter that is not there yet has all permits of `quota`. It has
    /// a deadline of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not give back what was taken.
    fn take(&self, key: CounterKey, quota: Quota, wanted: NonZeroU32) -> CountersFuture<Grant>;
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many permits were taken: as many as there were, and no more than were wanted.
    pub granted: u32,
    /// How many are left for the whole fleet.
    pub remaining: u32,
    /// When one permit more will be there; zero: all are.
    pub next_after: Duration,
    /// When all permits will be there.
    pub full_after: Duration,
}

/// The counters cannot tell.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CountersError {
    /// They did not answer in time; permits may have been taken.
    #[error("the counters of the fleet did not answer in time")]
    TimedOut,
    /// They cannot be reached or have failed.
    #[error("the counters of the fleet are unavailable: {0}")]
    Unavailable(String),
}
