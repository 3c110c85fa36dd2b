//! The limits of one key: how often it may be used, and how many of its requests may run at a time.
//!
//! They only narrow. A key has the limits of its token API and route besides, and the stricter one
//! decides; what is made with a limited credential is limited at least as much.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of requests in a unit of time, written as in `10/s`: permits come evenly, one every
/// tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    permits: NonZeroU32,
    unit: RateUnit,
}

/// The unit of time of a [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateUnit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

/// The limits of one key, at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct KeyLimits {
    rate: Option<KeyRate>,
    concurrent_requests: Option<NonZeroU32>,
}

/// How often a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRate {
    /// How fast permits come.
    pub rate: Rate,
    /// How many are kept for a burst at most.
    pub burst: NonZeroU32,
}

/// The most requests at a time, and the largest burst.
pub const MOST_AT_A_TIME: u32 = 1_000_000;

/// Why limits, or one of them, cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsFault {
    /// No rate in the form that [`Rate`] has.
    #[error("a rate is a whole number from 1 to 999999, a slash and s, m, h or d, as in 10/s")]
    Rate,
    /// A burst without the rate that it is of.
    #[error("a burst needs a rate")]
    BurstAlone,
    /// Out of range.
    #[error("{0} is a whole number from 1 to 1000000")]
    Number(&'static str),
    /// Limits without any limit.
    #[error("there is no limit in them")]
    Empty,
}

/// Limits as JSON: `{"rate":"10/s","burst":20,"concurrent_requests":2}`, without those that there
/// are not.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrent_requests: Option<u32>,
}

impl RateUnit {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// How long it is.
    #[must_use]
    pub const fn period(self) -> Duration {
        Duration::from_secs(self.seconds() as u64)
    }

    const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }
}

impl Rate {
    /// The longest number that is written, in digits.
    const DIGITS: usize = 6;

    /// The form of a rate, as a pattern for JSON Schema.
    pub const PATTERN: &'static str = "^[1-9][0-9]{0,5}/[smhd]$";

    /// How many permits come in a [`unit`](Self::unit).
    #[must_use]
    pub const fn permits(self) -> NonZeroU32 {
        self.permits
    }

    /// The unit of time.
    #[must_use]
    pub const fn unit(self) -> RateUnit {
        self.unit
    }

    /// The burst where none is said: what comes in a second, and at least 1.
    #[must_use]
    pub fn usual_burst(self) -> NonZeroU32 {
        NonZeroU32::new(self.permits.get() / self.unit.seconds()).unwrap_or(NonZeroU32::MIN)
    }

    /// Whether it gives no more in any time than `other`.
    fn is_within(self, other: Self) -> bool {
        let share = |a: Self, b: Self| u64::from(a.permits.get()) * u64::from(b.unit.seconds());
        share(self, other) <= share(other, self)
    }
}

impl FromStr for Rate {
    type Err = LimitsFault;

    fn from_str(text: &str) -> Result<Self, LimitsFault> {
        let (number, letter) = text.split_once('/').ok_or(LimitsFault::Rate)?;
        let unit = RateUnit::ALL.into_iter().find(|unit| unit.letter() == letter);
        let is_number = number.len() <= Self::DIGITS
            && !number.starts_with('0')
            && number.bytes().all(|byte| byte.is_ascii_digit());
        match (is_number, number.parse(), unit) {
            (true, Ok(permits), Some(unit)) => Ok(Self { permits, unit }),
            _ => Err(LimitsFault::Rate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.permits, self.unit.letter())
    }
}

impl KeyLimits {
    /// These limits; `None`: there is none. `burst` is that of `rate`, whose usual one it is where
    /// none is said.
    ///
    /// # Errors
    ///
    /// A burst without a rate, or a number above [`MOST_AT_A_TIME`].
    pub fn new(
        rate: Option<Rate>,
        burst: Option<NonZeroU32>,
        concurrent_requests: Option<NonZeroU32>,
    ) -> Result<Option<Self>, LimitsFault> {
        for (name, number) in [("burst", burst), ("concurrent_requests", concurrent_requests)] {
            if number.is_some_and(|number| number.get() > MOST_AT_A_TIME) {
                return Err(LimitsFault::Number(name));
            }
        }
        let rate = match (rate, burst) {
            (None, Some(_)) => return Err(LimitsFault::BurstAlone),
            (None, None) => None,
            (Some(rate), burst) => {
                Some(KeyRate { rate, burst: burst.unwrap_or(rate.usual_burst()) })
            }
        };
        Ok((rate.is_some() || concurrent_requests.is_some())
            .then_some(Self { rate, concurrent_requests }))
    }

    /// How often the key may be used; `None`: its limits do not say.
    #[must_use]
    pub const fn rate(&self) -> Option<KeyRate> {
        self.rate
    }

    /// How many of its requests may run at a time; `None`: its limits do not say.
    #[must_use]
    pub const fn concurrent_requests(&self) -> Option<NonZeroU32> {
        self.concurrent_requests
    }

    /// What is asked for, as far as `most` allows it: of each limit the stricter one.
    #[must_use]
    pub fn narrowed(asked: Option<Self>, most: Option<Self>) -> Option<Self> {
        let (Some(asked), Some(most)) = (asked, most) else {
            return asked.or(most);
        };
        let rate = match (asked.rate, most.rate) {
            (Some(asked), Some(most)) => Some(KeyRate {
                rate: if asked.rate.is_within(most.rate) { asked.rate } else { most.rate },
                burst: asked.burst.min(most.burst),
            }),
            (asked, most) => asked.or(most),
        };
        let concurrent_requests = match (asked.concurrent_requests, most.concurrent_requests) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        };
        Some(Self { rate, concurrent_requests })
    }
}

/// As in `10/s, burst 20, 2 at a time`, for people.
impl fmt::Display for KeyLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(KeyRate { rate, burst }) = self.rate {
            write!(f, "{rate}, burst {burst}")?;
        }
        match self.concurrent_requests {
            Some(number) if self.rate.is_some() => write!(f, ", {number} at a time"),
            Some(number) => write!(f, "{number} at a time"),
            None => Ok(()),
        }
    }
}

impl From<KeyLimits> for Written {
    fn from(limits: KeyLimits) -> Self {
        Self {
            rate: limits.rate.map(|limit| limit.rate.to_string()),
            burst: limits.rate.map(|limit| limit.burst.get()),
            concurrent_requests: limits.concurrent_requests.map(NonZeroU32::get),
        }
    }
}

impl TryFrom<Written> for KeyLimits {
    type Error = LimitsFault;

    fn try_from(written: Written) -> Result<Self, LimitsFault> {
        let number = |name, number: Option<u32>| {
            number.map(|number| NonZeroU32::new(number).ok_or(LimitsFault::Number(name)))
        };
        let rate = written.rate.map(|rate| rate.parse()).transpose()?;
        let burst = number("burst", written.burst).transpose()?;
        let concurrent = number("concurrent_requests", written.concurrent_requests).transpose()?;
        Self::new(rate, burst, concurrent)?.ok_or(LimitsFault::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> KeyLimits {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_rate_is_written_in_one_way() {
        for text in ["1/s", "10/m", "999999/h", "5/d"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "/",
            "/s",
            "1/",
            "1",
            "0/s",
            "01/s",
            "+1/s",
            "-1/s",
            "1.5/s",
            "1 /s",
            "1/ s",
            "1/S",
            "1/ms",
            "1/s/s",
            "1000000/s",
            "99999999999999999999/s",
            "١/s",
            "1/sec",
            " 1/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(LimitsFault::Rate), "{text:?}");
        }
    }

    #[test]
    fn the_usual_burst_is_a_seconds_worth_and_never_none() {
        for (rate, burst) in [("10/s", 10), ("600/m", 10), ("5/m", 1), ("59/m", 1), ("1/d", 1)] {
            assert_eq!(rate.parse::<Rate>().unwrap().usual_burst().get(), burst, "{rate}");
        }
    }

    #[test]
    fn limits_survive_json_and_are_strict() {
        for text in [
            r#"{"rate":"10/s","burst":20,"concurrent_requests":2}"#,
            r#"{"rate":"5/m","burst":1}"#,
            r#"{"concurrent_requests":1000000}"#,
        ] {
            assert_eq!(serde_json::to_string(&limits(text)).unwrap(), text);
        }
        assert_eq!(limits(r#"{"rate":"10/s"}"#), limits(r#"{"rate":"10/s","burst":10}"#));
        for wrong in [
            "{}",
            r#"{"burst":1}"#,
            r#"{"rate":"10/s","burst":0}"#,
            r#"{"rate":"10/s","burst":1000001}"#,
            r#"{"concurrent_requests":0}"#,
            r#"{"concurrent_requests":1.5}"#,
            r#"{"rate":10}"#,
            r#"{"rate":"10/s","rat":"1/s"}"#,
        ] {
            assert!(serde_json::from_str::<KeyLimits>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_each_limit_the_stricter_one_holds() {
        let most = limits(r#"{"rate":"60/m","burst":5,"concurrent_requests":3}"#);
        for (asked, got) in [
            (r#"{"rate":"2/s"}"#, r#"{"rate":"60/m","burst":2,"concurrent_requests":3}"#),
            (r#"{"rate":"1/s","burst":9}"#, r#"{"rate":"1/s","burst":5,"concurrent_requests":3}"#),
            (
                r#"{"rate":"100/d","concurrent_requests":9}"#,
                r#"{"rate":"100/d","burst":1,"concurrent_requests":3}"#,
            ),
            (
                r#"{"concurrent_requests":1}"#,
                r#"{"rate":"60/m","burst":5,"concurrent_requests":1}"#,
            ),
        ] {
            let narrowed = KeyLimits::narrowed(Some(limits(asked)), Some(most));
            assert_eq!(narrowed, Some(limits(got)), "{asked}");
        }
        assert_eq!(KeyLimits::narrowed(None, Some(most)), Some(most), "it is inherited");
        assert_eq!(KeyLimits::narrowed(Some(most), None), Some(most));
        assert_eq!(KeyLimits::narrowed(None, None), None);
    }

    #[test]
    fn people_read_them_in_one_line() {
        for (text, line) in [
            (r#"{"rate":"10/s","concurrent_requests":2}"#, "10/s, burst 10, 2 at a time"),
            (r#"{"concurrent_requests":2}"#, "2 at a time"),
            (r#"{"rate":"5/m"}"#, "5/m, burst 1"),
        ] {
            assert_eq!(limits(text).to_string(), line);
        }
    }
}
