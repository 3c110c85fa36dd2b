//! Points of the wall clock, as values: nothing in here reads a clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From a reading of the system clock. A clock before 1970 reads as 1970: tokens then expire too late to be issued
    /// sensibly, but nothing wraps.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the form of `iat` and `exp` (RFC 7519, section 2, NumericDate).
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same moment without its fraction of a second, so that a record and a JWT claim can say the same thing.
    #[must_use]
    pub const fn truncated_to_seconds(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1000))
    }

    /// This moment plus `span`; saturates at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `2027-06-25T10:00:00+00:00`: the form of the `allowlist-jwt` token API.
    #[must_use]
    pub fn to_rfc3339_offset(self) -> String {
        let mut text = self.civil();
        text.push_str("+00:00");
        text
    }

    /// `2027-06-25T10:00:00Z`.
    #[must_use]
    pub fn to_rfc3339_zulu(self) -> String {
        let mut text = self.civil();
        text.push('Z');
        text
    }

    fn civil(self) -> String {
        let moment = jiff::Timestamp::from_second(self.unix_seconds()).unwrap_or(jiff::Timestamp::MAX);
        let civil = jiff::tz::Offset::UTC.to_datetime(moment);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_zulu())
    }
}

/// One reading of both clocks, made once per exchange and handed on: expiry follows the wall clock, every span the
/// monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the calendar says.
    pub wall: Timestamp,
    /// What the stop-watch says.
    pub uptime: Uptime,
}

/// A point of a clock that only ever goes forward, suspension included: nanoseconds since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(u64);

impl Uptime {
    /// From nanoseconds since the start of the machine.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the machine.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `span`; saturates at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_second_in_utc() {
        let moment = Timestamp::from_unix_millis(1_813_917_600_999);
        assert_eq!(moment.to_rfc3339_offset(), "2027-06-25T10:00:00+00:00");
        assert_eq!(moment.to_rfc3339_zulu(), "2027-06-25T10:00:00Z");
    }

    #[test]
    fn the_ends_of_time_neither_wrap_nor_panic() {
        assert_eq!(Timestamp::from_unix_millis(i64::MAX).after(Duration::MAX).unix_millis(), i64::MAX);
        let _ = Timestamp::from_unix_millis(i64::MAX).to_rfc3339_zulu();
        let _ = Timestamp::from_unix_millis(i64::MIN).to_rfc3339_zulu();
        assert_eq!(Timestamp::from_unix_millis(-1).unix_seconds(), -1);
    }
}
