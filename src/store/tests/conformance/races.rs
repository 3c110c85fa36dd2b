//! Many tasks at once: operations that must exclude one another.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::tokens::store::{Issue, IssueMode, OnRemove, Removal, StoreError};

const TASKS: u64 = 8;
/// How many keys each task makes.
const ROUNDS: u64 = 40;

/// Runs an operation for each number, all at the same time.
async fn together<T, F>(
    numbers: impl IntoIterator<Item = u64>,
    operation: impl Fn(u64) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in numbers {
        tasks.spawn(operation(number));
    }
    tasks.join_all().await
}

/// Issues keys of "ann" from many tasks, each until it is refused, while `meanwhile` runs, which
/// begins when a few have been issued; the digests that were acknowledged as issued.
async fn issue_while(
    store: &Arc<dyn Store>,
    authorized_by: AuthorizedBy,
    meanwhile: impl AsyncFnOnce(),
) -> HashSet<TokenDigest> {
    let (sender, mut issued) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, sender) = (Arc::clone(store), sender.clone());
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                let child = api_key(1_000 + task * 1_000 + round, "ann");
                let name = child.digest;
                match store.issue(authorized_by, child, IssueMode::Add, NOW).await.unwrap() {
                    Issue::Issued { removed } => {
                        assert_eq!(removed, []);
                        sender.send(name).unwrap();
                    }
                    Issue::AuthorizationGone => return,
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    drop(sender);
    let mut names = HashSet::new();
    for _ in 0..TASKS {
        names.extend(issued.recv().await);
    }
    meanwhile().await;
    tasks.join_all().await;
    while let Some(name) = issued.recv().await {
        names.insert(name);
    }
    names
}

fn names(keys: &[Listed]) -> HashSet<TokenDigest> {
    keys.iter().map(|key| key.record.digest).collect()
}

/// What is alive is listed, and what is listed is alive.
async fn nothing_is_alive_and_unlisted(store: &Arc<dyn Store>, issued: &HashSet<TokenDigest>) {
    let listed = names(&owned(store, owner("ann")).await);
    for name in issued {
        assert_eq!(store.find(*name).await.unwrap().is_some(), listed.contains(name));
    }
    let keys = Filter { subject: Some("ann".into()), ..Filter::default() };
    let browsed: HashSet<_> =
        store.browse(keys).await.unwrap().iter().map(|record| record.digest).collect();
    assert_eq!(browsed, listed);
}

pub(crate) async fn what_is_issued_while_everything_is_removed_is_removed(store: Arc<dyn Store>) {
    provision(&store, [session(2, "root")]).await;
    for after in [OnRemove::Delete, OnRemove::Retire] {
        let authorized_by = if after == OnRemove::Delete { 1 } else { 3 };
        provision(&store, [api_key(authorized_by, "ann")]).await;
        let mut removed = HashSet::new();
        let issued = issue_while(&store, by(authorized_by), async || {
            removed = unordered(
                store.remove_owned(by(2), owner("ann"), after, NOW).await.unwrap().unwrap(),
            );
        })
        .await;
        // What authorizes is among the removed, so nothing can have been issued after that.
        assert!(removed.remove(&digest(authorized_by)));
        assert_eq!(issued, removed);
        assert_eq!(all(&store).await, [session(2, "root")]);
        for name in issued {
            assert_eq!(store.find(name).await.unwrap(), None);
        }
        let kept = if after == OnRemove::Delete { 0 } else { removed.len() + 1 };
        assert_eq!(owned(&store, owner("ann")).await.len(), kept);
    }
}

pub(crate) async fn what_any_record_issues_while_keys_are_removed_is_listed_or_named(
    store: Arc<dyn Store>,
) {
    let mut removed = HashSet::new();
    let issued = issue_while(&store, AuthorizedBy::Outside, async || {
        for _ in 0..5 {
            let named = store
                .remove_owned(AuthorizedBy::Outside, owner("ann"), OnRemove::Delete, NOW)
                .await;
            for name in unordered(named.unwrap().unwrap()) {
                assert!(removed.insert(name), "named twice");
                assert_eq!(store.find(name).await.unwrap(), None);
            }
        }
    })
    .await;
    assert_eq!(issued.len(), usize::try_from(TASKS * ROUNDS).unwrap());
    let listed = names(&owned(&store, owner("ann")).await);
    assert!(removed.is_disjoint(&listed));
    assert_eq!(removed.union(&listed).copied().collect::<HashSet<_>>(), issued);
    nothing_is_alive_and_unlisted(&store, &issued).await;
}

pub(crate) async fn what_is_issued_while_its_authorization_is_removed_is_listed(
    store: Arc<dyn Store>,
) {
    provision(&store, [api_key(1, "ann"), session(2, "root")]).await;
    let mut listed_at_removal = HashSet::new();
    let issued = issue_while(&store, by(1), async || {
        assert_eq!(
            store.remove(by(2), digest(1), OnRemove::Delete, NOW).await.unwrap(),
            Removal::Removed
        );
        listed_at_removal = names(&owned(&store, owner("ann")).await);
    })
    .await;
    assert_eq!(listed_at_removal, issued, "after the acknowledged removal nothing came to life");
    assert_eq!(names(&owned(&store, owner("ann")).await), issued);
    nothing_is_alive_and_unlisted(&store, &issued).await;
}

pub(crate) async fn if_none_issues_one(store: Arc<dyn Store>) {
    provision(&store, [bootstrap(1, "ann", 50), expiring(api_key(2, "ann"), NOW)]).await;
    let outcomes = together(10..110, |number| {
        store.issue(by(1), api_key(number, "ann"), IssueMode::IfNone, NOW)
    })
    .await;
    let [key] = &owned(&store, owner("ann")).await[..] else { panic!("not one") };
    let taken = Issue::Taken(Box::new(key.record.clone()));
    let (issued, refused): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .map(Result::unwrap)
        .partition(|outcome| matches!(outcome, Issue::Issued { .. }));
    assert_eq!(issued, [Issue::Issued { removed: vec![digest(2)] }]);
    assert!(refused.len() == 99 && refused.iter().all(|outcome| *outcome == taken));
    assert_eq!(all(&store).await, [bootstrap(1, "ann", 49), key.record.clone()]);
}

pub(crate) async fn replace_leaves_one_and_names_the_others_once(store: Arc<dyn Store>) {
    let outcomes = together(10..110, |number| {
        store.issue(AuthorizedBy::Outside, api_key(number, "ann"), IssueMode::Replace, NOW)
    })
    .await;
    let mut removed = Vec::new();
    for outcome in outcomes {
        let Issue::Issued { removed: named } = outcome.unwrap() else { panic!("not issued") };
        removed.extend(named);
    }
    let [key] = &owned(&store, owner("ann")).await[..] else { panic!("not one") };
    let removed = unordered(removed);
    assert!(removed.len() == 99 && !removed.contains(&key.record.digest));
    assert_eq!(all(&store).await.len(), 1);
}

pub(crate) async fn a_bootstrap_token_makes_exactly_what_it_is_good_for(store: Arc<dyn Store>) {
    provision(&store, [bootstrap(1, "ann", 25)]).await;
    let outcomes =
        together(10..110, |number| store.issue(by(1), api_key(number, "ann"), IssueMode::Add, NOW))
            .await;
    let count =
        |wanted: Issue| outcomes.iter().flatten().filter(|outcome| **outcome == wanted).count();
    assert_eq!(
        (count(Issue::Issued { removed: vec![] }), count(Issue::AuthorizationSpent)),
        (25, 75)
    );
    assert_eq!(owned(&store, owner("ann")).await.len(), 25);
    let kind = store.find(digest(1)).await.unwrap().unwrap().kind;
    assert_eq!(kind, RecordKind::Bootstrap { mints_left: 0 });
}

pub(crate) async fn a_record_is_removed_once(store: Arc<dyn Store>) {
    provision(&store, [session(1, "ann"), api_key(2, "ann")]).await;
    let outcomes = together(0..50, |number| {
        let after = if number % 2 == 0 { OnRemove::Delete } else { OnRemove::Retire };
        store.remove(by(1), digest(2), after, NOW)
    })
    .await;
    let count = |wanted| outcomes.iter().flatten().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(Removal::Removed), count(Removal::Absent)), (1, 49));
}

pub(crate) async fn an_id_is_given_once(store: Arc<dyn Store>) {
    let id = api_key(1, "ann").id;
    let outcomes =
        together(10..60, |number| store.provision(Record { id, ..api_key(number, "ann") })).await;
    let conflicts =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict))).count();
    assert_eq!((conflicts, outcomes.iter().flatten().count()), (49, 1));
    assert_eq!(owned(&store, owner("ann")).await.len(), 1);
}
