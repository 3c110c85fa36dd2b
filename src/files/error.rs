//! Why a file is not used.

use std::io;

/// Why a file is not used: the operator's to mend. The words are to be read after the file's name,
/// and say nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let us read it.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too large to be what it should be.
    #[error("has more than {most} bytes")]
    TooLarge {
        /// What it may have, in bytes.
        most: u64,
    },
    /// A user other than root, keyward's and its groups' could change it.
    #[error("{0}")]
    Writable(String),
    /// Its content is not what it should be.
    #[error("{0}")]
    Content(String),
}
