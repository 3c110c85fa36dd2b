//! A connection between the control thread, which accepted it, and its worker.

use std::net::SocketAddr;
use std::sync::Arc;

use super::limit::SurplusSlot;
use super::listener::ListenerFacts;
use crate::gateway::PeerAddress;

/// A connection on its way to a worker.
pub(super) struct Arrival {
    pub(super) stream: AcceptedStream,
    pub(super) peer: PeerAddress,
    pub(super) listener: Arc<ListenerFacts>,
    /// Of a connection beyond the limit, which is only told so.
    pub(super) surplus: Option<SurplusSlot>,
}

/// A connection that belongs to no runtime.
pub(super) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl AcceptedStream {
    /// The address that the client connected to; none for one that is gone, and on a Unix socket.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}
