//! TLS for every side of keyward: listeners, upstreams, issuers and Redis.
//!
//! rustls with aws-lc-rs, TLS 1.2 and 1.3. A [`Server`] and a [`Client`] are made from files in PEM
//! form. Both hand out a rustls configuration per handshake, and a [`Watcher`] replaces that
//! configuration when a file has changed: handshakes under way and open connections keep the one
//! that they began with.
//!
//! ```text
//! files (stamps, contents) → pem, roots → Server, Client (one rustls configuration each) ← Watcher, once a second
//! ```
//!
//! It does not connect, accept or choose addresses, and it knows nothing of HTTP or Redis: ALPN
//! protocols and server names are given by the caller.

mod by_name;
mod client;
mod files;
mod peer;
mod pem;
mod reload;
mod roots;
mod server;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{Client, ClientSettings};
pub use peer::{PeerCertificate, PeerCertificateError};
pub use pem::{OwnCertificate, faults_of_identity, not_valid_at};
pub use reload::{Refreshed, Watched};
pub use roots::{Trust, check_roots};
pub use server::{ClientAuth, ClientAuthMode, Server, ServerSettings};
pub use watch::{LOOK_EVERY, Watcher};

/// A certificate chain and its key, as PEM files. A byte order mark and CRLF line ends are
/// understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain: the certificate of the key first, then the certificates of its issuers.
    pub certificate: PathBuf,
    /// The private key, not encrypted: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
}

impl CertificateFiles {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }
}

/// Files that cannot be used for TLS: the operator's to mend. The message names the file, and
/// quotes nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file can be read and does not hold what it should.
    #[error("{path:?} {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do, to be read after the file's name.
        problem: String,
    },
    /// The system has no certificates of authorities.
    #[error(
        "the system trusts no certificate authority{0}: install its package of them \
         (ca-certificates), or set \"ca_file\""
    )]
    NoSystemRoots(String),
    /// A server without a certificate.
    #[error("no certificate is configured")]
    NoCertificate,
    /// rustls refuses the combination.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    /// The file that is at fault, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. } | Self::Unusable { path, .. } => Some(path),
            Self::NoSystemRoots(_) | Self::NoCertificate | Self::Setup(_) => None,
        }
    }

    fn unusable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), problem: problem.into() }
    }
}

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
