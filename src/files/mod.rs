//! Files that an operator hands to keyward: their access rights, and the text in their bytes.
//!
//! [`read`] is for every file, [`read_trusted`] for one whose content decides on access (a key
//! set), [`read_secret`] for one that no other user should see. [`text_of`] removes byte order
//! marks and the encoding UTF-16 of a text. Readers take line ends of both kinds; [`one_line`] and
//! [`shared_secret`] do so for secrets.
//!
//! A file may come from a mount: a Secret volume of Kubernetes (symbolic links in a sticky folder
//! that every user may write to), a Docker secret, a credential of systemd. What decides is which
//! users could *write* it, see [`judge`].

mod access;
mod access_list;
mod error;
mod made;
mod text;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use access::Access;
pub use access::{FileKind, check_folder};
pub use error::FileError;
pub use made::{give_to_owner_of_folder, make_folder};
pub use text::{one_line, shared_secret, text_of};

/// The content of a file, and a warning about its rights.
pub struct Found {
    /// All of it; wiped when dropped.
    pub content: Zeroizing<Vec<u8>>,
    /// What is allowed and probably not meant, to be read after the file's name.
    pub warning: Option<String>,
}

/// Reads a file whole.
///
/// # Errors
///
/// It cannot be read, or has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_open(&open(path)?, most)
}

/// Opens a file for reading. A pipe in a folder is refused: opening it would wait until another
/// process writes to it, at every start and reload. One without a name, as a shell makes it for
/// `<(command)`, is already written to.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.file_type().is_fifo() && std::fs::canonicalize(path).is_ok() {
        return Err(io::Error::other("it is a named pipe: name a file"));
    }
    File::open(path)
}

/// Reads a file that holds nothing secret and decides on access, such as a set of public keys.
///
/// # Errors
///
/// As [`read`], and when another user could write it.
pub fn read_trusted(path: &Path, most: u64) -> Result<Found, FileError> {
    read_checked(path, most, FileKind::Trusted)
}

/// Reads a file that holds a secret. That every user can read it is a warning, not an error: it is
/// what mounts of secrets do by default.
///
/// # Errors
///
/// As [`read`], and when another user could write it.
pub fn read_secret(path: &Path, most: u64) -> Result<Found, FileError> {
    read_checked(path, most, FileKind::Secret)
}

/// Checks which other users could change or see a file, as [`read_trusted`] and [`read_secret`] do.
/// What is returned is worth a warning.
///
/// # Errors
///
/// Another user could write it, or it cannot be looked at.
pub fn judge(path: &Path, kind: FileKind) -> Result<Option<String>, FileError> {
    let found = std::fs::metadata(path)?;
    if found.is_file() { Access::of(path, &found)?.judge(kind) } else { Ok(None) }
}

fn read_checked(path: &Path, most: u64, kind: FileKind) -> Result<Found, FileError> {
    // The file that is looked at is the file that is read, whatever happens to its name meanwhile.
    let file = open(path)?;
    let found = file.metadata()?;
    // A pipe is in no folder: it was made by the process that started us.
    let warning = if found.is_file() { Access::of(path, &found)?.judge(kind)? } else { None };
    Ok(Found { content: read_open(&file, most)?, warning })
}

fn read_open(file: &File, most: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if found.is_file() && found.len() > most {
        return Err(FileError::TooLarge { most });
    }
    // With enough capacity for all of it: a vector that grows leaves copies of a secret behind.
    let capacity = usize::try_from(found.len()).unwrap_or_default().saturating_add(1);
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > most) {
        return Err(FileError::TooLarge { most });
    }
    Ok(content)
}
