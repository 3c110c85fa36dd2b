//! The generic cell rate algorithm: what is left of a quota is one point of time.
//!
//! A counter remembers when all its permits will be there again. A permit moves that moment on by
//! one interval, and one that would move it further than a whole burst ahead is not given. So
//! permits come back one by one, and nothing has to be done while they do.
//!
//! `governor` has the same rule. It is not used, because a request that another limit refuses gives
//! its permit back here, because the quota can be another one for each key, and because the time is
//! given: it is read once per exchange.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::quota::Quota;
use super::verdict::Verdict;
use crate::domain::Uptime;

/// What is left of one quota: a point of [`Uptime`], in nanoseconds, at which all permits are
/// there.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Takes one permit, if there is one.
    pub(super) fn take(&self, quota: Quota, now: Uptime) -> Verdict {
        let (now, interval) = (now.nanos(), quota.interval_nanos());
        let full = quota.full_after_nanos();
        let step = |full_at: u64| {
            let moved = full_at.max(now).saturating_add(interval);
            (moved - now <= full).then_some(moved)
        };
        let taken = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let full_at = match taken {
            Ok(before) => before.max(now).saturating_add(interval),
            Err(unchanged) => unchanged,
        };
        let used = full_at.saturating_sub(now);
        let left = full.saturating_sub(used);
        // Too large for the type only if the burst is, which it is not.
        let remaining = u32::try_from(left / interval).unwrap_or(u32::MAX);
        let next_after = if used == 0 { 0 } else { used + (left / interval + 1) * interval - full };
        Verdict {
            is_allowed: taken.is_ok(),
            remaining,
            next_after: Duration::from_nanos(next_after),
        }
    }

    /// Spends permits that were given elsewhere, as far as there are any.
    pub(super) fn spend(&self, quota: Quota, number: u32, now: Uptime) {
        let (now, full) = (now.nanos(), quota.full_after_nanos());
        let spent = quota.interval_nanos().saturating_mul(number.into());
        let step = |full_at: u64| {
            Some(full_at.max(now).saturating_add(spent).min(now.saturating_add(full)))
        };
        let _ = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// The same with another quota: as many permits are used up as were, as far as there are so
    /// many. `None`: none is.
    pub(super) fn converted(&self, from: Quota, to: Quota, now: Uptime) -> Option<Self> {
        let now = now.nanos();
        let used = self.0.load(Ordering::Relaxed).checked_sub(now).filter(|used| *used > 0)?;
        let interval = u128::from(to.interval_nanos());
        let used = (u128::from(used) * interval).div_ceil(u128::from(from.interval_nanos()));
        let used = u64::try_from(used).unwrap_or(u64::MAX).min(to.full_after_nanos());
        Some(Self(AtomicU64::new(now.saturating_add(used))))
    }

    /// Gives back one permit of this quota.
    pub(super) fn give_back(&self, quota: Quota) {
        let back = |full_at: u64| Some(full_at.saturating_sub(quota.interval_nanos()));
        let _ = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn quota(count: u32, period: Duration, burst: u32) -> Quota {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Quota { count: number(count), period, burst: number(burst) }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Uptime {
        Uptime::from_nanos(1_000_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_burst_passes_and_then_one_for_each_interval() {
        let (counter, quota) = (Counter::default(), quota(10, SECOND, 3));
        let verdict = |is_allowed, remaining, next| Verdict {
            is_allowed,
            remaining,
            next_after: Duration::from_millis(next),
        };
        assert_eq!(counter.take(quota, at(0)), verdict(true, 2, 100));
        assert_eq!(counter.take(quota, at(0)), verdict(true, 1, 100));
        assert_eq!(counter.take(quota, at(50)), verdict(true, 0, 50));
        assert_eq!(counter.take(quota, at(50)), verdict(false, 0, 50));
        assert_eq!(counter.take(quota, at(99)), verdict(false, 0, 1));
        assert_eq!(counter.take(quota, at(100)), verdict(true, 0, 100));
        assert_eq!(counter.take(quota, at(100)), verdict(false, 0, 100));
        assert_eq!(counter.take(quota, at(60_000)), verdict(true, 2, 100), "no more than a burst");
    }

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_given_back_is_there_again() {
        let (counter, quota) = (Counter::default(), quota(1, Duration::from_hours(1), 2));
        assert!(counter.take(quota, at(0)).is_allowed);
        assert!(counter.take(quota, at(0)).is_allowed);
        for _ in 0..100 {
            assert!(!counter.take(quota, at(1)).is_allowed);
        }
        counter.give_back(quota);
        assert!(counter.take(quota, at(2)).is_allowed);
        assert!(!counter.take(quota, at(2)).is_allowed);
    }

    #[test]
    fn a_clock_that_stands_still_or_a_time_that_is_late_gives_nothing_more() {
        let (counter, quota) = (Counter::default(), quota(10, SECOND, 1));
        assert!(counter.take(quota, at(1000)).is_allowed);
        // Another worker read its clock earlier.
        assert!(!counter.take(quota, at(999)).is_allowed);
        assert!(!counter.take(quota, at(1000)).is_allowed);
    }

    #[test]
    fn a_smaller_quota_holds_at_once_and_says_when_it_lets_through_again() {
        let counter = Counter::default();
        let (wide, narrow) = (quota(1, SECOND, 10), quota(1, SECOND, 2));
        for _ in 0..10 {
            assert!(counter.take(wide, at(0)).is_allowed);
        }
        let verdict = counter.take(narrow, at(0));
        assert_eq!((verdict.is_allowed, verdict.remaining), (false, 0));
        assert_eq!(verdict.next_after, Duration::from_secs(9));
        assert!(!counter.take(narrow, at(8_999)).is_allowed);
        assert!(counter.take(narrow, at(9_000)).is_allowed);
    }

    #[test]
    fn another_quota_has_as_many_permits_used_up_as_were() {
        let left = |used: u32, from: Quota, to: Quota, later: u64| {
            let counter = Counter::default();
            for _ in 0..used {
                assert!(counter.take(from, at(0)).is_allowed);
            }
            let counter = counter.converted(from, to, at(later)).unwrap_or_default();
            (0..100).filter(|_| counter.take(to, at(later)).is_allowed).count()
        };
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        for (used, from, to, expected) in [
            (3, quota(1, hour, 5), quota(1, hour, 5), 2),
            (3, quota(1, hour, 5), quota(1, hour, 8), 5),
            (3, quota(1, hour, 5), quota(1, hour, 2), 0),
            (3, quota(1, hour, 5), quota(60, hour, 5), 2),
            (3, quota(60, hour, 5), quota(1, hour, 5), 2),
            (3, quota(1, day, 5), quota(1000, SECOND, 5), 2),
            (0, quota(1, hour, 5), quota(1, hour, 7), 7),
        ] {
            assert_eq!(left(used, from, to, 0), expected, "{used} of {from} to {to}");
        }
        // One has come back by then.
        assert_eq!(left(3, quota(60, hour, 5), quota(1, hour, 5), 60_000), 3);
        // What was used up is no debt beyond the burst: one comes back after one interval.
        let counter = Counter::default();
        for _ in 0..50 {
            assert!(counter.take(quota(1, hour, 50), at(0)).is_allowed);
        }
        let narrow = quota(1, SECOND, 2);
        let counter = counter.converted(quota(1, hour, 50), narrow, at(0)).expect("used");
        assert!(!counter.take(narrow, at(999)).is_allowed);
        assert!(counter.take(narrow, at(1000)).is_allowed);
    }

    #[test]
    fn many_threads_together_get_exactly_one_burst() {
        let (counter, quota) = (Counter::default(), quota(1, Duration::from_hours(1), 1000));
        let passed: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| counter.take(quota, at(0)).is_allowed).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it counts")).sum()
        });
        assert_eq!(passed, 1000);
    }

    /// The same requests, one by one, by the book: so many tokens in a bucket, as a fraction.
    #[test]
    fn it_lets_through_what_a_bucket_that_is_refilled_evenly_would() {
        for (count, period, burst) in [(7, SECOND, 3), (100, SECOND, 200), (10, SECOND * 60, 1)] {
            let (counter, quota) = (Counter::default(), quota(count, period, burst));
            let interval = u128::from(quota.interval_nanos());
            let (most, mut bucket) = (interval * u128::from(burst), interval * u128::from(burst));
            let (mut before, mut now, mut seed) = (0_u64, 0_u64, 42_u64);
            for step in 0..20_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                now += (seed >> 33) % (quota.interval_nanos() * 2);
                bucket = (bucket + u128::from(now - before)).min(most);
                before = now;
                let passes = bucket >= interval;
                let verdict = counter.take(quota, Uptime::from_nanos(now));
                assert_eq!(verdict.is_allowed, passes, "step {step} of {count}/{period:?}");
                bucket -= if passes { interval } else { 0 };
                assert_eq!(u128::from(verdict.remaining), bucket / interval, "step {step}");
            }
        }
    }
}
