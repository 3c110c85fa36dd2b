//! Checks of a database before it is used: first of its files, without SQLite, then of what is in
//! them.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::fault::{OpenError, Opening as _};
use super::files::{self, beside, cannot};
use super::options::StoreIdentity;
use super::schema;
use super::tables::Tables;
use super::tie::Beginning;
use super::wal::{self, Owner, WalState};

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.into() }
}

/// Whether there is a database at `path`; what is none of keyward's, or what is left of one, is an
/// error. What is in the log is for [`check_log`] to say.
pub(super) fn is_there(path: &Path) -> Result<bool, OpenError> {
    check_journal(path)?;
    match (files::length(path)?, files::length(&beside(path, "-wal"))?) {
        (None, None | Some(0)) => return Ok(false),
        (None, Some(_)) => return Err(damaged(path, "it is missing, and its -wal file is there")),
        (Some(0), _) => return Err(damaged(path, "it is empty")),
        (Some(_), _) => {}
    }
    if !files::is_ours(path)? {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    Ok(true)
}

/// Makes sure that there is no rollback journal beside `path`: keyward makes none, and SQLite would
/// write it back, into whatever database is there.
pub(super) fn check_journal(path: &Path) -> Result<(), OpenError> {
    match files::length(&beside(path, "-journal"))? {
        None | Some(0) => Ok(()),
        Some(_) => Err(OpenError::Journal(path.to_owned())),
    }
}

/// Makes sure that SQLite may replay the log beside the database at `path`, if there is one: that
/// it is whole, and its own.
pub(super) fn check_log(path: &Path) -> Result<(), OpenError> {
    let log = beside(path, "-wal");
    let found = wal::inspect(&log).map_err(cannot("read", &log))?;
    if found.state == WalState::Empty {
        return Ok(());
    }
    let foreign = |why: &str| Err(OpenError::ForeignLog { path: path.to_owned(), why: why.into() });
    let Some(database) = Beginning::read(path).map_err(cannot("read", path))? else {
        return Err(OpenError::Foreign(path.to_owned()));
    };
    if !database.has_logs {
        return foreign("this is a copy that has no log, as a backup is");
    }
    if found.state == WalState::Damaged {
        return Err(damaged(path, "its -wal file has lost changes that were acknowledged"));
    }
    if found.page_size != database.page_size {
        return foreign("the two have pages of different sizes");
    }
    if found.owner == Some(Owner::AnotherProgram) {
        return foreign("it is the log of another program's database");
    }
    match (database.tie, found.ties) {
        (Some(tie), Some((first, last))) if !tie.has_log(first, last) => {
            foreign("the changes in the log do not follow on the last one in the database")
        }
        // Each transaction of keyward's writes the tie, but for one that changes the layout.
        (Some(_), None) if found.has_changes && found.owner.is_none() => {
            foreign("the changes in the log are not keyward's")
        }
        _ => Ok(()),
    }
}

/// The layout of a database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Current,
    Older,
}

/// Checks a database as a start would: pages and indexes, layout, seal, keys, and every record.
/// Changes nothing. The records of an older layout, which has other columns, are not read.
pub(super) fn verify(
    connection: Connection,
    path: &Path,
    identity: &StoreIdentity<'_>,
    busy: Duration,
) -> Result<Layout, OpenError> {
    check_structure(&connection, path)?;
    let missing = schema::missing(&connection, path, schema::STEPS)?;
    check_identity(&connection, path, identity)?;
    if !missing.is_empty() {
        return Ok(Layout::Older);
    }
    Tables::new(connection, path.to_owned(), identity.key.clone(), busy).verify().opening(path)?;
    Ok(Layout::Current)
}

/// As [`verify`], of a backup or a copy, which has no log and is not in use.
pub(super) fn verify_without_log(
    path: &Path,
    identity: &StoreIdentity<'_>,
    busy: Duration,
) -> Result<Layout, OpenError> {
    verify(schema::connect_without_log(path).opening(path)?, path, identity, busy)
}

/// Looks for damage to the tree of pages and to the indexes: a record that an index has lost could
/// live on unlisted.
pub(super) fn check_structure(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).opening(path)?;
    if found == "ok" { Ok(()) } else { Err(damaged(path, &found)) }
}

/// Whether the store was sealed with these keys, and is tied to them if to any.
pub(super) fn check_identity(
    connection: &Connection,
    path: &Path,
    identity: &StoreIdentity<'_>,
) -> Result<(), OpenError> {
    let meta = |name| schema::meta(connection, name).opening(path);
    let seal = meta("seal")?.ok_or_else(|| damaged(path, "its seal is missing"))?;
    if seal != identity.key.seal() || meta("keys")?.is_some_and(|keys| keys != identity.fingerprint)
    {
        return Err(OpenError::OtherKeys(path.to_owned()));
    }
    Ok(())
}

/// Damage that is only there with the log means that the log is of another database.
pub(super) fn blame_log(fault: OpenError, path: &Path, had_log: bool) -> OpenError {
    let is_whole_alone = || {
        let alone = schema::connect_without_log(path).opening(path);
        alone.and_then(|alone| check_structure(&alone, path)).is_ok()
    };
    if had_log && matches!(fault, OpenError::Damaged { .. }) && is_whole_alone() {
        let why = "the database is whole without it, and damaged with it".to_owned();
        return OpenError::ForeignLog { path: path.to_owned(), why };
    }
    fault
}
