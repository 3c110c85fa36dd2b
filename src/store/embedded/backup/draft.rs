//! A copy that is being made: a file under a temporary name, which gets its name when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::super::fault::{Fault, OpenError};
use super::super::files::{self, beside};
use super::super::schema::{self, Access};
use super::super::tie::Tie;
use super::outcome::{BackupError, Copied, Existing, failed};
use crate::files::give_to_owner_of_folder;

/// A copy under a temporary name. Removed when dropped, unless it was published.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    is_published: bool,
}

impl Draft {
    pub(super) fn new(path: PathBuf) -> Result<Self, BackupError> {
        let draft = Self { path, is_published: false };
        draft.remove();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.path);
        let made = made.map_err(failed("make", &draft.path))?;
        give_to_owner_of_folder(&made, &draft.path).map_err(failed("give away", &draft.path))?;
        Ok(draft)
    }

    /// Copies everything that `source` sees of `origin`, into one file that can be read anywhere,
    /// without files beside it.
    pub(super) fn fill(
        &self,
        source: &Connection,
        origin: &Path,
        busy: Duration,
    ) -> Result<Copied, BackupError> {
        let path = &self.path;
        let copy = |fault: Fault| match fault.explain_opening(origin) {
            OpenError::Refused { source, .. } => BackupError::Copy { path: path.clone(), source },
            other => other.into(),
        };
        let mut target = schema::connect(path, Access::Write, busy).map_err(copy)?;
        copy_all(source, &mut target).map_err(copy)?;
        Tie::new().map_err(failed("name", path))?.write(&target).map_err(copy)?;
        set_journal_mode(&target, "delete").map_err(copy)?;
        let copied = count(&target).map_err(copy)?;
        target.close().map_err(|(_, error)| copy(error.into()))?;
        for ending in ["-wal", "-journal"] {
            if beside(path, ending).exists() {
                return Err(failed("finish", path)(io::Error::other(
                    "its log could not be written back",
                )));
            }
        }
        let file = File::open(path).map_err(failed("read", path))?;
        file.sync_all().map_err(failed("sync", path))?;
        let bytes = file.metadata().map_err(failed("look at", path))?.len();
        Ok(Copied { bytes, ..copied })
    }

    /// Gives it its name, for good.
    pub(super) fn publish(mut self, target: &Path, existing: Existing) -> Result<(), BackupError> {
        let published = match existing {
            Existing::Replace => fs::rename(&self.path, target),
            Existing::Refuse => rename_to_free(&self.path, target),
        };
        match published {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let why = "was made while this was under way";
                return Err(BackupError::Exists { path: target.to_owned(), why });
            }
            other => other.map_err(failed("make", target))?,
        }
        self.is_published = true;
        sync_directory_of(target)
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            // One that is left does no harm.
            let _ = files::remove(&beside(&self.path, ending));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            self.remove();
        }
    }
}

/// Renames, unless there is something of that name.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

pub(super) fn sync_directory_of(path: &Path) -> Result<(), BackupError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync", directory))
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
        let known = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if connection.query_row(known, [table], |row| row.get::<_, i64>(0))? == 0 {
            // A table that an older layout does not have.
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
