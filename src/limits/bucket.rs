//! What one instance alone has let pass of a quota, by the generic cell rate algorithm.

use std::time::Duration;

use super::quota::Quota;
use super::verdict::Verdict;
use crate::domain::Uptime;

/// How far the permits of one counter are spent; at first not at all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When all permits are there again, in nanoseconds of [`Uptime`].
    full_at: u64,
}

impl Bucket {
    /// Takes one permit, if there is one.
    pub(super) fn take(&mut self, quota: Quota, now: Uptime) -> Verdict {
        let interval = quota.interval_nanos();
        let mut spent = self.spent(now);
        let mut free = quota.full_after_nanos().saturating_sub(spent) / interval;
        let is_allowed = free > 0;
        if is_allowed {
            spent = spent.saturating_add(interval);
            free -= 1;
            self.full_at = now.nanos().saturating_add(spent);
        }
        let next = if spent == 0 { 0 } else { (spent - 1) % interval + 1 };
        Verdict {
            is_allowed,
            remaining: u32::try_from(free).unwrap_or(u32::MAX),
            next_after: Duration::from_nanos(next),
        }
    }

    /// Spends permits that were given elsewhere, as far as there are any.
    pub(super) fn spend(&mut self, quota: Quota, number: u32, now: Uptime) {
        let more = quota.interval_nanos().saturating_mul(number.into());
        let spent = self.spent(now).saturating_add(more).min(quota.full_after_nanos());
        self.full_at = now.nanos().saturating_add(spent);
    }

    /// Gives back one permit.
    pub(super) fn give_back(&mut self, quota: Quota) {
        self.full_at = self.full_at.saturating_sub(quota.interval_nanos());
    }

    fn spent(self, now: Uptime) -> u64 {
        self.full_at.saturating_sub(now.nanos())
    }
}
