//! What can be configured of limits: of a route, or of a token API.

use std::num::NonZeroU32;

use super::key::Scope;
use super::quota::Quota;

/// How many requests may be made along a route, or with the tokens of a token API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// The rates. All of them hold.
    pub rates: Vec<RateSettings>,
    /// How many requests of one token may be under way at the same time; `None`: any number.
    pub concurrent_requests: Option<NonZeroU32>,
}

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSettings {
    /// By what it counts.
    pub scope: Scope,
    /// How many requests.
    pub quota: Quota,
    /// Whether a fleet counts together, where its store can.
    pub is_shared: bool,
}
