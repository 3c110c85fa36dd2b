//! What becomes of a backup or a restoration.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::super::fault::OpenError;
use super::super::files::FileFault;

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
        .0.display()
    )]
    OfStore(PathBuf),
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

impl From<FileFault> for BackupError {
    fn from(FileFault { doing, path, source }: FileFault) -> Self {
        Self::Files { doing, path, source }
    }
}

/// A failure to give a copy its name.
pub(super) fn as_published(fault: FileFault) -> BackupError {
    if fault.source.kind() == ErrorKind::AlreadyExists {
        let why = "was made while this was under way";
        return BackupError::Exists { path: fault.path, why };
    }
    fault.into()
}
