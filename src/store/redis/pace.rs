//! How often connections are made: a fleet must not overload a Redis that has just come back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two connections, when more are wanted than may be made at once.
const GAP: Duration = Duration::from_millis(167);

/// Spaces the connections of one process: at once one for each worker, one for the link and one for
/// changes; after that six a second. With two workers that is no more than ten in any second.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all that were let through would have begun, had they been spaced by the gap (generic
    /// cell rate algorithm).
    due: Mutex<Option<Instant>>,
    /// So much earlier than that one may begin.
    leeway: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(u32::try_from(workers).unwrap_or(u32::MAX).saturating_add(2))
    }
}

impl Pace {
    /// With so many at once.
    fn of(at_once: u32) -> Self {
        Self { due: Mutex::new(None), leeway: GAP.saturating_mul(at_once.saturating_sub(1)) }
    }

    /// How long to wait before connecting; `None` if the turn would come only after `timeout`, and
    /// then none is taken.
    pub(super) fn turn(&self, now: Instant, timeout: Duration) -> Option<Duration> {
        let mut due = self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ahead = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let wait = ahead.saturating_sub(self.leeway);
        if wait > timeout {
            return None;
        }
        *due = Some(now + ahead + GAP);
        Some(wait)
    }
}

/// How long to wait after `failures` failures in a row: 50 ms, doubled each time up to half a
/// second, and of that between a half and the whole, so that the instances of a fleet do not come
/// back all at once. The longest adds to an outage: service is to be back two seconds after a Redis
/// that was away, and one after a failover.
pub(super) fn back_off(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(500);
    let whole = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    let share = f64::from(random() & 0xffff) / 65536.0;
    whole / 2 + whole.mul_f64(share / 2.0)
}

/// 32 random bits; the same ones each time if the system has none to give, which costs the jitter
/// and nothing else.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_at_once_is_made_at_once_and_then_no_more_than_ten_in_a_second() {
        let pace = Pace::of(4);
        let start = Instant::now();
        let waits: Vec<_> =
            (0..1000).filter_map(|_| pace.turn(start, Duration::from_secs(10))).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 4);
        assert!(
            waits.windows(11).all(|eleven| eleven[10] - eleven[0] >= Duration::from_secs(1)),
            "{waits:?}"
        );
        // After a rest the whole is there again.
        assert_eq!(
            pace.turn(start + Duration::from_secs(60), Duration::ZERO),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn one_that_would_wait_too_long_takes_no_turn() {
        let pace = Pace::of(1);
        let start = Instant::now();
        assert_eq!(pace.turn(start, Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(pace.turn(start, GAP / 2), None);
        assert_eq!(pace.turn(start, GAP), Some(GAP));
    }

    #[test]
    fn waiting_grows_to_a_bound_and_is_never_nothing() {
        for failures in 0..100 {
            let wait = back_off(failures);
            assert!(
                wait >= Duration::from_millis(25) && wait <= Duration::from_millis(500),
                "{failures}: {wait:?}"
            );
        }
        assert!(back_off(100) >= Duration::from_millis(250));
    }
}
