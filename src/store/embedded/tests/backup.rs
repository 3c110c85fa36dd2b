//! Copies of a store, and logs that were left beside one.

use super::*;
use crate::store::embedded::backup::{BackupError, Copied, Existing, Restored, back_up, restore};

fn options() -> EmbeddedOptions {
    let zero = Duration::ZERO;
    EmbeddedOptions {
        opener: Opener::Command,
        wait_for_command: zero,
        wait_for_server: zero,
        ..EmbeddedOptions::default()
    }
}

impl StoreDirectory {
    /// A closed store with these records.
    fn of(numbers: std::ops::Range<u64>) -> Self {
        let directory = Self::new();
        directory.add(numbers);
        directory
    }

    fn add(&self, numbers: std::ops::Range<u64>) {
        let store = self.open();
        for number in numbers {
            wait(store.provision(api_key(number, "ann"))).unwrap();
        }
    }

    /// What a SIGKILL leaves after these records were made in a life of their own.
    fn killed(&self, numbers: std::ops::Range<u64>) -> Self {
        let store = self.open();
        for number in numbers {
            wait(store.provision(api_key(number, "ann"))).unwrap();
        }
        let after = self.crash();
        assert!(fs::metadata(after.beside("-wal")).unwrap().len() > 0, "there is a log");
        after
    }

    fn backup(&self) -> PathBuf {
        self.directory.path().join("backup.db")
    }

    fn back_up(&self, existing: Existing) -> Result<Copied, BackupError> {
        let identity = StoreIdentity { key: &key(), fingerprint: FINGERPRINT };
        back_up(&self.path(), &identity, &self.backup(), existing, options())
    }

    fn restore_from(&self, backup: &Path) -> Result<Restored, BackupError> {
        let identity = StoreIdentity { key: &key(), fingerprint: FINGERPRINT };
        restore(backup, &identity, &self.path(), NOW, options())
    }
}

fn digests(store: &EmbeddedStore) -> Vec<TokenDigest> {
    all(store).iter().map(|record| record.digest).collect()
}

fn expected(numbers: std::ops::Range<u64>) -> Vec<TokenDigest> {
    numbers.map(digest).collect()
}

#[test]
fn a_backup_is_one_private_file_and_restores_to_another_path_and_from_a_read_only_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = StoreDirectory::of(0..50);
    let copied = directory.back_up(Existing::Refuse).unwrap();
    assert_eq!((copied.records, copied.retired, copied.accounts), (50, 0, 0));
    let found = fs::metadata(directory.backup()).unwrap();
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (copied.bytes, 0o600));
    for ending in ["-wal", "-shm", "-journal"] {
        assert!(!directory.directory.path().join(format!("backup.db{ending}")).exists());
    }
    let other = StoreDirectory::new();
    let path = other.directory.path().join("deep/other.db");
    let identity = StoreIdentity { key: &key(), fingerprint: FINGERPRINT };
    let restored = restore(&directory.backup(), &identity, &path, NOW, options()).unwrap();
    assert_eq!((restored.copied.records, restored.before), (50, None));
    let store = open(&path, EmbeddedOptions::default()).unwrap();
    assert_eq!(digests(&store), expected(0..50));
    wait(store.provision(api_key(50, "ann"))).unwrap();
    drop(store);
    assert_eq!(
        directory.back_up(Existing::Replace).unwrap().records,
        50,
        "the first store is as it was"
    );
}

#[test]
fn a_backup_of_what_a_crash_left_has_the_log_in_it() {
    let after = StoreDirectory::of(0..10).killed(10..20);
    assert_eq!(after.back_up(Existing::Refuse).unwrap().records, 20);
    let other = StoreDirectory::new();
    other.restore_from(&after.backup()).unwrap();
    assert_eq!(digests(&other.open()), expected(0..20));
    assert_eq!(digests(&after.open()), expected(0..20), "and the store still has its log");
}

#[test]
fn what_is_at_the_place_of_a_backup_stays_unless_it_is_an_earlier_one() {
    let directory = StoreDirectory::of(0..3);
    let words = |result: Result<Copied, BackupError>| result.unwrap_err().to_string();
    directory.back_up(Existing::Refuse).unwrap();
    assert!(words(directory.back_up(Existing::Refuse)).contains("is not overwritten"));
    directory.add(3..5);
    assert_eq!(directory.back_up(Existing::Replace).unwrap().records, 5);
    fs::write(directory.backup(), "precious").unwrap();
    assert!(
        words(directory.back_up(Existing::Replace)).contains("no backup of a store of keyward")
    );
    assert_eq!(fs::read(directory.backup()).unwrap(), b"precious");
    let identity = StoreIdentity { key: &key(), fingerprint: FINGERPRINT };
    for ending in ["", ".lock"] {
        let own = back_up(
            &directory.path(),
            &identity,
            &directory.beside(ending),
            Existing::Replace,
            options(),
        );
        assert!(words(own).contains("belongs to the store itself"));
    }
    let nowhere = back_up(
        &directory.path(),
        &identity,
        Path::new("/no/such/folder/b"),
        Existing::Refuse,
        options(),
    );
    assert!(words(nowhere).contains("/no/such/folder"));
    let left =
        fs::read_dir(directory.directory.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(
        left.into_iter().all(|name| !name.to_string_lossy().contains(".new-")),
        "no draft is left"
    );
    assert!(matches!(
        StoreDirectory::new().back_up(Existing::Refuse),
        Err(BackupError::NoStore(_))
    ));
}

#[test]
fn what_is_no_backup_is_refused_in_words_and_the_store_stays() {
    let source = StoreDirectory::of(0..200);
    source.back_up(Existing::Refuse).unwrap();
    let whole = fs::read(source.backup()).unwrap();
    let directory = StoreDirectory::of(500..503);
    let odd = directory.directory.path().join("odd");
    let refused = |bytes: &[u8]| {
        fs::write(&odd, bytes).unwrap();
        let words = directory.restore_from(&odd).unwrap_err().to_string();
        assert!(words.contains(&odd.display().to_string()), "{words}");
        words
    };
    for length in [0, 50, 99] {
        assert!(refused(&whole[..length]).contains("cut short"), "{length} bytes");
    }
    for length in [100, 4096, 5000, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..length]).contains("is cut short: it has"), "{length} bytes");
    }
    assert!(refused(&vec![b'x'; 5000]).contains("not a store of keyward"));
    let mut foreign = whole.clone();
    foreign[68..72].copy_from_slice(b"none");
    assert!(refused(&foreign).contains("not a store of keyward"));
    let mut damaged = whole.clone();
    for at in (4096 * 4..4096 * 6).step_by(7) {
        damaged[at] ^= 0x55;
    }
    assert!(refused(&damaged).contains("it is damaged"));

    let words = |result: Result<Restored, BackupError>| result.unwrap_err().to_string();
    assert!(words(directory.restore_from(directory.directory.path())).contains("not a file"));
    assert!(words(directory.restore_from(&directory.path())).contains("belongs to the store"));
    assert!(words(directory.restore_from(Path::new("/no/such/file"))).contains("/no/such/file"));
    let others = [RecordKey::new(&[8; 32]), key()];
    for (other, fingerprint) in others.iter().zip([FINGERPRINT, &[1; 32]]) {
        let identity = StoreIdentity { key: other, fingerprint };
        let refused = restore(&source.backup(), &identity, &directory.path(), NOW, options());
        assert!(words(refused).contains("written with other keys"));
    }
    rusqlite::Connection::open(source.backup())
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    assert!(words(directory.restore_from(&source.backup())).contains("newer keyward"));
    assert_eq!(digests(&directory.open()), expected(500..503), "nothing of this changed the store");
    assert!(!directory.beside(".restore").exists());
}

#[test]
fn a_flipped_byte_anywhere_in_a_backup_is_refused_or_without_effect() {
    let source = StoreDirectory::of(0..60);
    source.back_up(Existing::Refuse).unwrap();
    let whole = fs::read(source.backup()).unwrap();
    let (mut refused, mut restored) = (0, 0);
    for seed in 0..80 {
        let directory = StoreDirectory::new();
        fs::write(directory.backup(), &whole).unwrap();
        flip(&directory.backup(), &mut Random(seed));
        match directory.restore_from(&directory.backup()) {
            Ok(_) => {
                assert_eq!(digests(&directory.open()), expected(0..60));
                restored += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("backup.db"), "{error}");
                assert!(!directory.path().exists());
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused} refused, {restored} restored");
}

#[test]
fn restoring_keeps_the_store_of_before_with_its_log_and_is_refused_while_one_is_open() {
    let source = StoreDirectory::of(0..10);
    source.back_up(Existing::Refuse).unwrap();
    let directory = source.killed(10..20);
    let restored = directory.restore_from(&source.backup()).unwrap();
    assert_eq!(
        digests(&directory.open()),
        expected(0..10),
        "the log that was left is not replayed"
    );
    let before = StoreDirectory::new();
    let aside = restored.before.unwrap();
    fs::copy(&aside, before.path()).unwrap();
    fs::copy(files::beside(&aside, "-wal"), before.beside("-wal")).unwrap();
    assert_eq!(digests(&before.open()), expected(0..20), "nothing of it is lost");
    // Twice in a second: the second store of before has a name of its own.
    assert_ne!(directory.restore_from(&source.backup()).unwrap().before.unwrap(), aside);
    let open = directory.open();
    let refused = directory.restore_from(&source.backup()).unwrap_err();
    assert!(
        matches!(refused, BackupError::Running { .. }) && refused.to_string().contains("stop it"),
        "{refused}"
    );
    assert_eq!(digests(&open), expected(0..10));
}

#[test]
fn a_backup_of_the_first_layout_is_restored_in_the_present_one() {
    let records = [api_key(1, "ann"), bootstrap(2, "ann", 1)];
    let old = super::migration::in_the_first_layout(&records);
    assert_eq!(old.back_up(Existing::Refuse).unwrap().records, 2);
    let directory = StoreDirectory::new();
    directory.restore_from(&old.backup()).unwrap();
    assert_eq!(all(&directory.open()), records);
    old.meddle("UPDATE record SET subject = 'eve' WHERE subject = 'ann'");
    old.back_up(Existing::Replace).unwrap();
    let words = StoreDirectory::new().restore_from(&old.backup()).unwrap_err().to_string();
    assert!(words.contains("it is damaged"), "{words}");
}

/// Puts a copy in the place of the database that a crash left, as an operator's `cp` would, and
/// starts.
fn started(after: &StoreDirectory, copy: &Path) -> Result<Arc<EmbeddedStore>, OpenError> {
    fs::copy(copy, after.path()).unwrap();
    after.try_open()
}

#[test]
fn a_log_that_was_left_beside_a_copy_is_named_and_not_replayed() {
    let directory = StoreDirectory::of(0..10);
    directory.back_up(Existing::Refuse).unwrap();
    // A copy of the closed database, from before a life of which the log is left.
    let closed = directory.directory.path().join("closed.db");
    fs::copy(directory.path(), &closed).unwrap();
    directory.add(10..15);
    let vacuumed = directory.directory.path().join("vacuumed.db");
    directory.meddle(&format!("VACUUM INTO '{}'", vacuumed.display()));
    let other = StoreDirectory::of(0..10);
    for (what, copy) in [
        ("our own backup", &directory.backup()),
        ("an older copy of the file", &closed),
        ("a copy by SQLite", &vacuumed),
        ("another store of the same keys", &other.path()),
    ] {
        let after = directory.killed(100..101);
        let whole = [fs::read(after.path()).unwrap(), fs::read(after.beside("-wal")).unwrap()];
        let fault = started(&after, copy).map(drop).expect_err(what);
        assert!(matches!(fault, OpenError::ForeignLog { .. }), "{what}: {fault}");
        let words = fault.to_string();
        assert!(
            words.contains("-wal is not the log of the store") && words.contains("store restore"),
            "{what}: {words}"
        );
        // As the words say: without the log, the copy is what it was.
        fs::rename(after.beside("-wal"), after.beside("-wal.away")).unwrap();
        let found = digests(&after.open());
        assert!(found.len() >= 10 && !found.contains(&digest(100)), "{what}: {}", found.len());
        // And with the database that it belongs to, nothing is lost.
        fs::write(after.path(), &whole[0]).unwrap();
        fs::write(after.beside("-wal"), &whole[1]).unwrap();
        assert!(digests(&after.open()).contains(&digest(100)), "{what}");
        wait(directory.open().remove(AuthorizedBy::Outside, digest(100), OnRemove::Delete, NOW))
            .unwrap();
    }
}

#[test]
fn what_a_crash_left_at_any_time_has_its_own_log() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for number in 0..120 {
        wait(store.provision(api_key(number, "ann"))).unwrap();
        if number % 7 == 0 {
            // Writes the log back, in part or whole, and begins it anew.
            wait(store.purge(NOW, 10)).unwrap();
        }
        if number % 3 == 0 {
            assert_eq!(digests(&directory.crash().open()), expected(0..number + 1));
        }
    }
}

/// SQLite would write it back into whatever database lies beside it.
#[test]
fn a_rollback_journal_is_named_and_never_written_back() {
    let directory = StoreDirectory::of(0..10);
    // A journal as a program leaves it that is killed while it changes the store in this mode.
    let journal = {
        let other = StoreDirectory::of(0..3);
        let connection = rusqlite::Connection::open(other.path()).unwrap();
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).unwrap();
        connection
            .execute_batch(
                "PRAGMA cache_spill = 1; BEGIN; DELETE FROM record; PRAGMA cache_size = 1",
            )
            .unwrap();
        connection.execute_batch("INSERT INTO meta VALUES ('x', randomblob(100000))").unwrap();
        fs::read(other.beside("-journal")).unwrap()
    };
    assert!(!journal.is_empty());
    directory.back_up(Existing::Refuse).unwrap();
    fs::write(directory.beside("-journal"), &journal).unwrap();
    let before = fs::read(directory.path()).unwrap();
    let words = directory.try_open().map(drop).expect_err("refused").to_string();
    assert!(words.contains("keyward.db-journal lies beside the store"), "{words}");
    assert!(matches!(
        directory.back_up(Existing::Replace),
        Err(BackupError::Store(OpenError::Journal { .. }))
    ));
    assert_eq!(fs::read(directory.path()).unwrap(), before, "nothing was written back");
    let beside_backup = directory.directory.path().join("backup.db-journal");
    fs::write(&beside_backup, &journal).unwrap();
    let words = directory.restore_from(&directory.backup()).unwrap_err().to_string();
    assert!(words.contains("a -journal file lies beside it"), "{words}");
    fs::remove_file(beside_backup).unwrap();
    directory.restore_from(&directory.backup()).unwrap();
    assert!(!directory.beside("-journal").exists());
    assert_eq!(digests(&directory.open()), expected(0..10));
    // Nor into a store that is made anew.
    let empty = StoreDirectory::new();
    fs::write(empty.beside("-journal"), &journal).unwrap();
    assert!(matches!(empty.try_open(), Err(OpenError::Journal { .. })));
    assert!(EmbeddedStore::is_there(&empty.path()));
    let identity = StoreIdentity { key: &key(), fingerprint: FINGERPRINT };
    let checked = EmbeddedStore::check(&empty.path(), &identity, EmbeddedOptions::default());
    assert!(matches!(checked, Err(OpenError::Journal { .. })));
}

/// As a start finds it before [`crate::store::embedded::tie`]: no row, and a log without counts.
#[test]
fn a_store_from_before_there_were_ties_is_opened_and_gets_one() {
    let directory = StoreDirectory::of(0..3);
    directory.meddle("DELETE FROM meta WHERE name = 'log'");
    let connection = rusqlite::Connection::open(directory.path()).unwrap();
    connection
        .execute_batch("PRAGMA wal_autocheckpoint = 0; DELETE FROM record WHERE seq = 2")
        .unwrap();
    let after = directory.crash();
    assert!(after.beside("-wal").exists());
    drop(connection);
    assert_eq!(all(&after.open()).len(), 2);
    assert!(tie::Beginning::read(&after.path()).unwrap().unwrap().tie.is_some());
}

#[test]
fn a_log_that_only_damages_is_named_even_without_counts() {
    let directory = StoreDirectory::of(0..400);
    directory.meddle("DELETE FROM meta WHERE name = 'log'");
    let connection = rusqlite::Connection::open(directory.path()).unwrap();
    connection
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0; UPDATE record SET last_used_at = 1 WHERE seq <= 12",
        )
        .unwrap();
    let after = directory.crash();
    drop(connection);
    let other = StoreDirectory::of(1000..1040);
    other.meddle("DELETE FROM meta WHERE name = 'log'");
    let fault = started(&after, &other.path()).map(drop).expect_err("pages of two databases");
    assert!(matches!(fault, OpenError::ForeignLog { .. }), "{fault}");
    assert!(fault.to_string().contains("whole without it, and damaged with it"), "{fault}");
}
