//! Client side: towards upstreams, issuers and Redis.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::files::Contents;
use super::reload::{Made, Part, Recipe, Reloadable, Renewal};
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
pub type Client = Reloadable<ClientRecipe>;

/// How the configuration of a client is made.
pub struct ClientRecipe {
    trust: Trust,
    roots: Part<Arc<RootCertStore>>,
    identity: Option<Identity>,
    alpn: Vec<&'static [u8]>,
}

struct Identity {
    files: CertificateFiles,
    part: Part<CertifiedKey>,
}

impl From<ClientSettings> for ClientRecipe {
    fn from(settings: ClientSettings) -> Self {
        let ClientSettings { trust, identity, alpn } = settings;
        let roots = Part::new(match &trust {
            Trust::System => Vec::new(),
            Trust::File(path) => vec![path.clone()],
        });
        let identity = identity.map(|files| Identity { part: Part::new(files.paths()), files });
        Self { trust, roots, identity, alpn }
    }
}

impl Recipe for ClientRecipe {
    type Config = ClientConfig;

    fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|identity| identity.part.files());
        self.roots.files().iter().chain(identity).cloned().collect()
    }

    fn renew(&mut self, contents: &Contents) -> Renewal {
        let mut renewal = Renewal::default();
        self.roots.renew(contents, &mut renewal, || {
            Ok(Arc::new(match &self.trust {
                Trust::System => roots::of_system()?,
                Trust::File(path) => roots::of_file(path, contents)?,
            }))
        });
        if let Some(Identity { files, part }) = &mut self.identity {
            part.renew(contents, &mut renewal, || pem::identity(files, contents, &provider()));
        }
        renewal
    }

    fn make(&mut self) -> Result<Made<ClientConfig>, TlsError> {
        let roots = self.roots.value().cloned();
        let roots = roots.ok_or_else(|| TlsError::NoSystemRoots(String::new()))?;
        let identity = self.identity.as_ref();
        let shown = identity.and_then(|identity| identity.part.value().zip(Some(&identity.files)));
        let certificates = shown
            .and_then(|(identity, files)| OwnCertificate::of(&files.certificate, &identity.cert))
            .into_iter()
            .collect();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        // Each configuration has its own store of sessions: none is resumed that another trust or
        // identity began.
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((identity, _)) => {
                let identity = SingleCertAndKey::from(identity.clone());
                builder.with_client_cert_resolver(Arc::new(identity))
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Made { config, certificates })
    }
}
