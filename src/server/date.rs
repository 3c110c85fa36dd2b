//! The `Date` of responses (RFC 9110, section 6.6.1): text that is made once a second, and not for each.

use std::time::SystemTime;

/// The time, as the field says it.
pub(super) struct Date {
    second: u64,
    text: String,
}

impl Date {
    pub(super) fn new() -> Self {
        let mut date = Self { second: 0, text: String::new() };
        date.set(SystemTime::now());
        date
    }

    /// To be called often enough that nobody minds.
    pub(super) fn set(&mut self, now: SystemTime) {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(now);
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_goes_with_the_time() {
        let mut date = Date::new();
        for (second, text) in
            [(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT")]
        {
            for millis in [0, 999] {
                date.set(SystemTime::UNIX_EPOCH + Duration::from_secs(second) + Duration::from_millis(millis));
                assert_eq!(date.as_bytes(), text.as_bytes());
            }
        }
    }
}
