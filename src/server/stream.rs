//! A client's byte stream.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::wire::byte_stream::ByteStream;
use crate::wire::keep_alive;

pub(super) type ClientStream = ByteStream<TlsStream<TcpStream>>;

impl ClientStream {
    /// The error that the system has noted for the connection since it was last asked, if any.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        let noted = match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Tls(stream) => stream.get_ref().0.take_error(),
            Self::Unix(stream) => stream.take_error(),
        };
        noted.ok().flatten()
    }

    /// Whether the connection is reset when the stream is dropped, with what was not sent yet, or
    /// closed in good order. A Unix socket cannot be reset.
    pub(super) fn reset_on_drop(&self, is_reset: bool) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return,
        };
        let linger = is_reset.then_some(Duration::ZERO);
        if let Err(fault) = SockRef::from(stream).set_linger(linger) {
            tracing::debug!(%fault, "the end of a broken response is not told from a whole one");
        }
    }

    /// Has the system notice when the other end is no longer there, even if neither end ever sends
    /// anything.
    pub(super) fn probe_when_silent(&self) {
        match self {
            Self::Tcp(stream) => keep_alive::probe(stream),
            Self::Tls(stream) => keep_alive::probe(stream.get_ref().0),
            // The system ends a Unix socket with the process at its other end.
            Self::Unix(_) => {}
        }
    }

    /// Whether HTTP/2 was agreed on in the TLS handshake (RFC 7301).
    pub(super) fn has_agreed_on_http2(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}
