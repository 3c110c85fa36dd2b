//! What can be done with access to Redis: records can be destroyed, but not made or changed.

use super::*;
use crate::domain::Identity;

type Meddling = (&'static str, Vec<Vec<u8>>);

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Corrupt(_)))
}

async fn listing(world: &World, subject: &str) -> Result<Option<Vec<Listed>>, StoreError> {
    world.store.owned(AuthorizedBy::Outside, owner(subject), NOW).await
}

#[tokio::test]
async fn a_record_that_is_not_as_it_was_written_is_damage_wherever_it_is_read() {
    let records = || [expiring(api_key(1, "ann"), at(5)), api_key(2, "ann")];
    let spare = World::with(records()).await;
    let (one, two) = (spare.layout().record(digest(1)), spare.layout().record(digest(2)));
    let body = |key: String| {
        let world = &spare;
        async move { world.command::<Vec<u8>>("HGET", &[&key, &"b"]).await }
    };
    let mut altered = body(one.clone()).await;
    *altered.last_mut().unwrap() ^= 1;
    let moved = body(two.clone()).await;
    let other_id = super::super::layout::id_name(api_key(2, "ann").id);
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let meddlings: [Meddling; 9] = [
        ("HSET", words(&[one.as_bytes(), b"b", &altered])),
        ("HSET", words(&[one.as_bytes(), b"b", &moved])),
        ("HSET", words(&[one.as_bytes(), b"b", b""])),
        ("HDEL", words(&[one.as_bytes(), b"i"])),
        ("HSET", words(&[one.as_bytes(), b"i", other_id.as_bytes()])),
        ("HDEL", words(&[one.as_bytes(), b"e"])),
        ("HSET", words(&[one.as_bytes(), b"e", b"4000000000006"])),
        ("HSET", words(&[one.as_bytes(), b"e", b"never"])),
        ("HSET", words(&[one.as_bytes(), b"m", b"7"])),
    ];
    for (command, arguments) in meddlings {
        let world = World::with(records()).await;
        let arguments: Vec<&dyn Argument> =
            arguments.iter().map(|word| word as &dyn Argument).collect();
        let _: i64 = world.command(command, &arguments).await;
        let what = format!("{command} of {} words", arguments.len());
        assert!(is_corrupt(world.store.find(digest(1)).await), "{what}");
        assert!(
            is_corrupt(world.store.find_by_id("platform".into(), api_key(1, "ann").id).await),
            "{what}"
        );
        assert!(is_corrupt(listing(&world, "ann").await), "{what}");
        assert!(is_corrupt(world.store.browse(Filter::default()).await), "{what}");
        assert_eq!(world.store.find(digest(2)).await.unwrap(), Some(api_key(2, "ann")), "{what}");
        // What cannot be read can be revoked.
        let removal =
            world.store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await;
        assert_eq!(removal.unwrap(), Removal::Removed, "{what}");
        assert_eq!(world.store.find(digest(1)).await.unwrap(), None, "{what}");
        world.store.purge(NOW, 10).await.unwrap();
        assert_eq!(world.all().await, [api_key(2, "ann")], "{what}");
        model::audit(&world).await;
    }
}

#[tokio::test]
async fn a_bootstrap_token_makes_no_more_keys_than_were_sealed() {
    let world = World::with([bootstrap(1, "ann", 2)]).await;
    let key = world.layout().record(digest(1));
    for (mints_left, good) in [("2", true), ("0", true), ("3", false), ("-1", false), ("", false)] {
        let _: i64 = world.command("HSET", &[&key, &"m", &mints_left]).await;
        assert_eq!(is_corrupt(world.store.find(digest(1)).await), !good, "{mints_left}");
    }
}

#[tokio::test]
async fn a_list_that_names_the_record_of_another_owner_is_damage() {
    let world = World::with([api_key(1, "ann"), api_key(2, "bob"), session(3, "ann")]).await;
    let of =
        |subject: &str| world.layout().owned(&super::super::layout::owner_name(&owner(subject)));
    let theirs: Vec<String> = world.command("ZRANGE", &[&of("bob"), &0, &-1]).await;
    let _: i64 = world.command("ZADD", &[&of("ann"), &2, &theirs[0]]).await;
    assert!(is_corrupt(listing(&world, "ann").await));
    assert!(is_corrupt(
        world.store.remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW).await
    ));
    for mode in [IssueMode::Replace, IssueMode::IfNone] {
        let issue = world.store.issue(AuthorizedBy::Outside, api_key(9, "ann"), mode, NOW).await;
        assert!(is_corrupt(issue), "{mode:?}");
    }
    assert_eq!(world.all().await.len(), 3, "nothing was changed");
    assert_eq!(listing(&world, "bob").await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn an_id_that_leads_to_another_record_is_damage() {
    let world = World::with([api_key(1, "ann"), api_key(2, "bob")]).await;
    let id = |number| super::super::layout::id_name(api_key(number, "").id);
    let catalog = world.layout().key("catalog");
    let line: String = world.command("HGET", &[&catalog, &id(2)]).await;
    let _: i64 = world.command("HSET", &[&catalog, &id(1), &line]).await;
    assert!(is_corrupt(world.store.find_by_id("platform".into(), api_key(1, "ann").id).await));
    assert!(
        world.store.find_by_id("platform".into(), api_key(2, "bob").id).await.unwrap().is_some()
    );
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_damage() {
    let world = World::with([api_key(1, "ann")]).await;
    let _: () = world.command("SET", &[&world.layout().record(digest(1)), &"x"]).await;
    assert!(is_corrupt(world.store.find(digest(1)).await));
    let _: () = world.command("SET", &[&world.layout().key("catalog"), &"x"]).await;
    assert!(is_corrupt(world.store.provision(api_key(2, "ann")).await));
}

#[tokio::test]
async fn a_retired_key_without_its_moment_is_not_live() {
    let world = World::with([api_key(1, "ann")]).await;
    world.store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Retire, NOW).await.unwrap();
    let _: i64 = world.command("HDEL", &[&world.layout().retired(digest(1)), &"x"]).await;
    assert!(is_corrupt(listing(&world, "ann").await));
}

#[tokio::test]
async fn records_of_other_keys_are_not_believed() {
    let world = World::with([api_key(1, "ann")]).await;
    let executor =
        DirectExecutor { connection: world.connection.clone(), announcements: Arc::default() };
    let operations = Operations::new(
        world.layout().clone(),
        RecordKey::new(&[8; 32]),
        "forger".into(),
        Arc::new(executor),
    );
    let forger = without_link(&world.server, operations);
    let admin = Record {
        identity: Identity { role: Some("admin".into()), ..api_key(2, "ann").identity },
        ..api_key(2, "ann")
    };
    forger.provision(admin).await.unwrap();
    assert!(is_corrupt(world.store.find(digest(2)).await));
}

#[tokio::test]
async fn what_an_operator_deleted_disturbs_no_call_and_is_tidied_up() {
    let records = [
        api_key(1, "ann"),
        api_key(2, "ann"),
        bootstrap(3, "bob", 1),
        expiring(session(4, "bob"), at(9)),
    ];
    let world = World::with(records.clone()).await;
    world.store.touch(vec![(digest(1), NOW)]).await.unwrap();
    for number in [1, 2, 3, 4] {
        let _: i64 = world.command("DEL", &[&world.layout().record(digest(number))]).await;
    }
    assert_eq!(listing(&world, "ann").await.unwrap(), Some(vec![]));
    assert_eq!(world.all().await, []);
    assert_eq!(world.store.find_by_id("platform".into(), records[0].id).await.unwrap(), None);
    let if_none = world
        .store
        .issue(AuthorizedBy::Outside, api_key(5, "ann"), IssueMode::IfNone, NOW)
        .await
        .unwrap();
    assert_eq!(if_none, Issue::Issued { removed: vec![] });
    // The id of one that is gone is free.
    let heir = Record { id: records[2].id, ..api_key(6, "bob") };
    world.store.provision(heir.clone()).await.unwrap();
    assert_eq!(world.store.purge(NOW, 0).await.unwrap(), 0);
    model::audit(&world).await;
    assert_eq!(world.all().await, [api_key(5, "ann"), heir]);
}
