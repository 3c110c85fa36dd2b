//! A database that is being made, under a temporary name. It gets its own when it is whole: so a
//! file under that name which is empty or unreadable was never an interrupted start, and something
//! has been lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{OpenError, Opening as _};
use super::files::{self, FileFault, beside, cannot};
use super::options::StoreIdentity;
use super::schema::{self, Access, STEPS};
use super::tie::Tie;
use crate::files::give_to_owner_of_folder;

/// A database under a temporary name. Removed when dropped, unless it was published.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    is_published: bool,
}

impl Draft {
    /// Makes an empty file. SQLite gives its other files the mode of this one.
    pub(super) fn new(path: PathBuf) -> Result<Self, FileFault> {
        let draft = Self { path, is_published: false };
        draft.remove()?;
        let path = &draft.path;
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let made = made.map_err(cannot("make", path))?;
        give_to_owner_of_folder(&made, path).map_err(cannot("give away", path))?;
        Ok(draft)
    }

    /// Syncs the database, which must have been closed and need no file beside it. Returns its size
    /// in bytes.
    pub(super) fn sync(&self) -> Result<u64, FileFault> {
        let path = &self.path;
        if ["-wal", "-journal"].iter().any(|ending| beside(path, ending).exists()) {
            let left = io::Error::other("its log could not be written back");
            return Err(cannot("finish", path)(left));
        }
        let file = File::open(path).map_err(cannot("read", path))?;
        file.sync_all().map_err(cannot("sync", path))?;
        Ok(file.metadata().map_err(cannot("look at", path))?.len())
    }

    pub(super) fn publish(
        mut self,
        target: &Path,
        rename: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), FileFault> {
        rename(&self.path, target).map_err(cannot("make", target))?;
        self.is_published = true;
        files::sync_directory_of(target)
    }

    fn remove(&self) -> Result<(), FileFault> {
        ["", "-wal", "-shm", "-journal"]
            .iter()
            .try_for_each(|ending| files::remove(&beside(&self.path, ending)))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // What is left does no harm: the next draft removes it or says why it cannot.
            let _ = self.remove();
        }
    }
}

pub(super) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
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

/// Makes an empty store at `path`, where none is.
pub(super) fn create(
    path: &Path,
    identity: &StoreIdentity<'_>,
    busy: Duration,
) -> Result<(), OpenError> {
    let draft = Draft::new(beside(path, ".new"))?;
    let mut connection = schema::connect(&draft.path, Access::Write, busy).opening(path)?;
    connection.pragma_update(None, "application_id", files::APPLICATION_ID).opening(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).opening(path)?;
    schema::migrate(&mut connection, path, STEPS)?;
    schema::set_meta(&connection, "seal", &identity.key.seal()).opening(path)?;
    schema::set_meta(&connection, "keys", identity.fingerprint).opening(path)?;
    Tie::new().map_err(cannot("name", &draft.path))?.write(&connection).opening(path)?;
    // Closing writes the log back and removes it.
    connection.close().map_err(|(_, error)| error).opening(path)?;
    draft.sync()?;
    // Left over from a database that is gone: an empty log belongs to none.
    files::remove(&beside(path, "-wal"))?;
    files::remove(&beside(path, "-shm"))?;
    Ok(draft.publish(path, rename_over)?)
}
