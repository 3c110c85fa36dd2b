//! What happened to each token and each instance, and what an answer says against it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use super::super::raw_client::{Answer, NoAnswer};
use crate::support::redis::wait_until;

/// A moment that has not come.
const NEVER: u64 = u64::MAX;

/// What happened to one token. Moments are nanoseconds since the history began, 0: not yet.
pub(super) struct Entry {
    pub(super) token: String,
    /// Where it is used.
    pub(super) target: &'static str,
    /// What the upstream answers there to a request with it.
    pub(super) answer: String,
    pub(super) issue_began: u64,
    pub(super) issued: u64,
    /// A call that takes tokens of this owner away was never answered: should it have been late, it
    /// took this one, too.
    pub(super) may_be_gone: bool,
    pub(super) revoke_began: AtomicU64,
    pub(super) revoked: AtomicU64,
}

impl Entry {
    pub(super) fn is_being_revoked(&self) -> bool {
        self.revoke_began.load(Ordering::SeqCst) != 0
    }
}

/// The process of an instance.
struct Life {
    /// How often it was killed.
    deaths: AtomicU64,
    /// When it was killed last, and when the next one was ready; [`NEVER`] as long as it was not.
    died: AtomicU64,
    back: AtomicU64,
}

/// What is known of all tokens.
pub(in super::super) struct History {
    origin: Instant,
    slots: Vec<RwLock<Option<Arc<Entry>>>>,
    lives: Vec<Life>,
    /// The latest FLUSHDB: when it began and when it was answered, [`NEVER`] as long as it was not.
    flush_began: AtomicU64,
    flushed: AtomicU64,
    pub(super) requests: AtomicUsize,
    pub(super) successes: AtomicUsize,
    pub(super) cannot_tell: AtomicUsize,
    /// Tokens whose revocation was answered, by a revoke or by revoke-all.
    pub(super) revocations: AtomicUsize,
    /// Tokens in whose place another was put.
    pub(super) rotations: AtomicUsize,
    /// How long revocations took that were answered while nothing was broken.
    pub(super) healthy: Mutex<Vec<Duration>>,
    is_healthy: AtomicBool,
    /// Since when nothing is broken.
    healthy_since: AtomicU64,
    /// Successes of tokens that FLUSHDB took, and how long after its answer they began.
    pub(super) outlived: Mutex<Vec<Duration>>,
    pub(super) violations: Mutex<Vec<String>>,
    pub(super) faults: Mutex<Vec<(u64, String)>>,
    pub(super) stop: AtomicBool,
}

/// What an answer means to a client that wants a change.
pub(super) enum Reaction {
    /// It is done, and this is the answer.
    Done(Vec<u8>),
    Refused,
    /// It may have been done or not.
    CannotTell,
    /// An answer that must not occur.
    Wrong,
}

impl History {
    pub(super) fn new(slots: usize, instances: usize) -> Self {
        let life =
            || Life { deaths: AtomicU64::new(0), died: AtomicU64::new(0), back: AtomicU64::new(0) };
        Self {
            origin: Instant::now(),
            slots: (0..slots).map(|_| RwLock::new(None)).collect(),
            lives: (0..instances).map(|_| life()).collect(),
            flush_began: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            successes: AtomicUsize::new(0),
            cannot_tell: AtomicUsize::new(0),
            revocations: AtomicUsize::new(0),
            rotations: AtomicUsize::new(0),
            healthy: Mutex::default(),
            is_healthy: AtomicBool::new(true),
            healthy_since: AtomicU64::new(0),
            outlived: Mutex::default(),
            violations: Mutex::default(),
            faults: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Runs something that breaks things and mends them, and notes it.
    pub(in super::super) fn during(&self, fault: &str, trouble: impl FnOnce()) {
        self.faults.lock().unwrap().push((self.now(), fault.to_owned()));
        self.is_healthy.store(false, Ordering::SeqCst);
        trouble();
        self.healthy_since.store(self.now(), Ordering::SeqCst);
        self.is_healthy.store(true, Ordering::SeqCst);
    }

    /// Returns when the load has gone on for a second and has had some more tokens revoked.
    pub(in super::super) fn carry_on(&self) {
        const MORE: usize = 8;
        let (since, before) = (Instant::now(), self.revocations.load(Ordering::SeqCst));
        wait_until("tokens are revoked", || {
            since.elapsed() >= Duration::from_secs(1)
                && self.revocations.load(Ordering::SeqCst) >= before + MORE
        });
    }

    /// Runs what kills this instance and starts it again.
    pub(in super::super) fn while_away(&self, instance: usize, away: impl FnOnce()) {
        let life = &self.lives[instance];
        life.back.store(NEVER, Ordering::SeqCst);
        life.died.store(self.now(), Ordering::SeqCst);
        life.deaths.fetch_add(1, Ordering::SeqCst);
        away();
        life.back.store(self.now(), Ordering::SeqCst);
    }

    /// Runs what takes all records away.
    pub(in super::super) fn while_flushed(&self, flush: impl FnOnce()) {
        self.flushed.store(NEVER, Ordering::SeqCst);
        self.flush_began.store(self.now(), Ordering::SeqCst);
        flush();
        self.flushed.store(self.now(), Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether nothing is broken.
    pub(super) fn is_calm(&self) -> bool {
        self.is_healthy.load(Ordering::SeqCst)
    }

    /// Whether what was broken at that moment has been mended, with all that was still under way.
    pub(super) fn is_calm_since(&self, moment: u64) -> bool {
        self.is_calm() && self.healthy_since.load(Ordering::SeqCst) > moment
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn entry(&self, slot: usize) -> Option<Arc<Entry>> {
        self.slots[slot].read().unwrap().clone()
    }

    pub(super) fn enter(&self, slot: usize, entry: Entry) {
        *self.slots[slot].write().unwrap() = Some(Arc::new(entry));
    }

    /// Whether FLUSHDB may have taken what was issued from then on.
    pub(super) fn may_be_flushed(&self, issue_began: u64) -> bool {
        issue_began <= self.flushed.load(Ordering::SeqCst)
    }

    /// Whether a FLUSHDB is under way.
    pub(super) fn is_being_flushed(&self) -> bool {
        self.flushed.load(Ordering::SeqCst) == NEVER
    }

    pub(super) fn deaths(&self, instance: usize) -> u64 {
        self.lives[instance].deaths.load(Ordering::SeqCst)
    }

    /// Whether the instance was away at some moment between the two.
    fn was_away(&self, instance: usize, began: u64, ended: u64) -> bool {
        let life = &self.lives[instance];
        let (died, back) = (life.died.load(Ordering::SeqCst), life.back.load(Ordering::SeqCst));
        life.deaths.load(Ordering::SeqCst) > 0 && died <= ended && began <= back
    }

    pub(super) fn violation(&self, words: String) {
        let now = Duration::from_nanos(self.now());
        self.violations.lock().unwrap().push(format!("at {now:?}: {words}"));
    }

    /// What the answer to a call comes to that began then. `unable`: the status with which the API
    /// says that it cannot tell.
    pub(super) fn said(
        &self,
        instance: usize,
        began: u64,
        answer: &Result<Answer, NoAnswer>,
        unable: u16,
    ) -> Reaction {
        match answer {
            Ok(Answer { status: 200 | 204, body, .. }) => Reaction::Done(body.clone()),
            Ok(Answer { status: 401, .. }) => Reaction::Refused,
            Ok(Answer { status: 503, has_retry_after: true, .. }) => Reaction::CannotTell,
            Ok(Answer { status, .. }) if *status == unable => Reaction::CannotTell,
            Err(NoAnswer::Cut | NoAnswer::Refused)
                if self.was_away(instance, began, self.now()) =>
            {
                Reaction::CannotTell
            }
            _ => Reaction::Wrong,
        }
    }

    /// Holds an answer to a request that began then against what is known.
    pub(super) fn judge(
        &self,
        instance: usize,
        entry: &Entry,
        began: u64,
        answer: &Result<Answer, NoAnswer>,
    ) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let ended = self.now();
        let moments = || {
            let at = |nanos: u64| Duration::from_nanos(nanos);
            format!(
                "{} on instance {instance}, begun {:?}, ended {:?}, issue begun {:?}, revoke begun \
                 {:?}, answered {:?}",
                entry.answer,
                at(began),
                at(ended),
                at(entry.issue_began),
                at(entry.revoke_began.load(Ordering::SeqCst)),
                at(entry.revoked.load(Ordering::SeqCst)),
            )
        };
        match self.said(instance, began, answer, 503) {
            Reaction::Done(body) => {
                self.successes.fetch_add(1, Ordering::Relaxed);
                let revoked = entry.revoked.load(Ordering::SeqCst);
                if revoked != 0 && began > revoked {
                    self.violation(format!(
                        "a success after the revocation was answered: {}",
                        moments()
                    ));
                }
                if body != entry.answer.as_bytes() {
                    let other = String::from_utf8_lossy(&body).into_owned();
                    self.violation(format!("the identity of another, {other}: {}", moments()));
                }
                let (flush_began, flushed) =
                    (self.flush_began.load(Ordering::SeqCst), self.flushed.load(Ordering::SeqCst));
                // What was issued while it was flushed may or may not be there.
                if began > flushed && entry.issued < flush_began {
                    self.outlived.lock().unwrap().push(Duration::from_nanos(began - flushed));
                }
            }
            Reaction::Refused => {
                let may_be = entry.is_being_revoked()
                    || entry.may_be_gone
                    || self.may_be_flushed(entry.issue_began);
                if !may_be {
                    self.violation(format!("a good token was refused: {}", moments()));
                }
            }
            Reaction::CannotTell => {
                self.cannot_tell.fetch_add(1, Ordering::Relaxed);
            }
            Reaction::Wrong => self.violation(format!("{answer:?}: {}", moments())),
        }
    }
}
