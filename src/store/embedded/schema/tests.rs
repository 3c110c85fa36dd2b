use super::*;

const BUSY: Duration = Duration::from_secs(1);

fn empty(directory: &tempfile::TempDir) -> (std::path::PathBuf, Connection) {
    let path = directory.path().join("steps.db");
    std::fs::write(&path, b"").unwrap();
    let connection = connect(&path, Access::Write, BUSY).unwrap();
    (path, connection)
}

#[test]
fn each_step_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut connection) = empty(&directory);
    let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO a VALUES (7)"];
    migrate(&mut connection, &path, &steps[..1]).unwrap();
    migrate(&mut connection, &path, &steps).unwrap();
    migrate(&mut connection, &path, &steps).unwrap();
    let rows: Vec<i64> = connection
        .prepare("SELECT x FROM a")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!((rows, version(&connection).unwrap()), (vec![7], 2));
}

#[test]
fn a_step_that_fails_leaves_the_layout_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut connection) = empty(&directory);
    let steps = ["CREATE TABLE a (x)", "INSERT INTO a VALUES (7); SELECT nonsense"];
    assert!(matches!(migrate(&mut connection, &path, &steps), Err(OpenError::Refused { .. })));
    assert_eq!(version(&connection).unwrap(), 0);
    migrate(&mut connection, &path, &steps[..1]).unwrap();
    assert_eq!(version(&connection).unwrap(), 1);
}

#[test]
fn a_newer_layout_is_refused_in_words_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut connection) = empty(&directory);
    migrate(&mut connection, &path, &["CREATE TABLE a (x)", "CREATE TABLE b (x)"]).unwrap();
    let error = migrate(&mut connection, &path, &["CREATE TABLE a (x)"]).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }));
    let words = error.to_string();
    assert!(words.contains("steps.db") && words.contains("newer keyward"), "{words}");
    assert_eq!(version(&connection).unwrap(), 2);
}

#[test]
fn a_count_of_steps_below_none_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut connection) = empty(&directory);
    connection.pragma_update(None, "user_version", -1).unwrap();
    assert!(matches!(migrate(&mut connection, &path, STEPS), Err(OpenError::Damaged { .. })));
}

#[test]
fn every_commit_is_synced() {
    let directory = tempfile::tempdir().unwrap();
    let (_, connection) = empty(&directory);
    let value =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    let names =
        ["synchronous", "foreign_keys", "trusted_schema", "temp_store", "wal_autocheckpoint"];
    assert_eq!(names.map(value), [2, 1, 0, 2, 1000]);
}
