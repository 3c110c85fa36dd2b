//! What a process that takes over is told of endpoints that are left out because they failed: it
//! need not find that out by requests that fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::milliseconds::in_ms;
use super::{UpstreamState, now_ms};

/// An endpoint that is left out because it failed, or that has not answered since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The name of its upstream.
    pub upstream: String,
    /// As in the log and the metrics.
    pub endpoint: String,
    /// For how long it is left out still; nothing: single requests try it.
    pub left: Duration,
    /// For how long it was put out.
    pub span: Duration,
    /// How often it was put out and was not well for long in between.
    pub times: u32,
}

impl UpstreamState {
    /// Its endpoints that are left out because they failed.
    pub fn left_out(&self) -> impl Iterator<Item = LeftOut> {
        let now = now_ms();
        let out = self.endpoints.iter().filter(|state| state.probing.is_unproven());
        out.map(move |state| LeftOut {
            upstream: self.name().to_owned(),
            endpoint: state.name.clone(),
            left: Duration::from_millis(
                state.out_until_ms.load(Ordering::Relaxed).saturating_sub(now),
            ),
            span: Duration::from_millis(state.last_span_ms.load(Ordering::Relaxed)),
            times: state.times.load(Ordering::Relaxed),
        })
    }

    /// Another process has left out this endpoint of an upstream of this name. It is left out here,
    /// too, as far as there is one and as many may be.
    pub fn leave_out(&self, out: &LeftOut) {
        let ejection = &self.balancing.ejection;
        let found = self.endpoints.iter().position(|state| state.name == out.endpoint);
        let Some((at, state)) = found.and_then(|at| Some((at, self.endpoints.get(at)?))) else {
            return;
        };
        let now = now_ms();
        if ejection.failures == 0 || !self.may_put_out(at, now) {
            return;
        }
        let span = in_ms(out.span.min(ejection.longest));
        state.times.store(out.times, Ordering::Relaxed);
        state.last_span_ms.store(span, Ordering::Relaxed);
        state.probing.begin_unproven();
        let left = in_ms(out.left).min(span);
        state.out_until_ms.store(now.saturating_add(left), Ordering::Relaxed);
    }
}
