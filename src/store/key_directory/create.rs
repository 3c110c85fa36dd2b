//! Makes a directory of keys before anything runs: to be mounted read-only by all instances of a
//! fleet.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{KeyDirectory, KeyDirectoryError};
use crate::domain::Timestamp;
use crate::tokens::signed::SigningAlgorithm;

/// Makes everything that a start would make in `directory`, with a signing key for each of
/// `algorithms`, and names the files.
///
/// # Errors
///
/// See [`KeyDirectoryError`]. A directory that holds anything is refused: a key that is overwritten
/// is lost with all of its tokens. After an error, nothing is left of what was made.
pub fn create(
    directory: &Path,
    algorithms: &[SigningAlgorithm],
    now: Timestamp,
) -> Result<Vec<PathBuf>, KeyDirectoryError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?;
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        Ok(paths)
    };
    match list() {
        Ok(found) if !found.is_empty() => {
            let fault =
                "is not empty: nothing is overwritten. Name a folder that is empty or is not there";
            return Err(KeyDirectoryError::malformed(directory, fault));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(KeyDirectoryError::files(directory)(error));
        }
        _ => {}
    }
    if let Err(fault) = KeyDirectory::open(directory, algorithms, now) {
        // Best effort: what cannot be removed makes the next call refuse the folder.
        for path in list().unwrap_or_default() {
            let _ = fs::remove_file(path);
        }
        return Err(fault);
    }
    list().map_err(KeyDirectoryError::files(directory))
}
