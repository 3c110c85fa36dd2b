//! The port of tickets as tests: what every one must do, wherever it keeps them.
//!
//! A case takes a store without an open ticket; [`conforms_tickets`] makes a test of each. The time
//! is an argument.

use std::sync::Arc;
use std::time::Duration;

use super::store::{MOST_OPEN_OF_TOKEN, OpenTicket, Opening, Tickets};
use crate::domain::{Timestamp, TokenDigest};

/// Makes a test of each case. `$fresh` is an `async fn` without arguments: it returns a store of
/// tickets after something that it needs and that is dropped after it.
macro_rules! conforms_tickets {
    ($fresh:path) => {
        $crate::tokens::tickets::conformance::conforms_tickets! { $fresh:
            a_ticket_is_taken_once_and_as_it_was_opened,
            of_many_that_take_it_at_the_same_time_exactly_one_gets_it,
            a_ticket_that_has_expired_or_was_never_opened_is_not_taken,
            the_tickets_of_one_token_are_bounded_and_those_of_others_are_not_touched,
            what_was_taken_or_has_expired_makes_room,
        }
    };
    ($fresh:path: $($case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (_needed, tickets) = $fresh().await;
                let case = $crate::tokens::tickets::conformance::$case(tickets);
                let timeout = std::time::Duration::from_secs(60);
                tokio::time::timeout(timeout, case).await.expect("the store hangs");
            }
        )+
    };
}
pub(crate) use conforms_tickets;

/// So many seconds after a moment that is no clock's.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_000_000 + seconds * 1000)
}

/// The digest of the ticket or token with this number.
pub(crate) fn digest(number: u64) -> TokenDigest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_le_bytes());
    TokenDigest::from_bytes(hash.as_ref().try_into().unwrap())
}

/// A ticket of the token with this number, until that second.
pub(crate) fn ticket(holder: u64, ends_at: i64) -> OpenTicket {
    let seal = std::array::from_fn(|at| u8::try_from(at * 16).unwrap());
    OpenTicket { holder: digest(holder), ends_at: at(ends_at), seal }
}

type Open = Arc<dyn Tickets>;

async fn open(tickets: &Open, number: u64, ticket: OpenTicket, now: i64) -> Opening {
    tickets.open(digest(number), ticket, at(now)).await.unwrap()
}

async fn take(tickets: &Open, number: u64, now: i64) -> Option<OpenTicket> {
    tickets.take(digest(number), at(now)).await.unwrap()
}

pub(crate) async fn a_ticket_is_taken_once_and_as_it_was_opened(tickets: Open) {
    assert_eq!(open(&tickets, 1, ticket(7, 30), 0).await, Opening::Opened);
    assert_eq!(open(&tickets, 2, ticket(8, 31), 1).await, Opening::Opened);
    assert_eq!(take(&tickets, 1, 29).await, Some(ticket(7, 30)));
    assert_eq!(take(&tickets, 1, 29).await, None);
    assert_eq!(take(&tickets, 2, 29).await, Some(ticket(8, 31)));
    assert_eq!(take(&tickets, 2, 0).await, None);
}

pub(crate) async fn of_many_that_take_it_at_the_same_time_exactly_one_gets_it(tickets: Open) {
    for number in 0..20 {
        assert_eq!(open(&tickets, number, ticket(number, 30), 0).await, Opening::Opened);
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let tickets = Arc::clone(&tickets);
                tokio::spawn(async move { take(&tickets, number, 1).await })
            })
            .collect();
        let mut winners = 0;
        for taker in takers {
            winners += usize::from(taker.await.unwrap().is_some());
        }
        assert_eq!(winners, 1);
    }
}

pub(crate) async fn a_ticket_that_has_expired_or_was_never_opened_is_not_taken(tickets: Open) {
    assert_eq!(take(&tickets, 1, 0).await, None);
    open(&tickets, 1, ticket(7, 30), 0).await;
    open(&tickets, 2, ticket(7, 30), 0).await;
    assert_eq!(take(&tickets, 1, 30).await, None, "at its end it is over");
    assert_eq!(take(&tickets, 1, 29).await, None, "and stays so");
    assert!(take(&tickets, 2, 29).await.is_some());
}

pub(crate) async fn the_tickets_of_one_token_are_bounded_and_those_of_others_are_not_touched(
    tickets: Open,
) {
    let most = MOST_OPEN_OF_TOKEN as u64;
    for number in 0..most {
        let ends_at = 30 + i64::try_from(number).unwrap();
        assert_eq!(open(&tickets, number, ticket(7, ends_at), 0).await, Opening::Opened);
    }
    // When the oldest of them expires.
    let full = Opening::Full { retry_after: Duration::from_secs(25) };
    assert_eq!(open(&tickets, 1000, ticket(7, 35), 5).await, full);
    assert_eq!(take(&tickets, 1000, 5).await, None);
    assert_eq!(open(&tickets, 1001, ticket(8, 35), 5).await, Opening::Opened);
    assert!(take(&tickets, 0, 5).await.is_some(), "none was thrown out");
}

pub(crate) async fn what_was_taken_or_has_expired_makes_room(tickets: Open) {
    let most = MOST_OPEN_OF_TOKEN as u64;
    for number in 0..most {
        open(&tickets, number, ticket(7, 30), 0).await;
    }
    assert!(take(&tickets, 3, 1).await.is_some());
    assert_eq!(open(&tickets, 1000, ticket(7, 31), 1).await, Opening::Opened);
    assert_ne!(open(&tickets, 1001, ticket(7, 31), 1).await, Opening::Opened);
    for number in 2000..2000 + most - 1 {
        assert_eq!(open(&tickets, number, ticket(7, 60), 30).await, Opening::Opened);
    }
    assert_ne!(open(&tickets, 3000, ticket(7, 60), 30).await, Opening::Opened);
}
