//! Files that the configuration names, and that are read with it: a file that cannot be used is a
//! fault at the key that names it.

use std::path::{Path, PathBuf};

use crate::files::{self, FileKind, Found};
use crate::settings::Secret;
use crate::settings::describe::Shape;
use crate::settings::kind::{Kind, PATH, Text, path};
use crate::settings::section::Given;
use crate::tls::check_roots;

/// The path of a PEM file, which is looked into with the other file of its pair.
pub(super) const PEM: Text<PathBuf> = path("the path of a PEM file");

/// The path of a file that is read.
pub(super) struct Checked<T> {
    path: Text<PathBuf>,
    /// What becomes of the path, or why the file cannot be used.
    read: fn(PathBuf, &Given<'_>) -> Result<T, String>,
}

/// PEM certificates of authorities.
pub(super) const AUTHORITIES: Checked<PathBuf> = Checked {
    path: PEM,
    read: |path, _| match check_roots(&path) {
        Ok(()) => Ok(path),
        Err(fault) => Err(fault.to_string()),
    },
};

/// A JWK set, at most 1 MiB.
pub(super) const KEY_SET: Checked<PathBuf> = Checked {
    path: path("the path of a file with a JWK set"),
    read: |path, given| {
        read(&path, FileKind::Trusted, 1024 * 1024, given)?;
        Ok(path)
    },
};

/// A secret that is shared with an issuer, at most 64 KiB.
pub(super) const SHARED_SECRET: Checked<PathBuf> = Checked {
    path: path("the path of a file with a shared secret"),
    read: |path, given| {
        read(&path, FileKind::Secret, 64 * 1024, given)?;
        Ok(path)
    },
};

/// A password in one line, at most 4 KiB.
pub(super) const PASSWORD_FILE: Checked<Secret> = Checked {
    path: PATH,
    read: |path, given| {
        let found = read(&path, FileKind::Secret, 4096, given)?;
        match files::one_line(&found.content) {
            Ok(line) => Ok(Secret::new(line.to_string())),
            Err(fault) => Err(format!("{path:?} {fault}")),
        }
    },
};

/// Reads a file that decides on access: it must hold something, and no other user may be able to
/// write it. `most`: in bytes.
fn read(path: &Path, kind: FileKind, most: u64, given: &Given<'_>) -> Result<Found, String> {
    let read = match kind {
        FileKind::Secret => files::read_secret(path, most),
        FileKind::Trusted => files::read_trusted(path, most),
    };
    let found = read.map_err(|fault| format!("{path:?} {fault}"))?;
    if let Some(warning) = &found.warning {
        given.warn(&format!("{path:?} {warning}"));
    }
    if found.content.is_empty() { Err(format!("{path:?} is empty")) } else { Ok(found) }
}

impl<T> Kind for Checked<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        self.path.shape()
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        let path = self.path.read(given)?;
        (self.read)(path, given).map_err(|reason| given.fault_because(&reason)).ok()
    }

    fn spell(&self, _: &T) -> String {
        "\"[file]\"".to_owned()
    }
}
