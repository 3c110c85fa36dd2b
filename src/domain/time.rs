//! Points of the wall clock, as values: this module reads no clock.

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

    /// From a reading of the system clock. A clock before 1970 reads as 1970: tokens then expire
    /// too late to be issued sensibly, but nothing wraps.
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

    /// The same moment without its fraction of a second, so that a record and a JWT claim can say
    /// the same thing.
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

    /// Reads a date with a time and an offset, as ISO 8601, RFC 3339 and most programs write it:
    /// `2026-12-31T23:59:59Z`, `2026-12-31 23:59+02:00`, `20261231` not. Between date and time is
    /// `T`, `t`, `_` or a space; seconds may be left out, and may have a fraction behind `.` or
    /// `,`, of which a millisecond is the last that counts; the offset is `Z`, `z`, `+02:00`,
    /// `+0200` or `+02`, less than a day.
    ///
    /// # Errors
    ///
    /// What is wrong; without an offset the moment is not known.
    pub fn parse_with_offset(text: &str) -> Result<Self, DateFault> {
        let (civil, rest) = read_civil(text.as_bytes()).ok_or(DateFault::Malformed)?;
        let offset_minutes = match rest {
            [] => return Err(DateFault::NoOffset),
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), offset @ ..] => {
                let (hours, minutes) = match offset {
                    [a, b, b':', c, d] | [a, b, c, d] => (number(&[*a, *b]), number(&[*c, *d])),
                    [a, b] => (number(&[*a, *b]), Some(0)),
                    _ => return Err(DateFault::Malformed),
                };
                let (Some(hours @ 0..=23), Some(minutes @ 0..=59)) = (hours, minutes) else {
                    return Err(DateFault::Malformed);
                };
                let minutes = hours * 60 + minutes;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return Err(DateFault::Malformed),
        };
        let since = civil.duration_since(EPOCH).as_millis() - i128::from(offset_minutes) * 60_000;
        let first =
            jiff::civil::DateTime::constant(1, 1, 1, 0, 0, 0, 0).duration_since(EPOCH).as_millis();
        let last = jiff::civil::DateTime::MAX.duration_since(EPOCH).as_millis();
        match i64::try_from(since) {
            Ok(millis) if (first..=last).contains(&since) => Ok(Self(millis)),
            Ok(_) | Err(_) => Err(DateFault::OutOfRange),
        }
    }

    fn civil(self) -> String {
        let since = jiff::SignedDuration::from_secs(self.unix_seconds());
        let end = if self.0 < 0 { jiff::civil::DateTime::MIN } else { jiff::civil::DateTime::MAX };
        let civil = EPOCH.checked_add(since).unwrap_or(end);
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

const EPOCH: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A date with a time at the beginning of a text, and what follows it.
fn read_civil(text: &[u8]) -> Option<(jiff::civil::DateTime, &[u8])> {
    let small = |digits: &[u8]| number(digits).and_then(|number| i8::try_from(number).ok());
    let (date, rest) = text.split_at_checked(10)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = date else { return None };
    let year = i16::try_from(number(&[*y0, *y1, *y2, *y3])?).ok()?;
    let (month, day) = (small(&[*m0, *m1])?, small(&[*d0, *d1])?);
    let [b'T' | b't' | b'_' | b' ', h0, h1, b':', n0, n1, rest @ ..] = rest else { return None };
    let (hour, minute) = (small(&[*h0, *h1])?, small(&[*n0, *n1])?);
    let (second, rest) = match rest {
        [b':', s0, s1, rest @ ..] => (small(&[*s0, *s1])?, rest),
        rest => (0, rest),
    };
    let (millis, rest) = match rest {
        [b'.' | b',', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            let (digits, rest) = rest.split_at_checked(digits)?;
            let padded: Vec<u8> =
                digits.iter().copied().chain(std::iter::repeat(b'0')).take(3).collect();
            (number(&padded)?, rest)
        }
        rest => (0, rest),
    };
    if year == 0 {
        return None;
    }
    let civil =
        jiff::civil::DateTime::new(year, month, day, hour, minute, second, millis * 1_000_000)
            .ok()?;
    Some((civil, rest))
}

/// Up to nine digits as a number.
fn number(digits: &[u8]) -> Option<i32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// One reading of both clocks, made once per exchange and handed on: expiry follows the wall clock,
/// every span the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the calendar says.
    pub wall: Timestamp,
    /// What the stop-watch says.
    pub uptime: Uptime,
}

/// A point of a clock that only ever goes forward, suspension included: nanoseconds since the
/// machine was started.
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
