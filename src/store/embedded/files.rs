//! The files of a store: `<path>`, SQLite's `<path>-wal` and `<path>-shm`, `<path>.lock`, and for a
//! moment `<path>.new`.
//!
//! A new database is made under another name and renamed when it is whole. So a file under `path`
//! that is empty or unreadable was never an interrupted first start: something has been lost, and
//! that is said.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Fault, OpenError};
use super::schema::{self, APPLICATION_ID, Access, STEPS};
use super::tie::{Beginning, Tie};
use super::wal::{self, Owner, WalState};
use crate::files::give_to_owner_of_folder;
use crate::store::record_codec::RecordKey;

/// What is wrong with which file.
pub(super) fn files(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Files { doing, path: path.to_owned(), source }
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.into() }
}

/// What a store has beside its database, by the endings of their names.
pub(super) const BESIDE: [&str; 6] = ["", "-wal", "-shm", "-journal", ".lock", ".new"];

/// `path` with `ending` after it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The write-ahead log of the database at `path`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The rollback journal that another program may have left beside the database at `path`.
pub(super) fn journal_of(path: &Path) -> PathBuf {
    beside(path, "-journal")
}

/// Whether the log of the database at `path` holds anything.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0)
}

/// Makes sure that there is a database at `path` and that SQLite can be trusted with it. SQLite
/// must not have it open yet: closing a file here would drop the locks that SQLite has on it.
pub(super) fn prepare(path: &Path, key: &RecordKey, busy: Duration) -> Result<(), OpenError> {
    if !is_there(path)? {
        return create(path, key, busy);
    }
    for name in [path, &log_of(path), &beside(path, "-shm")] {
        keep_private(name).map_err(files("restrict", name))?;
    }
    check_log(path)
}

/// Whether there is a database at `path`; what is none of ours, or what is left of one, is an
/// error. SQLite must not have it open. What is in the log is for [`check_log`] to say.
pub(super) fn is_there(path: &Path) -> Result<bool, OpenError> {
    let log = log_of(path);
    let length = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(files("look at", path)(error)),
    };
    check_journal(path)?;
    match (length(path)?, length(&log)?) {
        (None, None | Some(0)) => return Ok(false),
        (None, Some(_)) => return Err(damaged(path, "it is missing, and its -wal file is there")),
        (Some(0), _) => return Err(damaged(path, "it is empty")),
        (Some(_), _) => {}
    }
    if !is_ours(path).map_err(files("read", path))? {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    Ok(true)
}

/// Makes sure that there is no rollback journal beside `path`: keyward makes none, and SQLite would
/// write it back, into whatever database is there.
pub(super) fn check_journal(path: &Path) -> Result<(), OpenError> {
    let journal = journal_of(path);
    match fs::metadata(&journal) {
        Ok(found) if found.len() > 0 => Err(OpenError::Journal { path: path.to_owned() }),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(files("look at", &journal)(error)),
        _ => Ok(()),
    }
}

/// Makes sure that SQLite may replay the log beside the database at `path`, if there is one: that
/// it is whole, and its own.
pub(super) fn check_log(path: &Path) -> Result<(), OpenError> {
    let log = log_of(path);
    let found = wal::inspect(&log).map_err(files("read", &log))?;
    if found.state == WalState::Empty {
        return Ok(());
    }
    let foreign = |why: &str| Err(OpenError::ForeignLog { path: path.to_owned(), why: why.into() });
    let Some(database) = Beginning::read(path).map_err(files("read", path))? else {
        return Err(OpenError::Foreign { path: path.to_owned() });
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

/// Whether the file begins as our databases do
/// (<https://sqlite.org/fileformat2.html#the_database_header>).
pub(super) fn is_ours(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::with_capacity(72);
    File::open(path)?.take(72).read_to_end(&mut beginning)?;
    Ok(beginning.starts_with(b"SQLite format 3\0")
        && beginning.get(68..) == Some(&APPLICATION_ID.to_be_bytes()))
}

/// Leaves rights to the owner alone.
fn keep_private(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(path: &Path, key: &RecordKey, busy: Duration) -> Result<(), OpenError> {
    let new = beside(path, ".new");
    for leftover in [&new, &beside(&new, "-wal"), &beside(&new, "-shm"), &beside(&new, "-journal")]
    {
        remove(leftover).map_err(files("remove", leftover))?;
    }
    // SQLite gives its other files the mode of this one.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(files("make", &new))?;
    give_to_owner_of_folder(&made, &new).map_err(files("give away", &new))?;
    drop(made);
    let fill = || -> Result<(), OpenError> {
        let explain = |fault: Fault| fault.explain_opening(path);
        let mut connection = schema::connect(&new, Access::Write, busy).map_err(explain)?;
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .and_then(|()| {
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            })
            .map_err(|error| explain(error.into()))?;
        schema::migrate(&mut connection, path, STEPS)?;
        schema::set_meta(&connection, "seal", &key.seal()).map_err(explain)?;
        Tie::new().map_err(files("name", &new))?.write(&connection).map_err(explain)?;
        // Closing writes the log back and removes it.
        connection.close().map_err(|(_, error)| explain(error.into()))
    };
    fill()?;
    let log = beside(&new, "-wal");
    if log.exists() {
        let error = io::Error::other("its log could not be written back");
        return Err(files("finish", &new)(error));
    }
    // Left over from a database that is gone: an empty log belongs to none.
    for leftover in [beside(path, "-wal"), beside(path, "-shm")] {
        remove(&leftover).map_err(files("remove", &leftover))?;
    }
    File::open(&new).and_then(|file| file.sync_all()).map_err(files("sync", &new))?;
    fs::rename(&new, path).map_err(files("make", path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(files("sync", directory))
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
