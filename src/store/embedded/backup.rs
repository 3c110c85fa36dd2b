//! A copy of the whole store in one file, and the store from such a copy.
//!
//! A backup is a snapshot: SQLite reads a state of the database that was acknowledged, whatever a
//! running keyward writes meanwhile, from another process. Both directions verify the copy as a
//! start would, before it gets its name: pages and indexes, layout, seal, keys, and every record. A
//! backup has no log, and another tie (`tie`): a log that was left beside the place where it is put
//! is not taken for its own.
//!
//! The keys are not in a backup.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::fault::{Fault, OpenError};
use super::files::{self, beside};
use super::schema::{self, Access};
use super::{EmbeddedOptions, Layout, StoreIdentity, lock, verify as verify_all};

mod draft;
mod restore;

pub use restore::{Restored, restore};

use draft::Draft;

/// What may be at the place of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Refuse,
    /// An earlier backup, which is replaced once the new one is whole.
    Replace,
}

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Tokens: API keys, sessions, bootstrap tokens.
    pub records: u64,
    /// Keys that are revoked and still listed.
    pub retired: u64,
    /// Users.
    pub accounts: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Why there is no copy. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store itself cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is no store.
    #[error("there is no store at {}: nothing to back up", .0.display())]
    NoStore(PathBuf),
    /// A keyward runs on the store that is to be replaced.
    #[error(
        "a keyward is running on the store {}{}: stop it, then restore; a running one would go on \
         with what it remembers",
        path.display(), process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    Running {
        /// The store.
        path: PathBuf,
        /// The process, where it could be told.
        process: Option<u32>,
    },
    /// What is at the place of the backup stays.
    #[error("{} is there already and {why}; nothing was written", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
        /// Why it stays.
        why: &'static str,
    },
    /// The place of the backup is one of the store's own.
    #[error(
        "{} belongs to the store itself, or would be taken for a file of it; name another file",
        path.display()
    )]
    OfStore {
        /// The place.
        path: PathBuf,
    },
    /// The file is no backup that could be used.
    #[error("{} cannot be used as a backup: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be made, read, moved or removed.
    #[error("cannot {doing} {}", path.display())]
    Files {
        /// What was to be done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// SQLite could not copy.
    #[error("the store could not be copied to {}", path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// SQLite's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Files { doing, path: path.to_owned(), source }
}

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

fn check_target(store: &Path, target: &Path, existing: Existing) -> Result<(), BackupError> {
    let refused = |why| Err(BackupError::Exists { path: target.to_owned(), why });
    if is_name_of_store(store, target) {
        return Err(BackupError::OfStore { path: target.to_owned() });
    }
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("look at", target))?,
    };
    if is_of_store(store, target)? {
        return refused("belongs to the store itself");
    }
    if existing == Existing::Refuse {
        return refused(
            "is not overwritten: name another file, or say --replace to replace an earlier backup",
        );
    }
    if !found.is_file() || !files::is_ours(target).map_err(failed("read", target))? {
        return refused("is no backup of a store of keyward, so --replace does not replace it");
    }
    Ok(())
}

/// What a store has beside its database, by the endings of their names.
pub(super) const BESIDE: [&str; 6] = ["", "-wal", "-shm", "-journal", ".lock", ".new"];

/// Whether the store would take a file at `path` for one of its own, be it there or not.
fn is_name_of_store(store: &Path, path: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().map(|folder| fs::canonicalize(folder).ok());
        (folder, path.file_name().map(ToOwned::to_owned))
    };
    let wanted = place(path);
    BESIDE.iter().any(|ending| place(&beside(store, ending)) == wanted)
}

/// Whether `path` is the store's database or one of the files beside it.
fn is_of_store(store: &Path, path: &Path) -> Result<bool, BackupError> {
    let identity = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    };
    let Some(found) = identity(path)? else { return Ok(false) };
    for ending in BESIDE {
        if identity(&beside(store, ending))? == Some(found) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks a database that is not in use, as a start would.
fn verify(
    path: &Path,
    identity: &StoreIdentity<'_>,
    options: EmbeddedOptions,
) -> Result<Layout, OpenError> {
    let explain = |fault: Fault| fault.explain_opening(path);
    verify_all(schema::connect_without_log(path).map_err(explain)?, path, identity, options.busy)
}

/// What was found in a copy of the store is found in the store.
fn for_store(fault: OpenError, store: &Path) -> BackupError {
    let path = store.to_owned();
    BackupError::Store(match fault {
        OpenError::Damaged { what, .. } => OpenError::Damaged { path, what },
        OpenError::OtherKeys { .. } => OpenError::OtherKeys { path },
        OpenError::Newer { found, known, .. } => OpenError::Newer { path, found, known },
        other => other,
    })
}
