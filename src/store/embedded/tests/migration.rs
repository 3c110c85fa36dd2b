//! A database of the first layout is brought up to the present one with everything in it.

use super::*;
use crate::store::record_codec::RecordState;

/// Closes `directory`'s store in the first layout, with `records` in it as it wrote them.
pub(super) fn in_the_first_layout(records: &[Record]) -> StoreDirectory {
    let directory = StoreDirectory::new();
    drop(directory.open());
    let connection = rusqlite::Connection::open(directory.path()).unwrap();
    connection
        .execute_batch(
            "DROP TABLE record; DROP TABLE retired; DROP TABLE account; ALTER TABLE \
                        meta RENAME TO kept",
        )
        .unwrap();
    connection.execute_batch(schema::STEPS[0]).unwrap();
    connection
        .execute_batch("DROP TABLE meta; ALTER TABLE kept RENAME TO meta; PRAGMA user_version = 1")
        .unwrap();
    for record in records {
        let state = RecordState::of(record);
        let sql = "INSERT INTO record (digest, id, token_api, subject, issued_at, expires_at, \
                   mints_left, last_used_at,
                   body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = (
            record.digest.as_bytes(),
            record.id.as_bytes(),
            &record.token_api,
            &record.identity.subject,
            record.issued_at.unix_millis(),
            record.expires_at.map(Timestamp::unix_millis),
            state.mints_left,
            state.last_used_at.map(Timestamp::unix_millis),
            key().encode(record).unwrap(),
        );
        connection.execute(sql, values).unwrap();
    }
    directory
}

#[test]
fn what_the_first_layout_held_is_found_listed_and_sorted_as_before() {
    let used = Record { last_used_at: Some(at(-1)), ..api_key(1, "ann") };
    let records = [
        used.clone(),
        bootstrap(2, "ann", 1),
        expiring(api_key(3, "bob"), at(-1)),
        bootstrap(4, "bob", 0),
    ];
    let directory = in_the_first_layout(&records);
    for _ in 0..2 {
        assert_eq!(all(&directory.open()), records);
    }
    let store = directory.open();
    let sort =
        |sort| wait(store.browse(Filter { sort: Some(sort), ..Filter::default() })).unwrap().len();
    assert_eq!(
        [RecordSort::ApiKey, RecordSort::Bootstrap, RecordSort::Session].map(sort),
        [2, 2, 0]
    );
    wait(store.issue(by(2), api_key(5, "ann"), ADD, NOW)).unwrap();
    wait(store.issue(AuthorizedBy::Outside, session(6, "ann"), ADD, NOW)).unwrap();
    wait(store.remove(AuthorizedBy::Outside, digest(5), OnRemove::Retire, NOW)).unwrap();
    let listed = [
        Listed { record: used, retired_at: None },
        Listed { record: api_key(5, "ann"), retired_at: Some(NOW) },
    ];
    assert_eq!(wait(store.owned(by(6), owner("ann"), NOW)).unwrap(), Some(listed.into()));
}

#[test]
fn a_damaged_record_of_the_first_layout_is_refused() {
    let directory = in_the_first_layout(&[api_key(1, "ann"), api_key(2, "bob")]);
    directory.meddle("UPDATE record SET subject = 'eve' WHERE subject = 'bob'");
    assert!(matches!(directory.try_open(), Err(OpenError::Damaged { .. })));
}
