//! What the health checks of one endpoint have found.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::milliseconds::in_ms;
use super::settings::HealthCheck;

/// Written by the one thread that checks, and by reloads.
#[derive(Debug, Default)]
pub(super) struct Checks {
    good_in_row: AtomicU32,
    bad_in_row: AtomicU32,
    /// When the last one began; 0: the next one is due.
    last_ms: AtomicU64,
    /// Which one is under way; 0: none.
    running: AtomicU32,
    /// The number of the last one.
    number: AtomicU32,
    /// Whether one has ended that counts.
    has_result: AtomicBool,
}

/// A check that is under way, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check(u32);

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Whether there were enough in a row to count. The first one of all is enough: nothing else is
    /// known of the endpoint.
    pub(super) is_enough: bool,
    pub(super) is_first: bool,
}

impl Checks {
    /// Whether there is a result.
    pub(super) fn have_result(&self) -> bool {
        self.has_result.load(Ordering::Acquire)
    }

    /// From now on, something else is asked, or at another interval: the next check is due, and one
    /// that is under way does not count.
    pub(super) fn begin_anew(&self) {
        self.good_in_row.store(0, Ordering::Relaxed);
        self.bad_in_row.store(0, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        self.last_ms.store(0, Ordering::Relaxed);
    }

    /// Begins a check, if one is due.
    pub(super) fn begin(&self, settings: &HealthCheck, now_ms: u64) -> Option<Check> {
        let last = self.last_ms.load(Ordering::Relaxed);
        let is_due = last == 0 || now_ms >= last.saturating_add(in_ms(settings.interval));
        if !is_due || self.running.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let number = self.number.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.number.store(number, Ordering::Relaxed);
        self.running.store(number, Ordering::Relaxed);
        self.last_ms.store(now_ms, Ordering::Relaxed);
        Some(Check(number))
    }

    /// A check has ended. `None`: it does not count any more.
    pub(super) fn end(
        &self,
        check: Check,
        settings: &HealthCheck,
        is_good: bool,
    ) -> Option<Finding> {
        let (one, other) = (Ordering::Relaxed, Ordering::Relaxed);
        self.running.compare_exchange(check.0, 0, one, other).ok()?;
        let (counter, reset, least) = if is_good {
            (&self.good_in_row, &self.bad_in_row, settings.healthy_after)
        } else {
            (&self.bad_in_row, &self.good_in_row, settings.unhealthy_after)
        };
        reset.store(0, Ordering::Relaxed);
        let in_row = counter.load(Ordering::Relaxed).saturating_add(1);
        counter.store(in_row, Ordering::Relaxed);
        let is_first = !self.have_result();
        Some(Finding { is_enough: is_first || in_row >= least, is_first })
    }

    /// What a check has found is in force.
    pub(super) fn note_result(&self) {
        self.has_result.store(true, Ordering::Release);
    }
}
