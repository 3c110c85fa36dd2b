//! One place for a connection to the site: made when it is first needed, by one for all who wait,
//! and thrown away with its term.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::connection::Connection;
use super::node::Nodes;
use super::pace::back_off;
use super::site::{Site, SiteWatch};
use super::site_fault::SiteFault;

/// A place for a connection.
pub(super) struct Lane {
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Idle,
    Connecting,
    Open(Arc<Open>),
    /// It failed: nobody tries before then.
    Resting {
        term: u64,
        until: Instant,
        failures: u32,
        why: String,
    },
}

/// An open connection of a term.
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) term: u64,
    /// The number of the next question.
    next: AtomicU64,
    /// Milliseconds from `since` to the latest answer.
    heard: AtomicU64,
    since: Instant,
    /// Failures in a row before it; none any more once it has answered.
    failures: AtomicU32,
}

impl Open {
    /// A number that no other question on this connection has: sent along with it, and looked for
    /// in the answer.
    pub(super) fn nonce(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// An answer has come.
    pub(super) fn hear(&self, now: Instant) {
        self.heard.fetch_max(self.elapsed(now), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Whether any answer has come since then.
    pub(super) fn has_answered_since(&self, moment: Instant) -> bool {
        self.heard.load(Ordering::Relaxed) > self.elapsed(moment)
    }

    fn elapsed(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Lane {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(State::Idle) })
    }

    /// The connection to `site`; made now if there is none. It is made on the current runtime, and
    /// goes on being made if who waits for it gives up.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub(super) async fn open(
        self: &Arc<Self>,
        nodes: &Arc<Nodes>,
        watch: &SiteWatch,
        site: &Arc<Site>,
    ) -> Result<Arc<Open>, String> {
        let mut changes = self.state.subscribe();
        loop {
            if let Some(outcome) = self.take_or_begin(nodes, watch, site) {
                return outcome;
            }
            // The sender is ours: it cannot be gone.
            let _ = changes.wait_for(|state| !matches!(state, State::Connecting)).await;
        }
    }

    /// What there is; `None`: it is being made.
    fn take_or_begin(
        self: &Arc<Self>,
        nodes: &Arc<Nodes>,
        watch: &SiteWatch,
        site: &Arc<Site>,
    ) -> Option<Result<Arc<Open>, String>> {
        let mut outcome = None;
        let mut failures_before = None;
        self.state.send_if_modified(|state| {
            match state {
                State::Open(open) if open.term == site.term && !open.connection.is_closed() => {
                    outcome = Some(Ok(Arc::clone(open)));
                    return false;
                }
                State::Connecting => return false,
                State::Resting { term, until, why, .. }
                    if *term == site.term && Instant::now() < *until =>
                {
                    outcome = Some(Err(why.clone()));
                    return false;
                }
                State::Resting { term, failures, .. } if *term == site.term => {
                    failures_before = Some(*failures)
                }
                State::Open(open) => {
                    open.connection.discard();
                    failures_before = Some(if open.term == site.term {
                        open.failures.load(Ordering::Relaxed)
                    } else {
                        0
                    });
                }
                State::Idle | State::Resting { .. } => failures_before = Some(0),
            }
            *state = State::Connecting;
            true
        });
        if let Some(failures) = failures_before {
            let attempt =
                Attempt { lane: Some(Arc::clone(self)), site: Arc::clone(site), failures };
            tokio::spawn(attempt.run(Arc::clone(nodes), watch.clone()));
        }
        outcome
    }

    /// Throws a connection away that cannot be trusted or does not answer: every question that is
    /// still out fails, and the next one is made after a pause.
    pub(super) fn fail(&self, open: &Arc<Open>, why: &str) {
        open.connection.discard();
        self.state.send_if_modified(|state| {
            let is_it = matches!(state, State::Open(current) if Arc::ptr_eq(current, open));
            if is_it {
                let failures = open.failures.load(Ordering::Relaxed).saturating_add(1);
                *state = resting(open.term, failures, why.to_owned());
            }
            is_it
        });
    }
}

fn resting(term: u64, failures: u32, why: String) -> State {
    // The first failure costs no pause: a connection that broke once is mended at once.
    let pause = if failures <= 1 { Duration::ZERO } else { back_off(failures - 1) };
    State::Resting { term, until: Instant::now() + pause, failures, why }
}

/// One attempt to connect, and the watch over what comes of it.
struct Attempt {
    /// `None` once the lane has been told.
    lane: Option<Arc<Lane>>,
    site: Arc<Site>,
    failures: u32,
}

impl Attempt {
    async fn run(mut self, nodes: Arc<Nodes>, watch: SiteWatch) {
        let made = tokio::select! {
            made = nodes.connect(&self.site.address, None) => made,
            () = watch.ended(self.site.term) => return,
        };
        let address = &self.site.address;
        let checked = made.and_then(|(connection, facts)| {
            if facts.run_id == self.site.run_id {
                Ok(connection)
            } else {
                Err(SiteFault::OtherServer { address: address.clone() })
            }
        });
        let Some(lane) = self.lane.take() else { return };
        match checked {
            Ok(connection) => {
                let open = Arc::new(Open {
                    connection: connection.clone(),
                    term: self.site.term,
                    next: AtomicU64::new(1),
                    heard: AtomicU64::new(0),
                    since: Instant::now(),
                    failures: AtomicU32::new(self.failures),
                });
                lane.state.send_replace(State::Open(Arc::clone(&open)));
                tokio::select! {
                    () = connection.closed() => lane.fail(&open, "the connection was lost"),
                    () = watch.ended(self.site.term) => lane.fail(&open, "the term has ended"),
                }
            }
            Err(fault) => {
                if matches!(fault, SiteFault::OtherServer { .. } | SiteFault::NotMaster { .. }) {
                    watch.doubt.notify_one();
                }
                lane.state.send_replace(resting(
                    self.site.term,
                    self.failures.saturating_add(1),
                    fault.to_string(),
                ));
            }
        }
    }
}

impl Drop for Attempt {
    /// Given up, or its runtime is gone: nobody shall wait for it.
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.state.send_replace(State::Idle);
        }
    }
}
