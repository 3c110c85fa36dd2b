//! The count of one request in the metrics of its upstream.

use std::time::Duration;

use crate::gateway::refusal::Refusal;
use crate::telemetry::configured::{UpstreamCounters, UpstreamOutcome};
use crate::telemetry::histogram::Took;
use crate::upstream::UpstreamError;

/// A request that is sent to an upstream. It is counted once: when it is known how it ended, or
/// when this is dropped before, as a client has left.
pub(super) struct CountedCall<'a>(Option<&'a UpstreamCounters>);

impl<'a> CountedCall<'a> {
    pub(super) const fn begin(counters: Option<&'a UpstreamCounters>) -> Self {
        Self(counters)
    }

    /// The head of a response with this status has come after so long.
    pub(super) fn answered(mut self, status: u16, took: Duration) {
        if let Some(counters) = self.0.take() {
            counters.count_answer(status, Took::new(took));
        }
    }

    /// It was refused for want of an answer; returns the refusal.
    pub(super) fn failed(mut self, refusal: Refusal) -> Refusal {
        if let Some(counters) = self.0.take() {
            counters.count(outcome(&refusal));
        }
        refusal
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.count(UpstreamOutcome::Unfinished);
        }
    }
}

const fn outcome(refusal: &Refusal) -> UpstreamOutcome {
    match refusal {
        Refusal::Upstream(fault) => match fault {
            UpstreamError::Connect { .. } => UpstreamOutcome::ConnectFailed,
            UpstreamError::ConnectTimeout(_) => UpstreamOutcome::ConnectTimeout,
            UpstreamError::Broken { .. } => UpstreamOutcome::Broken,
            UpstreamError::Busy { .. } => UpstreamOutcome::Busy,
            UpstreamError::CircuitOpen { .. } => UpstreamOutcome::CircuitOpen,
        },
        Refusal::UpstreamTooSlow { .. } => UpstreamOutcome::Timeout,
        // What else ends it is in the client's body.
        _ => UpstreamOutcome::Unfinished,
    }
}
