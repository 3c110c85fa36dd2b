//! How often connections are made: a fleet that comes back must not bury the Redis that comes back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two attempts of a process while they fail: at most ten a second.
const GAP: Duration = Duration::from_millis(100);

/// Spaces the attempts to connect of one process, once one has failed. A server that answers is connected to at once by all
/// who need it.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next one may begin; `None`: at once, as the latest one succeeded.
    next: Mutex<Option<Instant>>,
    gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next: Mutex::new(None), gap: GAP }
    }
}

impl Pace {
    /// How long to wait before connecting; `None` if the turn would come only after `patience`, and then none is taken.
    pub(super) fn turn(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let mut next = self.lock();
        let Some(turn) = *next else { return Some(Duration::ZERO) };
        let wait = turn.saturating_duration_since(now);
        if wait > patience {
            return None;
        }
        *next = Some(now + wait + self.gap);
        Some(wait)
    }

    /// How an attempt ended.
    pub(super) fn ended(&self, has_succeeded: bool, now: Instant) {
        let mut next = self.lock();
        if has_succeeded {
            *next = None;
        } else if next.is_none() {
            *next = Some(now + self.gap);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How long to wait after `failures` failures in a row: 50 ms, doubled each time up to 2 s, and of that between a half and
/// the whole, so that the instances of a fleet do not come back all at once.
pub(super) fn back_off(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    let whole = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    whole / 2 + whole.mul_f64(random_share() / 2.0)
}

/// A number from 0 up to 1.
fn random_share() -> f64 {
    f64::from(random() & 0xffff) / 65536.0
}

/// 32 random bits; the same ones each time if the system has none to give, which costs the jitter and nothing else.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_ten_connections_begin_in_a_second_while_they_fail() {
        let pace = Pace::default();
        let start = Instant::now();
        assert!((0..100).all(|_| pace.turn(start, Duration::ZERO) == Some(Duration::ZERO)), "none has failed");
        pace.ended(false, start);
        let begun = (0..1000)
            .filter_map(|_| pace.turn(start, Duration::from_secs(10)))
            .filter(|wait| *wait < Duration::from_secs(1))
            .count();
        assert_eq!(begun, 9, "beside the one that failed");
        pace.ended(true, start);
        assert_eq!(pace.turn(start, Duration::ZERO), Some(Duration::ZERO));
    }

    #[test]
    fn who_would_wait_too_long_takes_no_turn() {
        let pace = Pace::default();
        let start = Instant::now();
        pace.ended(false, start);
        assert_eq!(pace.turn(start, GAP / 2), None);
        assert_eq!(pace.turn(start, GAP), Some(GAP));
        assert_eq!(pace.turn(start, GAP), None);
        assert_eq!(pace.turn(start + 10 * GAP, Duration::ZERO), Some(Duration::ZERO));
    }

    #[test]
    fn waiting_grows_to_a_bound_and_is_never_nothing() {
        for failures in 0..100 {
            let wait = back_off(failures);
            assert!(wait >= Duration::from_millis(25) && wait <= Duration::from_secs(2), "{failures}: {wait:?}");
        }
        assert!(back_off(100) >= Duration::from_secs(1));
    }
}
