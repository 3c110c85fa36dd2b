//! What this store promises of single operations beyond the port: what is on the disk, and in which
//! order.

use super::*;

fn with<const N: usize>(records: [Record; N]) -> (StoreDirectory, Arc<EmbeddedStore>) {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for record in records {
        wait(store.provision(record)).unwrap();
    }
    (directory, store)
}

#[test]
fn every_change_is_there_when_the_store_is_opened_again() {
    let end = expiring(api_key(3, "ann"), at(1));
    let (directory, store) =
        with([bootstrap(1, "ann", 2), session(2, "ann"), end.clone(), api_key(4, "bob")]);
    for number in [10, 11] {
        wait(store.issue(by(1), api_key(number, "ann"), ADD, NOW)).unwrap();
    }
    wait(store.touch(vec![(digest(10), at(60))])).unwrap();
    wait(store.remove(by(2), digest(3), OnRemove::Retire, NOW)).unwrap();
    wait(store.remove(by(2), digest(4), OnRemove::Delete, NOW)).unwrap();
    drop(store);
    let store = directory.open();
    let used = Record { last_used_at: Some(at(60)), ..api_key(10, "ann") };
    assert_eq!(
        all(&store),
        [bootstrap(1, "ann", 0), session(2, "ann"), used.clone(), api_key(11, "ann")]
    );
    let listed = [
        Listed { record: end, retired_at: Some(NOW) },
        Listed { record: used, retired_at: None },
        Listed { record: api_key(11, "ann"), retired_at: None },
    ];
    assert_eq!(wait(store.owned(by(2), owner("ann"), NOW)).unwrap(), Some(listed.into()));
    assert_eq!(
        wait(store.issue(by(1), api_key(12, "ann"), ADD, NOW)).unwrap(),
        Issue::AuthorizationSpent
    );
}

#[test]
fn what_was_issued_in_the_same_millisecond_is_listed_as_it_was_written() {
    let tied =
        |number| Record { issued_at: Timestamp::from_unix_millis(5), ..api_key(number, "ann") };
    let (_place, store) = with([tied(9), tied(8), api_key(3, "ann"), tied(6)]);
    wait(store.remove(AuthorizedBy::Outside, digest(8), OnRemove::Retire, NOW)).unwrap();
    let owned = wait(store.owned(AuthorizedBy::Outside, owner("ann"), NOW)).unwrap().unwrap();
    let order: Vec<_> = owned.iter().map(|key| key.record.digest).collect();
    assert_eq!(order, [3, 8, 9, 6].map(digest), "the retired ones before the others");
    let order: Vec<_> = all(&store).iter().map(|record| record.digest).collect();
    assert_eq!(order, [3, 9, 6].map(digest));
}

#[test]
fn purge_deletes_the_expired_up_to_its_limit_and_cuts_the_log() {
    let (directory, store) = with([
        expiring(api_key(1, "ann"), at(-2)),
        expiring(api_key(2, "ann"), at(-1)),
        expiring(bootstrap(3, "ann", 1), NOW),
        expiring(api_key(4, "ann"), at(1)),
        api_key(5, "ann"),
    ]);
    assert!(fs::metadata(directory.beside("-wal")).unwrap().len() > 0);
    let purge = |limit| wait(store.purge(NOW, limit)).unwrap();
    assert_eq!((purge(0), purge(2), purge(100), purge(usize::MAX)), (0, 2, 1, 0));
    // The answers come before the log is cut: one more round makes sure that it was.
    wait(store.remove(AuthorizedBy::Outside, digest(99), OnRemove::Delete, NOW)).unwrap();
    assert_eq!(fs::metadata(directory.beside("-wal")).unwrap().len(), 0);
    let left: Vec<_> = all(&store).iter().map(|record| record.digest).collect();
    assert_eq!(left, [4, 5].map(digest));
}

#[test]
fn a_log_stays_in_bounds_while_records_come_and_go() {
    let (directory, store) = with([]);
    for round in 0..40 {
        let pending: Vec<_> = (0..250)
            .map(|number| store.provision(expiring(api_key(round * 250 + number, "ann"), NOW)))
            .collect();
        for done in pending {
            wait(done).unwrap();
        }
        wait(store.purge(NOW, 250)).unwrap();
    }
    assert_eq!(all(&store), []);
    let size = |ending| fs::metadata(directory.beside(ending)).unwrap().len();
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
    assert_eq!(
        wait(store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Delete, NOW)).unwrap(),
        Removal::Removed
    );
}
