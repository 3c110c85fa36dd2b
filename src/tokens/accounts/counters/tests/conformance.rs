//! The port of counters as tests: what every one of them must do, wherever it counts.
//!
//! A case takes counters that have counted nothing; [`conforms_counters`] makes a test of each. The
//! time is an argument.

use std::sync::Arc;
use std::time::Duration;

use super::super::{
    Allowance, CounterKey, Counters, MOST_REMEMBERED, REMEMBERED_FOR, Reservation, Settlement,
};
use crate::domain::Timestamp;

/// Makes a test of each case. `$fresh` is an `async fn` without arguments: it returns counters
/// after something that they need and that is dropped after them.
macro_rules! conforms_counters {
    ($fresh:path) => {
        $crate::tokens::accounts::counters::tests::conformance::conforms_counters! { $fresh:
            what_is_spent_counts_until_the_window_ends_and_the_window_does_not_move,
            many_at_once_cannot_exceed_a_limit_and_what_is_returned_is_there_again,
            one_refusal_takes_of_none,
            the_longest_wait_is_told,
            a_success_clears,
            what_has_no_window_is_passed_over,
            without_a_limit_it_only_counts,
            of_many_reservations_at_the_same_time_no_more_than_the_limit_are_made,
            a_group_remembers_its_latest_members_for_a_while,
        }
    };
    ($fresh:path: $($case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (_needed, counters) = $fresh().await;
                let case = $crate::tokens::accounts::counters::tests::conformance::$case(counters);
                let timeout = std::time::Duration::from_secs(60);
                tokio::time::timeout(timeout, case).await.expect("the counters hang");
            }
        )+
    };
}
pub(crate) use conforms_counters;

type Counting = Arc<dyn Counters>;

const WINDOW: Duration = Duration::from_secs(60);

/// So many seconds after a moment that is no clock's.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_000_000 + seconds * 1000)
}

/// The counter, group or member with this number.
pub(crate) fn key(number: u64) -> CounterKey {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    CounterKey(bytes)
}

/// One of a counter with this limit, in windows of a minute.
pub(crate) fn up_to(number: u64, limit: u32) -> Allowance {
    Allowance { key: key(number), limit, window: WINDOW }
}

fn refused(seconds: u64) -> Reservation {
    Reservation::Refused { retry_after: Duration::from_secs(seconds) }
}

async fn reserve<const N: usize>(
    counters: &Counting,
    allowances: [Allowance; N],
    second: i64,
) -> Reservation {
    counters.reserve(allowances.to_vec(), at(second)).await.unwrap()
}

async fn settle(counters: &Counting, number: u64, settlement: Settlement, second: i64) {
    counters.settle(vec![(key(number), settlement)], at(second)).await.unwrap();
}

pub(crate) async fn what_is_spent_counts_until_the_window_ends_and_the_window_does_not_move(
    counters: Counting,
) {
    for second in 0..3 {
        assert_eq!(reserve(&counters, [up_to(1, 3)], second).await, Reservation::Reserved);
        settle(&counters, 1, Settlement::Spent, second).await;
    }
    assert_eq!(reserve(&counters, [up_to(1, 3)], 3).await, refused(57));
    assert_eq!(reserve(&counters, [up_to(1, 3)], 59).await, refused(1));
    assert_eq!(counters.spent(key(1), at(59)).await.unwrap(), 3);
    assert_eq!(counters.spent(key(1), at(60)).await.unwrap(), 0);
    assert_eq!(reserve(&counters, [up_to(1, 3)], 60).await, Reservation::Reserved);
    // The old window's spending is gone; a settlement of the new one's counts in the new one.
    settle(&counters, 1, Settlement::Spent, 61).await;
    assert_eq!(counters.spent(key(1), at(61)).await.unwrap(), 1);
    assert_eq!(counters.spent(key(1), at(119)).await.unwrap(), 1);
}

pub(crate) async fn many_at_once_cannot_exceed_a_limit_and_what_is_returned_is_there_again(
    counters: Counting,
) {
    for _ in 0..2 {
        assert_eq!(reserve(&counters, [up_to(1, 2)], 0).await, Reservation::Reserved);
    }
    // Not spent yet: try again soon.
    assert_eq!(reserve(&counters, [up_to(1, 2)], 0).await, refused(1));
    settle(&counters, 1, Settlement::Returned, 0).await;
    assert_eq!(reserve(&counters, [up_to(1, 2)], 0).await, Reservation::Reserved);
    settle(&counters, 1, Settlement::Spent, 0).await;
    settle(&counters, 1, Settlement::Spent, 0).await;
    assert_eq!(reserve(&counters, [up_to(1, 2)], 0).await, refused(60));
}

pub(crate) async fn one_refusal_takes_of_none(counters: Counting) {
    assert_eq!(reserve(&counters, [up_to(1, 1)], 0).await, Reservation::Reserved);
    assert_eq!(reserve(&counters, [up_to(2, 1), up_to(1, 1)], 0).await, refused(1));
    assert_eq!(reserve(&counters, [up_to(2, 1)], 0).await, Reservation::Reserved);
}

pub(crate) async fn the_longest_wait_is_told(counters: Counting) {
    for (number, second) in [(1, 0), (2, 20)] {
        assert_eq!(reserve(&counters, [up_to(number, 1)], second).await, Reservation::Reserved);
        settle(&counters, number, Settlement::Spent, second).await;
    }
    assert_eq!(reserve(&counters, [up_to(3, 1)], 30).await, Reservation::Reserved);
    for order in [[up_to(1, 1), up_to(2, 1), up_to(3, 1)], [up_to(3, 1), up_to(2, 1), up_to(1, 1)]]
    {
        assert_eq!(reserve(&counters, order, 30).await, refused(50));
    }
}

pub(crate) async fn a_success_clears(counters: Counting) {
    for settlement in [Settlement::Spent, Settlement::Spent, Settlement::Cleared] {
        assert_eq!(reserve(&counters, [up_to(1, 3)], 0).await, Reservation::Reserved);
        settle(&counters, 1, settlement, 0).await;
    }
    assert_eq!(counters.spent(key(1), at(0)).await.unwrap(), 0);
    // Nothing was left: the next window begins with its first reservation.
    assert_eq!(reserve(&counters, [up_to(1, 1)], 50).await, Reservation::Reserved);
    settle(&counters, 1, Settlement::Spent, 50).await;
    assert_eq!(reserve(&counters, [up_to(1, 1)], 70).await, refused(40));
    // What others have reserved stays so.
    assert_eq!(reserve(&counters, [up_to(2, 2)], 0).await, Reservation::Reserved);
    assert_eq!(reserve(&counters, [up_to(2, 2)], 0).await, Reservation::Reserved);
    settle(&counters, 2, Settlement::Cleared, 0).await;
    assert_eq!(reserve(&counters, [up_to(2, 1)], 0).await, refused(1));
}

pub(crate) async fn what_has_no_window_is_passed_over(counters: Counting) {
    settle(&counters, 1, Settlement::Spent, 0).await;
    assert_eq!(counters.spent(key(1), at(0)).await.unwrap(), 0);
    assert_eq!(reserve(&counters, [up_to(1, 1)], 0).await, Reservation::Reserved);
    settle(&counters, 1, Settlement::Spent, 60).await;
    assert_eq!(counters.spent(key(1), at(60)).await.unwrap(), 0);
    assert_eq!(counters.spent(key(1), at(59)).await.unwrap(), 0);
    counters.settle(Vec::new(), at(0)).await.unwrap();
    assert_eq!(reserve(&counters, [], 0).await, Reservation::Reserved);
}

pub(crate) async fn without_a_limit_it_only_counts(counters: Counting) {
    for _ in 0..5 {
        assert_eq!(
            reserve(&counters, [up_to(1, u32::MAX), up_to(2, 9)], 0).await,
            Reservation::Reserved
        );
        let both = vec![(key(1), Settlement::Spent), (key(2), Settlement::Returned)];
        counters.settle(both, at(0)).await.unwrap();
    }
    assert_eq!(counters.spent(key(1), at(0)).await.unwrap(), 5);
    assert_eq!(counters.spent(key(2), at(0)).await.unwrap(), 0);
}

pub(crate) async fn of_many_reservations_at_the_same_time_no_more_than_the_limit_are_made(
    counters: Counting,
) {
    let reservations: Vec<_> = (0..50)
        .map(|number| {
            tokio::spawn(counters.reserve(vec![up_to(1, 5), up_to(100 + number, 1)], at(0)))
        })
        .collect();
    let mut made = 0;
    for reservation in reservations {
        match reservation.await.unwrap().unwrap() {
            Reservation::Reserved => made += 1,
            other => assert_eq!(other, refused(1)),
        }
    }
    assert_eq!(made, 5);
}

pub(crate) async fn a_group_remembers_its_latest_members_for_a_while(counters: Counting) {
    let most = MOST_REMEMBERED as u64;
    // In no order of their names.
    for member in (0..most).map(|number| number * 7 % most) {
        counters.remember(key(1), key(member), at(0)).await.unwrap();
    }
    // Seen again, the first is the latest.
    counters.remember(key(1), key(0), at(1)).await.unwrap();
    counters.remember(key(1), key(most), at(1)).await.unwrap();
    let knows =
        async |member: u64, now| counters.remembers(key(1), key(member), now).await.unwrap();
    assert!(knows(0, at(2)).await && knows(most, at(2)).await && knows(14, at(2)).await);
    assert!(!knows(7, at(2)).await, "the one that was remembered after the first");
    assert!(!counters.remembers(key(2), key(0), at(2)).await.unwrap());
    let first_end = at(0).after(REMEMBERED_FOR);
    assert!(knows(0, first_end).await && !knows(14, first_end).await);
    let end = at(1).after(REMEMBERED_FOR);
    assert!(!knows(0, end).await && !knows(2, end).await);
    // The windows that are over are removed first.
    counters.remember(key(1), key(1000), end).await.unwrap();
    assert!(knows(1000, end).await && !knows(0, end).await);
}
