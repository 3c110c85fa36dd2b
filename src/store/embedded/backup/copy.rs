//! Copies a database.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::super::draft::Draft;
use super::super::fault::{Fault, OpenError};
use super::super::files::cannot;
use super::super::schema::{self, Access};
use super::super::tie::Tie;
use super::outcome::{BackupError, Copied};

/// Copies everything that `source` sees of `origin` into `draft`, which then can be read anywhere,
/// without files beside it.
pub(super) fn fill(
    draft: &Draft,
    source: &Connection,
    origin: &Path,
    busy: Duration,
) -> Result<Copied, BackupError> {
    let path = &draft.path;
    let tie = Tie::new().map_err(cannot("name", path))?;
    let copy = || {
        let mut target = schema::connect(path, Access::Write, busy)?;
        copy_all(source, &mut target)?;
        tie.write(&target)?;
        set_journal_mode(&target, "delete")?;
        let copied = count(&target)?;
        target.close().map_err(|(_, error)| error)?;
        Ok::<_, Fault>(copied)
    };
    let copied = copy().map_err(|fault| match fault.explain_opening(origin) {
        OpenError::Refused { source, .. } => BackupError::Copy { path: path.clone(), source },
        other => other.into(),
    })?;
    Ok(Copied { bytes: draft.sync()?, ..copied })
}

fn copy_all(source: &Connection, target: &mut Connection) -> Result<(), Fault> {
    /// Between two tries, while another program has a lock.
    const PAUSE: Duration = Duration::from_millis(10);
    const TRIES: usize = 500;
    let backup = Backup::new(source, target)?;
    for _ in 0..TRIES {
        // All pages in one step: so they are of one state.
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(Fault::System(io::Error::other("another program has locked it")))
}

fn count(connection: &Connection) -> Result<Copied, Fault> {
    let rows = |table: &str| -> Result<u64, Fault> {
        // An older layout does not have all tables.
        if !connection.table_exists(None, table)? {
            return Ok(0);
        }
        let count: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    Ok(Copied {
        records: rows("record")?,
        retired: rows("retired")?,
        accounts: rows("account")?,
        bytes: 0,
    })
}

/// SQLite answers with the mode that it has then, and with no error where that is the one of
/// before.
pub(super) fn set_journal_mode(connection: &Connection, mode: &str) -> Result<(), Fault> {
    let has: String =
        connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0))?;
    if has == mode {
        Ok(())
    } else {
        Err(Fault::System(io::Error::other(format!("it stays in the journal mode {has}"))))
    }
}
