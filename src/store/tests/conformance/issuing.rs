//! `issue`: every authorization, every mode, every outcome.

use super::*;
use crate::tokens::store::{Issue, IssueMode, OnRemove};

const ISSUED: Issue = Issue::Issued { removed: vec![] };

async fn issue(
    store: &Arc<dyn Store>,
    authorized_by: AuthorizedBy,
    number: u64,
    mode: IssueMode,
) -> Issue {
    store.issue(authorized_by, api_key(number, "ann"), mode, NOW).await.unwrap()
}

async fn kind(store: &Arc<dyn Store>, number: u64) -> RecordKind {
    store.find(digest(number)).await.unwrap().unwrap().kind
}

pub(crate) async fn a_live_record_of_any_kind_authorizes(store: Arc<dyn Store>) {
    let records = [
        api_key(1, "ann"),
        session(2, "bob"),
        bootstrap(3, "ann", 1),
        expiring(api_key(4, "ann"), at(1)),
    ];
    provision(&store, records).await;
    for (authorized_by, number) in
        [(by(1), 10), (by(2), 11), (by(3), 12), (by(4), 13), (AuthorizedBy::Outside, 14)]
    {
        // A child may be over as soon as it is made, and of whatever kind.
        let child = match number {
            10 => expiring(api_key(number, "ann"), at(-5)),
            11 => session(number, "bob"),
            _ => api_key(number, "ann"),
        };
        assert_eq!(
            store.issue(authorized_by, child.clone(), IssueMode::Add, NOW).await.unwrap(),
            ISSUED
        );
        assert_eq!(store.find(child.digest).await.unwrap(), Some(child));
    }
}

pub(crate) async fn an_authorizing_record_that_is_gone_or_has_expired_is_refused(
    store: Arc<dyn Store>,
) {
    let records = [
        expiring(api_key(1, "ann"), NOW),
        expiring(bootstrap(2, "ann", 0), NOW),
        expiring(bootstrap(3, "ann", 1), at(-1)),
        expiring(session(4, "ann"), NOW),
        api_key(5, "eve"),
    ];
    provision(&store, records.clone()).await;
    store.remove(AuthorizedBy::Outside, digest(5), OnRemove::Retire, NOW).await.unwrap();
    for mode in [IssueMode::Add, IssueMode::Replace, IssueMode::IfNone] {
        for authorized_by in [1, 2, 3, 4, 5, 99] {
            assert_eq!(
                issue(&store, by(authorized_by), 10, mode).await,
                Issue::AuthorizationGone,
                "{authorized_by} {mode:?}"
            );
        }
    }
    assert_eq!(all(&store).await, records[..4], "nothing was changed");
    for (authorized_by, number) in [(1, 10), (4, 11)] {
        let outcome = store
            .issue(by(authorized_by), api_key(number, "ann"), IssueMode::Add, at(-1))
            .await
            .unwrap();
        assert_eq!(outcome, ISSUED, "a millisecond before its end");
    }
}

pub(crate) async fn a_bootstrap_token_is_spent_key_by_key(store: Arc<dyn Store>) {
    provision(&store, [bootstrap(1, "ann", 2), bootstrap(2, "ann", 7)]).await;
    assert_eq!(issue(&store, by(1), 10, IssueMode::Add).await, ISSUED);
    assert_eq!(kind(&store, 1).await, RecordKind::Bootstrap { mints_left: 1 });
    assert_eq!(
        issue(&store, by(1), 11, IssueMode::Replace).await,
        Issue::Issued { removed: vec![digest(10)] }
    );
    for mode in [IssueMode::Add, IssueMode::Replace, IssueMode::IfNone] {
        assert_eq!(issue(&store, by(1), 12, mode).await, Issue::AuthorizationSpent);
    }
    assert_eq!(kind(&store, 1).await, RecordKind::Bootstrap { mints_left: 0 });
    assert_eq!(
        all(&store).await,
        [bootstrap(1, "ann", 0), bootstrap(2, "ann", 7), api_key(11, "ann")]
    );
    let owned = store.owned(by(1), owner("ann"), NOW).await.unwrap();
    assert_eq!(owned, Some(vec![live(api_key(11, "ann"))]), "spent, it is still known");
}

/// Records of "ann" that no mode concerns.
fn bystanders() -> [Record; 6] {
    [
        bootstrap(1, "ann", 5),
        session(2, "ann"),
        api_key(3, "bob"),
        Record { token_api: "other".into(), ..api_key(4, "ann") },
        Record { origin: Some("idp".into()), ..api_key(5, "ann") },
        expiring(session(6, "ann"), at(-1)),
    ]
}

pub(crate) async fn replace_removes_every_other_key_of_the_owner(store: Arc<dyn Store>) {
    provision(&store, bystanders()).await;
    assert_eq!(issue(&store, by(2), 10, IssueMode::Replace).await, ISSUED, "of nothing");
    provision(
        &store,
        [
            api_key(11, "ann"),
            expiring(api_key(12, "ann"), at(-1)),
            expiring(api_key(13, "ann"), at(1)),
        ],
    )
    .await;
    let Issue::Issued { removed } =
        issue(&store, AuthorizedBy::Outside, 14, IssueMode::Replace).await
    else {
        panic!("not issued")
    };
    assert_eq!(unordered(removed), digests([10, 11, 12, 13]));
    let left: Vec<_> = bystanders().into_iter().chain([api_key(14, "ann")]).collect();
    assert_eq!(all(&store).await, left);
    for number in 10..14 {
        assert_eq!(store.find(digest(number)).await.unwrap(), None);
        let found = store.find_by_id("platform".into(), api_key(number, "ann").id).await.unwrap();
        assert_eq!(found, None, "they leave nothing");
    }
    assert_eq!(owned(&store, owner("ann")).await, [live(api_key(14, "ann"))]);
}

pub(crate) async fn replace_of_the_key_that_authorizes(store: Arc<dyn Store>) {
    provision(&store, [api_key(1, "ann")]).await;
    assert_eq!(
        issue(&store, by(1), 2, IssueMode::Replace).await,
        Issue::Issued { removed: vec![digest(1)] }
    );
    assert_eq!(issue(&store, by(1), 3, IssueMode::Replace).await, Issue::AuthorizationGone);
    assert_eq!(all(&store).await, [api_key(2, "ann")]);
}

pub(crate) async fn if_none_is_refused_while_another_is_live(store: Arc<dyn Store>) {
    provision(&store, bystanders()).await;
    assert_eq!(
        issue(&store, by(2), 10, IssueMode::IfNone).await,
        ISSUED,
        "others' keys and other kinds do not count"
    );
    let taken = Issue::Taken(Box::new(api_key(10, "ann")));
    for authorized_by in [by(2), by(10), AuthorizedBy::Outside] {
        assert_eq!(issue(&store, authorized_by, 11, IssueMode::IfNone).await, taken);
    }
    provision(&store, [expiring(api_key(12, "ann"), at(-1))]).await;
    assert_eq!(issue(&store, by(2), 11, IssueMode::IfNone).await, taken);
    assert!(store.find(digest(12)).await.unwrap().is_some(), "nothing was changed");
    assert_eq!(store.find(digest(11)).await.unwrap(), None);
}

pub(crate) async fn if_none_replaces_what_has_expired(store: Arc<dyn Store>) {
    provision(&store, bystanders()).await;
    provision(&store, [expiring(api_key(10, "ann"), NOW), expiring(api_key(11, "ann"), at(-9))])
        .await;
    let early = store.issue(by(2), api_key(12, "ann"), IssueMode::IfNone, at(-1)).await.unwrap();
    assert_eq!(
        early,
        Issue::Taken(Box::new(expiring(api_key(10, "ann"), NOW))),
        "a millisecond before its end"
    );
    let Issue::Issued { removed } = issue(&store, by(2), 12, IssueMode::IfNone).await else {
        panic!("not issued")
    };
    assert_eq!(unordered(removed), digests([10, 11]));
    let left: Vec<_> = bystanders().into_iter().chain([api_key(12, "ann")]).collect();
    assert_eq!(all(&store).await, left);
}

pub(crate) async fn a_refused_issue_spends_nothing(store: Arc<dyn Store>) {
    provision(&store, [bootstrap(1, "ann", 1), api_key(2, "ann")]).await;
    assert!(matches!(issue(&store, by(1), 3, IssueMode::IfNone).await, Issue::Taken(_)));
    assert_eq!(kind(&store, 1).await, RecordKind::Bootstrap { mints_left: 1 });
    assert_eq!(issue(&store, by(1), 3, IssueMode::Add).await, ISSUED);
    assert_eq!(
        issue(&store, by(1), 4, IssueMode::IfNone).await,
        Issue::AuthorizationSpent,
        "the authorization is checked first"
    );
}
