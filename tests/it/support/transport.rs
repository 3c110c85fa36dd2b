//! What the bytes of a connection go through: TCP, a Unix socket, or TLS over TCP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustls::{ClientConnection, StreamOwned};
use socket2::SockRef;

/// TLS over TCP, on the side of the client.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A stream of bytes in both directions.
pub(crate) trait Transport: Read + Write + Send {
    /// The socket below, which has the timeouts and is closed.
    fn socket(&self) -> SockRef<'_>;
}

impl Transport for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Transport for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl Transport for TlsStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.sock)
    }
}
