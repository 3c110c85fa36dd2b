//! A copy of the whole store in one file, and the store from such a copy.
//!
//! A backup is a snapshot: SQLite reads a state of the database that was acknowledged, whatever a
//! running keyward writes meanwhile, from another process. Both directions verify the copy as a
//! start would, before it gets its name: pages and indexes, layout, seal, keys, and every record. A
//! backup has no log, and another tie (`tie`): a log that was left beside the place where it is put
//! is not taken for its own.
//!
//! The keys are not in a backup.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::draft::{Draft, rename_over, rename_to_free};
use super::fault::{OpenError, Opening as _};
use super::files::{self, beside, cannot};
use super::lock;
use super::options::{EmbeddedOptions, StoreIdentity};
use super::schema::{self, Access};
use super::verify::{check_journal, check_log, verify_without_log};

mod checks;
mod copy;
mod outcome;
mod restore;

pub use outcome::{BackupError, Copied, Existing};
pub use restore::{Restored, restore};

use outcome::as_published;

/// Copies the store at `store` into the file `target`. A keyward may run on the store: it goes on
/// serving.
///
/// # Errors
///
/// See [`BackupError`]. Nothing is at `target` then that was not there before.
pub fn back_up(
    store: &Path,
    identity: &StoreIdentity<'_>,
    target: &Path,
    existing: Existing,
    options: EmbeddedOptions,
) -> Result<Copied, BackupError> {
    let (store, target) = (files::absolute(store)?, files::absolute(target)?);
    if !store.try_exists().map_err(cannot("look at", &store))? {
        return Err(BackupError::NoStore(store));
    }
    checks::check_target(&store, &target, existing)?;
    let source = snapshot(&store, options)?;
    let draft = Draft::new(beside(&target, &format!(".new-{}", std::process::id())))?;
    let copied = copy::fill(&draft, &source, &store, options.busy)?;
    drop(source);
    verify_without_log(&draft.path, identity, options.busy)
        .map_err(|fault| checks::for_store(fault, &store))?;
    let rename = match existing {
        Existing::Replace => rename_over,
        Existing::Refuse => rename_to_free,
    };
    draft.publish(&target, rename).map_err(as_published)?;
    Ok(copied)
}

/// A connection with an open transaction on the state that was acknowledged last.
pub(super) fn snapshot(store: &Path, options: EmbeddedOptions) -> Result<Connection, OpenError> {
    // Without a running keyward, the files are unchecked. With one, they are in use and were
    // checked at its start.
    let at_once = EmbeddedOptions { wait_for_server: Duration::ZERO, ..options };
    let alone = match lock::take(store, at_once) {
        Ok(lock) => Some(lock),
        Err(OpenError::Locked { .. }) => None,
        Err(other) => return Err(other),
    };
    if !files::is_ours(store)? {
        return Err(OpenError::Foreign(store.to_owned()));
    }
    check_journal(store)?;
    if alone.is_some() {
        check_log(store)?;
    }
    let connection = schema::connect(store, Access::Read, options.busy).opening(store)?;
    // A transaction begins with its first look.
    connection.execute_batch("BEGIN").opening(store)?;
    connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(())).opening(store)?;
    // Now a keyward may start.
    drop(alone);
    Ok(connection)
}
