//! Many keys of one owner, many records, long lists.

use super::super::operations::Cursor;
use super::*;
use crate::tokens::store::MOST_RETIRED;

const MANY: u64 = 10_000;

async fn crowd() -> World {
    let world = World::new().await;
    let tasks: Vec<_> = (0..MANY)
        .map(|number| tokio::spawn(world.store.provision(api_key(number, "ann"))))
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    world
}

#[tokio::test]
async fn ten_thousand_keys_of_one_owner_are_listed_and_removed() {
    let world = crowd().await;
    world.store.provision(api_key(MANY, "bob")).await.unwrap();
    let listed =
        world.store.owned(AuthorizedBy::Outside, owner("ann"), NOW).await.unwrap().unwrap();
    let expected: Vec<_> = (0..MANY).map(|number| api_key(number, "ann")).collect();
    assert_eq!(listed.into_iter().map(|listed| listed.record).collect::<Vec<_>>(), expected);
    assert_eq!(world.all().await.len(), expected.len() + 1);
    let wanted = Filter { subject: Some("ann".into()), limit: 1_500, ..Filter::default() };
    assert_eq!(world.store.browse(wanted).await.unwrap(), expected[..1_500]);
    let uses = (0..MANY).map(|number| (digest(number), NOW)).collect();
    world.store.touch(uses).await.unwrap();
    let removed = world
        .store
        .remove_owned(by(7), owner("ann"), OnRemove::Delete, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(removed, (0..MANY).map(digest).collect::<Vec<_>>());
    assert_eq!(world.all().await, [api_key(MANY, "bob")]);
    model::audit(&world).await;
}

#[tokio::test]
async fn of_ten_thousand_retired_keys_the_newest_are_kept() {
    let world = crowd().await;
    let removed = world
        .store
        .remove_owned(by(7), owner("ann"), OnRemove::Retire, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(removed.len(), usize::try_from(MANY).unwrap());
    let listed =
        world.store.owned(AuthorizedBy::Outside, owner("ann"), NOW).await.unwrap().unwrap();
    assert_eq!(listed.len(), MOST_RETIRED);
    assert_eq!(listed.last().unwrap().record, api_key(MANY - 1, "ann"));
    model::audit(&world).await;
}

#[tokio::test]
async fn ten_thousand_keys_are_replaced_by_one() {
    let world = crowd().await;
    let issue =
        world.store.issue(by(7), api_key(MANY, "ann"), IssueMode::Replace, NOW).await.unwrap();
    assert!(
        matches!(issue, Issue::Issued { removed } if removed.len() == usize::try_from(MANY).unwrap())
    );
    assert_eq!(world.all().await, [api_key(MANY, "ann")]);
    model::audit(&world).await;
}

#[tokio::test]
async fn a_long_purge_goes_step_by_step() {
    let world = World::with((0..2_500).map(|number| expiring(api_key(number, "ann"), NOW))).await;
    assert_eq!(world.store.purge(NOW, 2_100).await.unwrap(), 2_100);
    assert_eq!(
        world.announcements().len(),
        3,
        "none by which every instance would drop everything"
    );
    assert_eq!(world.store.purge(NOW, usize::MAX).await.unwrap(), 400);
    assert_eq!(world.all().await, []);
    model::audit(&world).await;
}

#[tokio::test]
async fn a_listing_goes_on_where_it_was_although_records_come_and_go() {
    let tied = |number| Record { issued_at: NOW, ..api_key(number, "ann") };
    let world = World::with((0..1_300).map(tied)).await;
    let (mut seen, mut next) = (Vec::new(), Some(Cursor::default()));
    while let Some(cursor) = next {
        let operations = &world.store.operations;
        let call = operations.call(&calls::BROWSE, []).argument("live");
        let read = |row| Ok(reply::listed(&key(), row)?.0);
        let page = operations.page(call, &cursor, read).await.unwrap();
        seen.extend(page.rows.iter().map(|listed| listed.record.digest));
        next = page.next;
        // The one at which the next step would go on, and one long before it.
        for gone in [page.rows.last(), page.rows.first()].into_iter().flatten() {
            world
                .store
                .remove(AuthorizedBy::Outside, gone.record.digest, OnRemove::Delete, NOW)
                .await
                .unwrap();
        }
    }
    assert_eq!(seen, (0..1_300).map(digest).collect::<Vec<_>>(), "each once, and none left out");
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture how_long_redis"]
async fn how_long_redis_is_held_up() {
    let world = crowd().await;
    let measure = async |what: &str| {
        let stats: String = world.command("INFO", &[&"commandstats"]).await;
        for line in stats
            .lines()
            .filter(|line| line.starts_with("cmdstat_eval") || line.starts_with("cmdstat_hmget"))
        {
            println!("{what}: {line}");
        }
        let _: () = world.command("CONFIG", &[&"RESETSTAT"]).await;
    };
    measure("to issue").await;
    for number in 0..1_000 {
        world.store.find(digest(number)).await.unwrap();
    }
    measure("to find").await;
    world.store.owned(AuthorizedBy::Outside, owner("ann"), NOW).await.unwrap();
    measure("to list 10,000").await;
    world.all().await;
    measure("to browse 10,000").await;
    world.store.settle().await.unwrap();
    measure("to settle").await;
    world.store.touch((0..256).map(|number| (digest(number), NOW)).collect()).await.unwrap();
    measure("to note 256 uses").await;
    world.store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await.unwrap();
    measure("to remove").await;
    world
        .store
        .remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW)
        .await
        .unwrap();
    measure("to remove 10,000").await;
    let world = crowd().await;
    world
        .store
        .remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Retire, NOW)
        .await
        .unwrap();
    let stats: String = world.command("INFO", &[&"commandstats"]).await;
    println!(
        "issued and retired 10,000: {:?}",
        stats.lines().find(|line| line.starts_with("cmdstat_evalsha"))
    );
}
