//! Counters of failed attempts: the port, and an implementation in memory for a single instance.
//!
//! An attempt is *reserved* before its outcome is known, so that concurrent attempts cannot exceed
//! a limit together, and *settled* afterwards. The window of a counter begins with its first
//! reservation; at its end the counter is void. A reservation that is never settled (of a crashed
//! instance) counts as spent until then.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::tokens::store::StoreFuture;

#[cfg(test)]
pub(crate) mod tests;

/// The name of a counter: a MAC, so that no counter tells usernames, or passwords that were typed
/// in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterKey(pub [u8; 16]);

/// The limit of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The counter.
    pub key: CounterKey,
    /// How many may be spent or reserved in one window; [`u32::MAX`]: it only counts.
    pub limit: u32,
    /// How long a new window is.
    pub window: Duration,
}

/// The outcome of [`Counters::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// One of each counter was reserved.
    Reserved,
    /// One of them is at its limit, and nothing was reserved.
    Refused {
        /// When to try again: at the end of the window if the limit is spent; after a second if
        /// part of it is only reserved, and may be returned.
        retry_after: Duration,
    },
}

/// The end of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It counts.
    Spent,
    /// It does not count.
    Returned,
    /// It does not count, and neither does what was spent before.
    Cleared,
}

/// The port to the counters of all instances. Every operation is atomic.
pub trait Counters: Send + Sync + 'static {
    /// Reserves one of each counter, or nothing.
    fn reserve(&self, allowances: Vec<Allowance>, now: Timestamp) -> StoreFuture<Reservation>;

    /// Ends one reservation of each counter. Counters whose window has ended are passed over.
    fn settle(&self, settlements: Vec<(CounterKey, Settlement)>, now: Timestamp)
    -> StoreFuture<()>;

    /// How much of a counter is spent.
    fn spent(&self, key: CounterKey, now: Timestamp) -> StoreFuture<u32>;

    /// Remembers `member` of `group` for [`REMEMBERED_FOR`] from now; of one group, the latest
    /// [`MOST_REMEMBERED`].
    fn remember(&self, group: CounterKey, member: CounterKey, now: Timestamp) -> StoreFuture<()>;

    /// Whether `member` of `group` is remembered.
    fn remembers(&self, group: CounterKey, member: CounterKey, now: Timestamp)
    -> StoreFuture<bool>;
}

/// How long a member of a group is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// How many members of one group are remembered.
pub const MOST_REMEMBERED: usize = 32;

/// How many counters are in memory at most, some 100 bytes each; the oldest is forgotten first. One
/// or two threads do not hash as many passwords in a quarter of an hour, and a refused attempt
/// makes no counter.
const MOST_COUNTERS: usize = 200_000;

/// How many groups are in memory at most.
const MOST_GROUPS: usize = 20_000;

/// Counters in memory, for a single instance. They are lost with the process.
#[derive(Default)]
pub struct MemoryCounters {
    /// Held for a few instructions.
    tables: Mutex<Tables>,
}

struct Tables {
    counters: Bounded<Counter>,
    /// The members of each group, oldest first, each with the end of its time.
    groups: Bounded<VecDeque<(CounterKey, Timestamp)>>,
}

struct Counter {
    ends_at: Timestamp,
    spent: u32,
    reserved: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Self { counters: Bounded::new(MOST_COUNTERS), groups: Bounded::new(MOST_GROUPS) }
    }
}

impl Tables {
    fn live(&mut self, key: CounterKey, now: Timestamp) -> Option<&mut Counter> {
        self.counters.get_mut(key).filter(|counter| now < counter.ends_at)
    }

    fn reserve(&mut self, allowances: &[Allowance], now: Timestamp) -> Reservation {
        let mut refused = None;
        for allowance in allowances {
            let Some(counter) = self.live(allowance.key, now) else { continue };
            if counter.spent.saturating_add(counter.reserved) < allowance.limit {
                continue;
            }
            let left = counter.ends_at.unix_millis().saturating_sub(now.unix_millis());
            let retry_after = if counter.spent >= allowance.limit {
                Duration::from_millis(u64::try_from(left).unwrap_or(0))
            } else {
                Duration::from_secs(1)
            };
            refused = refused.max(Some(retry_after));
        }
        if let Some(retry_after) = refused {
            return Reservation::Refused { retry_after };
        }
        for &Allowance { key, window, .. } in allowances {
            match self.live(key, now) {
                Some(counter) => counter.reserved = counter.reserved.saturating_add(1),
                None => {
                    let counter = Counter { ends_at: now.after(window), spent: 0, reserved: 1 };
                    self.counters.insert(key, counter);
                }
            }
        }
        Reservation::Reserved
    }

    fn settle(&mut self, key: CounterKey, settlement: Settlement, now: Timestamp) {
        let Some(counter) = self.live(key, now) else { return };
        counter.reserved = counter.reserved.saturating_sub(1);
        match settlement {
            Settlement::Spent => counter.spent = counter.spent.saturating_add(1),
            Settlement::Returned => {}
            Settlement::Cleared => counter.spent = 0,
        }
        if counter.spent == 0 && counter.reserved == 0 {
            self.counters.remove(key);
        }
    }

    fn remember(&mut self, group: CounterKey, member: CounterKey, now: Timestamp) {
        let until = now.after(REMEMBERED_FOR);
        let Some(members) = self.groups.get_mut(group) else {
            return self.groups.insert(group, VecDeque::from([(member, until)]));
        };
        members.retain(|(other, until)| *other != member && now < *until);
        members.push_back((member, until));
        if members.len() > MOST_REMEMBERED {
            members.pop_front();
        }
    }
}

/// A table that forgets the oldest entry beyond its bound.
struct Bounded<V> {
    most: usize,
    /// Each with the number of its insertion.
    entries: HashMap<CounterKey, (u64, V)>,
    /// The keys by the number of their insertion.
    order: BTreeMap<u64, CounterKey>,
    insertions: u64,
}

impl<V> Bounded<V> {
    fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: BTreeMap::new(), insertions: 0 }
    }

    fn get_mut(&mut self, key: CounterKey) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, value)| value)
    }

    fn remove(&mut self, key: CounterKey) {
        if let Some((number, _)) = self.entries.remove(&key) {
            self.order.remove(&number);
        }
    }

    fn insert(&mut self, key: CounterKey, value: V) {
        self.remove(key);
        self.insertions += 1;
        self.entries.insert(key, (self.insertions, value));
        self.order.insert(self.insertions, key);
        if self.entries.len() > self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

impl MemoryCounters {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // After a panic under the lock, at most one counter is wrong.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready<T: Send + 'static>(value: T) -> StoreFuture<T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Counters for MemoryCounters {
    fn reserve(&self, allowances: Vec<Allowance>, now: Timestamp) -> StoreFuture<Reservation> {
        ready(self.tables().reserve(&allowances, now))
    }

    fn settle(
        &self,
        settlements: Vec<(CounterKey, Settlement)>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        let mut tables = self.tables();
        for (key, settlement) in settlements {
            tables.settle(key, settlement, now);
        }
        ready(())
    }

    fn spent(&self, key: CounterKey, now: Timestamp) -> StoreFuture<u32> {
        ready(self.tables().live(key, now).map_or(0, |counter| counter.spent))
    }

    fn remember(&self, group: CounterKey, member: CounterKey, now: Timestamp) -> StoreFuture<()> {
        self.tables().remember(group, member, now);
        ready(())
    }

    fn remembers(
        &self,
        group: CounterKey,
        member: CounterKey,
        now: Timestamp,
    ) -> StoreFuture<bool> {
        let mut tables = self.tables();
        let mut members = tables.groups.get_mut(group).into_iter().flatten();
        ready(members.any(|(other, until)| *other == member && now < *until))
    }
}
