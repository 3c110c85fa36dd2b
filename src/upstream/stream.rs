//! The byte stream to an endpoint.

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::wire::byte_stream::ByteStream;

/// A connected byte stream to an endpoint.
pub type UpstreamStream = ByteStream<TlsStream<TcpStream>>;

impl UpstreamStream {
    /// Whether the system has something to be read, or an end.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.get_ref().0.poll_read_ready(cx),
        }
    }
}
