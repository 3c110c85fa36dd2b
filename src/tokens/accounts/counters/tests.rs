//! Counting in memory, with the time as an argument.

use super::*;

const WINDOW: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_000_000 + seconds * 1000)
}

fn key(number: u64) -> CounterKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    CounterKey(bytes)
}

fn up_to(number: u64, limit: u32) -> Allowance {
    Allowance { key: key(number), limit, window: WINDOW }
}

fn refused(seconds: u64) -> Reservation {
    Reservation::Refused { retry_after: Duration::from_secs(seconds) }
}

#[test]
fn what_is_spent_counts_until_the_window_ends_and_the_window_does_not_move() {
    let mut tables = Tables::default();
    for second in 0..3 {
        assert_eq!(tables.reserve(&[up_to(1, 3)], at(second)), Reservation::Reserved);
        tables.settle(key(1), Settlement::Spent, at(second));
    }
    assert_eq!(tables.reserve(&[up_to(1, 3)], at(3)), refused(57));
    assert_eq!(tables.reserve(&[up_to(1, 3)], at(59)), refused(1));
    assert_eq!(tables.reserve(&[up_to(1, 3)], at(60)), Reservation::Reserved);
    // The old window's spending is gone; a settlement of the new one's counts in the new one.
    tables.settle(key(1), Settlement::Spent, at(61));
    assert_eq!(tables.live(key(1), at(61)).map(|counter| counter.spent), Some(1));
}

#[test]
fn many_at_once_cannot_exceed_a_limit_and_what_is_returned_is_there_again() {
    let mut tables = Tables::default();
    let reserve = |tables: &mut Tables| tables.reserve(&[up_to(1, 2)], at(0));
    assert_eq!([reserve(&mut tables), reserve(&mut tables)], [Reservation::Reserved; 2]);
    // Not spent yet: try again soon.
    assert_eq!(reserve(&mut tables), refused(1));
    tables.settle(key(1), Settlement::Returned, at(0));
    assert_eq!(reserve(&mut tables), Reservation::Reserved);
    tables.settle(key(1), Settlement::Spent, at(0));
    tables.settle(key(1), Settlement::Spent, at(0));
    assert_eq!(reserve(&mut tables), refused(60));
}

#[test]
fn one_refusal_takes_of_none_and_makes_no_counter() {
    let mut tables = Tables::default();
    assert_eq!(tables.reserve(&[up_to(1, 1)], at(0)), Reservation::Reserved);
    assert_eq!(tables.reserve(&[up_to(2, 1), up_to(1, 1)], at(0)), refused(1));
    assert_eq!((tables.counters.len(), tables.order.len()), (1, 1));
    assert_eq!(tables.reserve(&[up_to(2, 1)], at(0)), Reservation::Reserved);
}

#[test]
fn a_success_clears_and_leaves_nothing_behind() {
    let mut tables = Tables::default();
    for settlement in [Settlement::Spent, Settlement::Spent, Settlement::Cleared] {
        assert_eq!(tables.reserve(&[up_to(1, 3)], at(0)), Reservation::Reserved);
        tables.settle(key(1), settlement, at(0));
    }
    assert!(tables.counters.is_empty());
    // What is not there is passed over.
    tables.settle(key(1), Settlement::Spent, at(0));
    assert!(tables.counters.is_empty());
}

#[test]
fn memory_is_bounded_and_the_oldest_goes_first() {
    let mut tables = Tables::default();
    let most = MOST_COUNTERS as u64;
    for number in 0..most + 10 {
        tables.reserve(&[up_to(number, 1)], at(0));
        tables.settle(key(number), Settlement::Spent, at(0));
    }
    assert_eq!(tables.counters.len(), MOST_COUNTERS);
    assert!(tables.live(key(9), at(0)).is_none() && tables.live(key(10), at(0)).is_some());
    // Counters that come and go leave no trail.
    let mut tables = Tables::default();
    for _ in 0..10_000 {
        tables.reserve(&[up_to(1, 1)], at(0));
        tables.settle(key(1), Settlement::Returned, at(0));
    }
    assert!(tables.order.len() < 100, "{}", tables.order.len());
}

#[tokio::test]
async fn a_group_remembers_its_latest_members_for_a_while() {
    let counters = MemoryCounters::default();
    let most = MOST_REMEMBERED as u64;
    for member in 0..most {
        counters.remember(key(1), key(member), at(0)).await.unwrap();
    }
    // Seen again, the first is the latest.
    counters.remember(key(1), key(0), at(1)).await.unwrap();
    counters.remember(key(1), key(most), at(1)).await.unwrap();
    let knows = |member: u64, now| counters.remembers(key(1), key(member), now);
    assert!(knows(0, at(2)).await.unwrap() && knows(most, at(2)).await.unwrap());
    assert!(!knows(1, at(2)).await.unwrap());
    assert!(!counters.remembers(key(2), key(0), at(2)).await.unwrap());
    let end = at(1).after(REMEMBERED_FOR);
    assert!(!knows(0, end).await.unwrap() && !knows(2, end).await.unwrap());
    let mut tables = Tables::default();
    for group in 0..MOST_GROUPS as u64 + 1 {
        tables.remember(key(group), key(0), at(0));
    }
    assert_eq!((tables.groups.len(), tables.groups.contains_key(&key(0))), (MOST_GROUPS, false));
}
