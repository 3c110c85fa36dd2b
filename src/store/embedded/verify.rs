//! Checks of a database before it is used.

use std::path::Path;
use std::time::Duration;

use super::fault::{Fault, OpenError};
use super::options::StoreIdentity;
use super::schema;
use super::tables::Tables;
use crate::store::record_codec::RecordKey;

/// The layout of a database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Current,
    Older,
}

/// Checks a database as a start would: pages and indexes, layout, seal, keys, and every record.
/// Changes nothing.
pub(super) fn verify(
    connection: rusqlite::Connection,
    path: &Path,
    identity: &StoreIdentity<'_>,
    busy: Duration,
) -> Result<Layout, OpenError> {
    let explain = |fault: Fault| fault.explain_opening(path);
    check_structure(&connection, path)?;
    let is_current = schema::check_version(&connection, path, schema::STEPS)?;
    check_seal(path, schema::meta(&connection, "seal").map_err(explain)?.as_deref(), identity.key)?;
    match schema::meta(&connection, "keys").map_err(explain)? {
        Some(bound) if bound != identity.fingerprint => {
            return Err(OpenError::OtherKeys { path: path.to_owned() });
        }
        _ => {}
    }
    // One of an older layout has other columns; it is read to its end once it has been brought up
    // to date.
    if is_current {
        let tables = Tables::new(connection, path.to_owned(), identity.key.clone(), busy, None);
        tables.verify().map_err(explain)?;
        return Ok(Layout::Current);
    }
    Ok(Layout::Older)
}

/// Whether the store was sealed with these keys.
pub(super) fn check_seal(
    path: &Path,
    seal: Option<&[u8]>,
    integrity: &RecordKey,
) -> Result<(), OpenError> {
    match seal {
        None => {
            Err(OpenError::Damaged { path: path.to_owned(), what: "its seal is missing".into() })
        }
        Some(seal) if seal != integrity.seal() => {
            Err(OpenError::OtherKeys { path: path.to_owned() })
        }
        Some(_) => Ok(()),
    }
}

/// Looks for damage to the tree of pages and to the indexes: a record that an index has lost could
/// live on unlisted.
pub(super) fn check_structure(
    connection: &rusqlite::Connection,
    path: &Path,
) -> Result<(), OpenError> {
    let explain = |error: rusqlite::Error| Fault::Sqlite(error).explain_opening(path);
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(explain)?;
    if found == "ok" {
        Ok(())
    } else {
        Err(OpenError::Damaged { path: path.to_owned(), what: found })
    }
}

/// Damage that is only there with the log means that the log is of another database.
pub(super) fn blame_log(fault: OpenError, path: &Path, had_log: bool) -> OpenError {
    let is_damage = matches!(fault, OpenError::Damaged { .. });
    let is_whole_alone = || {
        let alone = schema::connect_without_log(path).map_err(|fault| fault.explain_opening(path));
        alone.and_then(|alone| check_structure(&alone, path)).is_ok()
    };
    if had_log && is_damage && is_whole_alone() {
        let why = "the database is whole without it, and damaged with it".to_owned();
        return OpenError::ForeignLog { path: path.to_owned(), why };
    }
    fault
}
