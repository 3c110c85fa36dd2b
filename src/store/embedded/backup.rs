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

use super::fault::{Fault, OpenError};
use super::files::{self, beside};
use super::lock;
use super::options::{EmbeddedOptions, StoreIdentity};
use super::schema::{self, Access};

mod checks;
mod draft;
mod outcome;
mod restore;

pub use outcome::{BackupError, Copied, Existing};
pub use restore::{Restored, restore};

use checks::{check_target, for_store, verify};
use draft::Draft;
use outcome::failed;

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
    let store = std::path::absolute(store).map_err(failed("find", store))?;
    let target = std::path::absolute(target).map_err(failed("find", target))?;
    if !store.try_exists().map_err(failed("look at", &store))? {
        return Err(BackupError::NoStore(store));
    }
    check_target(&store, &target, existing)?;
    let source = snapshot(&store, options)?;
    let draft = Draft::new(beside(&target, &format!(".new-{}", std::process::id())))?;
    let copied = draft.fill(&source, &store, options.busy)?;
    drop(source);
    verify(&draft.path, identity, options).map_err(|fault| for_store(fault, &store))?;
    draft.publish(&target, existing)?;
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
    if !files::is_ours(store).map_err(files::files("read", store))? {
        return Err(OpenError::Foreign { path: store.to_owned() });
    }
    files::check_journal(store)?;
    if alone.is_some() {
        files::check_log(store)?;
    }
    let explain = |fault: Fault| fault.explain_opening(store);
    let connection = schema::connect(store, Access::Read, options.busy).map_err(explain)?;
    // A transaction begins with its first look.
    let begun = connection.execute_batch("BEGIN");
    let begun =
        begun.and_then(|()| connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(())));
    begun.map_err(|error| explain(error.into()))?;
    // Now a keyward may start.
    drop(alone);
    Ok(connection)
}
