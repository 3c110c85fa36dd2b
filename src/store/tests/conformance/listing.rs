//! `owned` for owners and `browse` for administrators.

use super::*;
use crate::domain::RecordSort;
use crate::tokens::store::OnRemove;

pub(crate) async fn owned_lists_the_live_keys_of_one_owner_oldest_first(store: Arc<dyn Store>) {
    let [third, fifth, seventh] = [
        api_key(3, "ann"),
        expiring(api_key(5, "ann"), at(1)),
        Record { name: None, ..api_key(7, "ann") },
    ];
    // Written in another order than issued.
    let records = [
        seventh.clone(),
        fifth.clone(),
        third.clone(),
        expiring(api_key(4, "ann"), NOW),
        expiring(api_key(2, "ann"), at(-1)),
        bootstrap(1, "ann", 1),
        session(8, "ann"),
        api_key(6, "bob"),
        Record { token_api: "other".into(), ..api_key(9, "ann") },
        Record { origin: Some("idp".into()), ..api_key(10, "ann") },
    ];
    provision(&store, records).await;
    let expected: Vec<_> = [third, fifth, seventh].map(live).into();
    for authorized_by in [by(3), by(6), by(1), by(8), AuthorizedBy::Outside] {
        assert_eq!(
            store.owned(authorized_by, owner("ann"), NOW).await.unwrap().as_ref(),
            Some(&expected)
        );
    }
    assert_eq!(store.owned(by(6), owner("unknown"), NOW).await.unwrap(), Some(vec![]));
    for authorized_by in [by(4), by(2), by(99)] {
        assert_eq!(store.owned(authorized_by, owner("ann"), NOW).await.unwrap(), None);
    }
    let before = store.owned(by(4), owner("ann"), at(-1)).await.unwrap().unwrap();
    assert_eq!(before.len(), 4, "a millisecond before its end it authorizes and is listed");
    let after = store.owned(by(3), owner("ann"), at(1)).await.unwrap().unwrap();
    assert_eq!(after.len(), 2);
}

pub(crate) async fn owners_are_told_apart_to_the_byte(store: Arc<dyn Store>) {
    let some = |text: &str| Some(text.to_owned());
    // What would be one and the same if the parts were put together without care.
    let owners = [
        ("a", None, "b"),
        ("a", some(""), "b"),
        ("a", some("b"), ""),
        ("a", None, ""),
        ("a", None, "B"),
        ("a", None, "b "),
        ("a", None, "b:c"),
        ("a:b", None, "c"),
        ("a", some("b"), "c"),
        ("a", some("b:c"), "d"),
        ("a", some("b"), "c:d"),
        ("a", None, "{b}"),
        ("a", None, "b\u{0}c"),
        ("a", None, "*"),
        ("a", None, "%"),
        ("a", None, "caf\u{e9}"),
        ("a", None, "cafe\u{301}"),
    ];
    let owners = owners.map(|(token_api, origin, subject)| Owner {
        token_api: token_api.into(),
        origin,
        subject: subject.into(),
    });
    let key = |number: usize, owner: &Owner| {
        let key = api_key(u64::try_from(number).unwrap(), &owner.subject);
        Record { token_api: owner.token_api.clone(), origin: owner.origin.clone(), ..key }
    };
    for (number, owner) in owners.iter().enumerate() {
        provision(&store, [key(number, owner)]).await;
    }
    for (number, owner) in owners.iter().enumerate() {
        assert_eq!(owned(&store, owner.clone()).await, [live(key(number, owner))]);
    }
    for (number, owner) in owners.iter().enumerate() {
        let removed = store
            .remove_owned(AuthorizedBy::Outside, owner.clone(), OnRemove::Delete, NOW)
            .await
            .unwrap();
        assert_eq!(removed, Some(vec![key(number, owner).digest]), "{owner:?}");
    }
}

pub(crate) async fn browse_shows_what_matches_oldest_first(store: Arc<dyn Store>) {
    let records = [
        Record { token_api: "other".into(), ..api_key(1, "ann") },
        api_key(2, "ann"),
        bootstrap(3, "bob", 1),
        expiring(api_key(4, "bob"), at(-1)),
        session(5, "bob"),
        Record { origin: Some("idp".into()), ..api_key(6, "ann") },
        bootstrap(7, "ann", 0),
    ];
    // Written in another order than issued.
    provision(&store, records.iter().rev().cloned()).await;
    assert_eq!(all(&store).await, records);
    let numbers = async |filter| {
        let found = store.browse(filter).await.unwrap();
        found.iter().map(|record| record.issued_at.unix_millis()).collect::<Vec<_>>()
    };
    let any = Filter::default;
    let sort = |sort| Filter { sort: Some(sort), ..any() };
    let platform = || Filter { token_api: Some("platform".into()), ..any() };
    let ann = || Filter { subject: Some("ann".into()), ..any() };
    assert_eq!(numbers(Filter { limit: 3, ..any() }).await, [1, 2, 3]);
    assert_eq!(numbers(Filter { limit: usize::MAX, ..any() }).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(platform()).await, [2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(ann()).await, [1, 2, 6, 7], "of every origin");
    assert_eq!(numbers(Filter { subject: ann().subject, ..platform() }).await, [2, 6, 7]);
    assert_eq!(numbers(sort(RecordSort::ApiKey)).await, [1, 2, 4, 6]);
    assert_eq!(numbers(sort(RecordSort::Session)).await, [5]);
    assert_eq!(numbers(sort(RecordSort::Bootstrap)).await, [3, 7], "spent or not");
    assert_eq!(numbers(Filter { limit: 2, ..sort(RecordSort::ApiKey) }).await, [1, 2]);
    assert_eq!(numbers(Filter { limit: 2, ..platform() }).await, [2, 3]);
    let all_three = Filter {
        token_api: Some("platform".into()),
        subject: Some("ann".into()),
        ..sort(RecordSort::ApiKey)
    };
    assert_eq!(numbers(all_three.clone()).await, [2, 6]);
    assert_eq!(numbers(Filter { limit: 1, ..all_three }).await, [2]);
    for nothing in ["", "an", "ann%", "*", "platform"] {
        assert_eq!(
            numbers(Filter { subject: Some(nothing.into()), ..any() }).await,
            [0_i64; 0],
            "{nothing}"
        );
    }
}
