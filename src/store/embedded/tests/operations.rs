//! Every operation of the port and every outcome.

use super::*;

fn with<const N: usize>(records: [Record; N]) -> (Place, Arc<EmbeddedStore>) {
    let place = Place::new();
    let store = place.open();
    for record in records {
        wait(store.provision(record)).unwrap();
    }
    (place, store)
}

fn at(offset: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOW.unix_millis() + offset)
}

fn expiring(record: Record, end: Timestamp) -> Record {
    Record { expires_at: Some(end), ..record }
}

#[test]
fn find_returns_the_record_as_it_was_written_expired_or_not() {
    let records = [api_key(1, "ann"), expiring(bootstrap(2, "bob", 3), at(-1))];
    let (_place, store) = with(records.clone());
    for record in records {
        assert_eq!(wait(store.find(record.digest)).unwrap(), Some(record));
    }
    assert_eq!(wait(store.find(digest(3))).unwrap(), None);
}

#[test]
fn find_by_id_looks_within_one_token_api() {
    let record = api_key(1, "ann");
    let (_place, store) = with([record.clone()]);
    assert_eq!(wait(store.find_by_id("platform".into(), record.id)).unwrap(), Some(record.clone()));
    assert_eq!(wait(store.find_by_id("other".into(), record.id)).unwrap(), None);
    assert_eq!(wait(store.find_by_id("platform".into(), api_key(2, "ann").id)).unwrap(), None);
}

#[test]
fn issue_adds_a_child_of_a_live_parent() {
    let (_place, store) = with([api_key(1, "ann")]);
    let child = expiring(api_key(2, "ann"), at(-5));
    assert_eq!(wait(store.issue(digest(1), child.clone(), NOW)).unwrap(), Issue::Issued);
    assert_eq!(wait(store.find(child.digest)).unwrap(), Some(child));
}

#[test]
fn issue_refuses_a_parent_that_is_gone_or_has_expired() {
    let (_place, store) = with([expiring(api_key(1, "ann"), NOW), expiring(bootstrap(2, "ann", 0), NOW)]);
    for parent in [1, 2, 99] {
        assert_eq!(wait(store.issue(digest(parent), api_key(3, "ann"), NOW)).unwrap(), Issue::ParentGone);
    }
    assert_eq!(wait(store.find(digest(3))).unwrap(), None);
    assert_eq!(wait(store.issue(digest(1), api_key(3, "ann"), at(-1))).unwrap(), Issue::Issued);
}

#[test]
fn issue_spends_a_bootstrap_token_key_by_key() {
    let (place, store) = with([bootstrap(1, "ann", 2)]);
    let issue = |store: &EmbeddedStore, number| wait(store.issue(digest(1), api_key(number, "ann"), NOW)).unwrap();
    assert_eq!(
        (issue(&store, 2), issue(&store, 3), issue(&store, 4)),
        (Issue::Issued, Issue::Issued, Issue::ParentSpent)
    );
    drop(store);
    let store = place.open();
    assert_eq!(issue(&store, 4), Issue::ParentSpent);
    assert_eq!(wait(store.find(digest(1))).unwrap().unwrap().kind, RecordKind::Bootstrap { mints_left: 0 });
    assert_eq!(wait(store.find(digest(4))).unwrap(), None);
}

#[test]
fn a_digest_or_id_that_is_taken_is_a_conflict_and_spends_nothing() {
    let taken = api_key(1, "ann");
    let (_place, store) = with([taken.clone(), bootstrap(2, "bob", 1)]);
    let same_id = Record { id: taken.id, ..api_key(3, "bob") };
    let same_digest = Record { digest: taken.digest, ..api_key(4, "bob") };
    for record in [same_id, same_digest] {
        assert!(matches!(wait(store.provision(record.clone())), Err(StoreError::Conflict)));
        assert!(matches!(wait(store.issue(digest(2), record, NOW)), Err(StoreError::Conflict)));
    }
    assert_eq!(all(&store), [taken, bootstrap(2, "bob", 1)]);
    assert!(wait(store.check()).is_ok());
}

#[test]
fn owned_lists_the_live_api_keys_of_one_owner_oldest_first() {
    let tied = |number| Record { issued_at: Timestamp::from_unix_millis(5), ..api_key(number, "ann") };
    let (_place, store) = with([
        tied(9),
        tied(8),
        api_key(3, "ann"),
        expiring(api_key(4, "ann"), NOW),
        expiring(api_key(7, "ann"), at(1)),
        bootstrap(2, "ann", 1),
        api_key(1, "bob"),
        Record { token_api: "other".into(), ..api_key(6, "ann") },
    ]);
    let owned = wait(store.owned(digest(1), owner("ann"), NOW)).unwrap().unwrap();
    let order: Vec<_> = owned.iter().map(|record| record.digest).collect();
    assert_eq!(order, [3, 9, 8, 7].map(digest));
    assert_eq!(wait(store.owned(digest(1), owner("nobody"), NOW)).unwrap(), Some(vec![]));
    assert_eq!(wait(store.owned(digest(4), owner("ann"), NOW)).unwrap(), None);
    assert_eq!(wait(store.owned(digest(99), owner("ann"), NOW)).unwrap(), None);
}

#[test]
fn remove_has_four_outcomes() {
    let (place, store) = with([api_key(1, "ann"), api_key(2, "ann"), expiring(api_key(3, "ann"), NOW)]);
    let remove = |caller: Option<u64>, target| wait(store.remove(caller.map(digest), digest(target), NOW)).unwrap();
    assert_eq!(remove(Some(3), 2), Removal::CallerGone);
    assert_eq!(remove(Some(99), 2), Removal::CallerGone);
    assert_eq!(remove(Some(1), 99), Removal::Absent);
    assert_eq!(remove(Some(1), 2), Removal::Removed);
    assert_eq!(remove(None, 2), Removal::Absent);
    assert_eq!(remove(None, 3), Removal::Removed);
    assert_eq!(remove(Some(1), 1), Removal::Removed);
    assert_eq!(remove(Some(1), 1), Removal::CallerGone);
    drop(store);
    assert_eq!(all(&place.open()), []);
}

#[test]
fn remove_owned_names_the_api_keys_and_spares_bootstrap_tokens() {
    let (_place, store) =
        with([api_key(1, "ann"), expiring(api_key(2, "ann"), at(-1)), bootstrap(3, "ann", 1), api_key(4, "bob")]);
    let caller_gone = wait(store.remove_owned(digest(2), owner("ann"), NOW)).unwrap();
    assert_eq!(caller_gone, None);
    let mut removed = wait(store.remove_owned(digest(3), owner("ann"), NOW)).unwrap().unwrap();
    removed.sort();
    let mut expected = [1, 2].map(digest);
    expected.sort();
    assert_eq!(removed, expected);
    assert_eq!(wait(store.remove_owned(digest(3), owner("ann"), NOW)).unwrap(), Some(vec![]));
    assert_eq!(all(&store), [bootstrap(3, "ann", 1), api_key(4, "bob")]);
}

#[test]
fn browse_shows_what_matches_oldest_first() {
    let other = Record { token_api: "other".into(), ..api_key(1, "ann") };
    let records = [other, api_key(2, "ann"), bootstrap(3, "bob", 1), expiring(api_key(4, "bob"), at(-1))];
    let (_place, store) = with(records.clone());
    let numbers = |filter| {
        let found = wait(store.browse(filter)).unwrap();
        found.iter().map(|record| record.issued_at.unix_millis()).collect::<Vec<_>>()
    };
    let any = Filter::default;
    assert_eq!(numbers(any()), [1, 2, 3, 4]);
    assert_eq!(numbers(Filter { limit: 3, ..any() }), [1, 2, 3]);
    assert_eq!(numbers(Filter { token_api: Some("platform".into()), ..any() }), [2, 3, 4]);
    assert_eq!(numbers(Filter { subject: Some("ann".into()), ..any() }), [1, 2]);
    assert_eq!(numbers(Filter { bootstrap: Some(true), ..any() }), [3]);
    assert_eq!(numbers(Filter { bootstrap: Some(false), limit: 2, ..any() }), [1, 2]);
    let bobs = Filter { token_api: Some("platform".into()), subject: Some("bob".into()), ..any() };
    assert_eq!(numbers(bobs), [3, 4]);
}

#[test]
fn touch_moves_the_last_use_forward_only_and_passes_over_the_unknown() {
    let (place, store) = with([api_key(1, "ann"), api_key(2, "ann")]);
    wait(store.touch(vec![(digest(1), at(60)), (digest(99), at(60)), (digest(2), at(7))])).unwrap();
    wait(store.touch(vec![(digest(1), at(0)), (digest(2), at(8))])).unwrap();
    wait(store.touch(vec![])).unwrap();
    wait(store.touch((0..1_000).map(|number| (digest(number + 100), NOW)).collect())).unwrap();
    drop(store);
    let used: Vec<_> = all(&place.open()).iter().map(|record| record.last_used_at).collect();
    assert_eq!(used, [Some(at(60)), Some(at(8))]);
}

#[test]
fn purge_deletes_the_expired_up_to_its_limit_and_cuts_the_log() {
    let (place, store) = with([
        expiring(api_key(1, "ann"), at(-2)),
        expiring(api_key(2, "ann"), at(-1)),
        expiring(bootstrap(3, "ann", 1), NOW),
        expiring(api_key(4, "ann"), at(1)),
        api_key(5, "ann"),
    ]);
    assert!(fs::metadata(place.beside("-wal")).unwrap().len() > 0);
    let purge = |limit| wait(store.purge(NOW, limit)).unwrap();
    assert_eq!((purge(0), purge(2), purge(100), purge(usize::MAX)), (0, 2, 1, 0));
    // The answers come before the log is cut: one more round makes sure that it was.
    wait(store.remove(None, digest(99), NOW)).unwrap();
    assert_eq!(fs::metadata(place.beside("-wal")).unwrap().len(), 0);
    let left: Vec<_> = all(&store).iter().map(|record| record.digest).collect();
    assert_eq!(left, [4, 5].map(digest));
}

#[test]
fn a_log_stays_in_bounds_while_records_come_and_go() {
    let (place, store) = with([]);
    for round in 0..40 {
        let pending: Vec<_> =
            (0..250).map(|number| store.provision(expiring(api_key(round * 250 + number, "ann"), NOW))).collect();
        for done in pending {
            wait(done).unwrap();
        }
        wait(store.purge(NOW, 250)).unwrap();
    }
    assert_eq!(all(&store), []);
    let size = |ending| fs::metadata(place.beside(ending)).unwrap().len();
    assert!(size("-wal") <= 16 << 20 && size("") <= 4 << 20, "{} {}", size("-wal"), size(""));
}

#[test]
fn check_answers_while_the_store_is_open() {
    let (_place, store) = with([]);
    wait(store.check()).unwrap();
    store.close();
    assert!(matches!(wait(store.check()), Err(StoreError::Unavailable(_))));
}

#[test]
fn a_dropped_future_does_not_undo_the_operation() {
    let (_place, store) = with([]);
    drop(store.provision(api_key(1, "ann")));
    assert_eq!(wait(store.remove(None, digest(1), NOW)).unwrap(), Removal::Removed);
}
