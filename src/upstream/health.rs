//! How the endpoints of an upstream are: what all workers know of them together, without a lock
//! where a request passes.
//!
//! ```text
//! in ─ failures in a row ─→ out ─ its time is over ─→ unproven ─ an answer ─→ returning ─→ in
//!  ↑                         ↑                            │                     │    │
//!  └─────────────────────────┼────────────────────────────┼─ slow_return is over┘    │
//!                            └──────── one failure ───────┴──────────────────────────┘
//! ```
//!
//! While it is unproven, single requests try it: see [`Probing`].
//!
//! Health checks put an endpoint out and back in beside that. Times are milliseconds since
//! the process first asked, as an argument: see [`now_ms`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::balance::key_of;
use super::checks::{Check, Checks, Finding};
use super::dns::Unresolved;
use super::milliseconds::in_ms;
use super::probing::{Extent, Probe, Probing};
use super::queue::Queue;
use super::sent_requests::SentRequests;
use super::settings::Ejection;
use super::{Answers, Balancing, Endpoint, EndpointAddress, UpstreamSettings};
use crate::telemetry::gauges::{EndpointGauges, UpstreamGauges};

/// The time, in milliseconds since this was first called.
#[expect(clippy::disallowed_methods, reason = "the place where the time of endpoints is read")]
pub(super) fn now_ms() -> u64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never 0: that stands for "never".
    in_ms(BEGIN.elapsed()).saturating_add(1)
}

/// An endpoint that returns gets at least this share of what it gets otherwise.
const LEAST_SHARE: f64 = 0.05;

/// What is known of one endpoint. It outlives a reload.
#[derive(Debug)]
pub(super) struct EndpointState {
    /// As in the log and the metrics.
    name: String,
    /// What distinguishes it in a hash, the same in every process.
    pub(super) seed: u64,
    /// In a row.
    failures: AtomicU32,
    /// Until when it is out, or was the last time; 0: it never was, or that is long ago.
    out_until_ms: AtomicU64,
    /// For how long it was put out the last time.
    last_span_ms: AtomicU64,
    /// How often it was put out and was not well for long in between.
    times: AtomicU32,
    /// Whether its health checks fail.
    is_unwell: AtomicBool,
    probing: Probing,
    /// Requests under way, where they are counted.
    pub(super) in_flight: AtomicU32,
    /// Connections, where they are counted.
    pub(super) connections: AtomicU32,
    ejections: AtomicU64,
    /// Requests that it failed.
    failed: AtomicU64,
    /// Requests that were sent to it.
    pub(super) requests: SentRequests,
    checks: Checks,
}

impl EndpointState {
    fn new(name: String) -> Self {
        Self {
            seed: key_of(name.as_bytes()),
            name,
            failures: AtomicU32::new(0),
            out_until_ms: AtomicU64::new(0),
            last_span_ms: AtomicU64::new(0),
            times: AtomicU32::new(0),
            is_unwell: AtomicBool::new(false),
            probing: Probing::default(),
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            requests: SentRequests::default(),
            checks: Checks::default(),
        }
    }

    /// Whether it is in, with its whole share, without a look at the clock.
    pub(super) fn is_plain(&self) -> bool {
        self.out_until_ms.load(Ordering::Relaxed) == 0 && !self.is_unwell.load(Ordering::Relaxed)
    }

    fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.out_until_ms.load(Ordering::Relaxed)
    }

    /// Whether it is out, or another request tries whether it is back.
    pub(super) fn is_closed(&self, extent: Extent, now_ms: u64) -> bool {
        self.is_unwell.load(Ordering::Relaxed)
            || self.is_ejected(now_ms)
            || now_ms < self.tried_from(extent)
    }

    /// When the next request may try whether it is back, as far as others do.
    fn tried_from(&self, extent: Extent) -> u64 {
        self.probing.next_ms(extent, self.out_until_ms.load(Ordering::Relaxed))
    }

    /// Whether the request that begins tries whether it is back. The clock is read only where
    /// something depends on it.
    pub(super) fn begin_probe(
        &self,
        extent: Extent,
        now_ms: impl FnOnce() -> u64,
    ) -> Option<Probe> {
        if !self.probing.is_unproven() {
            return None;
        }
        self.probing.begin(extent, self.out_until_ms.load(Ordering::Relaxed), now_ms())
    }

    pub(super) fn end_probe(&self, probe: Probe) {
        self.probing.end(probe);
    }

    /// In how many milliseconds it may be asked again.
    fn returns_in(&self, check_every: u64, now_ms: u64) -> u64 {
        let until = self.out_until_ms.load(Ordering::Relaxed).max(self.tried_from(Extent::Whole));
        let check = if self.is_unwell.load(Ordering::Relaxed) { check_every } else { 0 };
        until.saturating_sub(now_ms).max(check)
    }

    /// Nothing that failed counts any more.
    fn forget_failures(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.probing.prove();
        self.out_until_ms.store(0, Ordering::Relaxed);
    }

    /// The part of its share that it gets, 0 to 1; 0: it is out.
    pub(super) fn part(&self, slow_return: Duration, extent: Extent, now_ms: u64) -> f64 {
        let until = self.out_until_ms.load(Ordering::Relaxed);
        if self.is_closed(extent, now_ms) {
            return 0.0;
        }
        let whole = in_ms(slow_return);
        let since = now_ms.saturating_sub(until);
        if until == 0 || since >= whole {
            return 1.0;
        }
        let ratio = Duration::from_millis(since).div_duration_f64(Duration::from_millis(whole));
        ratio.max(LEAST_SHARE)
    }
}

/// What all workers know of one upstream.
#[derive(Debug)]
pub struct UpstreamState {
    name: Arc<str>,
    /// With an endpoint for each address of its names.
    settings: UpstreamSettings,
    balancing: Arc<Balancing>,
    /// The endpoints that have no address.
    unresolved: Vec<Unresolved>,
    answers: Answers,
    pub(super) endpoints: Vec<Arc<EndpointState>>,
    /// Requests that wait for their turn. It outlives a reload.
    pub(super) queue: Arc<Queue>,
    /// A request found no connection, and none may be made.
    pub(super) connection_wanted: Arc<Notify>,
    /// Requests that were sent again.
    retries: Arc<AtomicU64>,
    /// Held while an endpoint is put out, so that two at once do not leave too few.
    ejecting: Mutex<()>,
}

impl UpstreamState {
    /// Of an upstream as configured, with the addresses that its names have; what was known of its
    /// endpoints `before` stays. An address that comes to others begins with a small share; with
    /// health checks, an endpoint that comes to others begins with its first check. `None`: there
    /// is nothing to know.
    #[must_use]
    pub fn of(
        name: &Arc<str>,
        settings: &UpstreamSettings,
        before: Option<&Arc<Self>>,
        answers: &Answers,
    ) -> Option<Arc<Self>> {
        settings.balancing.as_ref()?;
        let (settings, unresolved) = answers.expand(settings);
        let balancing = Arc::clone(settings.balancing.as_ref()?);
        let is_same =
            |before: &&Arc<Self>| before.settings == settings && before.unresolved == unresolved;
        if let Some(same) = before.filter(is_same) {
            return Some(Arc::clone(same));
        }
        let known = |name: &str| {
            let states = before.into_iter().flat_map(|before| &before.endpoints);
            states.into_iter().find(|state| state.name == name).map(Arc::clone)
        };
        let joins_others = before.is_some_and(|before| {
            before.settings.endpoints.iter().any(|endpoint| endpoint.resolved.is_some())
        });
        let endpoint = |endpoint: &Endpoint| {
            let name = endpoint.to_string();
            known(&name).unwrap_or_else(|| {
                let new = EndpointState::new(name);
                if joins_others && endpoint.resolved.is_some() {
                    // As if it returned.
                    new.out_until_ms.store(now_ms(), Ordering::Relaxed);
                }
                Arc::new(new)
            })
        };
        let endpoints: Vec<_> = settings.endpoints.iter().map(endpoint).collect();
        for state in &endpoints {
            state.probing.set_spacing(settings.connect_timeout);
        }
        let checks_change =
            |before: &Arc<Self>| before.balancing.health_check != balancing.health_check;
        if before.is_some_and(checks_change) {
            endpoints.iter().for_each(|state| state.checks.begin_anew());
        }
        if balancing.health_check.is_some() {
            let is_new = |state: &Arc<EndpointState>| known(&state.name).is_none();
            let now = now_ms();
            let serving =
                || endpoints.iter().zip(&balancing.shares).filter(|(_, s)| !s.is_draining);
            let are_others_in =
                serving().any(|(state, _)| !is_new(state) && !state.is_closed(Extent::Whole, now));
            for (state, _) in serving().filter(|(state, _)| are_others_in && is_new(state)) {
                // Until its first check has ended.
                state.is_unwell.store(true, Ordering::Relaxed);
            }
        } else {
            for state in &endpoints {
                // There is no check that could find it well again.
                state.is_unwell.store(false, Ordering::Relaxed);
            }
        }
        if balancing.ejection.failures == 0 {
            // None is put out any more, and so none stays out.
            endpoints.iter().for_each(|state| state.forget_failures());
        }
        Some(Arc::new(Self {
            name: Arc::clone(name),
            settings,
            balancing,
            unresolved,
            answers: answers.clone(),
            endpoints,
            queue: before.map_or_else(Arc::default, |before| Arc::clone(&before.queue)),
            connection_wanted: before
                .map_or_else(Arc::default, |before| Arc::clone(&before.connection_wanted)),
            retries: before.map_or_else(Arc::default, |before| Arc::clone(&before.retries)),
            ejecting: Mutex::new(()),
        }))
    }

    /// What its routes call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As configured, with an endpoint for each address of its names.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Other settings or addresses are in force now: what waits goes by those.
    pub fn wake_waiting(&self) {
        self.queue.wake();
    }

    /// Whether its endpoints are asked how they are.
    #[must_use]
    pub fn has_checks(&self) -> bool {
        self.balancing.health_check.is_some()
    }

    /// How long the checks may take that are awaited: each endpoint that may get requests is to be
    /// checked once. `None`: none is awaited.
    #[must_use]
    pub fn checked_within(&self) -> Option<Duration> {
        let check = self.balancing.health_check.as_ref()?;
        let mut serving = self.endpoints.iter().zip(&self.balancing.shares);
        let is_left = serving.any(|(state, s)| !s.is_draining && !state.checks.have_result());
        is_left.then_some(check.timeout)
    }

    pub(super) fn balancing(&self) -> &Balancing {
        &self.balancing
    }

    /// An endpoint took no connection: its name may have other addresses by now.
    pub(super) fn note_unreachable(&self, at: usize) {
        if let Some(endpoint) = self.settings.endpoints.get(at)
            && endpoint.resolved.is_some()
            && let EndpointAddress::Tcp { host, .. } = &endpoint.address
        {
            self.answers.doubt(host);
        }
    }

    /// The first endpoint that has no address, if there is one.
    pub(super) fn unresolved(&self) -> Option<&Unresolved> {
        self.unresolved.first()
    }

    /// In how long the first endpoint that is out may be asked again.
    pub(super) fn returns_in(&self, now_ms: u64) -> Duration {
        let check_every = self.balancing.health_check.as_ref().map_or(0, |c| in_ms(c.interval));
        let serving = self.endpoints.iter().zip(&self.balancing.shares);
        let serving = serving.filter(|(_, share)| !share.is_draining);
        let soonest = serving.map(|(state, _)| state.returns_in(check_every, now_ms)).min();
        Duration::from_millis(soonest.unwrap_or_default())
    }

    /// A request was sent again.
    pub(super) fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// An endpoint answered a request. The clock is read only where something depends on it.
    pub(super) fn note_success(&self, at: usize, now_ms: impl FnOnce() -> u64) {
        let Some(state) = self.endpoints.get(at) else { return };
        if state.failures.load(Ordering::Relaxed) != 0 {
            state.failures.store(0, Ordering::Relaxed);
        }
        // What began before it was put out says nothing of how it is now.
        if state.probing.is_unproven() && !state.is_ejected(now_ms()) {
            state.probing.prove();
        }
    }

    /// An endpoint did not take a connection, or broke an exchange: if that was too often, it is
    /// put out.
    pub(super) fn note_failure(&self, at: usize, now_ms: u64) {
        let ejection = &self.balancing.ejection;
        let Some(state) = self.endpoints.get(at) else { return };
        state.failed.fetch_add(1, Ordering::Relaxed);
        if ejection.failures == 0 {
            return;
        }
        if state.is_ejected(now_ms) {
            return;
        }
        let in_row = state.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = state.out_until_ms.load(Ordering::Relaxed);
        let is_returning = until > 0 && now_ms.saturating_sub(until) < in_ms(ejection.slow_return);
        let is_unproven = state.probing.is_unproven();
        if in_row >= ejection.failures || is_returning || is_unproven {
            self.eject(at, state, now_ms);
        }
    }

    fn eject(&self, at: usize, state: &EndpointState, now_ms: u64) {
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let ejection = &self.balancing.ejection;
        if state.is_ejected(now_ms) || !self.may_put_out(at, now_ms) {
            return;
        }
        let until = state.out_until_ms.load(Ordering::Relaxed);
        let last = state.last_span_ms.load(Ordering::Relaxed);
        let long_ago = until.saturating_add(in_ms(ejection.slow_return)).saturating_add(last);
        let times = if now_ms > long_ago { 0 } else { state.times.load(Ordering::Relaxed) };
        let span = span_ms(ejection, times);
        state.times.store(times.saturating_add(1), Ordering::Relaxed);
        state.last_span_ms.store(span, Ordering::Relaxed);
        state.failures.store(0, Ordering::Relaxed);
        state.ejections.fetch_add(1, Ordering::Relaxed);
        state.probing.begin_unproven();
        state.out_until_ms.store(now_ms.saturating_add(span), Ordering::Relaxed);
        tracing::warn!(
            upstream = &*self.name,
            endpoint = state.name,
            milliseconds = span,
            "an endpoint fails: it gets no requests for a while"
        );
        if self.balancing.has_circuit {
            // Those that wait need not wait for it.
            self.queue.wake();
        }
    }

    /// Whether one more may be out, and this endpoint serves.
    fn may_put_out(&self, at: usize, now_ms: u64) -> bool {
        let is_draining =
            |at: usize| self.balancing.shares.get(at).is_some_and(|share| share.is_draining);
        let serving = || self.endpoints.iter().enumerate().filter(|(at, _)| !is_draining(*at));
        let out = serving().filter(|(_, state)| state.is_ejected(now_ms)).count();
        let ejection = &self.balancing.ejection;
        let percent = if self.balancing.has_circuit { 100 } else { ejection.most_percent };
        let most = serving().count() * usize::try_from(percent).unwrap_or(100) / 100;
        !is_draining(at) && out < most
    }

    /// Forgets ejections that are over, so that the clock need not be read for them. To be called
    /// about once a second.
    pub(super) fn tidy(&self, now_ms: u64) {
        for state in &self.endpoints {
            if !self.has_checks() && state.is_unwell.load(Ordering::Relaxed) {
                // A check that was under way when the checks were taken out of the configuration.
                state.is_unwell.store(false, Ordering::Relaxed);
            }
            let until = state.out_until_ms.load(Ordering::Relaxed);
            if until == 0 {
                continue;
            }
            let slow_return = in_ms(self.balancing.ejection.slow_return);
            let last = state.last_span_ms.load(Ordering::Relaxed);
            // One that has not answered meanwhile is still to be tried by a single request.
            let is_unproven = state.probing.is_unproven();
            if !is_unproven && now_ms > until.saturating_add(slow_return).saturating_add(last) {
                // Unless it has been put out meanwhile.
                let _ = state.out_until_ms.compare_exchange(
                    until,
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
    }

    /// Begins a health check of an endpoint, if one is due.
    pub(super) fn begin_check(&self, at: usize, now_ms: u64) -> Option<Check> {
        let check = self.balancing.health_check.as_ref()?;
        self.endpoints.get(at)?.checks.begin(check, now_ms)
    }

    /// A health check has ended; `fault`: why it found the endpoint unwell.
    pub(super) fn end_check(&self, at: usize, check: Check, fault: Option<&str>, now_ms: u64) {
        let (Some(settings), Some(state)) = (&self.balancing.health_check, self.endpoints.get(at))
        else {
            return;
        };
        let Some(finding) = state.checks.end(check, settings, fault.is_none()) else { return };
        let was_unwell = state.is_unwell.load(Ordering::Relaxed);
        // One that is new may have been left out until now.
        let is_told = was_unwell != fault.is_some() || finding.is_first && fault.is_some();
        if finding.is_enough && is_told {
            self.note_change(state, finding, fault, now_ms);
        }
        state.checks.note_result();
        let is_unwell = state.is_unwell.load(Ordering::Relaxed);
        if fault.is_none() && !is_unwell && state.probing.is_unproven() && !state.is_ejected(now_ms)
        {
            // No request need try it.
            state.probing.prove();
            self.queue.wake();
        }
    }

    /// The health checks of an endpoint fail from now on, or succeed.
    fn note_change(
        &self,
        state: &EndpointState,
        finding: Finding,
        fault: Option<&str>,
        now_ms: u64,
    ) {
        let (upstream, endpoint) = (&*self.name, &state.name);
        match fault {
            Some(fault) => {
                tracing::warn!(upstream, endpoint, fault, "health checks fail");
            }
            None => {
                if finding.is_first {
                    tracing::info!(upstream, endpoint, "the first health check succeeds");
                } else {
                    tracing::info!(upstream, endpoint, "health checks succeed again");
                }
                state.failures.store(0, Ordering::Relaxed);
                // It returns as slowly as after an ejection, which may go on beyond this.
                state.out_until_ms.fetch_max(now_ms, Ordering::Relaxed);
            }
        }
        state.is_unwell.store(fault.is_some(), Ordering::Relaxed);
    }

    /// For the metrics.
    #[must_use]
    pub fn gauges(&self) -> UpstreamGauges {
        let now = now_ms();
        let has_limit = self.balancing.limits.most_connections > 0;
        let endpoint = |state: &Arc<EndpointState>| EndpointGauges {
            name: state.name.clone(),
            is_up: !state.is_unwell.load(Ordering::Relaxed) && !state.is_ejected(now),
            is_ejected: state.is_ejected(now),
            ejections: state.ejections.load(Ordering::Relaxed),
            requests: state.requests.sum(),
            failed: state.failed.load(Ordering::Relaxed),
            connections: has_limit.then(|| state.connections.load(Ordering::Relaxed)),
        };
        UpstreamGauges {
            name: Arc::clone(&self.name),
            retries: self.retries.load(Ordering::Relaxed),
            waiting: self.queue.waiting(),
            endpoints: self.endpoints.iter().map(endpoint).collect(),
        }
    }
}

/// How long an endpoint is put out that was put out so many times before.
fn span_ms(ejection: &Ejection, times: u32) -> u64 {
    let doubled = in_ms(ejection.span).saturating_mul(1 << times.min(30));
    doubled.min(in_ms(ejection.longest))
}

mod left_out;
#[cfg(test)]
mod tests;

pub use left_out::LeftOut;
