//! A certificate and its private key, which must fit each other. A certificate that is not valid
//! now is a warning: its file may be replaced while keyward runs.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::files::{self, FileKind};
use crate::settings::fault::Spot;
use crate::tls::{CertificateFiles, faults_of_identity, not_valid_at};

/// Checks that a certificate and its key can be used together, with the code that loads them.
/// Faults are reported at the keys that name the two files. `None`: one of them is not named.
#[expect(
    clippy::disallowed_methods,
    reason = "a configuration is read once, outside of any request"
)]
pub(super) fn pair(
    spot: Spot<'_>,
    [certificate_key, private_key]: [&str; 2],
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<CertificateFiles> {
    let files = CertificateFiles { certificate: certificate?, key: key? };
    for fault in faults_of_identity(&files) {
        let is_certificate = fault.path() == Some(files.certificate.as_path());
        let at = if is_certificate { certificate_key } else { private_key };
        spot.fault(at, format!("{at:?}: {fault}"));
    }
    if let Some(warning) = not_valid_at(&files.certificate, SystemTime::now()) {
        let path = &files.certificate;
        spot.warn(certificate_key, format!("{certificate_key:?}: {path:?} {warning}"));
    }
    if let Ok(Some(warning)) = files::judge(&files.key, FileKind::Secret) {
        spot.warn(private_key, format!("{private_key:?}: {:?} {warning}", files.key));
    }
    Some(files)
}
