//! A client that says exactly the bytes it is told to, and reads what comes back by the letter.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::message::{Fault, Response, Wire};

/// One connection to keyward (or to anything else).
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Self { wire: Wire::new(stream, PATIENCE) }
    }

    /// A connection if one can be had, for a peer that may just have died.
    pub(crate) fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        Some(Self { wire: Wire::new(stream, PATIENCE) })
    }

    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.wire.set_patience(patience);
        self
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes.as_ref());
    }

    /// Closes the sending side only.
    pub(crate) fn finish(&mut self) {
        let _ = self.wire.stream().shutdown(Shutdown::Write);
    }

    /// Closes the connection with a reset, as a client that is gone does.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(self.wire.stream());
        socket.set_linger(Some(Duration::ZERO)).expect("an option can be set");
    }

    /// The next response, interim ones (1xx) too.
    pub(crate) fn response(&mut self) -> Result<Response, Fault> {
        self.wire.response("GET")
    }

    /// The next final response to a request of this method, and the statuses of the interim ones
    /// before it.
    pub(crate) fn final_response(
        &mut self,
        method: &str,
    ) -> Result<(Response, Vec<Response>), Fault> {
        let mut interim = Vec::new();
        loop {
            let response = self.wire.response(method)?;
            if response.status >= 200 || response.status == 101 {
                return Ok((response, interim));
            }
            interim.push(response);
        }
    }

    /// Sends one request and reads its final response.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        self.send(bytes);
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        match self.final_response(method) {
            Ok((response, _)) => response,
            Err(fault) => panic!("no answer to {:?}: {fault:?}", String::from_utf8_lossy(bytes)),
        }
    }

    /// Some bytes, at least one; none when the peer has closed.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, Fault> {
        self.wire.some()
    }

    /// Exactly so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        self.wire.exactly(count)
    }

    /// What comes until the peer closes; a fault if it does not close in time.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, Fault> {
        self.wire.rest()
    }

    /// Every byte that ever came.
    pub(crate) fn seen(&self) -> &[u8] {
        self.wire.seen()
    }
}
