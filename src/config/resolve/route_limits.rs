//! The limits of routes: what a route says itself, and for what it does not say, `[timeouts]` and
//! `[limits]`.

use std::time::Duration;

use crate::config::tables::RouteTimeoutKeys;
use crate::gateway::{Limit, LimitKey, RouteLimits};
use crate::wire::limits::{Limits, Timeouts};

/// The limits of routes that set none themselves.
pub(super) fn common(timeouts: &Timeouts, limits: &Limits) -> RouteLimits {
    let time = |most, key| Limit { most, key: LimitKey::Common("timeouts", key) };
    let body = |own: Option<Option<Duration>>, key| match own {
        Some(most) => time(most, key),
        None => time(Some(timeouts.body), "body"),
    };
    RouteLimits {
        response_head: time(timeouts.response_head, "response_head"),
        request_body: body(timeouts.request_body, "request_body"),
        response_body: body(timeouts.response_body, "response_body"),
        request: time(timeouts.request, "request"),
        max_body: Limit { most: bytes(limits.body), key: LimitKey::Common("limits", "body") },
    }
}

/// The limits of one route.
pub(super) fn of_route(
    common: &RouteLimits,
    timeouts: &RouteTimeoutKeys,
    max_body: Option<Option<usize>>,
) -> RouteLimits {
    RouteLimits {
        response_head: or(timeouts.response_head, "timeouts.response_head", common.response_head),
        request_body: or(timeouts.request_body, "timeouts.request_body", common.request_body),
        response_body: or(timeouts.response_body, "timeouts.response_body", common.response_body),
        request: or(timeouts.request, "timeouts.request", common.request),
        max_body: or(max_body.map(bytes), "max_body", common.max_body),
    }
}

/// What the route says, or else what holds for all.
fn or<T>(own: Option<Option<T>>, key: &'static str, common: Limit<T>) -> Limit<T> {
    own.map_or(common, |most| Limit { most, key: LimitKey::Route(key) })
}

fn bytes(size: Option<usize>) -> Option<u64> {
    size.map(|size| u64::try_from(size).unwrap_or(u64::MAX))
}
