//! What `rate_limits` and `concurrent_requests` say together, and beside what they are of.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::tables::RateKeys;
use crate::limits::{LimitSettings, RateSettings, Scope};
use crate::settings::fault::Spot;
use crate::settings::section::Row;

/// What limits are of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A route that asks for a credential.
    Route,
    /// A route that asks for none, so there is neither a token nor a holder.
    PublicRoute,
    /// A token API: its tokens are used on many routes.
    TokenApi,
}

/// The longest time after which a whole burst is there again.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// `None`: nothing is limited.
pub(super) fn resolve(
    rows: Vec<Row<RateKeys>>,
    concurrent_requests: Option<u32>,
    of: Of,
    spot: Spot<'_>,
) -> Option<Box<LimitSettings>> {
    if of == Of::PublicRoute && concurrent_requests.is_some() {
        let message = "\"concurrent_requests\" counts by token, and a public route asks for none";
        spot.fault("concurrent_requests", message);
    }
    let mut rates: Vec<RateSettings> = Vec::new();
    for Row { keys, path } in rows {
        let own = spot.findings.table(&path);
        let (Some(scope), Some(pace)) = (keys.per, keys.rate) else { continue };
        if let Some(message) = misplaced(scope, of) {
            own.fault("per", message);
        }
        let quota = pace.quota(keys.burst);
        if quota.full_after_nanos() > u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX) {
            let message = format!(
                "\"burst\": {} requests at {pace} would take more than a year to come back",
                quota.burst
            );
            own.fault("burst", message);
        }
        let is_alike = |other: &&RateSettings| {
            let other_quota = other.quota;
            (other.scope, other_quota.count, other_quota.period)
                == (scope, quota.count, quota.period)
        };
        if rates.iter().any(|other| is_alike(&other)) {
            let message = format!("\"rate_limits\" has {pace} per {scope} twice");
            own.fault("rate", message);
        }
        rates.push(RateSettings { scope, quota, is_shared: keys.shared });
    }
    let concurrent_requests = concurrent_requests.and_then(NonZeroU32::new);
    let is_limited = !rates.is_empty() || concurrent_requests.is_some();
    is_limited.then(|| Box::new(LimitSettings { rates, concurrent_requests }))
}

/// What is wrong with this scope at this place.
fn misplaced(scope: Scope, of: Of) -> Option<&'static str> {
    let is_of_caller = matches!(scope, Scope::Token | Scope::Subject | Scope::Tenant);
    match of {
        Of::PublicRoute if is_of_caller => Some(
            "\"per\": a public route asks for no credential: it counts per \"address\" or \
             \"route\"",
        ),
        Of::TokenApi if !is_of_caller => Some(
            "\"per\": a token API counts per \"token\", \"subject\" or \"tenant\"; a [[route]] per \
             \"address\" or \"route\", too",
        ),
        Of::Route | Of::PublicRoute | Of::TokenApi => None,
    }
}
