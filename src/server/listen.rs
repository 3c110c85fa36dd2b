//! A socket that is listened on, and the connections that come from it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};

use super::address::ListenAddress;
use super::limit::SurplusSlot;
use super::listener::ListenerSettings;
use crate::gateway::PeerAddress;
use crate::wire::socket_file::SocketFile;

/// How many connections may wait to be accepted; the system may allow fewer.
pub(super) const BACKLOG: i32 = 4096;

/// A socket that is listened on, on the current runtime. Nothing is accepted from it yet.
pub struct ListeningSocket {
    pub(super) address: ListenAddress,
    pub(super) listener: Listener,
    pub(super) origin: SocketOrigin,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOrigin {
    /// keyward's own. It is closed when no listener has it any more.
    Keyward,
    /// The service manager's, which listens on, whatever keyward does: it is kept for a reload
    /// that asks for it, and neither its file nor its mode are keyward's to change.
    ServiceManager,
}

pub(super) enum Listener {
    Tcp(Arc<TcpListener>),
    /// `file`: none of a socket whose file is not keyward's.
    Unix {
        listener: Arc<UnixListener>,
        path: Arc<Path>,
        file: Option<SocketFile>,
    },
}

impl ListeningSocket {
    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The socket itself; none of a Unix socket.
    #[must_use]
    pub fn into_tcp(self) -> Option<TcpListener> {
        match self.listener {
            Listener::Tcp(listener) => Arc::into_inner(listener),
            Listener::Unix { .. } => None,
        }
    }
}

impl Listener {
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(AcceptedStream, PeerAddress)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map(|accepted| {
                let (stream, peer) = accepted?;
                Ok((AcceptedStream::Tcp(stream.into_std()?), PeerAddress::Ip(peer)))
            }),
            Self::Unix { listener, path, .. } => listener.poll_accept(cx).map(|accepted| {
                let (stream, _) = accepted?;
                Ok((AcceptedStream::Unix(stream.into_std()?), PeerAddress::Unix(Arc::clone(path))))
            }),
        }
    }

    /// From now on, a client that looks for the socket finds none.
    pub(super) fn remove_file(&mut self) {
        match self {
            Self::Tcp(_) => {}
            Self::Unix { file, .. } => {
                if let Some(file) = file {
                    file.remove();
                }
            }
        }
    }
}

/// A connection on its way to a worker.
pub(super) struct Arrival {
    pub(super) stream: AcceptedStream,
    pub(super) peer: PeerAddress,
    pub(super) listener: Arc<ListenerSettings>,
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
