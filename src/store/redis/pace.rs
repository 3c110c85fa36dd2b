//! How often connections are made: a fleet must not overload a Redis that has just come back.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Between two connections, when more are wanted than may be made at once.
const GAP: Duration = Duration::from_millis(167);

/// Spaces the connections of one process: at once one for each worker, one for the link and one for
/// changes; after that six a second. With two workers that is no more than ten in any second.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all that were let through would have begun, had they been spaced by the gap (generic
    /// cell rate algorithm). Who waits for a turn waits in line for this.
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
        let leeway = GAP.saturating_mul(at_once.saturating_sub(1));
        Self { due: Mutex::new(None), leeway }
    }

    /// Waits for a turn to connect.
    ///
    /// # Cancel safety
    ///
    /// One who gives up takes none. When a term ends, so do its attempts to connect, and the link
    /// must not wait for the turns of those: Redis may be there again at once.
    pub(super) async fn turn(&self) {
        let mut due = self.due.lock().await;
        if let Some(begin) = self.begin(*due) {
            sleep_until(begin).await;
        }
        *due = Some(next(*due, Instant::now()));
    }

    /// When the next one may begin; none: now.
    fn begin(&self, due: Option<Instant>) -> Option<Instant> {
        due.and_then(|due| due.checked_sub(self.leeway))
    }
}

/// What is due after one that begins now.
fn next(due: Option<Instant>, now: Instant) -> Instant {
    due.map_or(now, |due| due.max(now)) + GAP
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
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_is_needed_at_once_is_made_at_once_and_then_no_more_than_ten_in_a_second() {
        let pace = Pace::of(4);
        let start = Instant::now();
        let (mut now, mut due, mut waits) = (start, None, Vec::new());
        for _ in 0..60 {
            now = pace.begin(due).map_or(now, |begin| begin.max(now));
            due = Some(next(due, now));
            waits.push(now - start);
        }
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 4);
        assert!(
            waits.windows(11).all(|eleven| eleven[10] - eleven[0] >= Duration::from_secs(1)),
            "{waits:?}"
        );
        assert_eq!(waits.last(), Some(&(GAP * 56)));
        // After a rest the whole is there again.
        now += Duration::from_secs(60);
        for _ in 0..4 {
            assert!(pace.begin(due).is_none_or(|begin| begin <= now));
            due = Some(next(due, now));
        }
        assert!(pace.begin(due).is_some_and(|begin| begin > now));
    }

    #[tokio::test]
    async fn those_who_give_up_take_no_turn_from_the_others() {
        let pace = std::sync::Arc::new(Pace::of(1));
        pace.turn().await;
        let mut waiting = JoinSet::new();
        for _ in 0..1000 {
            let pace = std::sync::Arc::clone(&pace);
            waiting.spawn(async move { timeout(GAP / 2, pace.turn()).await });
        }
        let gave_up = waiting.join_all().await.into_iter().filter(Result::is_err).count();
        assert!(gave_up > 900, "{gave_up}");
        // All of their turns would be some three minutes.
        let patience = Duration::from_secs(30);
        assert!(timeout(patience, pace.turn()).await.is_ok());
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
