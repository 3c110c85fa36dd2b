//! Sets of counters: by status, by reason, by limit. Each is of one writer.

use super::Reason;
use super::counter::Counter;

/// Responses by status, 100…599.
#[derive(Debug)]
pub struct StatusCounts(pub(super) Box<[Counter]>);

impl Default for StatusCounts {
    fn default() -> Self {
        Self((100..600).map(|_| Counter::default()).collect())
    }
}

impl StatusCounts {
    /// Counts one.
    pub fn count(&self, status: u16) {
        if let Some(counter) = usize::from(status).checked_sub(100).and_then(|at| self.0.get(at)) {
            counter.add(1);
        }
    }
}

/// Refusals by reason.
#[derive(Debug, Default)]
pub struct RefusalCounts(pub(super) [Counter; Reason::ALL.len()]);

impl RefusalCounts {
    /// Counts one.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.add(1);
        }
    }
}

/// By what requests are limited: the values of the label of [`LimitedCounts`].
pub const LIMITED_BY: [&str; 6] = ["token", "subject", "tenant", "address", "route", "concurrent"];

/// Requests that limits refused, by what the limit counts.
#[derive(Debug, Default)]
pub struct LimitedCounts(pub(super) [Counter; LIMITED_BY.len()]);

impl LimitedCounts {
    /// Counts one; `by` is one of [`LIMITED_BY`].
    pub fn count(&self, by: &str) {
        let at = LIMITED_BY.iter().position(|known| *known == by);
        if let Some(counter) = at.and_then(|at| self.0.get(at)) {
            counter.add(1);
        }
    }
}
