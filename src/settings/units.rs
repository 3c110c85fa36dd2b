//! Durations and sizes as an operator writes them: `"1h30m"`, `"10MiB"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration as it stands in the configuration: whole numbers with a unit, largest unit first, as
/// in `"250ms"`, `"5m"` or `"1h30m"`.
///
/// Units: `d`, `h`, `m`, `s`, `ms`, `us`, `ns`. A number without a unit is refused, and so is a
/// fraction. What [`fmt::Display`] writes parses to the same duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

/// A size as it stands in the configuration: a whole number of `B`, `KiB`, `MiB` or `GiB`, in
/// bytes.
///
/// `KB` and `MB` are refused: they may mean 1000 or 1024. What [`fmt::Display`] writes parses to
/// the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

pub(crate) const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

pub(crate) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(crate) const fn minutes(number: u64) -> Duration {
    Duration::from_mins(number)
}

pub(crate) const fn hours(number: u64) -> Duration {
    Duration::from_hours(number)
}

pub(crate) const fn days(number: u64) -> Duration {
    hours(24 * number)
}

/// In bytes.
pub(crate) const KIB: usize = 1024;
/// In bytes.
pub(crate) const MIB: usize = 1024 * KIB;

const NANOS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const BYTES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for TimeSpan {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        let too_long = || "it is too long to count".to_owned();
        let mut rest = text;
        let mut units = NANOS.iter();
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let (number, unit, after) = split_number(rest)?;
            if unit.is_empty() {
                return Err(format!("{number} has no unit (ms, s, m, h or d)"));
            }
            // The iterator only moves on, so a unit cannot come twice or after a smaller one.
            let Some((_, nanos)) = units.find(|(name, _)| *name == unit) else {
                return Err(if NANOS.iter().any(|(name, _)| *name == unit) {
                    format!("units go from large to small, each once: {unit:?} comes too late")
                } else {
                    format!("{unit:?} is no unit (ms, s, m, h or d)")
                });
            };
            let number: u64 = number.parse().map_err(|_| too_long())?;
            // At most seven products of a u64 and 47 bits.
            total += u128::from(number) * nanos;
            rest = after;
        }
        if total > Duration::MAX.as_nanos() {
            return Err(too_long());
        }
        Ok(Self(Duration::from_nanos_u128(total)))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_nanos();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in NANOS {
            let count = left / nanos;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                left %= nanos;
            }
        }
        Ok(())
    }
}

impl FromStr for ByteSize {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit, rest) = split_number(text)?;
        if !rest.is_empty() {
            return Err("it must be one number and one unit".to_owned());
        }
        if unit.is_empty() {
            return Err(format!("{number} has no unit (B, KiB, MiB or GiB)"));
        }
        let Some((_, bytes)) = BYTES.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("{unit:?} is no unit (B, KiB, MiB or GiB)"));
        };
        let too_large = || "it is too large to count".to_owned();
        let number: u64 = number.parse().map_err(|_| too_large())?;
        number.checked_mul(*bytes).map(Self).ok_or_else(too_large)
    }
}

impl From<usize> for ByteSize {
    fn from(bytes: usize) -> Self {
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in BYTES {
            if self.0 != 0 && self.0.is_multiple_of(*bytes) {
                return write!(f, "{}{unit}", self.0 / bytes);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Cuts `"90mrest"` into `("90", "m", "rest")`; the rest begins at the next digit.
fn split_number(text: &str) -> Result<(&str, &str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(digits);
    if number.is_empty() {
        return Err("it must start with a digit".to_owned());
    }
    if after.starts_with(['.', ',']) {
        return Err("fractions are not understood: use a smaller unit".to_owned());
    }
    let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, rest) = after.split_at(letters);
    Ok((number, unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Result<Duration, String> {
        text.parse::<TimeSpan>().map(|TimeSpan(duration)| duration)
    }

    fn size(text: &str) -> Result<u64, String> {
        text.parse::<ByteSize>().map(|ByteSize(bytes)| bytes)
    }

    #[test]
    fn durations_parse() {
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(span("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(span("0s"), Ok(Duration::ZERO));
        assert_eq!(span("1d2h3m4s5ms6us7ns"), Ok(Duration::new(93_784, 5_006_007)));
    }

    #[test]
    fn bad_durations_say_why() {
        for (text, why) in [
            ("", "empty"),
            ("s", "start with a digit"),
            ("-1s", "start with a digit"),
            (" 1s", "start with a digit"),
            ("10", "no unit"),
            ("1h30", "no unit"),
            ("1.5s", "fractions"),
            ("5 m", "is no unit"),
            ("5min", "is no unit"),
            ("5M", "is no unit"),
            ("30m1h", "from large to small"),
            ("1s1s", "from large to small"),
            ("99999999999999999999999s", "too long"),
            ("18446744073709551615d", "too long"),
        ] {
            let reason = span(text).unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }

    #[test]
    fn sizes_parse() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10MiB"), Ok(10_485_760));
        assert_eq!(size("2GiB"), Ok(2_147_483_648));
        assert_eq!(size("0B"), Ok(0));
    }

    #[test]
    fn bad_sizes_say_why() {
        for (text, why) in [
            ("", "start with a digit"),
            ("-1B", "start with a digit"),
            ("10", "no unit"),
            ("10KB", "is no unit"),
            ("10kib", "is no unit"),
            ("10 KiB", "is no unit"),
            ("1.5MiB", "fractions"),
            ("1MiB5KiB", "one number and one unit"),
            ("18446744073709551615GiB", "too large"),
            ("99999999999999999999B", "too large"),
        ] {
            let reason = size(text).unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }

    #[test]
    fn what_is_displayed_parses_to_the_same_value() {
        for nanos in [0, 1, 999, 1_000_000, 59_999_999_999, 5_400_000_000_000, u64::MAX] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(span(&TimeSpan(duration).to_string()), Ok(duration));
        }
        assert_eq!(span(&TimeSpan(Duration::MAX).to_string()), Ok(Duration::MAX));
        for bytes in [0, 1, 1023, 1024, 1536, 1 << 20, (1 << 30) * 3, u64::MAX] {
            assert_eq!(size(&ByteSize(bytes).to_string()), Ok(bytes));
        }
        assert_eq!(TimeSpan(Duration::from_secs(5400)).to_string(), "1h30m");
        assert_eq!(ByteSize(32 * 1024).to_string(), "32KiB");
    }
}
