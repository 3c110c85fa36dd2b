//! Trust: the certificates of authorities, from the system or from a file.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::files::Contents;
use super::{TlsError, pem};

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. They are read
    /// when a configuration is loaded and are not watched.
    System,
    /// Those in this PEM file, and no other.
    File(PathBuf),
}

/// Checks that a file holds certificates that can be trusted as authorities.
///
/// # Errors
///
/// When it cannot be read, or holds none, or one that cannot be used.
pub fn check_roots(path: &Path) -> Result<(), TlsError> {
    of_file(path, &Contents::read(&[path.to_owned()])).map(drop)
}

/// The system's own: an operator's additions are among them, and they are updated with the system.
pub(super) fn of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that cannot be read is no reason to do without the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |fault| format!(" ({fault})"));
        return Err(TlsError::NoSystemRoots(why));
    }
    Ok(roots)
}

pub(super) fn of_file(path: &Path, contents: &Contents) -> Result<RootCertStore, TlsError> {
    store(path, pem::certificates(path, contents)?)
}

pub(super) fn store(
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|fault| {
            TlsError::unusable(
                path,
                format!("is broken: certificate {} in it cannot be used ({fault})", at + 1),
            )
        })?;
    }
    Ok(roots)
}
