//! The two clocks, read: what everything else gets handed as a value.

#![expect(clippy::disallowed_methods, reason = "the place where the wall clock is read")]

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::{Moment, Timestamp, Uptime};

/// One reading of both clocks.
#[must_use]
pub fn read() -> Moment {
    Moment { wall: Timestamp::from_system(SystemTime::now()), uptime: uptime() }
}

/// The stop-watch alone. It counts the time that the machine was suspended (`CLOCK_BOOTTIME`): a
/// lease that was taken before a suspension is over after it. Read without a system call, as the
/// wall clock is.
#[must_use]
pub fn uptime() -> Uptime {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Uptime::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_watch_never_goes_back() {
        let mut before = uptime();
        for _ in 0..1000 {
            let now = uptime();
            assert!(now >= before);
            before = now;
        }
    }
}
