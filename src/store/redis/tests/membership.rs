//! Register, generation, binding.

use super::super::membership::{self, Binding};
use super::*;

async fn run(world: &World, call: Call) -> Value {
    DirectExecutor::send(world.connection.clone(), call).await.unwrap()
}

/// The generation, and whether this heartbeat made it.
async fn beat(world: &World, instance: &str, beat: u64) -> (String, bool) {
    let heartbeat = membership::heartbeat(world.layout(), &registered(instance, beat));
    reply::read(run(world, heartbeat).await).unwrap()
}

async fn bind(world: &World, fingerprint: &[u8]) -> Binding {
    membership::binding(run(world, membership::bind_keys(world.layout(), fingerprint)).await)
        .unwrap()
}

#[tokio::test]
async fn the_generation_stays_as_long_as_the_data() {
    let world = World::new().await;
    let (generation, is_new) = beat(&world, "one", 1).await;
    assert!(is_new && generation.len() == 32, "{generation}");
    assert_eq!(beat(&world, "one", 2).await, (generation.clone(), false));
    assert_eq!(beat(&world, "two", 1).await, (generation.clone(), false));
    let _: () = world.command("FLUSHDB", &[]).await;
    let (after, is_new) = beat(&world, "one", 3).await;
    assert!(is_new && after != generation, "{after}");
}

#[tokio::test]
async fn a_look_finds_whether_the_instance_is_registered_and_changes_nothing() {
    let world = World::new().await;
    let look = async |instance: &str| {
        membership::registered_in(
            run(&world, membership::registered(world.layout(), instance)).await,
        )
        .unwrap()
    };
    assert_eq!(look("one").await, None);
    assert_eq!(world.command::<i64>("DBSIZE", &[]).await, 0);
    let (generation, _) = beat(&world, "one", 1).await;
    assert_eq!(look("one").await, Some(generation));
    assert_eq!(look("two").await, None);
    run(&world, membership::goodbye(world.layout(), "one")).await;
    assert_eq!(look("one").await, None);
}

#[tokio::test]
async fn only_an_instance_that_has_not_beaten_since_is_forgotten() {
    let world = World::new().await;
    for (instance, number) in [("one", 1), ("two", 1), ("two", 2), ("three", 1)] {
        beat(&world, instance, number).await;
    }
    world.store.settle().await.unwrap();
    let mut silent = world.announcements().remove(0).instances;
    silent.iter_mut().filter(|silent| silent.instance == "two").for_each(|two| two.beat = 1);
    silent.retain(|silent| silent.instance != "three");
    silent.push(registered("four", 1));
    assert_eq!(
        run(&world, membership::forget_instances(world.layout(), &silent)).await,
        Value::Int(1)
    );
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
