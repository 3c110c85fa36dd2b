//! A disk without space, simulated by SQLite's own bound on the size of the database.

use super::*;

fn bound_pages(store: &EmbeddedStore, pages: i64) {
    let sql = format!("PRAGMA max_page_count = {pages}");
    wait(
        store
            .writer
            .queue
            .ask(move |tables| Ok(tables.connection.query_row(&sql, [], |_| Ok(()))?)),
    )
    .unwrap();
}

#[test]
fn a_full_disk_refuses_changes_until_there_is_space_again() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.provision(api_key(0, "ann"))).unwrap();
    bound_pages(&store, 20);
    let mut kept = vec![api_key(0, "ann")];
    let mut refused = 0;
    for number in 1..400 {
        let child = api_key(number, "ann");
        match wait(store.issue(by(0), child.clone(), ADD, NOW)) {
            Ok(outcome) => {
                assert_eq!(outcome, Issue::Issued { removed: vec![] });
                kept.push(child);
            }
            Err(StoreError::Full(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 100 && kept.len() > 10, "{refused} refused, {} kept", kept.len());
    assert!(matches!(wait(store.check()), Err(StoreError::Full(_))));
    assert_eq!(all(&store), kept, "reads go on, and nothing is half-written");
    assert_eq!(all(&directory.crash().open()), kept);

    bound_pages(&store, 1_000_000);
    wait(store.check()).unwrap();
    for number in 400..420 {
        assert_eq!(
            wait(store.issue(by(0), api_key(number, "ann"), ADD, NOW)).unwrap(),
            Issue::Issued { removed: vec![] }
        );
        kept.push(api_key(number, "ann"));
    }
    drop(store);
    assert_eq!(all(&directory.open()), kept);
}

#[test]
fn in_a_batch_only_those_without_space_are_refused() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.provision(bootstrap(0, "ann", 1_000))).unwrap();
    bound_pages(&store, 20);
    let pending: Vec<_> = (1..400)
        .map(|number| {
            let issue = store.issue(by(0), api_key(number, "ann"), ADD, NOW);
            (
                number,
                issue,
                store.remove(AuthorizedBy::Outside, digest(99_999), OnRemove::Delete, NOW),
            )
        })
        .collect();
    let mut kept = Vec::new();
    for (number, issue, removal) in pending {
        match wait(issue) {
            Ok(_) => kept.push(digest(number)),
            Err(error) => assert!(matches!(error, StoreError::Full(_)), "{error}"),
        }
        assert_eq!(wait(removal).unwrap(), Removal::Absent);
    }
    let found = all(&store);
    let left = 1_000 - u32::try_from(kept.len()).unwrap();
    assert!(kept.len() > 10 && kept.len() < 390, "{} kept", kept.len());
    assert_eq!(
        found[0].kind,
        RecordKind::Bootstrap { mints_left: left },
        "what was refused has spent nothing"
    );
    assert_eq!(found[1..].iter().map(|record| record.digest).collect::<Vec<_>>(), kept);
}

#[test]
fn revoking_makes_space() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.provision(api_key(0, "root"))).unwrap();
    bound_pages(&store, 20);
    let mut number = 1;
    while wait(store.provision(api_key(number, "ann"))).is_ok() {
        number += 1;
    }
    assert!(
        !wait(store.remove_owned(by(0), owner("ann"), OnRemove::Delete, NOW))
            .unwrap()
            .unwrap()
            .is_empty()
    );
    wait(store.provision(api_key(number, "ann"))).unwrap();
    wait(store.check()).unwrap();
}

#[test]
fn the_lock_of_another_program_is_an_outage_that_ends_with_it() {
    let directory = StoreDirectory::new();
    let options = EmbeddedOptions { busy: Duration::from_millis(20), ..EmbeddedOptions::default() };
    let store = open(&directory.path(), options).unwrap();
    wait(store.provision(api_key(0, "ann"))).unwrap();
    let other = rusqlite::Connection::open(directory.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(wait(store.provision(api_key(1, "ann"))), Err(StoreError::Unavailable(_))));
    assert!(matches!(wait(store.check()), Err(StoreError::Unavailable(_))));
    assert_eq!(all(&store).len(), 1, "reads go on");
    other.execute_batch("ROLLBACK").unwrap();
    wait(store.check()).unwrap();
    wait(store.provision(api_key(1, "ann"))).unwrap();
}
