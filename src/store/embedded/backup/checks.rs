//! What is checked before a copy is made or put in place.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::super::fault::OpenError;
use super::super::files::{self, BESIDE, FileFault, beside, cannot};
use super::outcome::{BackupError, Existing};

pub(super) fn check_target(
    store: &Path,
    target: &Path,
    existing: Existing,
) -> Result<(), BackupError> {
    let refused = |why| Err(BackupError::Exists { path: target.to_owned(), why });
    if is_name_of_store(store, target) {
        return Err(BackupError::OfStore(target.to_owned()));
    }
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(cannot("look at", target))?,
    };
    if is_of_store(store, target)? {
        return refused("belongs to the store itself");
    }
    if existing == Existing::Refuse {
        return refused(
            "is not overwritten: name another file, or say --replace to replace an earlier backup",
        );
    }
    if !found.is_file() || !files::is_ours(target)? {
        return refused("is no backup of a store of keyward, so --replace does not replace it");
    }
    Ok(())
}

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
pub(super) fn is_of_store(store: &Path, path: &Path) -> Result<bool, FileFault> {
    let identity = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("look at", path)(error)),
    };
    let Some(found) = identity(path)? else { return Ok(false) };
    for ending in BESIDE {
        if identity(&beside(store, ending))? == Some(found) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was found in a copy of the store is found in the store.
pub(super) fn for_store(fault: OpenError, store: &Path) -> BackupError {
    let path = store.to_owned();
    BackupError::Store(match fault {
        OpenError::Damaged { what, .. } => OpenError::Damaged { path, what },
        OpenError::OtherKeys { .. } => OpenError::OtherKeys(path),
        OpenError::Newer { found, known, .. } => OpenError::Newer { path, found, known },
        other => other,
    })
}
