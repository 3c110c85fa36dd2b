//! Certificates for listeners, and clients that speak TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::TIMEOUT;
use super::client::Client;
use super::message::Response;
pub(crate) use super::transport::TlsStream;

/// A certificate and its key.
pub(crate) type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A self-signed certificate, whose files are in a folder.
pub(crate) struct SelfSigned {
    pub(crate) der: CertificateDer<'static>,
    /// As a listener's `tls` has it.
    pub(crate) line: String,
}

/// Makes a certificate for this name, and its files.
pub(crate) fn self_signed(folder: &Path, name: &str) -> SelfSigned {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let (certificate, key) =
        (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    SelfSigned {
        der: made.cert.der().clone(),
        line: format!(
            "{{ certificate = \"{}\", key = \"{}\" }}",
            certificate.display(),
            key.display()
        ),
    }
}

/// A connection whose handshake is over: with this server name, trusting these certificates alone,
/// with a certificate of the client's own or without, offering these protocols by ALPN.
pub(crate) fn handshake(
    address: SocketAddr,
    name: &str,
    trusted: &[&SelfSigned],
    identity: Option<Identity>,
    protocols: &[&str],
) -> io::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der.clone()).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// A client of HTTP/1.1 over TLS that trusts these certificates alone.
pub(crate) fn connect(
    address: SocketAddr,
    name: &str,
    trusted: &[&SelfSigned],
) -> io::Result<Client> {
    handshake(address, name, trusted, None, &["http/1.1"]).map(Client::over)
}

/// The response to this request, which has `Connection: close`, on a connection of its own.
///
/// # Errors
///
/// When the server is not trusted, when there is no whole response, and when the end of the
/// connection comes without the `close_notify` of TLS.
pub(crate) fn ask(
    address: SocketAddr,
    name: &str,
    trusted: &[&SelfSigned],
    request: &str,
) -> io::Result<Response> {
    let mut client = connect(address, name, trusted)?;
    client.send(request);
    let response = client.final_response("GET");
    let rest = client.rest();
    if let Some(error) = client.take_error() {
        return Err(error);
    }
    match (response, rest) {
        (Ok((response, _)), Ok(rest)) if rest.is_empty() => Ok(response),
        (response, rest) => Err(io::Error::other(format!("{response:?}, then {rest:?}"))),
    }
}
