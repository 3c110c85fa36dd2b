//! Server side: certificates chosen by name, client certificates, resumption.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls_pki_types::CertificateDer;

use super::by_name::{ByName, ServerIdentity};
use super::files::Contents;
use super::reload::{Made, Part, Recipe, Reloadable, Renewal};
use super::{CertificateFiles, TlsError, pem, provider, roots};

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// At least one. Of those for the name that the client asks for (SNI, RFC 6066, section 3), the
    /// first that it can use is shown; the first of all to every other client. So a name may have
    /// certificates of several kinds of keys.
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
    identities: Vec<(CertificateFiles, Part<Arc<ServerIdentity>>)>,
    clients: Option<(ClientAuth, Part<Clients>)>,
    alpn: Vec<&'static [u8]>,
    /// None: before the first configuration.
    sessions: Option<Sessions>,
}

impl From<ServerSettings> for ServerRecipe {
    fn from(settings: ServerSettings) -> Self {
        let ServerSettings { certificates, client_auth, alpn } = settings;
        let clients = client_auth.map(|clients| {
            let part = Part::new(vec![clients.ca_file.clone()]);
            (clients, part)
        });
        let identities = certificates.into_iter().map(|files| {
            let part = Part::new(files.paths());
            (files, part)
        });
        Self { identities: identities.collect(), clients, alpn, sessions: None }
    }
}

/// What is made of the authorities of clients.
struct Clients {
    authorities: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    fn of(settings: &ClientAuth, contents: &Contents) -> Result<Self, TlsError> {
        let ClientAuth { ca_file, mode } = settings;
        let authorities = pem::certificates(ca_file, contents)?;
        let roots = roots::store(ca_file, authorities.clone())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match mode {
            ClientAuthMode::Optional => verifier.allow_unauthenticated(),
            ClientAuthMode::Required => verifier,
        };
        let verifier = verifier.build().map_err(|fault| {
            TlsError::unusable(ca_file, format!("cannot be used for clients: {fault}"))
        })?;
        Ok(Self { authorities, verifier })
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
        let pairs = self.identities.iter().flat_map(|(_, pair)| pair.files());
        let clients = self.clients.iter().flat_map(|(_, clients)| clients.files());
        pairs.chain(clients).cloned().collect()
    }

    fn renew(&mut self, contents: &Contents) -> Renewal {
        let (mut renewal, provider) = (Renewal::default(), provider());
        for (files, pair) in &mut self.identities {
            pair.renew(contents, &mut renewal, || {
                let identity = pem::identity(files, contents, &provider)?;
                Ok(Arc::new(ServerIdentity::of(identity, &files.certificate)))
            });
        }
        if let Some((settings, clients)) = &mut self.clients {
            clients.renew(contents, &mut renewal, || Clients::of(settings, contents));
        }
        renewal
    }

    fn make(&mut self) -> Result<Made<ServerConfig>, TlsError> {
        let identities: Vec<_> =
            self.identities.iter().filter_map(|(_, pair)| pair.value().cloned()).collect();
        if identities.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let certificates =
            identities.iter().filter_map(|identity| identity.certificate.clone()).collect();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let clients = self.clients.as_ref().and_then(|(_, clients)| clients.value());
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(identities)));
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Last: a configuration that is refused changes no keys.
        let client_authorities =
            clients.map(|clients| clients.authorities.clone()).unwrap_or_default();
        let sessions = match self.sessions.take() {
            Some(old) if old.client_authorities == client_authorities => old,
            _ => Sessions { client_authorities, ticketer: Ticketer::new()? },
        };
        config.ticketer = Arc::clone(&self.sessions.insert(sessions).ticketer);
        Ok(Made { config, certificates })
    }
}
