//! Client side: towards upstreams, issuers and Redis.

#![expect(
    clippy::disallowed_methods,
    reason = "files are compared with the time at which they were read"
)]

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::sign::SingleCertAndKey;

use super::files::Contents;
use super::reload::{Recipe, RefreshOutcome, Reloadable};
use super::watch::Watched;
use super::{CertificateFiles, TlsError, Trust, pem, provider, roots};

/// How keyward connects over TLS. There is no way to leave the check of the server's certificate
/// out.
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
pub struct Client(Reloadable<ClientRecipe>);

impl Client {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When a file cannot be used, or the system trusts no authority; the operator's to mend.
    pub fn load(settings: ClientSettings) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(Reloadable::load(ClientRecipe(settings), SystemTime::now())?)))
    }

    /// The configuration in force. Ask for it at each handshake: it costs one atomic increment, and
    /// keeps sessions for as long as the files stay the same.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.config()
    }
}

impl Watched for Client {
    fn refresh(&self, now: SystemTime) -> RefreshOutcome {
        self.0.refresh(now)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.paths()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("files", &self.0.paths()).finish_non_exhaustive()
    }
}

struct ClientRecipe(ClientSettings);

impl Recipe for ClientRecipe {
    type Config = ClientConfig;

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        if let Trust::File(path) = &self.0.trust {
            paths.push(path.clone());
        }
        if let Some(files) = &self.0.identity {
            paths.extend([files.certificate.clone(), files.key.clone()]);
        }
        paths
    }

    fn make(&mut self, contents: &Contents) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let roots = match &self.0.trust {
            Trust::System => roots::of_system()?,
            Trust::File(path) => roots::of_file(path, contents)?,
        };
        let identity = self
            .0
            .identity
            .as_ref()
            .map(|files| pem::identity(files, contents, &provider))
            .transpose()?;
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
        config.alpn_protocols = self.0.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}
