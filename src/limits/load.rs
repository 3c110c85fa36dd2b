//! What the whole process has under way, and how much it may have.
//!
//! Two bounds: a number of requests, which all workers count together, and memory, which others
//! look at. Beyond either, what is new is refused and what is under way goes on.
//!
//! **Fairness.** No holder (a token, or an address without one) may have more requests under way
//! than there are places left free, but one in any case. That is the dynamic threshold of shared
//! buffers in switches (Choudhury and Hahne, 1998): below half of the limit it never says no, alone
//! a holder has half of the places, two have a third each, and some are always free for a holder
//! that has none yet.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::concurrency::{Concurrency, Place};
use super::key::{CounterKey, LimitId};

/// The load of one process, shared by its workers.
pub struct Load {
    /// How many requests may be under way; 0: any number, and none is counted.
    most: AtomicU32,
    has_too_much_memory: AtomicBool,
    counted: Counted,
}

/// Written by every request that is counted: on a cache line of its own, so that reading the bounds
/// costs nothing where none is.
#[repr(align(64))]
struct Counted {
    under_way: AtomicU32,
    by_holder: Arc<Concurrency>,
}

/// Of what there is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Connections of clients.
    Connections,
    /// Requests at the same time.
    Requests,
    /// Memory.
    Memory,
}

impl Default for Load {
    fn default() -> Self {
        let by_holder = Arc::new(Concurrency::new(LimitId::of(&["limits.requests"])));
        Self {
            most: AtomicU32::new(0),
            has_too_much_memory: AtomicBool::new(false),
            counted: Counted { under_way: AtomicU32::new(0), by_holder },
        }
    }
}

impl Load {
    /// From now on, so many requests may be under way; 0: any number. What is under way goes on,
    /// and what was not counted when it began is not counted later.
    pub fn bound(&self, requests: u32) {
        self.most.store(requests, Ordering::Relaxed);
    }

    /// How many requests may be under way; `None`: any number.
    #[must_use]
    pub fn most(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.most.load(Ordering::Relaxed))
    }

    /// How many of those that were counted are under way.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.counted.under_way.load(Ordering::Relaxed)
    }

    /// The process takes more memory than it may, or does not any more.
    pub fn note_memory(&self, is_too_much: bool) {
        self.has_too_much_memory.store(is_too_much, Ordering::Relaxed);
    }

    /// Whether the process takes more memory than it may.
    #[must_use]
    pub fn has_too_much_memory(&self) -> bool {
        self.has_too_much_memory.load(Ordering::Relaxed)
    }

    /// One request more. `None`: they are not counted.
    ///
    /// # Errors
    ///
    /// When there is too much already.
    pub fn enter(self: &Arc<Self>) -> Result<Option<Box<UnderWay>>, Excess> {
        if self.has_too_much_memory() {
            return Err(Excess::Memory);
        }
        let Some(most) = self.most() else { return Ok(None) };
        let one_more = |count: u32| (count < most.get()).then(|| count + 1);
        let entered =
            self.counted.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        match entered {
            Ok(_) => Ok(Some(Box::new(UnderWay { load: Arc::clone(self), place: None }))),
            Err(_) => Err(Excess::Requests),
        }
    }
}

/// One request that is counted, until this is dropped.
pub struct UnderWay {
    load: Arc<Load>,
    /// Among those of its holder.
    place: Option<Place>,
}

impl UnderWay {
    /// Whether the holder of the request may have one more under way. It has it then.
    ///
    /// # Errors
    ///
    /// How many it may have at the moment.
    pub fn belongs_to(&mut self, holder: impl FnOnce(LimitId) -> CounterKey) -> Result<(), u32> {
        let Some(most) = self.load.most() else { return Ok(()) };
        let by_holder = &self.load.counted.by_holder;
        let free = most.get().saturating_sub(self.load.under_way());
        let share = NonZeroU32::new(free).unwrap_or(NonZeroU32::MIN);
        self.place = by_holder.enter(holder(by_holder.id()), share);
        if self.place.is_some() { Ok(()) } else { Err(share.get()) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.load.counted.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenDigest;

    fn token(byte: u8) -> impl FnOnce(LimitId) -> CounterKey {
        move |limit| CounterKey::token(limit, &TokenDigest::from_bytes([byte; 32]))
    }

    /// One request of a holder, if it may be made.
    fn request(load: &Arc<Load>, holder: u8) -> Option<Box<UnderWay>> {
        let mut entered = load.enter().ok()??;
        entered.belongs_to(token(holder)).ok()?;
        Some(entered)
    }

    /// As many requests as a holder may have.
    fn greedy(load: &Arc<Load>, holder: u8) -> Vec<UnderWay> {
        std::iter::from_fn(|| request(load, holder).map(|boxed| *boxed)).collect()
    }

    fn load(most: u32) -> Arc<Load> {
        let load = Arc::new(Load::default());
        load.bound(most);
        load
    }

    #[test]
    fn what_is_not_bounded_is_not_counted() {
        let load = load(0);
        assert!(load.enter().expect("a request").is_none());
        assert_eq!(load.under_way(), 0);
    }

    #[test]
    fn the_one_beyond_is_refused_and_a_place_that_is_left_is_free() {
        let load = load(2);
        let first = request(&load, 1).expect("a place");
        let _second = request(&load, 2).expect("a place");
        assert_eq!(load.enter().err(), Some(Excess::Requests));
        assert_eq!(load.under_way(), 2, "a refusal takes no place");
        drop(first);
        assert!(request(&load, 3).is_some());
    }

    #[test]
    fn a_greedy_holder_leaves_places_for_those_that_have_none() {
        let load = load(100);
        let first = greedy(&load, 1);
        assert_eq!(first.len(), 50, "alone it has half");
        let second = greedy(&load, 2);
        assert_eq!(second.len(), 25, "while the first keeps its places");
        assert!(load.under_way() < 100);
        for other in 3..20 {
            assert!(request(&load, other).is_some(), "{other}");
        }
        drop((first, second));
        assert_eq!(load.under_way(), 0);
        assert_eq!(load.counted.by_holder.keys(), 0);
    }

    #[test]
    fn everyone_may_have_one_while_there_is_a_place() {
        let load = load(4);
        let held: Vec<_> = (0..4).map(|holder| request(&load, holder).expect("a place")).collect();
        assert!(request(&load, 9).is_none());
        drop(held);
        assert!(request(&load, 9).is_some());
    }

    #[test]
    fn below_half_of_the_limit_no_holder_is_refused() {
        for most in 2..200 {
            let load = load(most);
            let held: Vec<_> = (0..most / 2).filter_map(|_| request(&load, 1)).collect();
            assert_eq!(held.len(), (most / 2) as usize, "of {most}");
        }
    }

    #[test]
    fn memory_refuses_whatever_the_number_of_requests() {
        let load = load(0);
        load.note_memory(true);
        assert_eq!(load.enter().err(), Some(Excess::Memory));
        load.note_memory(false);
        assert!(load.enter().is_ok());
    }

    #[test]
    fn a_bound_that_is_changed_holds_for_what_comes_then() {
        let load = load(10);
        let held = greedy(&load, 1);
        load.bound(2);
        assert_eq!(load.enter().err(), Some(Excess::Requests));
        load.bound(0);
        assert!(load.enter().expect("a request").is_none());
        drop(held);
        assert_eq!(load.under_way(), 0);
    }

    #[test]
    fn workers_that_come_and_go_never_exceed_it_and_leave_nothing_behind() {
        let load = load(3);
        std::thread::scope(|scope| {
            for holder in 0..4 {
                let load = &load;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let held = request(load, holder);
                        assert!(load.under_way() <= 3);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(load.under_way(), 0);
        assert_eq!(load.counted.by_holder.keys(), 0);
    }
}
