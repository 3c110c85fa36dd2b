//! What limits said of an exchange, and the fields that tell its client.
//!
//! `RateLimit-Policy` has the rates that were judged, `RateLimit` what is left of each
//! (draft-ietf-httpapi-ratelimit-headers-10, lists of RFC 9651). In them, `q` and `w` are the rate
//! as it is configured, `r` is how many requests may be made at once, which may be more than `q`
//! where the burst is larger, and `t` is when there will be one more.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::{Place, Quota, Verdict};

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

/// In whole seconds, rounded up, at least 1: an earlier request would be refused again.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
