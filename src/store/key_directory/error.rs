//! Why a directory of keys cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::FileError;

/// The directory cannot be used: the operator's to correct. Says nothing of a key's contents.
#[derive(Debug, thiserror::Error)]
pub enum KeyDirectoryError {
    /// A file or the directory itself cannot be read or written.
    #[error("{path}: {source}")]
    Files {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key is missing, and the directory cannot be written to.
    #[error(
        "{path}: is missing and cannot be made: {source}; make a whole directory with \"keyward \
         keys create DIR\" and mount \
         that, or let keyward write to this one"
    )]
    Unmade {
        /// The key.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {fault}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it is not.
        fault: String,
    },
}

impl KeyDirectoryError {
    pub(super) fn files(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { path, source }
    }

    pub(super) fn malformed(path: &Path, fault: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), fault: fault.to_string() }
    }

    pub(super) fn of_file(path: &Path, fault: FileError) -> Self {
        match fault {
            FileError::Unreadable(source) => Self::Files { path: path.to_owned(), source },
            other => Self::malformed(path, other),
        }
    }
}
