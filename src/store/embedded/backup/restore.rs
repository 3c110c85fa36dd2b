//! The store from a backup.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::super::fault::{Fault, OpenError};
use super::super::files::{self, beside};
use super::super::lock;
use super::super::options::{EmbeddedOptions, StoreIdentity};
use super::super::schema::{self, Access, STEPS};
use super::super::tie::Beginning;
use super::super::verify::Layout;
use super::checks::{is_of_store, verify};
use super::draft::{Draft, rename_to_free, set_journal_mode, sync_directory_of};
use super::outcome::{BackupError, Copied, Existing, failed};
use crate::domain::Timestamp;

/// What a restored store holds, and where the one is that was there before.
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
/// See [`BackupError`]. Unless the words say otherwise, the store is as it was.
pub fn restore(
    backup: &Path,
    identity: &StoreIdentity<'_>,
    store: &Path,
    now: Timestamp,
    options: EmbeddedOptions,
) -> Result<Restored, BackupError> {
    let store = std::path::absolute(store).map_err(failed("find", store))?;
    let backup = std::path::absolute(backup).map_err(failed("find", backup))?;
    let lock = lock::take(&store, options).map_err(|fault| match fault {
        OpenError::Locked { path, process } => BackupError::Running { path, process },
        other => other.into(),
    })?;
    let unusable = |why: String| BackupError::Unusable { path: backup.clone(), why };
    let source = open_backup(&store, &backup)?;
    let draft = Draft::new(beside(&store, ".restore"))?;
    let for_backup = |fault: BackupError| match fault {
        BackupError::Store(fault) => unusable(words_for_backup(&fault)),
        other => other,
    };
    let mut copied = draft.fill(&source, &backup, options.busy).map_err(for_backup)?;
    drop(source);
    let prepared = verify(&draft.path, identity, options).and_then(|layout| {
        bring_up_to_date(&draft.path, options)?;
        match layout {
            Layout::Current => Ok(()),
            Layout::Older => verify(&draft.path, identity, options).map(drop),
        }
    });
    prepared.map_err(|fault| unusable(words_for_backup(&fault)))?;
    let file = File::open(&draft.path).map_err(failed("read", &draft.path))?;
    file.sync_all().map_err(failed("sync", &draft.path))?;
    copied.bytes = file.metadata().map_err(failed("look at", &draft.path))?.len();
    drop(file);
    let before = move_aside(&store, now)?;
    if let Err(fault) = draft.publish(&store, Existing::Refuse) {
        move_back(before.as_deref(), &store)?;
        return Err(fault);
    }
    drop(lock);
    Ok(Restored { copied, before })
}

/// A connection to a backup, or to a database that was copied with its log.
fn open_backup(store: &Path, backup: &Path) -> Result<Connection, BackupError> {
    let unusable = |why: String| BackupError::Unusable { path: backup.to_owned(), why };
    let found = fs::metadata(backup).map_err(failed("read", backup))?;
    if !found.is_file() {
        return Err(unusable("it is not a file".into()));
    }
    if is_of_store(store, backup)? {
        return Err(unusable("it belongs to the store that is to be replaced".into()));
    }
    let foreign = || unusable("it is not a store of keyward".into());
    let Some(beginning) = Beginning::read(backup).map_err(failed("read", backup))? else {
        let is_cut = found.len() < 100;
        return Err(if is_cut {
            unusable(format!("it has {} bytes; it is empty or cut short", found.len()))
        } else {
            foreign()
        });
    };
    if !files::is_ours(backup).map_err(failed("read", backup))? {
        return Err(foreign());
    }
    let explain = |fault: Fault| unusable(words_for_backup(&fault.explain_opening(backup)));
    files::check_journal(backup).map_err(|fault| unusable(words_for_backup(&fault)))?;
    let log = fs::metadata(beside(backup, "-wal")).map_or(0, |log| log.len());
    if log > 0 {
        files::check_log(backup).map_err(|fault| unusable(words_for_backup(&fault)))?;
        return schema::connect(backup, Access::Read, Duration::ZERO).map_err(explain);
    }
    let wanted = u64::from(beginning.pages) * beginning.page_size;
    if found.len() < wanted {
        return Err(unusable(format!("it is cut short: it has {} bytes of {wanted}", found.len())));
    }
    schema::connect_without_log(backup).map_err(explain)
}

fn words_for_backup(fault: &OpenError) -> String {
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
            let mut words = other.to_string();
            let source = std::error::Error::source(other);
            words.extend(source.map(|source| format!(": {source}")));
            words
        }
    }
}

/// Gives a copy the present layout, and the log that a store has.
fn bring_up_to_date(path: &Path, options: EmbeddedOptions) -> Result<(), OpenError> {
    let explain = |fault: Fault| fault.explain_opening(path);
    let mut connection = schema::connect(path, Access::Write, options.busy).map_err(explain)?;
    set_journal_mode(&connection, "wal").map_err(explain)?;
    schema::migrate(&mut connection, path, STEPS)?;
    connection.close().map_err(|(_, error)| explain(error.into()))
}

/// Puts the store back that was moved away, the log first, see [`move_aside`].
fn move_back(aside: Option<&Path>, store: &Path) -> Result<(), BackupError> {
    let Some(aside) = aside else { return Ok(()) };
    for ending in ["-journal", "-wal", ""] {
        let (from, to) = (beside(aside, ending), beside(store, ending));
        if fs::symlink_metadata(&from).is_ok() {
            rename_to_free(&from, &to).map_err(failed("move back", &from))?;
        }
    }
    sync_directory_of(store)
}

/// Moves the store away with its log. In an order in which a crash leaves nothing that would be
/// taken for a store: without its database, a log is a fault; a database without its log would be
/// an older state.
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
        return Err(failed("name a place for", store)(ErrorKind::AlreadyExists.into()));
    };
    let mut moved = None;
    for ending in ["", "-wal", "-journal"] {
        let (from, to) = (beside(store, ending), beside(&aside, ending));
        if is_there(&from) {
            fs::rename(&from, &to).map_err(failed("move", &from))?;
            sync_directory_of(store)?;
            moved = Some(aside.clone());
        }
    }
    let index = beside(store, "-shm");
    files::remove(&index).map_err(failed("remove", &index))?;
    Ok(moved)
}
