//! What a limit says of one request.

use std::time::Duration;

/// What one limit says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request may pass. It has taken one permit then, and otherwise none.
    pub is_allowed: bool,
    /// How many more may pass at once.
    pub remaining: u32,
    /// When one permit more will be there; zero: all are.
    pub next_after: Duration,
}
