//! Tickets: the port, and what only this store promises.

use super::*;
use crate::tokens::tickets::conformance::{at, conforms_tickets, digest, ticket};
use crate::tokens::tickets::store::{Opening, Tickets};

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
    let all = [layout.ticket(digest(1)), layout.tickets_of(digest(7)), layout.tickets()];
    let opened = tickets.open(digest(1), ticket(7, 30), at(0)).await.unwrap();
    assert_eq!(opened, Opening::Opened);
    for key in &all {
        let left: i64 = world.command("PTTL", &[key]).await;
        assert!((80_000..=90_000).contains(&left), "{key}: {left} ms");
    }
    assert!(tickets.take(digest(1), at(0)).await.unwrap().is_some());
    let left: i64 = world.command("EXISTS", &[&all[0], &all[1], &all[2]]).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_ticket_that_cannot_be_read_is_an_error_and_not_a_no() {
    let world = World::new().await;
    let tickets: &dyn Tickets = &*world.store;
    for (field, value) in [("h", "nobody"), ("e", "never"), ("s", "0011")] {
        tickets.open(digest(1), ticket(7, 30), at(0)).await.unwrap();
        let key = world.layout().ticket(digest(1));
        let _: i64 = world.command("HSET", &[&key, &field, &value]).await;
        assert!(tickets.take(digest(1), at(0)).await.is_err(), "{field}");
    }
}
