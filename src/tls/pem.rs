//! PEM: certificates and keys from the contents of files (RFC 7468).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::time::Time;
use zeroize::Zeroizing;

use super::files::Contents;
use super::{CertificateFiles, TlsError, provider};
use crate::files::text_of;

/// All certificates of a file, at least one.
pub(super) fn certificates(
    path: &Path,
    contents: &Contents,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text_of(contents.of(path)?);
    let unusable = |fault| unusable(path, "certificate", &text, &fault);
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(unusable)?;
    if found.is_empty() { Err(unusable(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The first private key of a file.
fn key(path: &Path, contents: &Contents) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = Zeroizing::new(text_of(contents.of_secret(path)?).into_owned());
    PrivateKeyDer::from_pem_slice(&text).map_err(|fault| {
        let holds = |mark: &[u8]| memchr::memmem::find(&text, mark).is_some();
        // The form of PKCS#8, and that of OpenSSL before it, whose header lines are no base64.
        let is_encrypted =
            holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED");
        if is_encrypted && !matches!(fault, pem::Error::MissingSectionEnd { .. }) {
            return TlsError::unusable(
                path,
                "holds an encrypted private key: decrypt it with \"openssl pkey\"",
            );
        }
        unusable(path, "private key", &text, &fault)
    })
}

/// Everything that is wrong with a certificate and its key; empty: a [`Server`](super::Server) and
/// a [`Client`](super::Client) can use them.
#[must_use]
pub fn faults_of_identity(files: &CertificateFiles) -> Vec<TlsError> {
    let contents = Contents::read(&[files.certificate.clone(), files.key.clone()]);
    let (chain, key) = (certificates(&files.certificate, &contents), key(&files.key, &contents));
    let alone: Vec<_> = chain.err().into_iter().chain(key.err()).collect();
    if alone.is_empty() {
        identity(files, &contents, &provider()).err().into_iter().collect()
    } else {
        alone
    }
}

/// Why clients refuse the certificate of a chain at `now`, to be read after the file's name. None:
/// it is valid, or cannot be read, which [`faults_of_identity`] reports.
#[must_use]
pub fn not_valid_at(path: &Path, now: SystemTime) -> Option<String> {
    let contents = Contents::read(&[path.to_owned()]);
    let (from, until) = validity(&certificates(path, &contents).ok()?)?;
    if until.to_system_time() < now {
        Some(format!("expired on {until}: clients refuse it; put a new one in its place"))
    } else if now < from.to_system_time() {
        Some(format!("is not valid before {from}: clients refuse it until then"))
    } else {
        None
    }
}

/// From when on and until when the certificate of a chain is valid. None: it cannot be read.
fn validity(chain: &[CertificateDer<'_>]) -> Option<(Time, Time)> {
    let leaf = CertificateInner::<Raw>::from_der(chain.first()?).ok()?;
    let validity = leaf.tbs_certificate().validity();
    Some((validity.not_before, validity.not_after))
}

/// A certificate that keyward shows, and when it is valid (RFC 5280, section 4.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The file of its chain.
    pub file: PathBuf,
    /// From when on.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl OwnCertificate {
    /// The certificate of a chain that was read from `file`. None: it cannot be read.
    pub(super) fn of(file: &Path, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (from, until) = validity(chain)?;
        Some(Self {
            file: file.to_owned(),
            not_before: from.to_system_time(),
            not_after: until.to_system_time(),
        })
    }
}

/// A chain and its key, which belong together.
pub(super) fn identity(
    files: &CertificateFiles,
    contents: &Contents,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate, contents)?;
    let key = key(&files.key, contents)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        TlsError::unusable(
            &files.key,
            "holds a private key that cannot be used: RSA, ECDSA and Ed25519 keys can be",
        )
    })?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        // Unknown: the key does not tell its public half. aws-lc-rs's keys all do.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(identity),
        Err(Error::InconsistentKeys(_)) => Err(mismatch(files, identity)),
        Err(fault) => Err(TlsError::unusable(
            &files.certificate,
            format!("is broken: its first certificate cannot be read ({fault})"),
        )),
    }
}

/// The first certificate is not the key's: the chain is in the wrong order, or of another key.
fn mismatch(files: &CertificateFiles, identity: CertifiedKey) -> TlsError {
    let CertifiedKey { cert, key, .. } = identity;
    let fits = |certificate: CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate], key.clone()).keys_match()
    };
    match cert.into_iter().position(|certificate| fits(certificate).is_ok()) {
        Some(at) => TlsError::unusable(
            &files.certificate,
            format!(
                "is in the wrong order: the certificate of the key {:?} is number {} in it. Put it \
                 first, and after each certificate the one of its issuer",
                files.key,
                at + 1
            ),
        ),
        None => TlsError::unusable(
            &files.key,
            format!(
                "does not fit {:?}: it is the key of another certificate. Name the key that this \
                 certificate was made for",
                files.certificate
            ),
        ),
    }
}

fn unusable(path: &Path, what: &str, content: &[u8], fault: &pem::Error) -> TlsError {
    let (command, label) = match what {
        "certificate" => ("x509", "CERTIFICATE"),
        _ => ("pkey", "PRIVATE KEY"),
    };
    // Errors that quote the file are left out: it may hold a key.
    let problem = match fault {
        // In DER form: a sequence whose length takes one to three bytes more.
        pem::Error::NoItemsFound if matches!(content, [0x30, 0x81..=0x83, ..]) => format!(
            "holds no {what} in PEM form: it is in DER form, or a PKCS#12 archive. Convert it with \
             \"openssl {command} -inform DER\" or \"openssl pkcs12\""
        ),
        pem::Error::NoItemsFound => {
            format!("holds no {what} in PEM form: it should have a line -----BEGIN {label}-----")
        }
        pem::Error::MissingSectionEnd { .. } => {
            "is broken: its last PEM section has no end".to_owned()
        }
        _ => "is broken: its PEM form cannot be read".to_owned(),
    };
    TlsError::unusable(path, problem)
}
