//! Points of the wall clock, as values: this module reads no clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
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

    /// From a reading of the system clock. A clock before 1970 reads as 1970: nothing wraps.
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

    /// Whole seconds since the Unix epoch, rounded down: the form of `iat` and `exp` (RFC 7519,
    /// section 2, NumericDate).
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Without the fraction of a second, so that a record and a JWT claim name the same moment.
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
        format!("{}+00:00", self.civil())
    }

    /// `2027-06-25T10:00:00Z`.
    #[must_use]
    pub fn to_rfc3339_zulu(self) -> String {
        format!("{}Z", self.civil())
    }

    /// Reads a date with a time and an offset, as ISO 8601, RFC 3339 and most programs write it:
    /// `2026-12-31T23:59:59Z`, `2026-12-31 23:59+02:00`; not `20261231`. Between date and time is
    /// `T`, `t`, `_` or a space; seconds may be left out, and may have a fraction behind `.` or
    /// `,`, of which a millisecond is the last that counts; the offset is `Z`, `z`, `+02:00`,
    /// `+0200` or `+02`, less than a day.
    ///
    /// # Errors
    ///
    /// What is wrong; without an offset the moment is not known.
    pub fn parse_with_offset(text: &str) -> Result<Self, DateFault> {
        if !is_in_our_form(text.as_bytes()) {
            return Err(DateFault::Malformed);
        }
        let text = text.replacen('_', "T", 1);
        let pieces = Pieces::parse(&text).map_err(|_| DateFault::Malformed)?;
        let civil = match pieces.time() {
            Some(time) if pieces.date().year() > 0 => pieces.date().to_datetime(time),
            _ => return Err(DateFault::Malformed),
        };
        let offset = pieces.to_numeric_offset().ok_or(DateFault::NoOffset)?.seconds();
        if offset.abs() >= 24 * 60 * 60 {
            return Err(DateFault::Malformed);
        }
        let utc = civil
            .checked_sub(jiff::SignedDuration::from_secs(offset.into()))
            .ok()
            .filter(|utc| utc.year() > 0)
            .ok_or(DateFault::OutOfRange)?;
        i64::try_from(utc.duration_since(EPOCH).as_millis())
            .map(Self)
            .map_err(|_| DateFault::OutOfRange)
    }

    fn civil(self) -> DateTime {
        let since = jiff::SignedDuration::from_secs(self.unix_seconds());
        let last = DateTime::constant(9999, 12, 31, 23, 59, 59, 0);
        let end = if self.0 < 0 { DateTime::MIN } else { last };
        EPOCH.checked_add(since).unwrap_or(end)
    }
}

/// Whether a text has none of the forms that `jiff` reads beside ours: years of six digits, weeks,
/// no separators, hours alone, leap seconds, offsets with seconds, and names of time zones.
fn is_in_our_form(text: &[u8]) -> bool {
    let has = |at: usize, byte: u8| text.get(at) == Some(&byte);
    let time = text.get(16..).unwrap_or_default();
    let sign = time.iter().position(|byte| matches!(byte, b'+' | b'-'));
    has(4, b'-')
        && has(7, b'-')
        && has(13, b':')
        && !time.starts_with(b":60")
        && !time.contains(&b'[')
        && sign.is_none_or(|sign| time.len() - sign <= "+02:00".len())
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_zulu())
    }
}

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateFault {
    /// It is no date with a time.
    #[error("it is no date with a time")]
    Malformed,
    /// It does not say how far from UTC it is.
    #[error("it has no offset")]
    NoOffset,
    /// In UTC it would be in a year of more than four digits, or before the first.
    #[error("it is out of range")]
    OutOfRange,
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// One reading of both clocks, made once per exchange and handed on: expiry follows the wall clock,
/// every duration the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub uptime: Uptime,
}

/// A point of the monotonic clock, which counts suspension too: nanoseconds since the machine was
/// started.
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
    fn a_moment_is_read_in_every_usual_spelling() {
        let expected = "2026-12-31T23:59:59Z";
        for text in [
            "2026-12-31T23:59:59Z",
            "2026-12-31t23:59:59z",
            "2026-12-31 23:59:59Z",
            "2026-12-31_23:59:59Z",
            "2026-12-31T23:59:59.999999999Z",
            "2026-12-31T23:59:59,5Z",
            "2026-12-31T23:59:59+00:00",
            "2026-12-31T23:59:59-00:00",
            "2027-01-01T01:59:59+02:00",
            "2027-01-01T01:59:59+0200",
            "2027-01-01T01:59:59+02",
            "2026-12-31T18:29:59-05:30",
        ] {
            assert_eq!(
                Timestamp::parse_with_offset(text).map(Timestamp::to_rfc3339_zulu),
                Ok(expected.into()),
                "{text}"
            );
        }
        let without_seconds = Timestamp::parse_with_offset("2026-12-31T23:59Z").expect("a moment");
        assert_eq!(without_seconds.to_rfc3339_zulu(), "2026-12-31T23:59:00Z");
        assert_eq!(Timestamp::parse_with_offset("1970-01-01T00:00:01.25Z"), Ok(Timestamp(1250)));
        let leap_day = Timestamp::parse_with_offset("2028-02-29T00:00:00Z").expect("a moment");
        assert_eq!(leap_day.to_rfc3339_zulu(), "2028-02-29T00:00:00Z");
        let last = Timestamp::parse_with_offset("9999-12-31T23:59:59Z").expect("a moment");
        assert_eq!(last.to_rfc3339_zulu(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_moment_is_told_apart() {
        for text in ["2026-12-31T23:59:59", "2026-12-31T23:59", "2026-12-31T23:59:59.5"] {
            assert_eq!(Timestamp::parse_with_offset(text), Err(DateFault::NoOffset), "{text}");
        }
        for text in ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"] {
            assert_eq!(Timestamp::parse_with_offset(text), Err(DateFault::OutOfRange), "{text}");
        }
        for text in [
            "",
            "now",
            "1767225599",
            "2026-12-31",
            "2026-12-31Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-12-31T24:00:00Z",
            "2026-12-31T23:60:00Z",
            "2026-12-31T23:59:60Z",
            "2026-12-31T23:59:59.Z",
            "2026-12-31T23:59:59.1234567890Z",
            "2026-12-31T23:59:59+24:00",
            "2026-12-31T23:59:59+00:60",
            "2026-12-31T23:59:59+2",
            "2026-12-31T23:59:59ZZ",
            "2026-12-31T23:59:59 Z",
            " 2026-12-31T23:59:59Z",
            "2026-12-31X23:59:59Z",
            "20261231T235959Z",
            "+2026-12-31T23:59:59Z",
            "-001-12-31T23:59:59Z",
            "0000-12-31T23:59:59Z",
            "12026-12-31T23:59:59Z",
            "2026-12-31T23:59:59+é",
            "２０26-12-31T23:59:59Z",
            "2026-W01-1T00:00:00Z",
            "2026-12-31T23:59:+1Z",
            "2026-1-1T00:00:00Z",
            "+002026-12-31T23:59:59Z",
            "2026-12-31T23Z",
            "2026-12-31T235959Z",
            "2026-12-31T23:5959Z",
            "2026-12-31T23:59.5Z",
            "2026-12-31T23:59:59+02:00:00",
            "2026-12-31T23:59+020000",
            "2026-12-31T23:59:59+02:00[Europe/Berlin]",
            "2026-12-31T23:59:59[+02:00]",
            "2026-12-31_23:59:59_Z",
        ] {
            assert_eq!(Timestamp::parse_with_offset(text), Err(DateFault::Malformed), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_time_neither_wrap_nor_panic() {
        assert_eq!(
            Timestamp::from_unix_millis(i64::MAX).after(Duration::MAX).unix_millis(),
            i64::MAX
        );
        let _ = Timestamp::from_unix_millis(i64::MAX).to_rfc3339_zulu();
        let _ = Timestamp::from_unix_millis(i64::MIN).to_rfc3339_zulu();
        assert_eq!(Timestamp::from_unix_millis(-1).unix_seconds(), -1);
    }
}
