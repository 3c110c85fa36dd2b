//! Register, generation, binding.

use super::super::membership::{self, Beat, Binding};
use super::*;

async fn run(world: &World, call: Call) -> Value {
    Plain::run(world.connection.clone(), call).await.unwrap()
}

async fn beat(world: &World, instance: &str) -> Beat {
    membership::beat(run(world, membership::heartbeat(world.layout(), instance)).await).unwrap()
}

async fn bind(world: &World, fingerprint: &[u8]) -> Binding {
    membership::binding(run(world, membership::bind_keys(world.layout(), fingerprint)).await).unwrap()
}

#[tokio::test]
async fn each_beat_counts_and_the_generation_stays() {
    let world = World::new().await;
    let first = beat(&world, "one").await;
    assert!(first.beat == 1 && first.is_new_generation && first.generation.len() == 32, "{first:?}");
    let rest = Beat { is_new_generation: false, ..first };
    assert_eq!(beat(&world, "one").await, Beat { beat: 2, ..rest.clone() });
    assert_eq!(beat(&world, "two").await, Beat { beat: 1, ..rest.clone() });
    let _: () = world.command("FLUSHDB", &[]).await;
    let after = beat(&world, "one").await;
    assert!(after.beat == 1 && after.is_new_generation && after.generation != rest.generation, "{after:?}");
}

#[tokio::test]
async fn only_who_has_not_beaten_since_is_forgotten() {
    let world = World::new().await;
    for instance in ["one", "two", "two", "three"] {
        beat(&world, instance).await;
    }
    let silent = [("one".to_owned(), 1), ("two".to_owned(), 1), ("four".to_owned(), 1)];
    assert_eq!(run(&world, membership::forget_instances(world.layout(), &silent)).await, Value::Int(1));
    run(&world, membership::goodbye(world.layout(), "three")).await;
    let left: Vec<String> = world.command("HKEYS", &[&world.layout().instances()]).await;
    assert_eq!(left, ["two"]);
}

#[tokio::test]
async fn a_store_is_for_one_set_of_keys_and_for_the_layouts_that_we_know() {
    let world = World::new().await;
    assert_eq!(bind(&world, &[0xff, 0, 1]).await, Binding::Bound);
    assert_eq!(bind(&world, &[0xff, 0, 1]).await, Binding::Bound);
    assert_eq!(bind(&world, &[0xff, 0, 2]).await, Binding::OtherKeys);
    let meta = world.layout().meta();
    assert_eq!(world.command::<String>("HGET", &[&meta, &"layout"]).await, "1");
    for newer in ["2", "what?"] {
        let _: i64 = world.command("HSET", &[&meta, &"layout", &newer]).await;
        assert_eq!(bind(&world, &[0xff, 0, 1]).await, Binding::Newer(newer.into()));
    }
}
