//! Lost data, lost scripts, no memory.

use super::super::membership;
use super::*;

#[tokio::test]
async fn after_a_flush_everything_is_absent_and_the_generation_is_another() {
    let world = World::with([api_key(1, "ann"), bootstrap(2, "ann", 3)]).await;
    world.store.settle().await.unwrap();
    let before = world.announcements().remove(0).generation;
    let _: () = world.command("FLUSHDB", &[]).await;
    let store = &world.store;
    assert_eq!(store.find(digest(1)).await.unwrap(), None);
    assert_eq!(store.find_by_id("platform".into(), api_key(1, "ann").id).await.unwrap(), None);
    assert_eq!(store.owned(AuthorizedBy::Outside, owner("ann"), NOW).await.unwrap(), Some(vec![]));
    assert_eq!(store.owned(by(1), owner("ann"), NOW).await.unwrap(), None);
    assert_eq!(world.all().await, []);
    assert_eq!(
        store.issue(by(2), api_key(3, "ann"), IssueMode::Add, NOW).await.unwrap(),
        Issue::AuthorizationGone
    );
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::Absent
    );
    let announced = world.announcements().remove(0);
    assert!(announced.is_new_generation && announced.generation != before);
    store.provision(api_key(1, "ann")).await.unwrap();
    assert_eq!(world.all().await, [api_key(1, "ann")]);
}

#[tokio::test]
async fn scripts_that_are_forgotten_are_sent_again() {
    let world = World::with([api_key(1, "ann")]).await;
    for number in 2..10 {
        let _: () = world.command("SCRIPT", &[&"FLUSH"]).await;
        assert_eq!(
            world.store.issue(by(1), api_key(number, "ann"), IssueMode::Add, NOW).await.unwrap(),
            Issue::Issued { removed: vec![] }
        );
        let _: () = world.command("SCRIPT", &[&"FLUSH"]).await;
        let listed = world.store.owned(by(1), owner("ann"), NOW).await.unwrap().unwrap();
        assert_eq!(listed.len(), usize::try_from(number).unwrap());
    }
}

#[tokio::test]
async fn a_full_server_issues_nothing_and_goes_on_revoking() {
    let records = (1..=6)
        .map(|number| api_key(number, "ann"))
        .chain([expiring(session(7, "ann"), NOW), bootstrap(8, "bob", 2)]);
    let world = World::with(records).await;
    let before = world.all().await;
    let _: () = world.command("CONFIG", &[&"SET", &"maxmemory", &"100kb"]).await;
    let store = &world.store;
    let is_full = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Full(_)));
    assert!(is_full(store.provision(api_key(9, "ann")).await));
    for mode in [IssueMode::Add, IssueMode::IfNone] {
        let issue = store.issue(by(8), api_key(9, "bob"), mode, NOW).await.map(|_| ());
        assert!(is_full(issue), "{mode:?}");
    }
    assert!(is_full(
        store.issue(by(8), api_key(9, "ann"), IssueMode::Replace, NOW).await.map(|_| ())
    ));
    assert!(is_full(store.check().await));
    assert_eq!(world.all().await, before, "nothing was spent or removed");

    assert_eq!(store.find(digest(1)).await.unwrap(), Some(api_key(1, "ann")));
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::Removed
    );
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::Absent
    );
    assert_eq!(
        store.remove(AuthorizedBy::Outside, digest(2), OnRemove::Retire, NOW).await.unwrap(),
        Removal::Removed
    );
    store.settle().await.unwrap();
    assert_eq!(store.purge(NOW, 10).await.unwrap(), 1);
    let removed = store.remove_owned(by(3), owner("ann"), OnRemove::Retire, NOW).await.unwrap();
    assert_eq!(removed.map(|removed| removed.len()), Some(4));
    let beat = DirectExecutor::send(
        world.connection.clone(),
        membership::heartbeat(world.layout(), &registered("one", 1)),
    )
    .await;
    assert!(beat.is_ok(), "or no instance would hold a lease any more");
    assert_eq!(world.announcements().len(), 6);

    let _: () = world.command("CONFIG", &[&"SET", &"maxmemory", &"0"]).await;
    store.provision(api_key(9, "ann")).await.unwrap();
    store.check().await.unwrap();
    model::audit(&world).await;
}

#[tokio::test]
async fn a_replica_is_no_place_to_write_and_says_so() {
    let world = World::with([api_key(1, "ann")]).await;
    let _: () = world.command("REPLICAOF", &[&"127.0.0.1", &"1"]).await;
    let call = world.store.operations.call(&calls::SETTLE, []);
    let mut connection = world.connection.clone();
    let error = call.by_source().query_async::<Value>(&mut connection).await.unwrap_err();
    let failure = RedisFailure::from(error);
    assert_eq!(failure.retry, failure::Retry::Rediscover, "{failure}");
    let removal = world.store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await;
    assert!(matches!(removal, Err(StoreError::Unavailable(_))), "{removal:?}");
}

#[tokio::test]
async fn a_server_that_lacks_its_replicas_still_tells_and_takes_no_changes() {
    let world = World::with([api_key(1, "ann")]).await;
    let _: () = world.command("CONFIG", &[&"SET", &"min-replicas-to-write", &"1"]).await;
    assert!(matches!(world.store.check().await, Err(StoreError::RefusesChanges(_))));
    let removal = world.store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await;
    assert!(matches!(removal, Err(StoreError::RefusesChanges(_))), "{removal:?}");
    assert!(world.store.find(digest(1)).await.unwrap().is_some());
    let _: () = world.command("CONFIG", &[&"SET", &"min-replicas-to-write", &"0"]).await;
    world.store.check().await.unwrap();
}
