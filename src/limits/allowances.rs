//! Shared counters as one instance asks them: by an allowance for each, with one call at a time.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::allowance::{Allowance, Reach, Step};
use super::key::CounterKey;
use super::quota::Quota;
use super::shared::{CountersError, Grant, SharedCounters};
use super::verdict::Verdict;
use crate::domain::Uptime;

/// How long a request waits for an answer. After that, this instance judges it by itself.
const WAIT: Duration = Duration::from_millis(250);

/// How often counters that cannot be asked are tried, by all allowances together.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// Room for this many allowances is there from the start.
const FIRST: usize = 64;

/// How many calls may be under way. What would need one more is judged by this instance alone.
const MOST_CALLS: u32 = 1024;

/// The counters of the fleet, as all limits of one instance reach them.
pub struct FleetCounters {
    counters: Arc<dyn SharedCounters>,
    calls: AtomicU32,
    outage: Outage,
}

/// The allowances of one limit. One that is not remembered any more is asked for anew.
pub struct Allowances {
    fleet: Arc<FleetCounters>,
    /// Others in each process.
    seeds: RandomState,
    table: quick_cache::sync::Cache<CounterKey, Arc<Slot>>,
}

/// What becomes of a request.
pub enum Judged {
    /// This.
    Now(Verdict),
    /// It has to wait for the counter.
    Later(Pending),
}

/// A request that waits for the answer of a counter.
pub struct Pending {
    allowances: Arc<Allowances>,
    slot: Arc<Slot>,
    at: Counter,
    since: Uptime,
}

/// One counter: which, and what it allows.
#[derive(Clone, Copy)]
struct Counter {
    key: CounterKey,
    quota: Quota,
}

struct Slot {
    /// Held for some instructions, and never across an await.
    allowance: Mutex<Allowance>,
    /// Told when an answer has come.
    answered: Notify,
}

impl FleetCounters {
    /// Behind this port.
    #[must_use]
    pub fn new(counters: Arc<dyn SharedCounters>) -> Arc<Self> {
        Arc::new(Self { counters, calls: AtomicU32::new(0), outage: Outage::default() })
    }

    fn reach(&self, now: Uptime) -> Reach {
        match self.outage.reach(now) {
            Reach::There if self.calls.load(Ordering::Relaxed) >= MOST_CALLS => Reach::Away,
            reach => reach,
        }
    }
}

impl Allowances {
    /// Remembers at most `capacity` counters.
    #[must_use]
    pub fn new(fleet: Arc<FleetCounters>, capacity: usize) -> Arc<Self> {
        let table = quick_cache::sync::Cache::with(
            capacity.min(FIRST),
            capacity as u64,
            quick_cache::UnitWeighter,
            quick_cache::DefaultHashBuilder::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Arc::new(Self { fleet, seeds: RandomState::new(), table })
    }

    /// Judges a request by a shared counter. Must be called within a tokio runtime.
    #[must_use]
    pub fn judge(self: &Arc<Self>, key: CounterKey, quota: Quota, now: Uptime) -> Judged {
        let made = self.table.get_or_insert_with(&key, || {
            Ok::<_, std::convert::Infallible>(Arc::new(Slot {
                allowance: Mutex::new(Allowance::new(now, self.seeds.hash_one(key))),
                answered: Notify::new(),
            }))
        });
        let Ok(slot) = made;
        let at = Counter { key, quota };
        let mut allowance = slot.allowance();
        let step = allowance.judge(&quota, self.fleet.reach(now), now);
        match self.carry_out(&slot, at, step, now) {
            Some(verdict) => Judged::Now(verdict),
            None => {
                allowance.waiting = allowance.waiting.saturating_add(1);
                drop(allowance);
                Judged::Later(Pending { allowances: Arc::clone(self), slot, at, since: now })
            }
        }
    }

    /// Takes back a permit of a request that another limit refused.
    pub fn give_back(&self, key: &CounterKey, quota: &Quota) {
        if let Some(slot) = self.table.get(key) {
            slot.allowance().give_back(quota);
        }
    }

    /// How many counters are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no counter is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks the counter if that is to be done; the verdict, if there is one.
    fn carry_out(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        at: Counter,
        step: Step,
        now: Uptime,
    ) -> Option<Verdict> {
        let (verdict, wanted) = match step {
            Step::Decided(verdict) => return Some(verdict),
            Step::Ahead(verdict, wanted) => (Some(verdict), wanted),
            Step::Ask(wanted) => (None, wanted),
            Step::Wait => return None,
        };
        self.fleet.calls.fetch_add(1, Ordering::Relaxed);
        let call =
            RunningCall { allowances: Arc::clone(self), slot: Some(Arc::clone(slot)), at, wanted };
        tokio::spawn(call.run(now));
        verdict
    }
}

impl Slot {
    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Waits, at most 250 ms.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped has taken no permit.
    pub async fn verdict(self) -> Verdict {
        let begun = Instant::now();
        let judged = timeout(WAIT, async {
            loop {
                // Made before the look, so that no answer comes in between.
                let answered = self.slot.answered.notified();
                let now = self.since.after(begun.elapsed());
                let step = {
                    let reach = self.allowances.fleet.reach(now);
                    let mut allowance = self.slot.allowance();
                    let step = allowance.again(&self.at.quota, reach, now);
                    self.allowances.carry_out(&self.slot, self.at, step, now)
                };
                match step {
                    Some(verdict) => return verdict,
                    None => answered.await,
                }
            }
        });
        match judged.await {
            Ok(verdict) => verdict,
            Err(_) => {
                let now = self.since.after(begun.elapsed());
                self.slot.allowance().alone(&self.at.quota, now)
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut allowance = self.slot.allowance();
        allowance.waiting = allowance.waiting.saturating_sub(1);
    }
}

/// A call of a counter. If it is dropped without an answer, as its runtime ends, that is no answer.
struct RunningCall {
    allowances: Arc<Allowances>,
    /// `None` once it has been told.
    slot: Option<Arc<Slot>>,
    at: Counter,
    wanted: NonZeroU32,
}

impl RunningCall {
    async fn run(mut self, since: Uptime) {
        let begun = Instant::now();
        let Counter { key, quota } = self.at;
        let answer = self.allowances.fleet.counters.take(key, quota, self.wanted).await;
        let now = since.after(begun.elapsed());
        self.allowances.fleet.outage.note(answer.as_ref().err(), now);
        self.tell(answer.ok(), now);
    }

    fn tell(&mut self, answer: Option<Grant>, now: Uptime) {
        let Some(slot) = self.slot.take() else { return };
        self.allowances.fleet.calls.fetch_sub(1, Ordering::Relaxed);
        let mut allowance = slot.allowance();
        match answer {
            Some(grant) => allowance.granted(&grant, self.wanted, &self.at.quota, now),
            None => allowance.failed(),
        }
        drop(allowance);
        slot.answered.notify_waiters();
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.tell(None, Uptime::from_nanos(0));
    }
}

/// Whether the counters can be asked; one for all, as they are all in one store.
#[derive(Default)]
struct Outage {
    is_on: AtomicBool,
    /// How many calls have failed since one was answered.
    failures: AtomicU32,
    /// When they are to be tried again, in nanoseconds since the machine started.
    try_at: AtomicU64,
}

impl Outage {
    /// Of all that ask while the counters are away, one is told to try, every [`TRY_EVERY`].
    fn reach(&self, now: Uptime) -> Reach {
        if !self.is_on.load(Ordering::Relaxed) {
            return Reach::There;
        }
        let due = self.try_at.load(Ordering::Relaxed);
        let next = now.after(TRY_EVERY).nanos();
        let is_due = now.nanos() >= due
            && self
                .try_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_due { Reach::Tried } else { Reach::Away }
    }

    fn note(&self, fault: Option<&CountersError>, now: Uptime) {
        let is_on = match fault {
            Some(fault) => {
                self.try_at.store(now.after(TRY_EVERY).nanos(), Ordering::Relaxed);
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                // A single answer may be late where the machine is busy.
                failures > 1 || matches!(fault, CountersError::Unavailable(_))
            }
            None => {
                self.failures.store(0, Ordering::Relaxed);
                false
            }
        };
        if self.is_on.swap(is_on, Ordering::Relaxed) == is_on {
            return;
        }
        match fault {
            Some(fault) => tracing::warn!(
                %fault,
                "the counters of shared limits cannot be asked: until they can, this instance \
                 counts by itself, by the same limits"
            ),
            None => tracing::info!("shared limits are counted for the fleet again"),
        }
    }
}

#[cfg(test)]
mod tests;
