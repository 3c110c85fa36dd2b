//! The store from a backup.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::super::draft::{Draft, rename_to_free};
use super::super::fault::{OpenError, Opening as _};
use super::super::files::{self, beside, cannot};
use super::super::lock;
use super::super::options::{EmbeddedOptions, StoreIdentity};
use super::super::schema::{self, Access, STEPS};
use super::super::tie::Beginning;
use super::super::verify::{Layout, check_journal, check_log, verify_without_log};
use super::checks::is_of_store;
use super::copy::{fill, set_journal_mode};
use super::outcome::{BackupError, Copied, as_published};
use crate::domain::Timestamp;

/// A store that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub copied: Copied,
    /// The store of before, with its log beside it; `None`: there was none.
    pub before: Option<PathBuf>,
}

/// Makes the store at `store` from the file `backup`. What was there is moved aside, its log
/// included, and nothing is deleted.
///
/// # Errors
///
/// See [`BackupError`]. Unless the error says otherwise, the store is as it was.
pub fn restore(
    backup: &Path,
    identity: &StoreIdentity<'_>,
    store: &Path,
    now: Timestamp,
    options: EmbeddedOptions,
) -> Result<Restored, BackupError> {
    let (store, backup) = (files::absolute(store)?, files::absolute(backup)?);
    let lock = lock::take(&store, options).map_err(|fault| match fault {
        OpenError::Locked { path, process } => BackupError::Running { path, process },
        other => other.into(),
    })?;
    let unusable = |fault: &OpenError| BackupError::Unusable {
        path: backup.clone(),
        why: reason_for_backup(fault),
    };
    let source = open_backup(&store, &backup)?;
    let draft = Draft::new(beside(&store, ".restore"))?;
    let mut copied = fill(&draft, &source, &backup, options.busy).map_err(|fault| match fault {
        BackupError::Store(fault) => unusable(&fault),
        other => other,
    })?;
    drop(source);
    let prepare = || {
        let layout = verify_without_log(&draft.path, identity, options.busy)?;
        bring_up_to_date(&draft.path, options)?;
        if layout == Layout::Older {
            verify_without_log(&draft.path, identity, options.busy)?;
        }
        Ok(())
    };
    prepare().map_err(|fault| unusable(&fault))?;
    copied.bytes = draft.sync()?;
    let before = move_aside(&store, now)?;
    if let Err(fault) = draft.publish(&store, rename_to_free) {
        move_back(before.as_deref(), &store)?;
        return Err(as_published(fault));
    }
    drop(lock);
    Ok(Restored { copied, before })
}

/// A connection to a backup, or to a database that was copied with its log.
fn open_backup(store: &Path, backup: &Path) -> Result<Connection, BackupError> {
    let unusable = |why: String| BackupError::Unusable { path: backup.to_owned(), why };
    let refused = |fault: OpenError| unusable(reason_for_backup(&fault));
    let found = fs::metadata(backup).map_err(cannot("read", backup))?;
    if !found.is_file() {
        return Err(unusable("it is not a file".into()));
    }
    if is_of_store(store, backup)? {
        return Err(unusable("it belongs to the store that is to be replaced".into()));
    }
    let beginning = Beginning::read(backup).map_err(cannot("read", backup))?;
    if beginning.is_none() && found.len() < 100 {
        let length = found.len();
        return Err(unusable(format!("it has {length} bytes; it is empty or cut short")));
    }
    let is_ours = files::is_ours(backup)?;
    let Some(beginning) = beginning.filter(|_| is_ours) else {
        return Err(refused(OpenError::Foreign(backup.to_owned())));
    };
    check_journal(backup).map_err(refused)?;
    if files::has_log(backup) {
        check_log(backup).map_err(refused)?;
        let connection = schema::connect(backup, Access::Read, Duration::ZERO);
        return connection.opening(backup).map_err(refused);
    }
    let wanted = u64::from(beginning.pages) * beginning.page_size as u64;
    if found.len() < wanted {
        return Err(unusable(format!("it is cut short: it has {} bytes of {wanted}", found.len())));
    }
    schema::connect_without_log(backup).opening(backup).map_err(refused)
}

fn reason_for_backup(fault: &OpenError) -> String {
    match fault {
        OpenError::Damaged { what, .. } => format!("it is damaged: {what}"),
        OpenError::OtherKeys { .. } => {
            "it was written with other keys: restore it with the key directory that belongs to it"
                .to_owned()
        }
        OpenError::Newer { found, known, .. } => {
            format!(
                "it was written by a newer keyward: it has layout {found}, and this one knows up \
                 to {known}"
            )
        }
        OpenError::ForeignLog { why, .. } => format!(
            "the -wal file beside it is not its log: {why}. Move the -wal and -shm files away and \
             try again, or use the ones \
             that belong to it"
        ),
        OpenError::Journal { .. } => {
            "a -journal file lies beside it: another program was interrupted while it changed it"
                .to_owned()
        }
        OpenError::Foreign { .. } => "it is not a store of keyward".to_owned(),
        other => {
            let mut reason = other.to_string();
            let source = std::error::Error::source(other);
            reason.extend(source.map(|source| format!(": {source}")));
            reason
        }
    }
}

/// Gives a copy the present layout, and the log that a store has.
fn bring_up_to_date(path: &Path, options: EmbeddedOptions) -> Result<(), OpenError> {
    let mut connection = schema::connect(path, Access::Write, options.busy).opening(path)?;
    set_journal_mode(&connection, "wal").opening(path)?;
    schema::migrate(&mut connection, path, STEPS)?;
    connection.close().map_err(|(_, error)| error).opening(path)
}

/// Puts the store back that was moved away, the log first, see [`move_aside`].
fn move_back(aside: Option<&Path>, store: &Path) -> Result<(), BackupError> {
    let Some(aside) = aside else { return Ok(()) };
    for ending in ["-journal", "-wal", ""] {
        let (from, to) = (beside(aside, ending), beside(store, ending));
        if fs::symlink_metadata(&from).is_ok() {
            rename_to_free(&from, &to).map_err(cannot("move back", &from))?;
        }
    }
    Ok(files::sync_directory_of(store)?)
}

/// Moves the store away, its database before its log: a crash in between leaves a log without a
/// database, which is a fault, and no database without its log, which would be an older state.
fn move_aside(store: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let stamp = now.to_rfc3339_zulu().replace(['-', ':'], "");
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let names = (0_u32..).map(|number| match number {
        0 => beside(store, &format!(".before-restore-{stamp}")),
        more => beside(store, &format!(".before-restore-{stamp}-{more}")),
    });
    let free = |name: &PathBuf| {
        ["", "-wal", "-journal"].iter().all(|ending| !is_there(&beside(name, ending)))
    };
    let Some(aside) = names.take(1000).find(free) else {
        return Err(cannot("name a place for", store)(ErrorKind::AlreadyExists.into()).into());
    };
    let mut has_moved = false;
    for ending in ["", "-wal", "-journal"] {
        let (from, to) = (beside(store, ending), beside(&aside, ending));
        if is_there(&from) {
            fs::rename(&from, &to).map_err(cannot("move", &from))?;
            files::sync_directory_of(store)?;
            has_moved = true;
        }
    }
    files::remove(&beside(store, "-shm"))?;
    Ok(has_moved.then_some(aside))
}
