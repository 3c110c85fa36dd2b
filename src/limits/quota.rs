//! A rate and its burst.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many requests a period, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests a period.
    pub count: NonZeroU32,
    /// The period; one day at most, and not zero.
    pub period: Duration,
    /// Requests at once, after a pause that was long enough.
    pub burst: NonZeroU32,
}

impl Quota {
    /// The time after which one permit more is there, in nanoseconds; at least 1. Rounded up, so
    /// that the rate is never exceeded.
    #[must_use]
    pub fn interval_nanos(&self) -> u64 {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        period.div_ceil(self.count.get().into()).max(1)
    }

    /// The time after which all permits are there again, in nanoseconds.
    #[must_use]
    pub fn full_after_nanos(&self) -> u64 {
        self.interval_nanos().saturating_mul(self.burst.get().into())
    }

    /// The quota that lets through only what both let through: the lower rate, and the smaller
    /// burst.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let slower = if other.interval_nanos() > self.interval_nanos() { other } else { self };
        Self { burst: self.burst.min(other.burst), ..slower }
    }
}

/// As in `100/s, 200 at once`.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        let unit = UNITS.iter().find(|(_, unit)| *unit == seconds);
        match unit {
            Some((unit, _)) => write!(f, "{}/{unit}, {} at once", self.count, self.burst),
            None => write!(f, "{}/{seconds}s, {} at once", self.count, self.burst),
        }
    }
}

/// The units of periods, with their seconds.
pub const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(count: u32, period: u64, burst: u32) -> Quota {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let period = Duration::from_secs(period);
        Quota { count: number(count), period, burst: number(burst) }
    }

    #[test]
    fn a_permit_comes_back_evenly_and_never_too_early() {
        assert_eq!(quota(10, 1, 20).interval_nanos(), 100_000_000);
        assert_eq!(quota(10, 1, 20).full_after_nanos(), 2_000_000_000);
        assert_eq!(quota(3, 1, 1).interval_nanos(), 333_333_334);
        assert_eq!(quota(u32::MAX, 1, 1).interval_nanos(), 1);
        assert_eq!(quota(1, 86_400, u32::MAX).full_after_nanos(), u64::MAX);
    }

    #[test]
    fn the_stricter_of_two_is_slower_and_has_the_smaller_burst() {
        let (minute, second) = (quota(60, 60, 5), quota(2, 1, 1));
        assert_eq!(minute.stricter(second), quota(60, 60, 1));
        assert_eq!(second.stricter(minute), quota(60, 60, 1));
    }
}
