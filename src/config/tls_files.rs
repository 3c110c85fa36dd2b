//! Looks into the files of a certificate before anything starts: a wrong path is a fault of the configuration.
//!
//! It does not check that key and certificate belong together, nor how long the certificate is good.

use std::path::Path;

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize as _;

/// Checks that a file holds at least one certificate and nothing broken.
pub(super) fn check_certificate(path: &Path) -> Result<(), String> {
    let wrong = |error: Error| describe(path, "certificate", &error);
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
        certificate.map_err(wrong)?;
        found = true;
    }
    if found { Ok(()) } else { Err(wrong(Error::NoItemsFound)) }
}

/// Checks that a file holds a private key.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(describe(path, "private key", &error)),
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

/// The words leave out what the file holds: it may be a key.
fn describe(path: &Path, what: &str, error: &Error) -> String {
    match error {
        Error::Io(error) => format!("{path:?} cannot be read: {error}"),
        Error::NoItemsFound => format!("{path:?} holds no {what} in PEM form"),
        _ => format!("{path:?} is broken: its PEM form cannot be read"),
    }
}
