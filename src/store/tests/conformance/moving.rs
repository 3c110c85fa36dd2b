//! What moves from one store to another.

use super::*;
use crate::tokens::store::{MOST_RETIRED, OnRemove, StoreError};

async fn retire(store: &Arc<dyn Store>, number: u64, now: Timestamp) {
    store.remove(AuthorizedBy::Outside, digest(number), OnRemove::Retire, now).await.unwrap();
}

pub(crate) async fn every_retired_key_is_shown_oldest_first(store: Arc<dyn Store>) {
    assert_eq!(store.retired().await.unwrap(), []);
    // More than is read in one step, and live ones between them.
    let keys: Vec<_> = (1..=600)
        .map(|number| api_key(number, if number % 3 == 0 { "ann" } else { "bob" }))
        .collect();
    provision(&store, keys.iter().cloned()).await;
    provision(&store, [session(700, "ann"), bootstrap(701, "ann", 1)]).await;
    let mut expected = Vec::new();
    for (key, number) in keys.into_iter().zip(1..) {
        if number % 2 == 0 {
            retire(&store, number, at(-i64::try_from(number).unwrap())).await;
            expected.push(retired(key, at(-i64::try_from(number).unwrap())));
        }
    }
    assert_eq!(store.retired().await.unwrap(), expected);
    assert_eq!(all(&store).await.len(), 302);
}

pub(crate) async fn a_live_record_is_restored_as_it_was(store: Arc<dyn Store>) {
    let used = Record { last_used_at: Some(at(-60_000)), ..api_key(1, "ann") };
    let others =
        [expiring(session(2, "ann"), at(5)), bootstrap(3, "ann", 7), bootstrap(4, "bob", 0)];
    let hinted = Record {
        hint: Some("sk-12345".into()),
        origin: Some("idp".into()),
        limits: some_limits(),
        ..api_key(5, "ann")
    };
    let records: Vec<_> = [used].into_iter().chain(others).chain([hinted]).collect();
    for record in &records {
        store.restore(live(record.clone())).await.unwrap();
    }
    assert_eq!(all(&store).await, records);
    assert_eq!(store.retired().await.unwrap(), []);
    assert_eq!(owned(&store, owner("ann")).await, [live(records[0].clone())]);
    assert_eq!(store.find(digest(2)).await.unwrap(), Some(records[1].clone()));
}

pub(crate) async fn a_retired_key_is_restored_as_it_was(store: Arc<dyn Store>) {
    let key = expiring(Record { last_used_at: Some(at(-60_000)), ..api_key(1, "ann") }, at(10));
    let was = retired(key, at(-5));
    store.restore(was.clone()).await.unwrap();
    store.restore(live(api_key(2, "ann"))).await.unwrap();
    assert_eq!(store.find(digest(1)).await.unwrap(), None, "it opens nothing");
    assert_eq!(
        store.find_by_id("platform".into(), was.record.id).await.unwrap(),
        Some(was.clone())
    );
    assert_eq!(owned(&store, owner("ann")).await, [was.clone(), live(api_key(2, "ann"))]);
    assert_eq!(store.retired().await.unwrap(), [was]);
    assert_eq!(all(&store).await, [api_key(2, "ann")]);
    assert_eq!(store.purge(at(20), 100).await.unwrap(), 0, "it stays when it would have expired");
    // As many as an owner can have come over, whatever the order.
    let most = u64::try_from(MOST_RETIRED).unwrap();
    for number in (10..10 + most).rev() {
        let moment = at(i64::try_from(number).unwrap());
        store.restore(retired(api_key(number, "bob"), moment)).await.unwrap();
    }
    assert_eq!(owned(&store, owner("bob")).await.len(), MOST_RETIRED);
}

pub(crate) async fn what_is_taken_is_not_restored_over(store: Arc<dyn Store>) {
    provision(&store, [api_key(1, "ann"), api_key(2, "ann")]).await;
    retire(&store, 2, NOW).await;
    for number in [1, 2] {
        for kept in [live(api_key(number, "ann")), retired(api_key(number, "ann"), at(1))] {
            let outcome = store.restore(kept.clone()).await;
            assert!(matches!(outcome, Err(StoreError::Conflict)), "{kept:?}: {outcome:?}");
        }
    }
    // What cannot have been retired leaves nothing, as when it is removed.
    for gone in [session(3, "ann"), bootstrap(4, "ann", 1), expiring(api_key(5, "ann"), at(-5))] {
        store.restore(retired(gone, at(-5))).await.unwrap();
    }
    assert_eq!(
        owned(&store, owner("ann")).await,
        [live(api_key(1, "ann")), retired(api_key(2, "ann"), NOW)]
    );
    assert_eq!(all(&store).await, [api_key(1, "ann")]);
}
