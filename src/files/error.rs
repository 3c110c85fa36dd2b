//! Why a file is not used.

use std::io;

/// Why a file is not used: the operator's to mend. The message is to be read after the file's name,
/// and quotes nothing of the content.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let us read it.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too large.
    #[error("has more than {most} bytes")]
    TooLarge {
        /// The limit, in bytes.
        most: u64,
    },
    /// A user other than root, keyward's and its groups' could change it.
    #[error("{0}")]
    Writable(String),
    /// Its content is not what it should be.
    #[error("{0}")]
    Content(String),
}
