//! Flipped bits, edited rows, cut files: an error or the truth, never another identity and never
//! silence.

use std::collections::HashMap;

use super::*;

const RECORDS: u64 = 120;

/// A closed store of records of two subjects, and what is in it.
fn filled() -> (StoreDirectory, HashMap<TokenDigest, Record>) {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let pending: Vec<_> = (0..RECORDS)
        .map(|number| match number % 3 {
            0 => bootstrap(number, "ann", 2),
            1 => api_key(number, "ann"),
            _ => Record { expires_at: Some(NOW), ..api_key(number, "bob") },
        })
        .map(|record| (record.clone(), store.provision(record)))
        .collect();
    let records = pending.into_iter().map(|(record, done)| {
        wait(done).unwrap();
        (record.digest, record)
    });
    let records = records.collect();
    (directory, records)
}

/// Asks for everything in every way: each answer is an error or the truth.
fn holds(store: &EmbeddedStore, records: &HashMap<TokenDigest, Record>) {
    let is_right = |record: &Record| records.get(&record.digest) == Some(record);
    for record in records.values() {
        if let Ok(found) = wait(store.find(record.digest)) {
            assert_eq!(found.as_ref(), Some(record));
        }
        if let Ok(found) = wait(store.find_by_id(record.token_api.clone(), record.id)) {
            assert_eq!(found.map(|found| found.record).as_ref(), Some(record));
        }
    }
    if let Ok(found) = wait(store.browse(Filter::default())) {
        assert!(found.len() == records.len() && found.iter().all(is_right));
    }
    for (subject, count) in [("ann", RECORDS / 3), ("bob", 0)] {
        if let Ok(Some(owned)) = wait(store.owned(by(1), owner(subject), NOW)) {
            assert!(
                owned
                    .iter()
                    .all(|key| is_right(&key.record) && key.record.identity.subject == subject)
            );
            assert_eq!(u64::try_from(owned.len()).unwrap(), count);
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_in_the_file_is_an_error_or_without_effect() {
    let (directory, records) = filled();
    let whole = fs::read(directory.path()).unwrap();
    let (mut refused, mut served) = (0, 0);
    for seed in 0..250 {
        fs::write(directory.path(), &whole).unwrap();
        flip(&directory.path(), &mut Random(seed));
        match directory.try_open() {
            Ok(store) => {
                holds(&store, &records);
                served += 1;
            }
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains(&directory.path().display().to_string()), "{words}");
                refused += 1;
            }
        }
    }
    assert!(refused > 50 && served > 5, "{refused} refused, {served} served");
}

#[test]
fn a_byte_that_flips_while_the_store_is_open_is_never_another_identity() {
    let (directory, records) = filled();
    let whole = fs::read(directory.path()).unwrap();
    for seed in 1_000..1_060 {
        fs::write(directory.path(), &whole).unwrap();
        let store = directory.open();
        // From here on the file is not what was checked; a connection that has read nothing has
        // nothing cached.
        let mut random = Random(seed);
        let mut bytes = whole.clone();
        for _ in 0..20 {
            let at = random.below(bytes.len());
            bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
        }
        fs::write(directory.path(), &bytes).unwrap();
        for record in records.values() {
            if let Ok(Some(found)) = wait(store.find(record.digest)) {
                assert_eq!(&found, record);
            }
        }
        let _ = wait(store.issue(by(1), api_key(5_000, "ann"), ADD, NOW));
        let _ = wait(store.remove_owned(by(1), owner("ann"), OnRemove::Delete, NOW));
        let _ = wait(store.purge(NOW, 10));
        drop(store);
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(directory.beside(ending));
        }
    }
}

#[test]
fn every_flipped_byte_of_a_body_is_corrupt() {
    let (directory, records) = filled();
    let record = &records[&digest(1)];
    let body = key().encode(record).unwrap();
    let store = directory.open();
    for at in 0..body.len() {
        let mut flipped = body.clone();
        flipped[at] ^= 0x15;
        let sql = "UPDATE record SET body = ?1 WHERE digest = ?2";
        let name = record.digest;
        wait(
            store.writer.queue.ask(move |tables| {
                Ok(tables.connection.execute(sql, (&flipped, name.as_bytes()))?)
            }),
        )
        .unwrap();
        assert!(matches!(wait(store.find(name)), Err(StoreError::Corrupt(_))), "byte {at}");
        assert!(matches!(
            wait(store.find_by_id("platform".into(), record.id)),
            Err(StoreError::Corrupt(_))
        ));
        assert!(matches!(
            wait(store.owned(AuthorizedBy::Record(name), owner("ann"), NOW)),
            Err(StoreError::Corrupt(_))
        ));
        assert!(matches!(
            wait(store.issue(AuthorizedBy::Record(name), api_key(9_000, "ann"), ADD, NOW)),
            Err(StoreError::Corrupt(_))
        ));
    }
    let others = wait(store.find(digest(2))).unwrap();
    assert_eq!(others.as_ref(), records.get(&digest(2)), "one damaged record harms no other");
    assert_eq!(
        wait(store.remove(AuthorizedBy::Outside, record.digest, OnRemove::Delete, NOW)).unwrap(),
        Removal::Removed,
        "it can be removed"
    );
}

#[test]
fn an_edited_row_is_corrupt_and_refused_at_the_next_start() {
    for edit in [
        "id = randomblob(16)",
        "id = x'00'",
        "token_api = 'other'",
        "origin = ''",
        "origin = 'idp'",
        "subject = 'bob'",
        "sort = 'session'",
        "sort = 'bootstrap'",
        "issued_at = issued_at + 1",
        "expires_at = 9223372036854775807",
        "mints_left = 7",
        "mints_left = -1",
        "mints_left = 99999999999",
        "digest = randomblob(32)",
        "body = (SELECT body FROM record WHERE subject = 'bob' LIMIT 1)",
        "body = zeroblob(0)",
    ] {
        let (directory, records) = filled();
        let store = directory.open();
        let seq = "(SELECT seq FROM record WHERE subject = 'ann' AND mints_left IS NULL LIMIT 1)";
        let sql = format!("UPDATE record SET {edit} WHERE seq = {seq}");
        wait(store.writer.queue.ask(move |tables| Ok(tables.connection.execute(&sql, [])?)))
            .unwrap();
        assert!(
            matches!(wait(store.browse(Filter::default())), Err(StoreError::Corrupt(_))),
            "{edit}"
        );
        for record in records.values() {
            if let Ok(Some(found)) = wait(store.find(record.digest)) {
                assert_eq!(&found, record, "{edit}");
            }
        }
        drop(store);
        let error = directory.try_open().unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{edit}: {error}");
    }
}

#[test]
fn an_edited_row_of_a_retired_key_is_corrupt_and_refused_at_the_next_start() {
    for edit in [
        "id = randomblob(16)",
        "token_api = 'other'",
        "origin = 'idp'",
        "subject = 'bob'",
        "issued_at = issued_at + 1",
        "expires_at = 1",
        "digest = randomblob(32)",
        "body = (SELECT body FROM record WHERE digest <> retired.digest LIMIT 1)",
    ] {
        let (directory, _) = filled();
        let store = directory.open();
        let retired =
            wait(store.remove(AuthorizedBy::Outside, digest(1), OnRemove::Retire, NOW)).unwrap();
        assert_eq!(retired, Removal::Removed);
        let sql = format!("UPDATE retired SET {edit}");
        wait(store.writer.queue.ask(move |tables| Ok(tables.connection.execute(&sql, [])?)))
            .unwrap();
        if let Ok(Some(found)) = wait(store.find_by_id("platform".into(), api_key(1, "ann").id)) {
            assert_eq!(found.record, api_key(1, "ann"), "{edit}");
        }
        drop(store);
        let error = directory.try_open().unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{edit}: {error}");
    }
}

#[test]
fn more_keys_left_than_a_bootstrap_token_was_made_for_is_corrupt() {
    let (directory, _) = filled();
    let store = directory.open();
    let sql = "UPDATE record SET mints_left = 3 WHERE digest = ?1";
    wait(
        store
            .writer
            .queue
            .ask(move |tables| Ok(tables.connection.execute(sql, [digest(0).as_bytes()])?)),
    )
    .unwrap();
    assert!(matches!(
        wait(store.issue(by(0), api_key(9_000, "ann"), ADD, NOW)),
        Err(StoreError::Corrupt(_))
    ));
}

#[test]
fn a_database_that_was_cut_short_is_refused() {
    let (directory, _) = filled();
    let whole = fs::read(directory.path()).unwrap();
    for length in (0..whole.len()).step_by(1_000) {
        fs::write(directory.path(), &whole[..length]).unwrap();
        let error = directory.try_open().unwrap_err();
        assert!(error.to_string().contains("keyward.db"), "{error}");
    }
}

#[test]
fn a_page_of_zeros_is_refused() {
    let (directory, _) = filled();
    let whole = fs::read(directory.path()).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut zeroed = whole.clone();
        zeroed[page * 4096..(page + 1) * 4096].fill(0);
        fs::write(directory.path(), &zeroed).unwrap();
        assert!(directory.try_open().is_err(), "page {page}");
    }
}

/// A crash image whose log holds one transaction for each of these numbers.
fn logged(numbers: std::ops::Range<u64>) -> StoreDirectory {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for number in numbers {
        wait(store.provision(api_key(number, "ann"))).unwrap();
    }
    directory.crash()
}

#[test]
fn a_log_that_was_cut_short_loses_its_end_only() {
    let directory = logged(0..30);
    let (database, log) =
        (fs::read(directory.path()).unwrap(), fs::read(directory.beside("-wal")).unwrap());
    let mut random = Random(1);
    for _ in 0..40 {
        fs::write(directory.path(), &database).unwrap();
        fs::write(directory.beside("-wal"), &log[..random.below(log.len())]).unwrap();
        let found = all(&directory.open());
        let expected: Vec<_> =
            (0..30).map(|number| api_key(number, "ann")).take(found.len()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_flipped_byte_in_the_log_costs_the_last_transaction_or_is_refused() {
    let directory = logged(0..30);
    let (database, log) =
        (fs::read(directory.path()).unwrap(), fs::read(directory.beside("-wal")).unwrap());
    let mut refused = 0;
    for seed in 0..200 {
        fs::write(directory.path(), &database).unwrap();
        fs::write(directory.beside("-wal"), &log).unwrap();
        let at = flip(&directory.beside("-wal"), &mut Random(seed));
        match directory.try_open() {
            Ok(store) => {
                let found = all(&store);
                assert!(found.len() >= 29, "byte {at}: {} of 30 left", found.len());
                assert!(
                    found.iter().zip(0..).all(|(record, number)| *record == api_key(number, "ann"))
                );
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 150, "{refused}");
}
