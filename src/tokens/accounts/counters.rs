//! Counters of what failed: the port, and the one of a single keyward, in memory.
//!
//! An attempt is *reserved* before its outcome is known, so that many at the same time cannot
//! exceed a limit together, and *settled* afterwards. A counter's window begins with its first
//! reservation and does not move: after it, it is as if nothing had been. One that is never settled
//! (a crashed instance) counts as spent until its window ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::tokens::store::StoreFuture;

#[cfg(test)]
pub(crate) mod tests;

/// What is counted, as a keyed hash: usernames, and passwords typed in their place, are in no
/// counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterKey(pub [u8; 16]);

/// How much of one counter may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The counter.
    pub key: CounterKey,
    /// How many may be spent or reserved in one window; [`u32::MAX`]: it only counts.
    pub limit: u32,
    /// How long a new window is.
    pub window: Duration,
}

/// What became of a [`Counters::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// One of each was taken.
    Reserved,
    /// One of them has no more, and none was taken.
    Refused {
        /// When to try again: at the end of the window if all of it is spent; a second if some of
        /// it is only reserved, by attempts whose outcome may give it back.
        retry_after: Duration,
    },
}

/// What becomes of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It counts.
    Spent,
    /// It is as if it had not been.
    Returned,
    /// And neither does what was spent before count any more.
    Cleared,
}

/// The store of counters: like [`Store`](crate::tokens::store::Store), it counts for all instances
/// together, and every operation is atomic.
pub trait Counters: Send + Sync + 'static {
    /// Takes one of each, or none.
    fn reserve(&self, allowances: Vec<Allowance>, now: Timestamp) -> StoreFuture<Reservation>;

    /// Ends one reservation of each. What has no window any more is passed over.
    fn settle(&self, settlements: Vec<(CounterKey, Settlement)>, now: Timestamp)
    -> StoreFuture<()>;

    /// How much of the counter is spent.
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

/// How many counters there are in memory at most, some 100 bytes each; the oldest is forgotten
/// first. A hashing pool of one or two threads does not do as many logins in a quarter of an hour,
/// and what is refused makes no counter.
const MOST_COUNTERS: usize = 200_000;

/// How many groups.
const MOST_GROUPS: usize = 20_000;

/// Counters in memory: those of a single keyward. They begin anew with the process.
#[derive(Default)]
pub struct MemoryCounters {
    /// Held for a few instructions.
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    counters: HashMap<CounterKey, Counter>,
    /// Counters in the order in which their windows began, each with that moment: an entry whose
    /// counter has begun anew since is void.
    order: VecDeque<(CounterKey, u64)>,
    groups: HashMap<CounterKey, Group>,
    groups_order: VecDeque<(CounterKey, u64)>,
    serial: u64,
}

struct Counter {
    serial: u64,
    ends_at: Timestamp,
    spent: u32,
    reserved: u32,
}

struct Group {
    serial: u64,
    /// Oldest first.
    members: VecDeque<(CounterKey, Timestamp)>,
}

impl Tables {
    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn live(&mut self, key: CounterKey, now: Timestamp) -> Option<&mut Counter> {
        self.counters.get_mut(&key).filter(|counter| now < counter.ends_at)
    }

    fn reserve(&mut self, allowances: &[Allowance], now: Timestamp) -> Reservation {
        let mut refused = None;
        for allowance in allowances {
            let Some(counter) = self.live(allowance.key, now) else { continue };
            if counter.spent.saturating_add(counter.reserved) < allowance.limit {
                continue;
            }
            let left =
                u64::try_from(counter.ends_at.unix_millis().saturating_sub(now.unix_millis()))
                    .unwrap_or(0);
            let is_spent = counter.spent >= allowance.limit;
            let retry_after =
                if is_spent { Duration::from_millis(left) } else { Duration::from_secs(1) };
            refused = refused.max(Some(retry_after));
        }
        if let Some(retry_after) = refused {
            return Reservation::Refused { retry_after };
        }
        for allowance in allowances {
            match self.live(allowance.key, now) {
                Some(counter) => counter.reserved = counter.reserved.saturating_add(1),
                None => {
                    let serial = self.next_serial();
                    let ends_at = now.after(allowance.window);
                    self.counters
                        .insert(allowance.key, Counter { serial, ends_at, spent: 0, reserved: 1 });
                    self.order.push_back((allowance.key, serial));
                }
            }
        }
        self.shrink();
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
            self.counters.remove(&key);
        }
    }

    fn remember(&mut self, group: CounterKey, member: CounterKey, now: Timestamp) {
        let serial = self.next_serial();
        let entry =
            self.groups.entry(group).or_insert_with(|| Group { serial, members: VecDeque::new() });
        if entry.serial == serial {
            self.groups_order.push_back((group, serial));
        }
        entry.members.retain(|(other, until)| *other != member && now < *until);
        entry.members.push_back((member, now.after(REMEMBERED_FOR)));
        if entry.members.len() > MOST_REMEMBERED {
            entry.members.pop_front();
        }
        self.shrink();
    }

    /// Forgets the oldest beyond the bounds, and void entries of the order before they are more
    /// than the others.
    fn shrink(&mut self) {
        while self.counters.len() > MOST_COUNTERS {
            let Some((key, serial)) = self.order.pop_front() else { break };
            if self.counters.get(&key).is_some_and(|counter| counter.serial == serial) {
                self.counters.remove(&key);
            }
        }
        if self.order.len() > 2 * self.counters.len() + 64 {
            let counters = &self.counters;
            self.order.retain(|(key, serial)| {
                counters.get(key).is_some_and(|counter| counter.serial == *serial)
            });
        }
        while self.groups.len() > MOST_GROUPS {
            let Some((group, _)) = self.groups_order.pop_front() else { break };
            self.groups.remove(&group);
        }
    }
}

impl MemoryCounters {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Between any two instructions the tables are good enough: a counter more or less.
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
        let tables = self.tables();
        let members = tables.groups.get(&group).into_iter().flat_map(|group| &group.members);
        ready(members.into_iter().any(|(other, until)| *other == member && now < *until))
    }
}
