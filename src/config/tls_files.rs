//! Looks into the files of certificates and keys before anything starts, with the code that loads them: a file that cannot
//! be used is a fault of the configuration, at the key that names it.
//!
//! It does not check how long a certificate is good.

use std::path::Path;

use zeroize::Zeroize as _;

use super::section::Section;
use crate::tls::{CertificateFiles, check_roots, faults_of_identity};

/// Checks that a file holds certificates of authorities.
pub(super) fn check_authorities(path: &Path) -> Result<(), String> {
    check_roots(path).map_err(|fault| fault.to_string())
}

/// Checks that a certificate and its key can be used together. Faults are reported at the keys that name the two files.
pub(super) fn check_identity(section: &Section<'_>, [certificate, key]: [&str; 2], files: &CertificateFiles) {
    for fault in faults_of_identity(files) {
        let at = if fault.path() == Some(files.certificate.as_path()) { certificate } else { key };
        section.fault(at, format!("{at:?}: {fault}"));
    }
}

/// Checks that a file can be read, holds something, and is not too large to be what it should be.
pub(super) fn check_readable(path: &Path, most: u64) -> Result<(), String> {
    use std::io::Read as _;
    let unreadable = |error| format!("{path:?} cannot be read: {error}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    bytes.zeroize();
    match length {
        0 => Err(format!("{path:?} is empty")),
        length if length > most => Err(format!("{path:?} has more than {most} bytes")),
        _ => Ok(()),
    }
}
