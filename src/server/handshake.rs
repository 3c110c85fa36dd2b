//! What comes before HTTP on a new connection: the PROXY header and the TLS handshake.

#![expect(clippy::disallowed_methods, reason = "a certificate is checked against the wall clock")]

use std::io;
use std::time::SystemTime;

use super::listener::ListenerSettings;
use super::proxy_protocol::{self, NamedSource};
use super::stream::ClientStream;
use crate::gateway::{ClientCertificate, ClientOrigin, PeerAddress, Scheme};
use crate::tls::PeerCertificate;

/// The PROXY header and the TLS handshake, where the listener has them.
pub(super) async fn perform(
    mut stream: ClientStream,
    peer: PeerAddress,
    listener: &ListenerSettings,
) -> io::Result<(ClientStream, ClientOrigin, Option<ClientCertificate>)> {
    let mut certificate = None;
    let by_itself = listener.proxies_if_trusted(&peer);
    // The sender of a PROXY header passes bytes on unchanged, so forwarding headers come from the
    // client that it names.
    let (address, trusted_proxies) = if !listener.requires_proxy_header() {
        (peer.clone(), by_itself)
    } else if by_itself.is_none() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a trusted proxy"));
    } else {
        match proxy_protocol::read(&mut stream).await? {
            NamedSource::Address(named) => {
                let named = PeerAddress::Ip(named);
                let trusted_proxies = listener.proxies_if_trusted(&named);
                (named, trusted_proxies)
            }
            NamedSource::Sender => (peer.clone(), by_itself),
            NamedSource::Unknown => (peer.clone(), None),
        }
    };
    let (stream, scheme) = match (stream, &listener.tls) {
        (stream, None) => (stream, Scheme::Http),
        (ClientStream::Tcp(stream), Some(tls)) => {
            let accepted = tokio_rustls::TlsAcceptor::from(tls.config()).accept(stream).await?;
            // A session that is resumed may have outlasted the certificate that it was begun with.
            let shown = PeerCertificate::of(accepted.get_ref().1, SystemTime::now())
                .map_err(io::Error::other)?;
            certificate = shown.map(|shown| ClientCertificate::new(&shown.subject, &shown.names));
            (ClientStream::Tls(Box::new(accepted)), Scheme::Https)
        }
        // The configuration has no TLS for Unix sockets.
        (_, Some(_)) => return Err(io::ErrorKind::Unsupported.into()),
    };
    Ok((stream, ClientOrigin { address, peer, scheme, trusted_proxies }, certificate))
}
