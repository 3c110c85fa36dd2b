//! Server side: certificates chosen by name, client certificates, resumption.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

use super::files::Contents;
use super::reload::{Made, Recipe, Reloadable};
use super::{CertificateFiles, OwnCertificate, TlsError, pem, provider, roots};

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// At least one. The first that is for the name that the client asks for (SNI, RFC 6066,
    /// section 3) is used; the first of all for every other client.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate; none: they are not.
    pub client_auth: Option<ClientAuth>,
    /// The protocols that are accepted by ALPN (RFC 7301), best first. A client that offers only
    /// others is refused; one that offers none is served.
    pub alpn: Vec<&'static [u8]>,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that issue them, in PEM form.
    pub ca_file: PathBuf,
    /// What happens without one.
    pub mode: ClientAuthMode,
}

/// What happens to a client without a certificate. One with a certificate of another authority is
/// refused in both modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// It is served.
    Optional,
    /// It is refused in the handshake.
    Required,
}

/// The server side of TLS: its configuration in force, and the files that it was made from.
///
/// Sessions are resumed by tickets (RFC 8446, section 2.2; RFC 5077) under keys that change every
/// six hours and are never written down; 0-RTT is off, since its requests can be replayed. A
/// session goes on when only the server's certificates are renewed. When the authorities of clients
/// change, so do the keys: no session outlives the rule that admitted it.
pub type Server = Reloadable<ServerRecipe>;

/// How the configuration of a server is made.
pub struct ServerRecipe {
    settings: ServerSettings,
    /// None: before the first configuration.
    sessions: Option<Sessions>,
}

impl From<ServerSettings> for ServerRecipe {
    fn from(settings: ServerSettings) -> Self {
        Self { settings, sessions: None }
    }
}

/// The keys of tickets, and the authorities under which they are good.
struct Sessions {
    client_authorities: Vec<CertificateDer<'static>>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl Recipe for ServerRecipe {
    type Config = ServerConfig;

    fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.settings.certificates.iter();
        let mut paths: Vec<_> =
            pairs.flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]).collect();
        paths.extend(self.settings.client_auth.iter().map(|clients| clients.ca_file.clone()));
        paths
    }

    fn make(&mut self, contents: &Contents) -> Result<Made<ServerConfig>, TlsError> {
        let provider = provider();
        let identities = self
            .settings
            .certificates
            .iter()
            .map(|files| pem::identity(files, contents, &provider).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        if identities.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let shown = self.settings.certificates.iter().zip(&identities);
        let certificates = shown
            .filter_map(|(files, identity)| OwnCertificate::of(&files.certificate, &identity.cert))
            .collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let (builder, client_authorities) = match &self.settings.client_auth {
            None => (builder.with_no_client_auth(), Vec::new()),
            Some(ClientAuth { ca_file, mode }) => {
                let certificates = pem::certificates(ca_file, contents)?;
                let roots = roots::store(ca_file, certificates.clone())?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match mode {
                    ClientAuthMode::Optional => verifier.allow_unauthenticated(),
                    ClientAuthMode::Required => verifier,
                };
                let verifier = verifier.build().map_err(|fault| {
                    TlsError::unusable(ca_file, format!("cannot be used for clients: {fault}"))
                })?;
                (builder.with_client_cert_verifier(verifier), certificates)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(identities)));
        config.alpn_protocols =
            self.settings.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Last: a configuration that is refused changes no keys.
        let sessions = match self.sessions.take() {
            Some(old) if old.client_authorities == client_authorities => old,
            _ => Sessions { client_authorities, ticketer: Ticketer::new()? },
        };
        config.ticketer = Arc::clone(&self.sessions.insert(sessions).ticketer);
        Ok(Made { config, certificates })
    }
}

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.0.first()?;
        let asked = hello.server_name().filter(|_| self.0.len() > 1);
        let asked = asked.and_then(|name| ServerName::try_from(name.trim_end_matches('.')).ok());
        let found = asked.and_then(|asked| self.0.iter().find(|identity| is_for(identity, &asked)));
        Some(Arc::clone(found.unwrap_or(first)))
    }
}

/// Whether a client would take a certificate for one of this name, wildcards included (RFC 9525,
/// section 6.3).
fn is_for(identity: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let leaf = identity.end_entity_cert().ok().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
    leaf.is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
}
