//! A slot for one connection to the primary. The connection is made when it is first needed, once
//! for all requests that wait for it, and closed when its term ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Connection;
use super::discovery_error::DiscoveryError;
use super::node::Nodes;
use super::pace::back_off;
use super::primary::{Primary, PrimaryWatch};

/// See the module.
pub(super) struct ConnectionSlot {
    nodes: Arc<Nodes>,
    watch: PrimaryWatch,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Idle,
    Connecting,
    Open(Arc<Open>),
    /// It failed, and is not tried again before then.
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
    answered: AtomicU64,
    since: Instant,
    /// Failures in a row before it; 0 once it has answered.
    failures: AtomicU32,
}

impl Open {
    /// A number for a question, different from that of any other question on this connection.
    pub(super) fn nonce(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn note_answer(&self, now: Instant) {
        self.answered.fetch_max(self.elapsed(now), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Whether any answer has come since then.
    pub(super) fn has_answered_since(&self, moment: Instant) -> bool {
        self.answered.load(Ordering::Relaxed) > self.elapsed(moment)
    }

    fn elapsed(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

impl ConnectionSlot {
    pub(super) fn new(nodes: &Arc<Nodes>, watch: &PrimaryWatch) -> Arc<Self> {
        let state = watch::Sender::new(State::Idle);
        Arc::new(Self { nodes: Arc::clone(nodes), watch: watch.clone(), state })
    }

    /// The connection to `primary`; made now if there is none. It is made on the current runtime,
    /// and also if this future is dropped meanwhile.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub(super) async fn open(
        self: &Arc<Self>,
        primary: &Arc<Primary>,
    ) -> Result<Arc<Open>, String> {
        let mut changes = self.state.subscribe();
        loop {
            if let Some(outcome) = self.take_or_begin(primary) {
                return outcome;
            }
            // The sender is ours: it cannot be gone.
            let _ = changes.wait_for(|state| !matches!(state, State::Connecting)).await;
            // Then an attempt ends without an outcome, and so would the next one.
            if !self.watch.is_current(primary.term) {
                return Err("the term has ended".to_owned());
            }
        }
    }

    /// The connection, or why there is none; `None`: it is being made.
    fn take_or_begin(
        self: &Arc<Self>,
        primary: &Arc<Primary>,
    ) -> Option<Result<Arc<Open>, String>> {
        let mut outcome = None;
        let mut begun = None;
        self.state.send_if_modified(|state| {
            let failures = match state {
                State::Connecting => return false,
                State::Open(open) if open.term == primary.term && !open.connection.is_closed() => {
                    outcome = Some(Ok(Arc::clone(open)));
                    return false;
                }
                State::Resting { term, until, why, .. }
                    if *term == primary.term && Instant::now() < *until =>
                {
                    outcome = Some(Err(why.clone()));
                    return false;
                }
                State::Resting { term, failures, .. } if *term == primary.term => *failures,
                State::Open(open) => {
                    open.connection.discard();
                    let is_same = open.term == primary.term;
                    if is_same { open.failures.load(Ordering::Relaxed) } else { 0 }
                }
                State::Idle | State::Resting { .. } => 0,
            };
            begun = Some(failures);
            *state = State::Connecting;
            true
        });
        if let Some(failures) = begun {
            let attempt =
                Attempt { slot: Some(Arc::clone(self)), primary: Arc::clone(primary), failures };
            tokio::spawn(attempt.run(Arc::clone(&self.nodes), self.watch.clone()));
        }
        outcome
    }

    /// Closes a connection that cannot be trusted or does not answer: every question on it fails,
    /// and the next connection is made after a pause.
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
    // After the first failure there is no pause: a connection that broke once is replaced at once.
    let pause = if failures <= 1 { Duration::ZERO } else { back_off(failures - 1) };
    State::Resting { term, until: Instant::now() + pause, failures, why }
}

/// One attempt to connect. If it succeeds, it watches the connection until that ends.
struct Attempt {
    /// `None` once the slot has the outcome.
    slot: Option<Arc<ConnectionSlot>>,
    primary: Arc<Primary>,
    failures: u32,
}

impl Attempt {
    async fn run(mut self, nodes: Arc<Nodes>, watch: PrimaryWatch) {
        // In this order: an attempt of a term that has ended takes no turn to connect.
        let made = tokio::select! {
            biased;
            () = watch.ended(self.primary.term) => return,
            made = nodes.connect(&self.primary.address, None) => made,
        };
        let address = &self.primary.address;
        let checked = made.and_then(|(connection, facts)| {
            if facts.run_id == self.primary.run_id {
                Ok(connection)
            } else {
                Err(DiscoveryError::OtherServer(address.clone()))
            }
        });
        let Some(slot) = self.slot.take() else { return };
        match checked {
            Ok(connection) => {
                let open = Arc::new(Open {
                    connection: connection.clone(),
                    term: self.primary.term,
                    next: AtomicU64::new(1),
                    answered: AtomicU64::new(0),
                    since: Instant::now(),
                    failures: AtomicU32::new(self.failures),
                });
                slot.state.send_replace(State::Open(Arc::clone(&open)));
                tokio::select! {
                    () = connection.closed() => slot.fail(&open, "the connection was lost"),
                    () = watch.ended(self.primary.term) => slot.fail(&open, "the term has ended"),
                }
            }
            Err(fault) => {
                if matches!(
                    fault,
                    DiscoveryError::OtherServer { .. } | DiscoveryError::NotMaster { .. }
                ) {
                    watch.doubt.notify_one();
                }
                slot.state.send_replace(resting(
                    self.primary.term,
                    self.failures.saturating_add(1),
                    fault.to_string(),
                ));
            }
        }
    }
}

impl Drop for Attempt {
    /// The attempt was dropped with its runtime: requests must not wait for it.
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.state.send_replace(State::Idle);
        }
    }
}
