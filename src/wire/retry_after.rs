//! `Retry-After` (RFC 9110, section 10.2.3): when a client should come again.

use std::time::Duration;

/// When nobody knows at what time there is room: of every answer that says so, and of every 503
/// without a time of its own.
pub(crate) const SHORTLY: Duration = Duration::from_secs(1);

/// In whole seconds, rounded up, at least 1: an earlier request would be refused again.
pub(crate) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
