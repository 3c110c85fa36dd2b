//! Looks into the files of certificates, keys and secrets before anything starts, with the code
//! that loads them: a file that cannot be used is a fault of the configuration, at the key that
//! names it.
//!
//! A certificate that is not valid now is a warning: its file may be replaced while keyward runs.

use std::path::Path;
use std::time::SystemTime;

use super::section::Section;
use crate::files::{self, FileKind, Found};
use crate::tls::{CertificateFiles, check_roots, faults_of_identity, not_valid_at};

/// Checks that a file holds certificates of authorities.
pub(super) fn check_authorities(path: &Path) -> Result<(), String> {
    check_roots(path).map_err(|fault| fault.to_string())
}

/// Checks that a certificate and its key can be used together. Faults are reported at the keys that
/// name the two files.
pub(super) fn check_identity(
    section: &Section<'_>,
    [certificate, key]: [&str; 2],
    files: &CertificateFiles,
) {
    for fault in faults_of_identity(files) {
        let at = if fault.path() == Some(files.certificate.as_path()) { certificate } else { key };
        section.fault(at, format!("{at:?}: {fault}"));
    }
    if let Some(warning) = not_valid_at(&files.certificate, SystemTime::now()) {
        section.warn(certificate, format!("{certificate:?}: {:?} {warning}", files.certificate));
    }
    if let Ok(Some(warning)) = files::judge(&files.key, FileKind::Secret) {
        section.warn(key, format!("{key:?}: {:?} {warning}", files.key));
    }
}

/// What a file that decides on access is for, and the most that it may have, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) kind: FileKind,
    pub(super) most: u64,
}

/// Reads a secret or a key set that the configuration names: it must hold something, and no other
/// user may be able to write it. A warning is reported at the key that names it.
pub(super) fn read_secret(
    section: &Section<'_>,
    key: &'static str,
    path: &Path,
    expected: Expected,
) -> Result<Found, String> {
    let read = match expected.kind {
        FileKind::Secret => files::read_secret(path, expected.most),
        FileKind::Trusted => files::read_trusted(path, expected.most),
    };
    let found = read.map_err(|fault| format!("{path:?} {fault}"))?;
    if let Some(warning) = &found.warning {
        section.warn(key, format!("{key:?}: {path:?} {warning}"));
    }
    if found.content.is_empty() { Err(format!("{path:?} is empty")) } else { Ok(found) }
}
