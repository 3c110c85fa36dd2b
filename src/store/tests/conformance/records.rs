//! Records one by one.

use super::*;
use crate::tokens::store::{Issue, IssueMode, OnRemove, Removal, StoreError};

/// Without what [`Store::find`] may leave out.
fn unused(record: Record) -> Record {
    Record { last_used_at: None, ..record }
}

pub(crate) async fn find_returns_the_record_as_it_was_written_expired_or_not(
    store: Arc<dyn Store>,
) {
    let full = Record {
        origin: Some("https://idp.example/\u{1F511}".into()),
        identity: Identity {
            email: Some("ann@example.com".into()),
            ..api_key(1, "ann \"\u{0}\n{}").identity
        },
        limits: some_limits(),
        ..api_key(1, "ann")
    };
    let bare = Record {
        identity: Identity {
            username: None,
            organization: None,
            role: None,
            ..api_key(2, "").identity
        },
        name: None,
        last_used_at: Some(at(-7)),
        ..api_key(2, "ann")
    };
    let records = [
        full,
        bare,
        expiring(api_key(3, "ann"), at(-1)),
        expiring(bootstrap(4, "bob", 3), at(-1)),
        bootstrap(5, "bob", u32::MAX),
        expiring(session(6, "ann"), at(1)),
    ];
    provision(&store, records.clone()).await;
    for record in records {
        assert_eq!(store.find(record.digest).await.unwrap().map(unused), Some(unused(record)));
    }
    assert_eq!(store.find(digest(99)).await.unwrap(), None);
}

pub(crate) async fn find_by_id_looks_within_one_token_api(store: Arc<dyn Store>) {
    let records = [api_key(1, "ann"), session(2, "ann"), expiring(bootstrap(3, "ann", 1), at(-1))];
    provision(&store, records.clone()).await;
    for record in records {
        assert_eq!(store.find_by_id("other".into(), record.id).await.unwrap(), None);
        assert_eq!(
            store.find_by_id("platform".into(), record.id).await.unwrap(),
            Some(live(record))
        );
    }
    assert_eq!(store.find_by_id("platform".into(), api_key(99, "ann").id).await.unwrap(), None);
}

pub(crate) async fn a_digest_or_id_that_is_taken_is_a_conflict_and_changes_nothing(
    store: Arc<dyn Store>,
) {
    let before = [
        api_key(1, "ann"),
        bootstrap(2, "bob", 1),
        api_key(3, "bob"),
        expiring(api_key(4, "bob"), at(-1)),
    ];
    provision(&store, before.clone()).await;
    let id = before[0].id;
    let same_id = Record { id, ..api_key(10, "bob") };
    let same_id_elsewhere = Record { id, token_api: "other".into(), ..api_key(11, "bob") };
    let same_digest = Record { digest: digest(1), ..api_key(12, "bob") };
    let both = api_key(1, "bob");
    for record in [same_id, same_id_elsewhere, same_digest, both] {
        assert!(
            matches!(store.provision(record.clone()).await, Err(StoreError::Conflict)),
            "{record:?}"
        );
        for mode in [IssueMode::Add, IssueMode::Replace] {
            let outcome = store.issue(by(2), record.clone(), mode, NOW).await;
            assert!(matches!(outcome, Err(StoreError::Conflict)), "{outcome:?} for {record:?}");
        }
    }
    assert_eq!(all(&store).await, before, "nothing is spent and nothing removed");
    for record in before {
        let found = store.find_by_id(record.token_api.clone(), record.id).await.unwrap();
        assert_eq!(found, Some(live(record)));
    }
    let issue = store.issue(by(2), api_key(20, "bob"), IssueMode::Add, NOW).await.unwrap();
    assert_eq!(issue, Issue::Issued { removed: vec![] });
}

pub(crate) async fn touch_moves_the_last_use_forward_only_and_passes_over_the_unknown(
    store: Arc<dyn Store>,
) {
    let records = [api_key(1, "ann"), session(2, "ann"), api_key(3, "ann")];
    provision(&store, records.clone()).await;
    store
        .touch(vec![(digest(1), at(60_000)), (digest(99), at(60_000)), (digest(2), at(7))])
        .await
        .unwrap();
    store.touch(vec![(digest(1), at(0)), (digest(2), at(8))]).await.unwrap();
    store.touch(vec![]).await.unwrap();
    store.touch((0..1_000).map(|number| (digest(number + 100), NOW)).collect()).await.unwrap();
    let [first, second, third] = records;
    let first = Record { last_used_at: Some(at(60_000)), ..first };
    let second = Record { last_used_at: Some(at(8)), ..second };
    assert_eq!(all(&store).await, [first.clone(), second, third.clone()]);
    assert_eq!(store.find(digest(1)).await.unwrap().map(unused), Some(unused(first.clone())));
    assert_eq!(
        store.find_by_id("platform".into(), first.id).await.unwrap(),
        Some(live(first.clone()))
    );
    assert_eq!(owned(&store, owner("ann")).await, [live(first), live(third)]);
}

pub(crate) async fn purge_deletes_what_has_expired_up_to_its_limit(store: Arc<dyn Store>) {
    let records = [
        expiring(api_key(1, "ann"), at(-2)),
        expiring(session(2, "ann"), at(-1)),
        expiring(bootstrap(3, "ann", 1), NOW),
        expiring(api_key(4, "ann"), at(1)),
        api_key(5, "ann"),
    ];
    provision(&store, records.clone()).await;
    assert_eq!(store.purge(NOW, 0).await.unwrap(), 0);
    assert_eq!(store.purge(NOW, 2).await.unwrap(), 2);
    assert_eq!(all(&store).await.len(), 3);
    assert_eq!(store.purge(NOW, 100).await.unwrap(), 1);
    assert_eq!(store.purge(NOW, usize::MAX).await.unwrap(), 0);
    assert_eq!(all(&store).await, records[3..]);
    for record in &records[..3] {
        assert_eq!(store.find(record.digest).await.unwrap(), None);
        assert_eq!(store.find_by_id("platform".into(), record.id).await.unwrap(), None);
    }
    provision(&store, records[..3].to_vec()).await;
    assert_eq!(all(&store).await, records, "digests and ids are free again");
}

pub(crate) async fn an_open_store_checks_and_settles(store: Arc<dyn Store>) {
    store.check().await.unwrap();
    store.settle().await.unwrap();
    provision(&store, [api_key(1, "ann")]).await;
    let removal = store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW).await;
    assert_eq!(removal.unwrap(), Removal::Removed);
    store.settle().await.unwrap();
    store.check().await.unwrap();
}
