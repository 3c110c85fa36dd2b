//! What limits said of an exchange, and the fields that tell its client.
//!
//! `RateLimit-Policy` has the rates that were judged, `RateLimit` what is left of each
//! (draft-ietf-httpapi-ratelimit-headers-10, lists of RFC 9651). In them, `q` and `w` are the rate
//! as it is configured, `r` is how many requests may be made at once, which may be more than `q`
//! where the burst is larger, and `t` is when there will be one more.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::{Place, Quota, Verdict};
use crate::wire::retry_after::whole_seconds;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// See the module. The places are free again when the exchange ends.
#[derive(Default)]
pub(super) struct LimitState {
    pub(super) judged: Vec<Judged>,
    /// Names and numbers of what bounds the requests that are under way.
    pub(super) concurrency: Vec<(&'static str, NonZeroU32)>,
    pub(super) places: Vec<Place>,
}

/// What one rate said.
pub(super) struct Judged {
    /// Letters and `-`: it stands in quotation marks as it is.
    pub(super) name: Arc<str>,
    pub(super) quota: Quota,
    pub(super) verdict: Verdict,
}

impl LimitState {
    /// Tells the client. Fields of the upstream stay: both are lists, and it has limits of its own.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        let (mut policy, mut state) = (String::new(), String::new());
        let separate = |list: &mut String| {
            if !list.is_empty() {
                list.push_str(", ");
            }
        };
        // A `fmt::Write` into a `String` cannot fail.
        for Judged { name, quota, verdict } in &self.judged {
            separate(&mut policy);
            let _ = write!(policy, "\"{name}\";q={};w={}", quota.count, quota.period.as_secs());
            separate(&mut state);
            let _ = write!(state, "\"{name}\";r={}", verdict.remaining);
            if !verdict.next_after.is_zero() {
                let _ = write!(state, ";t={}", whole_seconds(verdict.next_after));
            }
        }
        for (name, most) in &self.concurrency {
            separate(&mut policy);
            let _ = write!(policy, "\"{name}\";q={most};qu=\"concurrent-requests\"");
        }
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            if let Ok(value) = HeaderValue::try_from(value)
                && !value.is_empty()
            {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_fields_are_lists_of_structured_items() {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let judged = |name: &str, period, burst, remaining, next| Judged {
            name: name.into(),
            quota: Quota { count: number(10), period: Duration::from_secs(period), burst },
            verdict: Verdict {
                is_allowed: true,
                remaining,
                next_after: Duration::from_millis(next),
            },
        };
        let state = LimitState {
            judged: vec![
                judged("token", 1, number(20), 19, 100),
                judged("api-subject", 3600, number(10), 10, 0),
            ],
            concurrency: vec![("concurrent", number(3))],
            places: Vec::new(),
        };
        let mut headers = HeaderMap::new();
        headers.append(RATE_LIMIT, HeaderValue::from_static("\"upstream\";r=1"));
        state.apply(&mut headers);
        let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(
            all(RATE_LIMIT_POLICY),
            ["\"token\";q=10;w=1, \"api-subject\";q=10;w=3600, \
              \"concurrent\";q=3;qu=\"concurrent-requests\""]
        );
        assert_eq!(
            all(RATE_LIMIT),
            ["\"upstream\";r=1", "\"token\";r=19;t=1, \"api-subject\";r=10"]
        );
    }
}
