//! What is found at the start, and what is made.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The error's words, which must name the file.
fn words(directory: &StoreDirectory, result: Result<Arc<EmbeddedStore>, OpenError>) -> String {
    let words = result.unwrap_err().to_string();
    assert!(words.contains(&directory.path().display().to_string()), "{words}");
    words
}

/// Without waiting for another process.
fn at_once() -> EmbeddedOptions {
    EmbeddedOptions { wait_for_server: Duration::ZERO, ..EmbeddedOptions::default() }
}

fn filled() -> StoreDirectory {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for number in 0..20 {
        wait(store.provision(api_key(number, "ann"))).unwrap();
    }
    directory
}

#[test]
fn a_new_store_and_its_directory_are_private() {
    let directory = StoreDirectory::new();
    let path = directory.directory.path().join("made/too/keyward.db");
    let store = open(&path, EmbeddedOptions::default()).unwrap();
    wait(store.provision(api_key(1, "ann"))).unwrap();
    assert_eq!(
        (mode(path.parent().unwrap()), mode(path.parent().unwrap().parent().unwrap())),
        (0o700, 0o700)
    );
    for name in ["keyward.db", "keyward.db-wal", "keyward.db-shm", "keyward.db.lock"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert!(!path.with_file_name("keyward.db.new").exists());
}

#[test]
fn a_store_that_others_could_read_is_made_private() {
    let directory = filled();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = directory.open();
    assert_eq!(mode(&directory.path()), 0o600);
}

#[test]
fn reopening_keeps_everything() {
    let directory = filled();
    let before: Vec<_> = (0..20).map(|number| api_key(number, "ann")).collect();
    for _ in 0..3 {
        assert_eq!(all(&directory.open()), before);
    }
}

#[test]
fn a_crash_keeps_everything_that_was_acknowledged() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for number in 0..20 {
        wait(store.provision(api_key(number, "ann"))).unwrap();
        let after = directory.crash();
        assert_eq!(all(&after.open()), all(&store));
    }
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    let refused = words(&directory, directory.try_open());
    let ours = format!(
        "another keyward is using the store {} (process {})",
        directory.path().display(),
        std::process::id()
    );
    assert!(refused.starts_with(&ours), "{refused}");
    wait(store.provision(api_key(1, "ann"))).unwrap();
    drop(store);
    let store = directory.open();
    store.close();
    assert_eq!(all(&directory.open()).len(), 1);
}

/// Opens a store with keys of this fingerprint.
fn open_with(
    directory: &StoreDirectory,
    fingerprint: &[u8],
) -> Result<Arc<EmbeddedStore>, OpenError> {
    let identity = StoreIdentity { key: &key(), fingerprint };
    EmbeddedStore::open(&directory.path(), &identity, EmbeddedOptions::default())
}

#[test]
fn keys_are_bound_at_first_use_and_others_refused() {
    let directory = StoreDirectory::new();
    let refused = |fingerprint| {
        let error = open_with(&directory, fingerprint).unwrap_err();
        assert!(matches!(error, OpenError::OtherKeys { .. }));
        assert!(error.to_string().contains("other keys"), "{error}");
    };
    for _ in 0..3 {
        open_with(&directory, b"fingerprint one").unwrap();
    }
    refused(b"fingerprint two");
    // As a keyward left it that was stopped before it had bound them.
    directory.meddle("DELETE FROM meta WHERE name = 'keys'");
    for _ in 0..2 {
        open_with(&directory, b"fingerprint two").unwrap();
    }
    refused(b"fingerprint one");
}

#[test]
fn another_integrity_key_is_told_from_damage() {
    let directory = filled();
    let other = RecordKey::new(&[8; 32]);
    let identity = StoreIdentity { key: &other, fingerprint: FINGERPRINT };
    let result = EmbeddedStore::open(&directory.path(), &identity, EmbeddedOptions::default());
    assert!(matches!(result, Err(OpenError::OtherKeys { .. })));
    assert_eq!(all(&directory.open()).len(), 20);
}

#[test]
fn a_check_finds_what_opening_would_refuse_and_changes_nothing() {
    let directory = filled();
    let store = directory.open();
    let check = |key: &RecordKey, fingerprint: &[u8]| {
        EmbeddedStore::check(&directory.path(), &StoreIdentity { key, fingerprint }, at_once())
    };
    assert!(matches!(check(&key(), FINGERPRINT), Err(OpenError::Locked { .. })));
    drop(store);
    check(&key(), FINGERPRINT).unwrap();
    assert!(matches!(check(&key(), b"fingerprint two"), Err(OpenError::OtherKeys { .. })));
    assert!(matches!(
        check(&RecordKey::new(&[8; 32]), FINGERPRINT),
        Err(OpenError::OtherKeys { .. })
    ));
    assert_eq!(all(&directory.open()).len(), 20, "and the lock is given up");

    let missing = directory.path().with_file_name("missing.db");
    assert!(!EmbeddedStore::is_there(&missing));
    EmbeddedStore::check(
        &missing,
        &StoreIdentity { key: &key(), fingerprint: FINGERPRINT },
        at_once(),
    )
    .unwrap();
    assert!(!missing.exists());
}

#[test]
fn a_check_reads_the_log_that_a_crash_has_left_and_leaves_it_there() {
    let before = filled();
    before.meddle("DELETE FROM meta WHERE name = 'keys'");
    let _store = open_with(&before, b"one").unwrap();
    let directory = before.crash();
    let content = |ending: &str| fs::read(directory.beside(ending)).unwrap();
    let (database, log) = (content(""), content("-wal"));
    assert!(!log.is_empty());
    let check = |fingerprint: &[u8]| {
        EmbeddedStore::check(
            &directory.path(),
            &StoreIdentity { key: &key(), fingerprint },
            at_once(),
        )
    };
    check(b"one").unwrap();
    assert!(
        matches!(check(b"two"), Err(OpenError::OtherKeys { .. })),
        "they are bound in the log alone"
    );
    assert!(content("") == database && content("-wal") == log);
    assert_eq!(all(&open_with(&directory, b"one").unwrap()).len(), 20);
}

#[test]
fn a_newer_layout_is_refused() {
    let directory = filled();
    directory.meddle("PRAGMA user_version = 2000");
    let words = words(&directory, directory.try_open());
    assert!(words.contains("layout 2000"), "{words}");
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let directory = StoreDirectory::new();
    fs::write(directory.path(), "[server]\nworkers = 4\n").unwrap();
    assert!(matches!(directory.try_open(), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(directory.path()).unwrap(), b"[server]\nworkers = 4\n");

    let directory = StoreDirectory::new();
    directory.meddle("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    let before = fs::read(directory.path()).unwrap();
    assert!(matches!(directory.try_open(), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(directory.path()).unwrap(), before);
}

#[test]
fn an_empty_or_missing_database_is_not_an_empty_store() {
    let directory = filled();
    fs::write(directory.path(), b"").unwrap();
    assert!(words(&directory, directory.try_open()).contains("it is empty"));

    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.provision(api_key(1, "ann"))).unwrap();
    let after = directory.crash();
    fs::remove_file(after.path()).unwrap();
    assert!(words(&after, after.try_open()).contains("-wal file is there"));
    assert!(after.beside("-wal").exists(), "what is left stays for an operator");

    let after = directory.crash();
    fs::write(after.path(), b"").unwrap();
    assert!(words(&after, after.try_open()).contains("it is empty"));
}

#[test]
fn an_interrupted_first_start_is_begun_again() {
    let directory = StoreDirectory::new();
    for ending in [".new", ".new-wal", ".new-journal", "-wal"] {
        let content: &[u8] = if ending == "-wal" { b"" } else { b"half" };
        fs::write(directory.beside(ending), content).unwrap();
    }
    assert_eq!(all(&directory.open()), []);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let directory = StoreDirectory::new();
    fs::write(directory.directory.path().join("file"), b"").unwrap();
    let path = directory.directory.path().join("file/keyward.db");
    let error = open(&path, EmbeddedOptions::default()).unwrap_err();
    assert!(
        matches!(error, OpenError::Files { .. }) && error.to_string().contains("file"),
        "{error}"
    );
}
