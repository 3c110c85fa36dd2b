//! `keyward store backup` and `keyward store restore`, as an operator uses them: beside a running
//! keyward, after a SIGKILL, on another machine's path.

use std::fs;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Issued, Plan, TestUser, Upstream, World};

fn start() -> (World, Upstream) {
    let upstream = Upstream::start();
    (Plan::usual(&upstream).start(), upstream)
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn fails(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Gives `to` the keys of `from`.
fn copy_keys(from: &World, to: &World) {
    fs::create_dir_all(to.keys()).expect("a folder");
    for entry in fs::read_dir(from.keys()).expect("keys").flatten() {
        fs::copy(entry.path(), to.keys().join(entry.file_name())).expect("copied");
    }
}

/// FIELD F16. What was acknowledged before a backup began is in it, whatever goes on meanwhile.
#[test]
fn a_backup_beside_a_busy_keyward_holds_all_that_was_acknowledged_and_restores_elsewhere() {
    let (mut world, upstream) = start();
    let root = world.key(TestUser::ALICE);
    let api = || world.api(TestUser::ALICE);
    let stop = AtomicBool::new(false);
    let mut backups: Vec<(String, Vec<Issued>, Vec<Issued>)> = Vec::new();
    std::thread::scope(|scope| {
        for person in [TestUser::BOB, TestUser::ALICE] {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                let root = world.key(person);
                while !stop.load(Ordering::SeqCst) {
                    let key = world.api(person).mint(&root.token);
                    assert!([200, 503].contains(&world.api(person).revoke(&key.token).status));
                }
            });
        }
        let (mut alive, mut revoked) = (Vec::new(), Vec::new());
        for number in 0..6 {
            alive.push(api().mint(&root.token));
            let gone = api().mint(&root.token);
            if api().revoke(&gone.token).status == 200 {
                revoked.push(gone);
            }
            let name = format!("backup-{number}.db");
            succeeds(&world.run(&["store", "backup", &name]));
            let copy = |keys: &Vec<Issued>| {
                keys.iter()
                    .map(|key| Issued { token: key.token.clone(), jti: key.jti.clone() })
                    .collect()
            };
            backups.push((name, copy(&alive), copy(&revoked)));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(world.status_with(&root.token), 200, "keyward has gone on");
    let after = world.api(TestUser::ALICE).mint(&root.token);
    world.kill();
    for (name, alive, revoked) in &backups {
        let mut elsewhere = Plan::usual(&upstream).prepare();
        copy_keys(&world, &elsewhere);
        let file = world.folder().join(name);
        succeeds(&elsewhere.run(&["store", "restore", file.to_str().expect("text")]));
        elsewhere.restart();
        for key in alive.iter().chain([&root]) {
            assert_eq!(
                elsewhere.status_with(&key.token),
                200,
                "{name}: an acknowledged key is lost"
            );
        }
        for key in revoked {
            assert_eq!(
                elsewhere.status_with(&key.token),
                401,
                "{name}: an acknowledged revocation is lost"
            );
        }
        assert_eq!(elsewhere.status_with(&after.token), 401, "{name}: from after the backup");
    }
}

#[test]
fn a_restore_is_refused_while_keyward_runs_and_works_beside_what_a_kill_left() {
    let (mut world, _upstream) = start();
    let early = world.key(TestUser::ALICE);
    succeeds(&world.run(&["store", "backup", "early.db"]));
    let late = world.key(TestUser::BOB);
    let words = fails(&world.run(&["store", "restore", "early.db"]));
    assert!(
        words.contains("a keyward is running on the store") && words.contains("stop it"),
        "{words}"
    );
    assert_eq!(world.status_with(&late.token), 200);
    world.kill();
    assert!(
        fs::metadata(world.folder().join("keyward.db-wal")).is_ok_and(|log| log.len() > 0),
        "a log is left"
    );

    // As an operator's `cp` does it: the log is still there.
    let damaged = world.folder().join("keyward.db");
    let original = fs::read(&damaged).expect("the database");
    fs::copy(world.folder().join("early.db"), &damaged).expect("copied");
    let words = fails(&world.run(&["run"]));
    assert!(words.contains("keyward.db-wal is not the log of the store"), "{words}");
    assert!(words.contains("store restore"), "{words}");
    fs::write(&damaged, original).expect("put back");

    let output = world.run(&["store", "restore", "early.db"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(succeeds(&output).contains("restored from early.db"));
    assert!(said.contains("is kept at") && said.contains("revoke those anew"), "{said}");
    world.restart();
    assert_eq!(world.status_with(&early.token), 200);
    assert_eq!(world.status_with(&late.token), 401, "it was made after the backup");

    // And back again.
    world.stop();
    let kept = fs::read_dir(world.folder()).expect("files").flatten().map(|entry| entry.path());
    let kept = kept
        .filter(|path| {
            path.to_string_lossy().contains("before-restore")
                && !path.to_string_lossy().ends_with("-wal")
        })
        .min()
        .expect("the store of before");
    succeeds(&world.run(&["store", "restore", kept.to_str().expect("text")]));
    world.restart();
    assert_eq!(world.status_with(&late.token), 200, "its log was taken along");
}

/// SQLite would replay such a log, and with it the other program's pages would be in the store.
#[test]
fn the_log_of_another_programs_database_is_named_and_the_store_stays_whole_beside_it() {
    let (mut world, _upstream) = start();
    let key = world.key(TestUser::ALICE);
    world.stop();
    let other = tempfile::tempdir().expect("a folder");
    let connection = rusqlite::Connection::open(other.path().join("a.db")).expect("opened");
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).expect("set");
    connection.execute_batch("CREATE TABLE a (x); INSERT INTO a VALUES (1)").expect("written");
    let file = |ending: &str| world.folder().join(format!("keyward.db{ending}"));
    // The log of a change that leaves the first page as it is, and of one that does not.
    let whole_log = fs::read(other.path().join("a.db-wal")).expect("a log");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written back");
    connection.execute_batch("UPDATE a SET x = 2").expect("written");
    let later_log = fs::read(other.path().join("a.db-wal")).expect("a log");
    let before = fs::read(file("")).expect("a store");
    for log in [whole_log, later_log] {
        fs::write(file("-wal"), &log).expect("written");
        for arguments in [&["validate"][..], &["token", "list"], &["store", "backup", "x.db"]] {
            let words = fails(&world.run(arguments));
            assert!(words.contains("keyward.db-wal is not the log of the store"), "{words}");
        }
        let checked = world.run(&["store", "check"]);
        assert_eq!(checked.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&checked.stderr).contains("is not the log of the store"));
        assert!(fs::read(file("")).expect("a store") == before);
        assert_eq!(fs::read(file("-wal")).expect("a log"), log);
    }
    fs::remove_file(file("-wal")).expect("moved away");
    world.restart();
    assert_eq!(world.status_with(&key.token), 200);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_said_in_words() {
    let (mut world, upstream) = start();
    world.key(TestUser::ALICE);
    succeeds(&world.run(&["store", "backup", "one.db"]));
    assert!(fails(&world.run(&["store", "backup", "one.db"])).contains("--replace"));
    succeeds(&world.run(&["store", "backup", "one.db", "--replace"]));
    assert!(
        fails(&world.run(&["store", "backup", "keyward.db", "--replace"]))
            .contains("belongs to the store")
    );
    for name in ["keyward.db-journal", "keyward.db.new", "./keyward.db-wal"] {
        for arguments in [&["store", "backup", name][..], &["store", "backup", name, "--replace"]] {
            let words = fails(&world.run(arguments));
            assert!(words.contains("belongs to the store itself"), "{words}");
        }
    }
    assert!(!world.folder().join("keyward.db-journal").exists());
    let checked = succeeds(&world.run(&["store", "check"]));
    assert!(checked.contains("in use") && checked.contains("checked: as written"), "{checked}");
    world.stop();
    let whole = fs::read(world.folder().join("one.db")).expect("a backup");
    for (name, bytes, part) in [
        ("cut.db", &whole[..whole.len() - 4096], "is cut short"),
        ("empty.db", &[][..], "cut short"),
        (
            "text.db",
            &b"not a database, but long enough to be taken for the beginning of one: it has a \
               hundred bytes and a few."[..],
            "not a store of keyward",
        ),
    ] {
        fs::write(world.folder().join(name), bytes).expect("written");
        let words = fails(&world.run(&["store", "restore", name]));
        assert!(words.contains(name) && words.contains(part), "{words}");
    }
    let file = world.folder().join("one.db");
    let mut stranger = Plan::usual(&upstream).start();
    stranger.stop();
    let words = fails(&stranger.run(&["store", "restore", file.to_str().expect("text")]));
    assert!(words.contains("written with other keys"), "{words}");

    let redis = Plan::usual(&upstream).redis("redis://127.0.0.1:1").prepare();
    for command in ["backup", "restore"] {
        let words = fails(&redis.run(&["store", command, "x.db"]));
        assert!(words.contains("in Redis") && words.contains("redis-cli --rdb"), "{words}");
    }
}
