//! Counting in memory: the port, and what only this one promises.

use self::conformance::{at, conforms_counters, key, up_to};
use super::*;

pub(crate) mod conformance;

async fn fresh() -> ((), std::sync::Arc<dyn Counters>) {
    ((), std::sync::Arc::new(MemoryCounters::default()))
}

mod conforms {
    use super::*;
    conforms_counters! { fresh }
}

#[test]
fn a_refusal_makes_no_counter() {
    let mut tables = Tables::default();
    assert_eq!(tables.reserve(&[up_to(1, 1)], at(0)), Reservation::Reserved);
    assert_ne!(tables.reserve(&[up_to(2, 1), up_to(1, 1)], at(0)), Reservation::Reserved);
    assert_eq!((tables.counters.entries.len(), tables.counters.order.len()), (1, 1));
}

#[test]
fn a_success_leaves_nothing_behind() {
    let mut tables = Tables::default();
    for settlement in [Settlement::Spent, Settlement::Spent, Settlement::Cleared] {
        assert_eq!(tables.reserve(&[up_to(1, 3)], at(0)), Reservation::Reserved);
        tables.settle(key(1), settlement, at(0));
    }
    assert!(tables.counters.entries.is_empty());
    // What is not there is passed over.
    tables.settle(key(1), Settlement::Spent, at(0));
    assert!(tables.counters.entries.is_empty());
}

#[test]
fn memory_is_bounded_and_the_oldest_goes_first() {
    let mut tables = Tables::default();
    let most = MOST_COUNTERS as u64;
    for number in 0..most + 10 {
        tables.reserve(&[up_to(number, 1)], at(0));
        tables.settle(key(number), Settlement::Spent, at(0));
    }
    assert_eq!(tables.counters.entries.len(), MOST_COUNTERS);
    assert!(tables.live(key(9), at(0)).is_none() && tables.live(key(10), at(0)).is_some());
    // Counters that come and go leave no trail.
    let mut tables = Tables::default();
    for _ in 0..10_000 {
        tables.reserve(&[up_to(1, 1)], at(0));
        tables.settle(key(1), Settlement::Returned, at(0));
    }
    assert!(tables.counters.order.len() < 100, "{}", tables.counters.order.len());
}

#[test]
fn of_the_groups_the_oldest_goes_first() {
    let mut tables = Tables::default();
    for group in 0..MOST_GROUPS as u64 + 1 {
        tables.remember(key(group), key(0), at(0));
    }
    let groups = &tables.groups.entries;
    assert_eq!((groups.len(), groups.contains_key(&key(0))), (MOST_GROUPS, false));
}
