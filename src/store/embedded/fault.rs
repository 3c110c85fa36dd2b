//! What can go wrong: while opening ([`OpenError`], for the operator) and afterwards ([`Fault`],
//! which becomes a [`StoreError`]).

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};

use super::files::FileFault;
use crate::store::account_codec::AccountFault;
use crate::store::record_codec::BodyFault;
use crate::tokens::store::StoreError;

/// Why the store was not opened. Nothing was changed, and no error ever means "go on with an empty
/// store".
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "another keyward is using the store {}{}; one store serves one process",
        path.display(), holder(*process)
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// The process that has it open, where it could be told.
        process: Option<u32>,
    },
    /// A file or directory could not be made, read or locked.
    #[error("the store cannot {doing} {}", path.display())]
    Files {
        /// What was to be done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// SQLite could not open or read it, for another reason than damage.
    #[error("the store {} cannot be opened", path.display())]
    Refused {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is something else, or its first bytes are destroyed.
    #[error(
        "{} is not a store of keyward, or its beginning is damaged; give another path, or restore \
         the file from a backup",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Some of what was acknowledged is not there any more.
    #[error(
        "the store {} is damaged: {what}; restore it from a backup (keyward store restore), or \
         move it and the files beside it away to begin with \
         an empty one, which refuses every token that was issued until now",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The log beside the database is not its own.
    #[error(
        "{}-wal is not the log of the store {}: {why}. It was left there by another database, or \
         by this one before a copy was \
         put in its place, and would undo or damage the copy. To use the copy, move {}-wal and \
         {}-shm away, or put it there \
         with \"keyward store restore\", which does so; to go on as before, put the database back \
         that the log belongs to",
        path.display(), path.display(), path.display(), path.display()
    )]
    ForeignLog {
        /// The database.
        path: PathBuf,
        /// How that was seen.
        why: String,
    },
    /// A rollback journal lies beside the database.
    #[error(
        "{}-journal lies beside the store {}: keyward makes no such file, and SQLite would write \
         it back into the store. \
         Another program was interrupted while it changed the store, or the file belongs to \
         another database: move it away, \
         or put a backup in place with \"keyward store restore\", which does so",
        .0.display(), .0.display()
    )]
    Journal(PathBuf),
    /// A newer keyward has changed the layout.
    #[error("the store {} was written by a newer keyward: it has layout {found}, and this one \
             knows up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout that we know.
        known: i64,
    },
    /// Its layout is older, and another process uses it.
    #[error(
        "the store {} has an older layout, which cannot change while the running keyward uses it: \
         stop that one, and start this one without taking over",
        .0.display()
    )]
    Older(PathBuf),
    /// It is not the one that the running keyward has.
    #[error(
        "the store {} is not that of the keyward to take over from: stop that one, and start this \
         one without taking over",
        .0.display()
    )]
    OtherStore(PathBuf),
    /// Written with other keys than ours.
    #[error(
        "the store {} was written with other keys; start keyward with the key directory that \
         belongs to it",
        .0.display()
    )]
    OtherKeys(PathBuf),
}

fn holder(process: Option<u32>) -> String {
    process.map(|id| format!(" (process {id})")).unwrap_or_default()
}

impl From<FileFault> for OpenError {
    fn from(FileFault { doing, path, source }: FileFault) -> Self {
        Self::Files { doing, path, source }
    }
}

/// Why an operation failed inside the store.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    /// A body does not verify, or a column says something else than the body beside it.
    Corrupt(String),
    /// The digest or the id is that of a retired key.
    Taken,
    /// The system refuses something else than a file.
    System(io::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<BodyFault> for Fault {
    fn from(fault: BodyFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

impl From<AccountFault> for Fault {
    fn from(fault: AccountFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

impl Fault {
    /// As an error of the port. `path` is the database: an I/O error on a disk without space is the
    /// lack of space.
    pub(super) fn explain(&self, path: &Path) -> StoreError {
        let error = match self {
            Self::Corrupt(what) => return StoreError::Corrupt(what.clone()),
            Self::Taken => return StoreError::Conflict,
            Self::System(error) => return StoreError::Unavailable(error.to_string()),
            Self::Sqlite(error) => error,
        };
        let words = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation
                    if matches!(
                        failure.extended_code,
                        SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY
                    ) =>
                {
                    StoreError::Conflict
                }
                ErrorCode::DiskFull => StoreError::Full(words),
                // SQLite turns ENOSPC into SQLITE_FULL only where it writes, not where it syncs or
                // grows the -shm file.
                ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if is_full(path) => {
                    StoreError::Full(words)
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(words),
                _ => StoreError::Unavailable(words),
            },
            // The tables are STRICT: a value of the wrong type or length can only come from damage.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(words),
            _ => StoreError::Unavailable(words),
        }
    }

    /// As an error of opening `path`.
    pub(super) fn explain_opening(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match (self.explain(&path), self) {
            (StoreError::Corrupt(what), _) => OpenError::Damaged { path, what },
            (_, Self::Sqlite(source)) => OpenError::Refused { path, source: Box::new(source) },
            (error, _) => OpenError::Refused { path, source: Box::new(error) },
        }
    }
}

/// Says of a failure which database was being opened.
pub(super) trait Opening<T> {
    fn opening(self, path: &Path) -> Result<T, OpenError>;
}

impl<T, E: Into<Fault>> Opening<T> for Result<T, E> {
    fn opening(self, path: &Path) -> Result<T, OpenError> {
        self.map_err(|fault| fault.into().explain_opening(path))
    }
}

fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail == 0)
}
