//! A client that says exactly the bytes it is told to, and reads what comes back by the letter.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::TIMEOUT;
use super::message::{Fault, Response};
use super::transport::Transport;
use super::wire::Wire;

/// One connection to keyward (or to anything else).
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)
            .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Self::over(stream)
    }

    /// A connection to a listener on a Unix socket.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).expect("it is listened on"))
    }

    /// A connection that was made already, and may go through TLS.
    pub(crate) fn over(io: impl Transport + 'static) -> Self {
        Self { wire: Wire::new(io, TIMEOUT) }
    }

    /// A connection if one can be had, for a peer that may just have died.
    pub(crate) fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
        Some(Self::over(stream))
    }

    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.wire.set_timeout(timeout);
        self
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes.as_ref());
    }

    /// Sends bytes to a peer that may have closed, or may take too long to read them.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.try_send(bytes.as_ref())
    }

    /// Closes the sending side only.
    pub(crate) fn finish(&mut self) {
        let _ = self.wire.socket().shutdown(Shutdown::Write);
    }

    /// Closes the connection with a reset, as a client that is gone does.
    pub(crate) fn reset(self) {
        let socket = self.wire.socket();
        socket.set_linger(Some(Duration::ZERO)).expect("an option can be set");
    }

    /// Whether the peer, a process on this machine, has read everything that was sent to it. Linux
    /// says so in `/proc/net/tcp`, for IPv4.
    pub(crate) fn is_read(&self) -> bool {
        let socket = self.wire.socket();
        let address = |address: io::Result<socket2::SockAddr>| {
            let address = address.ok()?.as_socket_ipv4()?;
            let ip = u32::from_ne_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        };
        let own = address(socket.local_addr()).expect("an address of IPv4");
        let peer = address(socket.peer_addr()).expect("an address of IPv4");
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
        // The columns: a number, the local address, the remote one, the state, and what waits to
        // be sent and to be read, with a colon between them.
        let queues = |local: &str, remote: &str| {
            table.lines().find_map(|line| {
                let columns: Vec<_> = line.split_whitespace().collect();
                let found = columns.get(1) == Some(&local) && columns.get(2) == Some(&remote);
                found.then(|| columns.get(4).copied().unwrap_or_default().to_owned())
            })
        };
        queues(&own, &peer).is_some_and(|queues| queues.starts_with("00000000:"))
            && queues(&peer, &own).is_some_and(|queues| queues.ends_with(":00000000"))
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

    /// What ended the connection, if that was not a close in good order.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.wire.take_error()
    }

    /// Every byte that ever came.
    pub(crate) fn seen(&self) -> &[u8] {
        self.wire.seen()
    }
}
