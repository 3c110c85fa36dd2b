//! The keys of `rate_limits`, of routes and of token APIs.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{Quota, Scope, UNITS};
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Integer, Text, boolean, integer, text, words};
use crate::settings::settings;

settings! {
    /// One limit: so many requests a period, counted by token, holder, tenant, address or route.
    /// Several may stand beside each other, and all of them hold. Beyond a limit the answer is 429
    /// with `Retry-After`; `RateLimit` says in each response what is left.
    pub(crate) struct RateKeys {
        /// By what it counts: `"token"`; `"subject"`, all tokens of a holder together; `"tenant"`;
        /// `"address"`, that of the client, of IPv6 the network of 64 bits; `"route"`, all requests
        /// together. Of a token API the first three, of a public route the last two.
        pub(crate) per: Option<Scope> = words(SCOPES).required(),
        /// How many requests pass in the long run, evenly over the period: `"100/s"`, `"10/m"`,
        /// `"1000/h"`, `"5000/d"`.
        pub(crate) rate: Option<Pace> = RATE.required(),
        /// How many may come at once, after a pause. Absent: one second's worth, at least 1.
        pub(crate) burst: Option<u32> = BURST.optional(),
        /// `true`: the instances of a fleet count together, where the store is Redis.
        pub(crate) shared: bool = boolean().or(true),
    }
}

/// So many a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) count: NonZeroU32,
    pub(crate) period: Duration,
}

/// The largest number in a rate, and the largest burst.
const MOST: u32 = 1_000_000;

/// As many as may be under way at the same time.
pub(crate) const CONCURRENT: Integer<u32> = integer(1..=MOST as u64);

const BURST: Integer<u32> = integer(1..=MOST as u64);

const SCOPES: &[(&str, Scope)] = &[
    (Scope::Token.as_str(), Scope::Token),
    (Scope::Subject.as_str(), Scope::Subject),
    (Scope::Tenant.as_str(), Scope::Tenant),
    (Scope::Address.as_str(), Scope::Address),
    (Scope::Route.as_str(), Scope::Route),
];

const RATE: Text<Pace> = text(
    "a number from 1 to 1000000 and a period, as in \"100/s\", \"10/m\", \"1000/h\" or \
          \"5000/d\"",
    str::parse,
);

impl FromStr for Pace {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').ok_or_else(String::new)?;
        let (number, unit) = (number.trim_end(), unit.trim_start());
        if number.contains(['.', ',']) {
            return Err("fractions are not understood: use a longer period".to_owned());
        }
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let count =
            number.parse().ok().filter(|count: &NonZeroU32| is_number && count.get() <= MOST);
        let seconds = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
        let seconds = seconds.ok_or_else(|| format!("{unit:?} is no period (s, m, h or d)"))?;
        Ok(Self { count: count.ok_or_else(String::new)?, period: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        let unit = UNITS.iter().find(|(_, unit)| *unit == seconds).map_or("s", |(unit, _)| unit);
        write!(f, "{}/{unit}", self.count)
    }
}

impl Pace {
    /// With this burst, or with one second's worth.
    pub(crate) fn quota(self, burst: Option<u32>) -> Quota {
        let Self { count, period } = self;
        let second = u64::from(count.get()) / period.as_secs().max(1);
        let burst = burst.or(u32::try_from(second).ok()).and_then(NonZeroU32::new);
        Quota { count, period, burst: burst.unwrap_or(NonZeroU32::MIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_period() {
        for (text, count, seconds, burst) in [
            ("100/s", 100, 1, 100),
            ("10/m", 10, 60, 1),
            ("90/m", 90, 60, 1),
            ("120/m", 120, 60, 2),
            ("1/d", 1, 86_400, 1),
            ("1000000 / h", 1_000_000, 3600, 277),
        ] {
            let pace: Pace = text.parse().expect(text);
            assert_eq!((pace.count.get(), pace.period.as_secs()), (count, seconds), "{text}");
            assert_eq!(pace.quota(None).burst.get(), burst, "{text}");
            assert_eq!(pace.to_string().parse(), Ok(pace));
        }
    }

    #[test]
    fn what_is_no_rate_says_why() {
        for (text, why) in [
            ("", ""),
            ("100", ""),
            ("0/s", ""),
            ("-1/s", ""),
            ("+1/s", ""),
            ("1000001/s", ""),
            ("/s", ""),
            ("1.5/s", "fractions"),
            ("100/", "is no period"),
            ("100/sec", "is no period"),
            ("100/10s", "is no period"),
            ("100/S", "is no period"),
        ] {
            let fault = text.parse::<Pace>().expect_err(text);
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }
}
