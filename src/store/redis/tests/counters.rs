//! Counters: the port, and what only this store promises.

use super::*;
use crate::tokens::accounts::counters::tests::conformance::{at, conforms_counters, key, up_to};
use crate::tokens::accounts::counters::{Counters, MOST_REMEMBERED, Reservation, Settlement};

async fn fresh() -> (RedisServer, Arc<dyn Counters>) {
    let world = World::new().await;
    (world.server, world.store)
}

mod conforms {
    use super::*;
    conforms_counters! { fresh }
}

#[tokio::test]
async fn whatever_is_counted_has_a_time_to_live_and_what_counts_nothing_is_not_kept() {
    let world = World::new().await;
    let counters: &dyn Counters = &*world.store;
    let of = async |name: String| -> i64 { world.command("PTTL", &[&name]).await };
    let (counter, other, group) = (
        world.layout().counter(key(1)),
        world.layout().counter(key(2)),
        world.layout().group(key(3)),
    );
    assert_eq!(counters.reserve(vec![up_to(1, 1)], at(0)).await.unwrap(), Reservation::Reserved);
    // By intervals: the callers' clocks say something else than Redis'.
    let left = of(counter.clone()).await;
    assert!((110_000..=120_000).contains(&left), "{left} ms");
    assert_ne!(
        counters.reserve(vec![up_to(2, 1), up_to(1, 1)], at(0)).await.unwrap(),
        Reservation::Reserved
    );
    assert_eq!(of(other).await, -2, "a refusal makes no counter");
    // A new window has its own.
    let _: i64 = world.command("PEXPIRE", &[&counter, &9_000]).await;
    counters.reserve(vec![up_to(1, 1)], at(59)).await.unwrap();
    assert!(of(counter.clone()).await <= 9_000);
    counters.reserve(vec![up_to(1, 1)], at(60)).await.unwrap();
    assert!(of(counter.clone()).await > 9_000);
    counters.settle(vec![(key(1), Settlement::Returned)], at(60)).await.unwrap();
    assert_eq!(of(counter).await, -2, "nothing is spent or reserved");
    for member in 0..100 {
        counters.remember(key(3), key(member), at(0)).await.unwrap();
    }
    assert!(of(group.clone()).await > 0);
    let fields: usize = world.command("HLEN", &[&group]).await;
    assert_eq!(fields, MOST_REMEMBERED + 1, "and the number of the latest");
}

#[tokio::test]
async fn a_counter_that_is_named_twice_counts_twice() {
    let world = World::new().await;
    let counters: &dyn Counters = &*world.store;
    counters.reserve(vec![up_to(1, 9), up_to(1, 9)], at(0)).await.unwrap();
    counters.settle(vec![(key(1), Settlement::Spent); 2], at(0)).await.unwrap();
    assert_eq!(counters.spent(key(1), at(0)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_counter_that_cannot_be_read_is_an_error() {
    let world = World::new().await;
    let counters: &dyn Counters = &*world.store;
    let _: i64 = world.command("HSET", &[&world.layout().counter(key(1)), &"e", &"never"]).await;
    assert!(counters.reserve(vec![up_to(1, 9)], at(0)).await.is_err());
    assert!(counters.spent(key(1), at(0)).await.is_err());
    let _: i64 = world
        .command(
            "HSET",
            &[&world.layout().group(key(2)), &"01000000000000000000000000000000", &"x"],
        )
        .await;
    assert!(counters.remembers(key(2), key(1), at(0)).await.is_err());
}
