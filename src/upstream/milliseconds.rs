//! Spans in milliseconds, as states of endpoints keep them in one word.

use std::time::Duration;

pub(super) fn in_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
