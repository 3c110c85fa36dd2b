//! Requests that are under way at the same time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::{CounterKey, LimitId};

/// How many locks there are. Each is held for a few instructions.
const SHARDS: usize = 16;

/// Counts what is under way, for each key. All workers of a process share it.
///
/// A key is there only while something of it is under way, so there are never more keys than
/// exchanges.
pub struct Concurrency {
    id: LimitId,
    shards: [Mutex<HashMap<CounterKey, u32>>; SHARDS],
}

/// A place among what is under way. It is free again when this is dropped.
pub struct Place {
    of: Arc<Concurrency>,
    key: CounterKey,
}

impl Concurrency {
    /// With nothing under way. `id` tells it from all others.
    #[must_use]
    pub fn new(id: LimitId) -> Self {
        Self { id, shards: Default::default() }
    }

    /// What tells it from every other limit.
    #[must_use]
    pub const fn id(&self) -> LimitId {
        self.id
    }

    /// Takes a place, if fewer than `most` are taken.
    #[must_use]
    pub fn enter(self: &Arc<Self>, key: CounterKey, most: NonZeroU32) -> Option<Place> {
        let mut shard = self.shard(&key)?;
        let count = shard.entry(key).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        drop(shard);
        Some(Place { of: Arc::clone(self), key })
    }

    /// How many keys have something under way.
    #[must_use]
    pub fn keys(&self) -> usize {
        let len = |shard: &Mutex<HashMap<_, _>>| shard.lock().map_or(0, |shard| shard.len());
        self.shards.iter().map(len).sum()
    }

    fn shard(&self, key: &CounterKey) -> Option<MutexGuard<'_, HashMap<CounterKey, u32>>> {
        let shard = self.shards.get(key.spread() % SHARDS)?;
        // Nothing that holds the lock can panic halfway through a change.
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(mut shard) = self.of.shard(&self.key) else { return };
        if let Some(count) = shard.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenDigest;

    #[test]
    fn no_more_than_so_many_are_under_way_and_a_place_that_is_left_is_free() {
        let most = NonZeroU32::new(2).expect("not zero");
        let concurrency = Arc::new(Concurrency::new(LimitId::of(&["test"])));
        let key = |byte| CounterKey::token(concurrency.id(), &TokenDigest::from_bytes([byte; 32]));
        let first = concurrency.enter(key(1), most).expect("a place");
        let second = concurrency.enter(key(1), most).expect("a place");
        assert!(concurrency.enter(key(1), most).is_none());
        let other = concurrency.enter(key(2), most).expect("a place of another key");
        drop(first);
        let third = concurrency.enter(key(1), most).expect("the place that was left");
        assert!(concurrency.enter(key(1), most).is_none());
        drop((second, third, other));
        assert_eq!(concurrency.keys(), 0, "what is not under way takes no memory");
    }

    #[test]
    fn workers_that_come_and_go_never_exceed_it_and_leave_nothing_behind() {
        let most = NonZeroU32::new(3).expect("not zero");
        let concurrency = Arc::new(Concurrency::new(LimitId::of(&["test"])));
        let key = CounterKey::route(concurrency.id());
        let under_way = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let Some(place) = concurrency.enter(key, most) else { continue };
                        let order = std::sync::atomic::Ordering::SeqCst;
                        assert!(under_way.fetch_add(1, order) < 3);
                        under_way.fetch_sub(1, order);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(concurrency.keys(), 0);
    }
}
