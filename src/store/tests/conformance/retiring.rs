//! Retired keys.

use super::*;
use crate::domain::RecordSort;
use crate::tokens::store::{Issue, IssueMode, MOST_RETIRED, OnRemove, Removal, StoreError};

async fn retire(store: &Arc<dyn Store>, number: u64, now: Timestamp) -> Removal {
    store.remove(AuthorizedBy::Outside, digest(number), OnRemove::Retire, now).await.unwrap()
}

async fn by_id(store: &Arc<dyn Store>, number: u64) -> Option<Listed> {
    store.find_by_id("platform".into(), api_key(number, "ann").id).await.unwrap()
}

pub(crate) async fn a_retired_key_is_listed_and_opens_nothing(store: Arc<dyn Store>) {
    provision(&store, [api_key(1, "ann"), api_key(2, "ann"), api_key(3, "ann"), session(4, "ann")])
        .await;
    assert_eq!(retire(&store, 2, at(5)).await, Removal::Removed);
    assert_eq!(store.find(digest(2)).await.unwrap(), None);
    assert_eq!(by_id(&store, 2).await, Some(retired(api_key(2, "ann"), at(5))));
    assert_eq!(store.find_by_id("other".into(), api_key(2, "ann").id).await.unwrap(), None);
    let listed =
        [live(api_key(1, "ann")), retired(api_key(2, "ann"), at(5)), live(api_key(3, "ann"))];
    assert_eq!(owned(&store, owner("ann")).await, listed, "in the order of issue");
    assert_eq!(all(&store).await, [api_key(1, "ann"), api_key(3, "ann"), session(4, "ann")]);
    let keys =
        Filter { sort: Some(RecordSort::ApiKey), subject: Some("ann".into()), ..Filter::default() };
    assert_eq!(store.browse(keys).await.unwrap().len(), 2);
    assert_eq!(store.owned(by(2), owner("ann"), NOW).await.unwrap(), None, "it authorizes nothing");
    assert_eq!(
        store.remove(by(2), digest(1), OnRemove::Delete, NOW).await.unwrap(),
        Removal::AuthorizationGone
    );
    assert_eq!(store.remove_owned(by(2), owner("ann"), OnRemove::Delete, NOW).await.unwrap(), None);
    let issue = store.issue(by(2), api_key(9, "ann"), IssueMode::Add, NOW).await.unwrap();
    assert_eq!(issue, Issue::AuthorizationGone);
}

pub(crate) async fn a_retired_key_stays_what_it_was(store: Arc<dyn Store>) {
    let key = Record { origin: Some("idp".into()), limits: some_limits(), ..api_key(1, "ann") };
    let key = expiring(key, at(10));
    provision(&store, [key.clone(), session(2, "ann")]).await;
    store.touch(vec![(key.digest, at(-60_000))]).await.unwrap();
    let key = Record { last_used_at: Some(at(-60_000)), ..key };
    assert_eq!(
        store.remove(by(1), digest(1), OnRemove::Retire, NOW).await.unwrap(),
        Removal::Removed,
        "by itself"
    );
    let listed = retired(key.clone(), NOW);
    for after in [OnRemove::Retire, OnRemove::Delete] {
        let again = store.remove(by(2), digest(1), after, at(20)).await.unwrap();
        assert_eq!(again, Removal::Absent, "once is enough");
        let removed = store.remove_owned(by(2), key.owner(), after, at(20)).await.unwrap();
        assert_eq!(removed, Some(vec![]));
    }
    store.touch(vec![(digest(99), NOW)]).await.unwrap();
    assert_eq!(store.purge(at(20), 100).await.unwrap(), 0);
    assert_eq!(by_id(&store, 1).await.as_ref(), Some(&listed));
    let keys = store.owned(by(2), key.owner(), at(20)).await.unwrap();
    assert_eq!(keys, Some(vec![listed]), "also after it would have expired");
    assert_eq!(owned(&store, owner("ann")).await, [], "its owner is of another origin");
}

pub(crate) async fn a_retired_key_blocks_no_other_but_keeps_its_names(store: Arc<dyn Store>) {
    provision(&store, [bootstrap(1, "ann", 5), api_key(2, "ann")]).await;
    assert_eq!(retire(&store, 2, NOW).await, Removal::Removed);
    let same_digest = Record { digest: digest(2), ..api_key(3, "bob") };
    let same_id = Record { id: api_key(2, "ann").id, ..api_key(4, "bob") };
    for record in [same_digest, same_id, api_key(2, "ann")] {
        assert!(
            matches!(store.provision(record.clone()).await, Err(StoreError::Conflict)),
            "{record:?}"
        );
        let outcome = store.issue(by(1), record, IssueMode::Add, NOW).await;
        assert!(matches!(outcome, Err(StoreError::Conflict)), "{outcome:?}");
    }
    assert_eq!(all(&store).await, [bootstrap(1, "ann", 5)], "what was retired does not come back");
    let if_none = store.issue(by(1), api_key(5, "ann"), IssueMode::IfNone, NOW).await.unwrap();
    assert_eq!(if_none, Issue::Issued { removed: vec![] });
    let replace = store.issue(by(1), api_key(6, "ann"), IssueMode::Replace, NOW).await.unwrap();
    assert_eq!(replace, Issue::Issued { removed: vec![digest(5)] });
    assert_eq!(
        owned(&store, owner("ann")).await,
        [retired(api_key(2, "ann"), NOW), live(api_key(6, "ann"))]
    );
}

pub(crate) async fn remove_owned_retires_what_is_live(store: Arc<dyn Store>) {
    let records = [
        api_key(1, "ann"),
        expiring(api_key(2, "ann"), NOW),
        expiring(api_key(3, "ann"), at(1)),
        session(4, "ann"),
        bootstrap(5, "ann", 1),
        api_key(6, "bob"),
        api_key(7, "ann"),
    ];
    provision(&store, records).await;
    assert_eq!(retire(&store, 7, at(-50)).await, Removal::Removed);
    assert_eq!(store.remove_owned(by(2), owner("ann"), OnRemove::Retire, NOW).await.unwrap(), None);
    let removed = store.remove_owned(by(4), owner("ann"), OnRemove::Retire, NOW).await.unwrap();
    assert_eq!(removed.map(unordered), Some(digests([1, 2, 3])));
    let listed = [
        retired(api_key(1, "ann"), NOW),
        retired(expiring(api_key(3, "ann"), at(1)), NOW),
        retired(api_key(7, "ann"), at(-50)),
    ];
    assert_eq!(
        owned(&store, owner("ann")).await,
        listed,
        "what had expired was in no list any more"
    );
    assert_eq!(by_id(&store, 2).await, None);
    assert_eq!(all(&store).await, [session(4, "ann"), bootstrap(5, "ann", 1), api_key(6, "bob")]);
}

pub(crate) async fn only_a_live_key_is_retired(store: Arc<dyn Store>) {
    let records = [session(1, "ann"), bootstrap(2, "ann", 1), expiring(api_key(3, "ann"), NOW)];
    provision(&store, records.clone()).await;
    for number in [1, 2, 3] {
        assert_eq!(retire(&store, number, NOW).await, Removal::Removed);
        assert_eq!(retire(&store, number, NOW).await, Removal::Absent);
        assert_eq!(by_id(&store, number).await, None);
    }
    assert_eq!(owned(&store, owner("ann")).await, []);
    provision(&store, records).await;
}

pub(crate) async fn the_newest_retired_keys_of_an_owner_are_kept(store: Arc<dyn Store>) {
    let most = u64::try_from(MOST_RETIRED).unwrap();
    // The first to be retired are the last that were issued.
    let early = [most + 10, most + 11];
    provision(&store, (1..=most).chain(early).map(|number| api_key(number, "ann"))).await;
    provision(&store, [api_key(5_000, "bob")]).await;
    for (number, moment) in early.into_iter().zip(0..) {
        assert_eq!(retire(&store, number, at(moment)).await, Removal::Removed);
    }
    assert_eq!(retire(&store, 5_000, at(0)).await, Removal::Removed);
    assert_eq!(owned(&store, owner("ann")).await.len(), MOST_RETIRED + 2);
    // One fewer, so that the older of the two is forgotten and the other stays.
    let removal =
        store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, at(2)).await.unwrap();
    assert_eq!(removal, Removal::Removed);
    let removed = store
        .remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Retire, at(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(unordered(removed).len(), MOST_RETIRED - 1);
    let listed = owned(&store, owner("ann")).await;
    assert_eq!(listed.len(), MOST_RETIRED);
    assert!(listed.is_sorted_by_key(|key| key.record.issued_at), "oldest first");
    assert_eq!(listed.last().map(|key| key.record.digest), Some(digest(early[1])));
    assert_eq!(by_id(&store, early[0]).await, None, "retired first, forgotten first");
    assert_eq!(owned(&store, owner("bob")).await.len(), 1, "each owner for himself");

    provision(&store, [api_key(2_000_000, "ann")]).await;
    assert_eq!(retire(&store, 2_000_000, at(3)).await, Removal::Removed);
    let listed = owned(&store, owner("ann")).await;
    assert_eq!(listed.len(), MOST_RETIRED);
    assert_eq!(listed.last().map(|key| key.record.digest), Some(digest(2_000_000)));
    assert_eq!(by_id(&store, early[1]).await, None);
    provision(&store, early.map(|number| api_key(number, "ann"))).await;
}
