//! Files that the configuration names, and that are read with it: a file that cannot be used is a
//! fault at the key that names it.

use std::path::{Path, PathBuf};

use crate::files::{self, FileKind, Found};
use crate::settings::Secret;
use crate::settings::describe::Shape;
use crate::settings::kind::{Kind, Text, path};
use crate::settings::section::Given;
use crate::tls::check_roots;

/// What the path of a PEM file must be.
pub(super) const PEM: Text<PathBuf> = path("the path of a PEM file");

/// The largest file that is read as a password.
const LONGEST_PASSWORD: u64 = 4096;

/// The path of a file that is looked into.
pub(super) struct Checked {
    path: Text<PathBuf>,
    check: fn(&Path, &Given<'_>) -> Result<(), String>,
}

/// The path of a file with a password in one line, which is read.
pub(super) struct PasswordFile;

/// PEM certificates of authorities.
pub(super) const AUTHORITIES: Checked =
    Checked { path: PEM, check: |path, _| check_roots(path).map_err(|fault| fault.to_string()) };

/// A JWK set.
pub(super) const KEY_SET: Checked = Checked {
    path: path("the path of a file with a JWK set"),
    check: |path, given| read(path, FileKind::Trusted, 1024 * 1024, given).map(drop),
};

/// A secret that is shared with an issuer.
pub(super) const SHARED_SECRET: Checked = Checked {
    path: path("the path of a file with a shared secret"),
    check: |path, given| read(path, FileKind::Secret, 64 * 1024, given).map(drop),
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

impl Kind for Checked {
    type Value = PathBuf;

    fn what(&self) -> String {
        self.path.what()
    }

    fn shape(&self) -> Shape {
        self.path.shape()
    }

    fn read(&self, given: &Given<'_>) -> Option<PathBuf> {
        let path = self.path.read(given)?;
        if let Err(reason) = (self.check)(&path, given) {
            given.fault_because(&reason);
        }
        Some(path)
    }

    fn spell(&self, path: &PathBuf) -> String {
        self.path.spell(path)
    }
}

impl Kind for PasswordFile {
    type Value = Secret;

    fn what(&self) -> String {
        crate::settings::kind::PATH.what()
    }

    fn shape(&self) -> Shape {
        crate::settings::kind::PATH.shape()
    }

    fn read(&self, given: &Given<'_>) -> Option<Secret> {
        let path = crate::settings::kind::PATH.read(given)?;
        let line = read(&path, FileKind::Secret, LONGEST_PASSWORD, given).and_then(|found| {
            let line = files::one_line(&found.content);
            line.map(|line| line.to_string()).map_err(|fault| format!("{path:?} {fault}"))
        });
        line.map(Secret::new).map_err(|reason| given.fault_because(&reason)).ok()
    }

    fn spell(&self, _: &Secret) -> String {
        "\"[secret]\"".to_owned()
    }
}
