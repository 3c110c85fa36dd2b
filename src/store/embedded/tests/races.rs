//! Many threads at once: group commit, and operations that must exclude one another.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};

use super::*;

const THREADS: u64 = 8;

/// Issues keys of "ann" under `parent` from many threads while `revoke` runs in the middle of it;
/// the digests that were acknowledged as issued.
fn issue_from_many_threads(
    store: &EmbeddedStore,
    parent: TokenDigest,
    revoke: impl FnOnce(),
) -> HashSet<TokenDigest> {
    let start = Barrier::new(usize::try_from(THREADS).unwrap() + 1);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for number in 0..THREADS {
            let (start, sender) = (&start, sender.clone());
            scope.spawn(move || {
                start.wait();
                for round in 0..40 {
                    let child = api_key(1_000 + number * 1_000 + round, "ann");
                    let name = child.digest;
                    match wait(store.issue(AuthorizedBy::Record(parent), child, ADD, NOW)).unwrap()
                    {
                        Issue::Issued { .. } => sender.send(name).unwrap(),
                        Issue::AuthorizationGone => return,
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        drop(sender);
        start.wait();
        let first = receiver.recv().unwrap();
        revoke();
        receiver.iter().chain([first]).collect()
    })
}

fn names(records: &[Record]) -> HashSet<TokenDigest> {
    records.iter().map(|record| record.digest).collect()
}

#[test]
fn what_is_issued_while_everything_is_revoked_is_listed_or_removed() {
    for _ in 0..10 {
        let directory = StoreDirectory::new();
        let store = directory.open();
        wait(store.provision(api_key(1, "ann"))).unwrap();
        wait(
            store.provision(Record { identity: api_key(0, "root").identity, ..api_key(2, "root") }),
        )
        .unwrap();
        let mut removed = HashSet::new();
        let issued = issue_from_many_threads(&store, digest(1), || {
            removed.extend(
                wait(store.remove_owned(by(2), owner("ann"), OnRemove::Delete, NOW))
                    .unwrap()
                    .unwrap(),
            );
        });
        // The parent is among the removed, so nothing can have been issued after that.
        assert!(removed.remove(&digest(1)));
        assert_eq!(issued, removed);
        assert_eq!(wait(store.owned(by(2), owner("ann"), NOW)).unwrap(), Some(vec![]));
        assert_eq!(names(&all(&store)), HashSet::from([digest(2)]));
        assert_eq!(names(&all(&directory.crash().open())), HashSet::from([digest(2)]));
    }
}

#[test]
fn a_conflict_in_a_batch_concerns_only_its_own_operation() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let pending: Vec<_> =
        (0..300).map(|number| (number, store.provision(api_key(number / 3, "ann")))).collect();
    for (number, done) in pending {
        let outcome = wait(done);
        assert_eq!(outcome.is_ok(), number % 3 == 0, "{outcome:?}");
    }
    assert_eq!(all(&store).len(), 100);
}

#[test]
fn a_read_sees_what_was_acknowledged_before_it() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Keep both threads of the store busy.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = all(&store);
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..50 {
                        let record = api_key(number * 1_000 + round, "ann");
                        wait(store.provision(record.clone())).unwrap();
                        assert_eq!(
                            wait(store.find(record.digest)).unwrap().as_ref(),
                            Some(&record)
                        );
                        wait(store.remove(
                            AuthorizedBy::Outside,
                            record.digest,
                            OnRemove::Delete,
                            NOW,
                        ))
                        .unwrap();
                        assert_eq!(wait(store.find(record.digest)).unwrap(), None);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    let directory = StoreDirectory::new();
    let options = EmbeddedOptions { queue: NonZeroUsize::MIN, ..EmbeddedOptions::default() };
    let store = open(&directory.path(), options).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let blocker = store.writer.queue.ask(move |_| {
        entered.send(()).unwrap();
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    inside.recv().unwrap();
    let queued = store.provision(api_key(1, "ann"));
    assert!(matches!(wait(store.provision(api_key(2, "ann"))), Err(StoreError::Overloaded)));
    assert!(wait(store.find(digest(1))).unwrap().is_none(), "reads have a queue of their own");
    drop(hold);
    wait(blocker).unwrap();
    wait(queued).unwrap();
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn closing_finishes_what_is_queued() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let pending: Vec<_> = (0..500).map(|number| store.provision(api_key(number, "ann"))).collect();
    store.close();
    for done in pending {
        wait(done).unwrap();
    }
    assert!(matches!(wait(store.find(digest(1))), Err(StoreError::Unavailable(_))));
    assert!(!directory.beside("-wal").exists(), "the log is written back and removed");
    assert_eq!(all(&directory.open()).len(), 500);
}
