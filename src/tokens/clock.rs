//! Reads the two clocks. All other code gets the time as an argument.

#![expect(clippy::disallowed_methods, reason = "the place where the wall clock is read")]

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::{Moment, Timestamp, Uptime};

/// One reading of both clocks.
#[must_use]
pub fn read() -> Moment {
    Moment { wall: Timestamp::from_system(SystemTime::now()), uptime: uptime() }
}

/// The monotonic clock alone. It counts suspension (`CLOCK_BOOTTIME`): a lease from before a
/// suspension is over after it. Neither clock takes a system call.
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
    fn the_monotonic_clock_never_goes_back() {
        let mut before = uptime();
        for _ in 0..1000 {
            let now = uptime();
            assert!(now >= before);
            before = now;
        }
    }
}
