//! Tickets: the port, and what only this store promises.

use super::*;
use crate::domain::hex;
use crate::tokens::tickets::conformance::{alone, at, conforms_tickets, digest, held_by, ticket};
use crate::tokens::tickets::store::{BOUNDS, Opening, Tickets};

async fn fresh() -> (RedisServer, Arc<dyn Tickets>) {
    let world = World::new().await;
    (world.server, world.store)
}

mod conforms {
    use super::*;
    conforms_tickets! { fresh }
}

#[tokio::test]
async fn an_open_ticket_has_a_time_to_live_and_one_that_was_taken_leaves_nothing() {
    let world = World::new().await;
    let tickets: &dyn Tickets = &*world.store;
    let layout = world.layout();
    let held = held_by(1, 2);
    let [of_token, of_subject, of_tenant] = layout.tickets_of();
    let all = [
        layout.ticket(digest(1)),
        layout.tickets(),
        of_token + &hex::encode(digest(7).as_bytes()),
        of_subject + &hex::encode(&held.subject),
        of_tenant + &hex::encode(&held.tenant),
    ];
    let opened = tickets.open(digest(1), ticket(7, 30), held, BOUNDS, at(0)).await.unwrap();
    assert_eq!(opened, Opening::Opened);
    for key in &all {
        let left: i64 = world.command("PTTL", &[key]).await;
        assert!((80_000..=90_000).contains(&left), "{key}: {left} ms");
    }
    assert!(tickets.take(digest(1), at(0)).await.unwrap().is_some());
    for key in &all {
        let left: i64 = world.command("EXISTS", &[key]).await;
        assert_eq!(left, 0, "{key}");
    }
}

#[tokio::test]
async fn a_ticket_that_cannot_be_read_is_an_error_and_not_a_no() {
    let world = World::new().await;
    let tickets: &dyn Tickets = &*world.store;
    for (field, value) in [("h", "nobody"), ("e", "never"), ("s", "0011")] {
        tickets.open(digest(1), ticket(7, 30), alone(7), BOUNDS, at(0)).await.unwrap();
        let key = world.layout().ticket(digest(1));
        let _: i64 = world.command("HSET", &[&key, &field, &value]).await;
        assert!(tickets.take(digest(1), at(0)).await.is_err(), "{field}");
    }
}

/// During an upgrade of a fleet, some instances count by token alone.
#[tokio::test]
async fn a_ticket_that_an_earlier_version_has_opened_is_taken() {
    let world = World::new().await;
    let tickets: &dyn Tickets = &*world.store;
    tickets.open(digest(1), ticket(7, 30), alone(7), BOUNDS, at(0)).await.unwrap();
    let key = world.layout().ticket(digest(1));
    let _: i64 = world.command("HDEL", &[&key, &"u", &"n"]).await;
    assert_eq!(tickets.take(digest(1), at(0)).await.unwrap(), Some(ticket(7, 30)));
    assert_eq!(tickets.take(digest(1), at(0)).await.unwrap(), None);
}
