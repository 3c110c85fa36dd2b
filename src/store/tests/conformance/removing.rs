//! `remove` and `remove_owned`, where nothing is left.

use super::*;
use crate::tokens::store::{OnRemove, Removal};

async fn remove(store: &Arc<dyn Store>, authorized_by: AuthorizedBy, target: u64) -> Removal {
    store.remove(authorized_by, digest(target), OnRemove::Delete, NOW).await.unwrap()
}

pub(crate) async fn remove_has_three_outcomes(store: Arc<dyn Store>) {
    let records = [
        api_key(1, "ann"),
        api_key(2, "ann"),
        expiring(api_key(3, "ann"), NOW),
        expiring(session(4, "ann"), NOW),
    ];
    provision(&store, records.clone()).await;
    for authorized_by in [3, 4, 99] {
        assert_eq!(remove(&store, by(authorized_by), 2).await, Removal::AuthorizationGone);
        assert_eq!(
            remove(&store, by(authorized_by), 98).await,
            Removal::AuthorizationGone,
            "whether or not there is such a record"
        );
    }
    assert_eq!(all(&store).await, records);
    assert_eq!(remove(&store, by(1), 99).await, Removal::Absent);
    assert_eq!(remove(&store, by(1), 2).await, Removal::Removed);
    assert_eq!(remove(&store, by(1), 2).await, Removal::Absent);
    assert_eq!(remove(&store, AuthorizedBy::Outside, 2).await, Removal::Absent);
    assert_eq!(remove(&store, AuthorizedBy::Outside, 3).await, Removal::Removed, "expired or not");
    assert_eq!(store.find(digest(2)).await.unwrap(), None);
    assert_eq!(store.find_by_id("platform".into(), api_key(2, "ann").id).await.unwrap(), None);
    assert_eq!(owned(&store, owner("ann")).await, [live(api_key(1, "ann"))]);
    provision(&store, [api_key(2, "ann")]).await;
    assert_eq!(all(&store).await.len(), 3, "digest and id are free again");
}

pub(crate) async fn remove_takes_any_kind(store: Arc<dyn Store>) {
    provision(
        &store,
        [session(1, "ann"), bootstrap(2, "bob", 1), bootstrap(3, "bob", 0), session(4, "bob")],
    )
    .await;
    for target in [2, 3, 4] {
        assert_eq!(remove(&store, by(1), target).await, Removal::Removed);
    }
    assert_eq!(all(&store).await, [session(1, "ann")]);
}

pub(crate) async fn remove_owned_names_the_keys_and_spares_the_rest(store: Arc<dyn Store>) {
    let spared = [
        bootstrap(3, "ann", 1),
        session(4, "ann"),
        api_key(5, "bob"),
        Record { origin: Some("idp".into()), ..api_key(6, "ann") },
        Record { token_api: "other".into(), ..api_key(7, "ann") },
    ];
    provision(&store, [api_key(1, "ann"), expiring(api_key(2, "ann"), NOW)]).await;
    provision(&store, spared.clone()).await;
    let remove = async |authorized_by| {
        store.remove_owned(authorized_by, owner("ann"), OnRemove::Delete, NOW).await.unwrap()
    };
    for authorized_by in [2, 99] {
        assert_eq!(remove(by(authorized_by)).await, None);
    }
    assert_eq!(all(&store).await.len(), 7, "nothing was done");
    assert_eq!(remove(by(3)).await.map(unordered), Some(digests([1, 2])));
    assert_eq!(remove(by(4)).await, Some(vec![]));
    assert_eq!(remove(AuthorizedBy::Outside).await, Some(vec![]));
    assert_eq!(all(&store).await, spared);
    assert_eq!(owned(&store, owner("ann")).await, []);
    let theirs = Owner { origin: Some("idp".into()), ..owner("ann") };
    let removed = store.remove_owned(by(4), theirs, OnRemove::Delete, NOW).await.unwrap();
    assert_eq!(removed, Some(vec![digest(6)]));
}

pub(crate) async fn a_key_may_remove_itself(store: Arc<dyn Store>) {
    provision(&store, [api_key(1, "ann"), api_key(2, "bob"), api_key(3, "bob")]).await;
    assert_eq!(remove(&store, by(1), 1).await, Removal::Removed);
    assert_eq!(remove(&store, by(1), 1).await, Removal::AuthorizationGone);
    let removed = store.remove_owned(by(2), owner("bob"), OnRemove::Delete, NOW).await.unwrap();
    assert_eq!(removed.map(unordered), Some(digests([2, 3])));
    assert_eq!(store.remove_owned(by(2), owner("bob"), OnRemove::Delete, NOW).await.unwrap(), None);
    assert_eq!(all(&store).await, []);
}
