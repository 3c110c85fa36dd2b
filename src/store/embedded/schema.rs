//! Connections and the layout of the database.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::{Fault, OpenError, Opening as _};

#[cfg(test)]
mod tests;

/// The steps from an empty database to the present layout; `user_version` counts those that were
/// made. Append only.
///
/// `record` is a rowid table rather than one clustered by digest: `seq` then is the order of
/// insertion, new rows go to the end, and a write at a random place costs 40 bytes of index instead
/// of a whole record.
///
/// `retired` has the keys that their owners still see in their lists. A retired key moves there:
/// a look-up that lets a token in reads `record` alone.
///
/// `account` has the registered accounts; their sessions and keys are records.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (
        name  TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE record (
        seq          INTEGER PRIMARY KEY,
        digest       BLOB NOT NULL UNIQUE,
        id           BLOB NOT NULL UNIQUE,
        token_api    TEXT NOT NULL,
        subject      TEXT NOT NULL,
        issued_at    INTEGER NOT NULL,
        expires_at   INTEGER,
        mints_left   INTEGER, -- of a bootstrap token; NULL: an API key
        last_used_at INTEGER,
        body         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX record_owner ON record (token_api, subject, issued_at);
    CREATE INDEX record_expiry ON record (expires_at) WHERE expires_at IS NOT NULL;
",
    "
    ALTER TABLE record ADD COLUMN origin TEXT; -- NULL: the token API's own
    ALTER TABLE record ADD COLUMN sort TEXT NOT NULL DEFAULT 'api_key'; -- or 'session' or \
    'bootstrap'
    UPDATE record SET sort = 'bootstrap' WHERE mints_left IS NOT NULL;
    DROP INDEX record_owner;
    CREATE INDEX record_owner ON record (token_api, subject, origin, issued_at);
    CREATE TABLE retired (
        seq          INTEGER PRIMARY KEY,
        digest       BLOB NOT NULL UNIQUE,
        id           BLOB NOT NULL UNIQUE,
        token_api    TEXT NOT NULL,
        origin       TEXT,
        subject      TEXT NOT NULL,
        issued_at    INTEGER NOT NULL,
        expires_at   INTEGER,
        last_used_at INTEGER,
        retired_at   INTEGER NOT NULL,
        body         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX retired_owner ON retired (token_api, subject, origin, retired_at);
",
    "
    CREATE TABLE account (
        seq        INTEGER PRIMARY KEY,
        id         BLOB NOT NULL UNIQUE,
        token_api  TEXT NOT NULL,
        username   TEXT NOT NULL, -- folded
        email      TEXT NOT NULL, -- folded
        created_at INTEGER NOT NULL,
        body       BLOB NOT NULL,
        UNIQUE (token_api, username),
        UNIQUE (token_api, email)
    ) STRICT;
    CREATE INDEX record_origin ON record (origin, subject) WHERE origin IS NOT NULL;
",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
}

/// A connection to the database at `path`, which exists. `busy` is how long it waits for a lock of
/// another program: our own connections hold theirs shortly, an operator's `sqlite3` may not.
pub(super) fn connect(path: &Path, access: Access, busy: Duration) -> Result<Connection, Fault> {
    let mode = match access {
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = open(path, mode)?;
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // KiB, 16 MiB: a full batch of writes stays in memory
    connection.pragma_update(None, "cache_size", -16_384)?;
    if access == Access::Write {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 1_000)?; // pages, 4 MiB
        // what a burst leaves of the log's file
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    }
    Ok(connection)
}

/// A connection that reads the database at `path` with its log, and leaves both as they are: what
/// is in the log is not written back at the end.
pub(super) fn connect_to_look(path: &Path, busy: Duration) -> Result<Connection, Fault> {
    // A connection that can only read cannot use a log whose index is missing, as after a crash of
    // the machine.
    let connection = connect(path, Access::Write, busy)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection that reads the database at `path` and no log: as it was when it was last written
/// back. The file must not be changed meanwhile.
pub(super) fn connect_without_log(path: &Path) -> Result<Connection, Fault> {
    // The characters that mean something in SQLite's URLs, <https://sqlite.org/uri.html>.
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    let name = percent_encode(path.as_os_str().as_bytes(), PLAIN);
    let url = format!("file:{name}?immutable=1");
    open(Path::new(&url), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

fn open(path: &Path, mode: OpenFlags) -> Result<Connection, Fault> {
    // Each connection stays with one thread: SQLite's own mutexes would only cost.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Brings the layout up to `steps`, all or nothing.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    steps: &[&str],
) -> Result<(), OpenError> {
    let missing = missing(connection, path, steps)?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut apply = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in missing {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", count(steps))?;
        transaction.commit()
    };
    apply().opening(path)
}

/// Those of the `steps` that the database is still to take.
pub(super) fn missing<'a>(
    connection: &Connection,
    path: &Path,
    steps: &'a [&'a str],
) -> Result<&'a [&'a str], OpenError> {
    let (found, known) = (version(connection).opening(path)?, count(steps));
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    let done = usize::try_from(found).map_err(|_| OpenError::Damaged {
        path: path.to_owned(),
        what: format!("it says that it has layout {found}"),
    })?;
    Ok(steps.get(done..).unwrap_or_default())
}

fn count(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(super) fn meta(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let mut rows = statement.query([name])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

pub(super) fn set_meta(connection: &Connection, name: &str, value: &[u8]) -> Result<(), Fault> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET \
               value = excluded.value";
    connection.prepare_cached(sql)?.execute((name, value))?;
    Ok(())
}
