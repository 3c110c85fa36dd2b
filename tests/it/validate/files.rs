//! Files and folders of the store, the keys, the admin socket and the access log.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::case::{Case, GOOD, case, holding, pipe, swap, typed, with, write};
use super::run;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "an access log in no folder",
            "22:10",
            &["the folder logs is not there: make it"],
            |_| with("[log]\naccess = \"logs/access.log\"\n"),
        ),
        case(
            "a folder for an access log",
            "22:10",
            &["[log] access: \"./logs\" cannot be opened", "is a folder"],
            |folder| {
                fs::create_dir(folder.join("logs")).expect("made");
                with("[log]\naccess = \"./logs\"\n")
            },
        ),
        case(
            "a pipe for an access log",
            "22:10",
            &["[log] access: \"./log\" cannot be opened", "is a named pipe that no process reads"],
            |folder| {
                pipe(folder, "log");
                with("[log]\naccess = \"./log\"\n")
            },
        ),
        holding(
            "a socket for an access log",
            "22:10",
            &["[log] access: \"./log\" cannot be opened", "is a socket: name a file"],
            |folder| {
                let held = UnixListener::bind(folder.join("log")).expect("bound");
                (with("[log]\naccess = \"./log\"\n"), held)
            },
        ),
        case(
            "the store for an access log",
            "22:10",
            &["[log] access ./keyward.db is that of [store] path", "name another one"],
            |_| with("[log]\naccess = \"./keyward.db\"\n"),
        ),
        case(
            "the log of the store for an access log",
            "22:10",
            &["is that of [store] path, or of a file beside it"],
            |_| with("[log]\naccess = \"./keyward.db-wal\"\n"),
        ),
        case(
            "the configuration for an access log",
            "22:10",
            &["is that of the configuration"],
            |_| with("[log]\naccess = \"./keyward.toml\"\n"),
        ),
        case("the admin socket for an access log", "22:10", &["is that of [admin] socket"], |_| {
            with("[log]\naccess = \"./admin.sock\"\n")
        }),
        typed(
            "the store for the admin socket",
            "5:10",
            &["[admin] socket keyward.db is that of [store] path"],
            "admin.sock",
            "keyward.db",
        ),
        typed(
            "the store for the keys",
            "9:13",
            &["[keys] directory keyward.db is that of [store] path"],
            "\"keys\"",
            "\"keyward.db\"",
        ),
        case("an access log below a file", "22:10", &["file is not a folder"], |folder| {
            write(folder, "file", "");
            with("[log]\naccess = \"file/access.log\"\n")
        }),
        case(
            "a file for the admin socket",
            "5:10",
            &["[admin] socket", "is not a socket, so it is left alone"],
            |folder| {
                write(folder, "admin.sock", "precious");
                GOOD.to_owned()
            },
        ),
        case(
            "the admin socket below a file",
            "5:10",
            &["[admin] socket", "file is not a folder"],
            |folder| {
                write(folder, "file", "");
                swap("admin.sock", "file/admin.sock")
            },
        ),
        holding("the admin socket is taken", "5:10", &["[admin] socket", "is in use"], |folder| {
            let held = UnixListener::bind(folder.join("admin.sock")).expect("bound");
            (GOOD.to_owned(), held)
        }),
        case(
            "a folder for the store",
            "7:8",
            &["[store] path", "is a folder: name a file in it"],
            |folder| {
                fs::create_dir(folder.join("keyward.db")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "the store below a file",
            "7:8",
            &["[store] path", "file is not a folder"],
            |folder| {
                write(folder, "file", "");
                swap("keyward.db", "file/keyward.db")
            },
        ),
        case(
            "a folder for the lock of the store",
            "7:8",
            &["[store] path", "keyward.db.lock is a folder"],
            |folder| {
                fs::create_dir(folder.join("keyward.db.lock")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "a folder for the lock of the admin socket",
            "5:10",
            &["[admin] socket: cannot lock admin.sock: Is a directory"],
            |folder| {
                fs::create_dir(folder.join("admin.sock.lock")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "a link to itself for the store",
            "7:8",
            &["[store] path", "Too many levels of symbolic links"],
            |folder| {
                symlink("keyward.db", folder.join("keyward.db")).expect("made");
                GOOD.to_owned()
            },
        ),
        case(
            "the log of another program's database",
            "7:8",
            &["keyward.db-wal is not the log of the store", "another program"],
            |folder| {
                store(folder);
                write(folder, "keyward.db-wal", log_of_another_program());
                GOOD.to_owned()
            },
        ),
        case(
            "a foreign file for the store",
            "7:8",
            &["is not a store of keyward", "give another path"],
            |folder| {
                write(folder, "keyward.db", "a letter");
                GOOD.to_owned()
            },
        ),
        case(
            "an empty store",
            "7:8",
            &["is damaged: it is empty; restore it from a backup"],
            |folder| {
                write(folder, "keyward.db", "");
                GOOD.to_owned()
            },
        ),
        case(
            "the log of a store that is gone",
            "7:8",
            &["it is missing, and its -wal file is there"],
            |folder| {
                write(folder, "keyward.db-wal", "changes");
                GOOD.to_owned()
            },
        ),
        case(
            "the journal of another program",
            "7:8",
            &["keyward.db-journal lies beside the store"],
            |folder| {
                write(folder, "keyward.db-journal", "changes");
                GOOD.to_owned()
            },
        ),
        case("a store that was cut", "7:8", &["is damaged"], |folder| {
            store(folder);
            let path = folder.join("keyward.db");
            let whole = fs::read(&path).expect("read");
            write(folder, "keyward.db", whole.get(..whole.len() / 2).expect("half of it"));
            GOOD.to_owned()
        }),
        case(
            "the store of other keys",
            "7:8",
            &["was written with other keys", "the key directory that belongs"],
            |folder| {
                store(folder);
                fs::remove_dir_all(folder.join("keys")).expect("removed");
                GOOD.to_owned()
            },
        ),
        case(
            "keys that all could change",
            "9:13",
            &["can be replaced by every user", "chmod 700"],
            |folder| {
                keys(folder);
                fs::set_permissions(folder.join("keys"), fs::Permissions::from_mode(0o777))
                    .expect("chmod");
                GOOD.to_owned()
            },
        ),
        case(
            "a pepper that is none",
            "9:13",
            &["pepper.key: is not 64 hexadecimal digits"],
            |folder| {
                keys(folder);
                write(folder, "keys/pepper.key", "canary");
                GOOD.to_owned()
            },
        ),
        case(
            "a MAC key that was cut",
            "9:13",
            &["mac-1.key: is not 64 hexadecimal digits"],
            |folder| {
                keys(folder);
                write(folder, "keys/mac-1.key", "5e5e");
                GOOD.to_owned()
            },
        ),
        case(
            "a signing key of no algorithm",
            "9:13",
            &["names no algorithm: it should begin with"],
            |folder| {
                keys(folder);
                key(folder, "jwt-rot13-x.key", "canary");
                GOOD.to_owned()
            },
        ),
        case(
            "a signing key that is no PEM",
            "9:13",
            &["is not a PKCS#8 private key in PEM"],
            |folder| {
                keys(folder);
                key(folder, "jwt-es256-x.key", "canary");
                GOOD.to_owned()
            },
        ),
        case("a signing key of another sort", "9:13", &["keys"], |folder| {
            keys(folder);
            let rsa = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
            key(folder, "jwt-es256-x.key", rsa);
            GOOD.to_owned()
        }),
        case(
            "no key of the store",
            "9:13",
            &["store.key: is missing, although there are other keys"],
            |folder| {
                keys(folder);
                fs::remove_file(folder.join("keys/store.key")).expect("removed");
                fs::remove_file(folder.join("keys/pepper.key")).expect("removed");
                GOOD.to_owned()
            },
        ),
        case("a file for the keys", "9:13", &["[keys] directory"], |folder| {
            write(folder, "keys", "");
            GOOD.to_owned()
        }),
        case("the keys below a file", "9:13", &["[keys] directory", "file"], |folder| {
            write(folder, "file", "");
            swap("\"keys\"", "\"file/keys\"")
        }),
    ]
}

/// A write-ahead log that SQLite would replay into any database beside it.
fn log_of_another_program() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.db");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .and_then(|()| connection.execute_batch("CREATE TABLE a (x); INSERT INTO a VALUES (1)"))
        .expect("written");
    fs::read(folder.path().join("other.db-wal")).expect("a log")
}

/// A store and its keys, as a command of keyward leaves them.
fn store(folder: &Path) {
    run(folder, GOOD, &["token", "list"]);
    assert!(folder.join("keyward.db").exists());
}

/// The keys without a store.
pub(super) fn keys(folder: &Path) {
    store(folder);
    for left in ["keyward.db", "keyward.db-wal", "keyward.db-shm"] {
        let _ = fs::remove_file(folder.join(left));
    }
}

/// A key file that only its owner can read.
pub(super) fn key(folder: &Path, name: &str, text: &str) {
    let path = folder.join("keys").join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
}
