//! The files of a store: `<path>`, SQLite's `<path>-wal` and `<path>-shm`, `<path>.lock`, and for a
//! moment `<path>.new`.
//!
//! SQLite must not have a database open while its files are read by this module: closing a file
//! would drop the locks that SQLite has on it.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// "kwrd" in SQLite's header: the database is keyward's.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"kwrd");

/// What could not be done with which file.
#[derive(Debug)]
pub(super) struct FileFault {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

pub(super) fn cannot(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileFault {
    move |source| FileFault { doing, path: path.to_owned(), source }
}

/// `path` in full: the working directory may change, and SQLite takes `file:…` for a URL.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, FileFault> {
    std::path::absolute(path).map_err(cannot("find", path))
}

/// What a store has beside its database, by the endings of their names.
pub(super) const BESIDE: [&str; 6] = ["", "-wal", "-shm", "-journal", ".lock", ".new"];

/// `path` with `ending` after it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The length of a file in bytes, if it is there.
pub(super) fn length(path: &Path) -> Result<Option<u64>, FileFault> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("look at", path)(error)),
    }
}

/// Whether the write-ahead log of the database at `path` holds anything.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Whether the file begins as keyward's databases do
/// (<https://sqlite.org/fileformat2.html#the_database_header>).
pub(super) fn is_ours(path: &Path) -> Result<bool, FileFault> {
    let mut beginning = Vec::with_capacity(72);
    File::open(path)
        .and_then(|file| file.take(72).read_to_end(&mut beginning))
        .map_err(cannot("read", path))?;
    Ok(beginning.starts_with(b"SQLite format 3\0")
        && beginning.get(68..) == Some(&APPLICATION_ID.to_be_bytes()))
}

/// Leaves rights to the owner alone, of the database at `path` and what SQLite has beside it.
pub(super) fn keep_private(path: &Path) -> Result<(), FileFault> {
    for name in ["", "-wal", "-shm"].map(|ending| beside(path, ending)) {
        let kept = match fs::metadata(&name) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(&name, Permissions::from_mode(0o600))
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        kept.map_err(cannot("restrict", &name))?;
    }
    Ok(())
}

/// Removes the file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), FileFault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Has the names in the directory of `path` on the disk.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), FileFault> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(cannot("sync", directory))
}
