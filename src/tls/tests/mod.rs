//! Real handshakes over streams in memory, with certificates made for each test.

mod client;
mod peer;
mod pem;
mod server;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// An authority that issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
struct Issued {
    der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.sign(&parameters(names))
    }

    fn sign(&self, parameters: &CertificateParams) -> Issued {
        self.sign_for(parameters, &KeyPair::generate().expect("a key"))
    }

    fn sign_for(&self, parameters: &CertificateParams, key: &KeyPair) -> Issued {
        let made = parameters.signed_by(key, &self.issuer).expect("a certificate");
        Issued { der: made.der().clone(), pem: made.pem(), key: key.serialize_pem() }
    }
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("parameters")
}

/// A folder with the files of a test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    fn write_pair(&self, name: &str, issued: &Issued) -> CertificateFiles {
        CertificateFiles {
            certificate: self.write(&format!("{name}.pem"), &issued.pem),
            key: self.write(&format!("{name}.key"), &issued.key),
        }
    }
}

/// A server with one certificate that asks clients for none.
fn plain(files: CertificateFiles) -> ServerSettings {
    ServerSettings { certificates: vec![files], client_auth: None, alpn: Vec::new() }
}

fn trusting(file: &Path) -> ClientSettings {
    ClientSettings { trust: Trust::File(file.to_owned()), identity: None, alpn: Vec::new() }
}

/// A client without a certificate.
fn client(ca_file: &Path) -> Arc<ClientConfig> {
    Client::load(trusting(ca_file)).expect("a client").config()
}

/// What both sides know after a handshake.
#[derive(Debug)]
struct Met {
    /// Whether a session was resumed.
    is_resumed: bool,
    /// The server's certificate, as the client saw it.
    leaf: CertificateDer<'static>,
    alpn: Option<Vec<u8>>,
    peer: Option<PeerCertificate>,
}

/// Shakes hands, and lets the client read one byte after it, before which it gets its tickets.
async fn meet(server: &Server, client: &Arc<ClientConfig>, name: &str) -> Result<Met, io::Error> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(server.config());
    let accept = async move {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok::<_, io::Error>(stream)
    };
    let connector = TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connect = async move {
        let mut stream = connector.connect(name, near).await?;
        stream.read_u8().await?;
        Ok::<_, io::Error>(stream)
    };
    let (accepted, connected) = tokio::join!(accept, connect);
    let (accepted, connected) = match (accepted, connected) {
        (Ok(accepted), Ok(connected)) => (accepted, connected),
        (accepted, connected) => {
            let words =
                [accepted.err(), connected.err()].map(|fault| fault.map(|fault| fault.to_string()));
            return Err(io::Error::other(format!(
                "server: {:?}; client: {:?}",
                words[0], words[1]
            )));
        }
    };
    let (accepted, connected) = (accepted.get_ref().1, connected.get_ref().1);
    Ok(Met {
        is_resumed: accepted.handshake_kind() == Some(HandshakeKind::Resumed),
        leaf: connected
            .peer_certificates()
            .and_then(<[_]>::first)
            .expect("a certificate")
            .clone()
            .into_owned(),
        alpn: connected.alpn_protocol().map(<[u8]>::to_vec),
        peer: PeerCertificate::of(accepted, SystemTime::now()).expect("names"),
    })
}

/// When changes of now are settled.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}
