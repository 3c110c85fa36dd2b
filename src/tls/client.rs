//! Client side: towards upstreams, issuers and Redis.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::sign::SingleCertAndKey;

use super::files::Contents;
use super::reload::{Made, Recipe, Reloadable};
use super::{CertificateFiles, OwnCertificate, TlsError, Trust, pem, provider, roots};

/// How keyward connects over TLS. The server's certificate is always checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Which authorities are trusted.
    pub trust: Trust,
    /// The certificate with which keyward authenticates, where the server asks for one; none:
    /// without.
    pub identity: Option<CertificateFiles>,
    /// The protocols that are offered by ALPN (RFC 7301), best first; empty: the extension is not
    /// sent.
    pub alpn: Vec<&'static [u8]>,
}

/// The client side of TLS: its configuration in force, and the files that it was made from.
pub type Client = Reloadable<ClientSettings>;

impl Recipe for ClientSettings {
    type Config = ClientConfig;

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        if let Trust::File(path) = &self.trust {
            paths.push(path.clone());
        }
        if let Some(files) = &self.identity {
            paths.extend([files.certificate.clone(), files.key.clone()]);
        }
        paths
    }

    fn make(&mut self, contents: &Contents) -> Result<Made<ClientConfig>, TlsError> {
        let provider = provider();
        let roots = match &self.trust {
            Trust::System => roots::of_system()?,
            Trust::File(path) => roots::of_file(path, contents)?,
        };
        let files = self.identity.as_ref();
        let identity = files.map(|files| pem::identity(files, contents, &provider)).transpose()?;
        let shown = files.zip(identity.as_ref());
        let certificates = shown
            .and_then(|(files, identity)| OwnCertificate::of(&files.certificate, &identity.cert))
            .into_iter()
            .collect();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        // Each configuration has its own store of sessions: none is resumed that another trust or
        // identity began.
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Made { config, certificates })
    }
}
