//! The port of tickets as tests: what every one must do, wherever it keeps them.
//!
//! A case takes a store without an open ticket; [`conforms_tickets`] makes a test of each. The time
//! is an argument.

use std::sync::Arc;
use std::time::Duration;

use super::store::{BOUNDS, Bounds, CountedBy, OpenTicket, Opening, Tickets};
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
            any_number_that_has_expired_takes_no_place_and_is_not_waited_for,
            the_tickets_of_one_subject_are_bounded_with_whatever_tokens,
            one_holder_leaves_places_for_those_that_have_none,
            of_many_that_open_at_the_same_time_no_more_than_the_bound_succeed,
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

/// The subject and the tenant with these numbers.
pub(crate) fn held_by(subject: u64, tenant: u64) -> CountedBy {
    let name = |number: u64| u128::from(number).to_be_bytes();
    CountedBy { subject: name(subject), tenant: name(tenant) }
}

/// Of the token with this number, which is the only one of its subject and tenant.
pub(crate) fn alone(holder: u64) -> CountedBy {
    held_by(holder, holder)
}

type Open = Arc<dyn Tickets>;

/// Few enough to be reached soon.
const FEW: Bounds = Bounds { of_token: 4, of_subject: 10, in_all: 60 };

async fn open(tickets: &Open, number: u64, ticket: OpenTicket, now: i64) -> Opening {
    let mut holder = [0; 8];
    holder.copy_from_slice(&ticket.holder.as_bytes()[..8]);
    let counted_by = alone(u64::from_be_bytes(holder));
    tickets.open(digest(number), ticket, counted_by, BOUNDS, at(now)).await.unwrap()
}

/// Opens one of a token and of whoever holds it, for 30 seconds from second 0 on.
async fn opens(tickets: &Open, number: u64, token: u64, counted_by: CountedBy) -> bool {
    let opening = tickets.open(digest(number), ticket(token, 30), counted_by, FEW, at(0)).await;
    opening.unwrap() == Opening::Opened
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
    let most = BOUNDS.of_token as u64;
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
    let most = BOUNDS.of_token as u64;
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

pub(crate) async fn any_number_that_has_expired_takes_no_place_and_is_not_waited_for(
    tickets: Open,
) {
    let wide = Bounds { of_token: 4, of_subject: 1000, in_all: 1000 };
    let opens = async |number: u64, ends_at: i64, bounds: Bounds, now: i64| {
        let ticket = ticket(number, ends_at);
        tickets.open(digest(number), ticket, held_by(1, 2), bounds, at(now)).await.unwrap()
    };
    for number in 0..450 {
        assert_eq!(opens(number, 30, wide, 0).await, Opening::Opened, "{number}");
    }
    let narrow = Bounds { of_token: 4, of_subject: 2, in_all: 5 };
    let full = |seconds| Opening::Full { retry_after: Duration::from_secs(seconds) };
    assert_eq!(opens(1000, 31, narrow, 29).await, full(1), "all are open still");
    assert_eq!(opens(1001, 60, narrow, 30).await, Opening::Opened);
    assert_eq!(opens(1002, 65, narrow, 30).await, Opening::Opened);
    assert_eq!(opens(1003, 70, narrow, 35).await, full(25), "when the oldest open one expires");
}

pub(crate) async fn the_tickets_of_one_subject_are_bounded_with_whatever_tokens(tickets: Open) {
    let mut opened = Vec::new();
    for number in 0..40 {
        if opens(&tickets, number, number, held_by(1, number)).await {
            opened.push(number);
        }
    }
    assert_eq!(opened, (0..10).collect::<Vec<_>>());
    let full = Opening::Full { retry_after: Duration::from_secs(25) };
    let beyond = tickets.open(digest(50), ticket(50, 35), held_by(1, 50), FEW, at(5)).await;
    assert_eq!(beyond.unwrap(), full, "when its oldest one expires");
    assert!(opens(&tickets, 51, 51, held_by(2, 51)).await, "others are not touched");
    assert!(take(&tickets, 3, 1).await.is_some());
    assert!(opens(&tickets, 52, 52, held_by(1, 52)).await, "one that is redeemed makes room");
    assert!(!opens(&tickets, 53, 53, held_by(1, 53)).await);
}

pub(crate) async fn one_holder_leaves_places_for_those_that_have_none(tickets: Open) {
    let mut numbers = 0..;
    let mut greedy = async |tenant: u64| {
        let mut opened = 0;
        // Each with a subject and a token of its own.
        for number in numbers.by_ref().take(60) {
            opened += usize::from(opens(&tickets, number, number, held_by(number, tenant)).await);
        }
        opened
    };
    assert_eq!(greedy(1001).await, 30, "a tenant alone has half of the places");
    assert_eq!(greedy(1002).await, 15, "a second one half of those that are left");
    assert_eq!(greedy(1003).await, 8);
    assert_eq!(greedy(1001).await, 0);
    assert!(opens(&tickets, 5000, 5000, alone(5000)).await, "there is a place for another one");
}

pub(crate) async fn of_many_that_open_at_the_same_time_no_more_than_the_bound_succeed(
    tickets: Open,
) {
    let openers: Vec<_> = (0..32)
        .map(|number| {
            let tickets = Arc::clone(&tickets);
            tokio::spawn(async move { opens(&tickets, number, number, held_by(1, 2)).await })
        })
        .collect();
    let mut opened = 0;
    for opener in openers {
        opened += usize::from(opener.await.unwrap());
    }
    assert_eq!(opened, FEW.of_subject);
}
