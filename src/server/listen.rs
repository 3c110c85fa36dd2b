//! A socket that is listened on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};

use super::address::ListenAddress;
use super::arrival::AcceptedStream;
use crate::gateway::PeerAddress;
use crate::wire::socket_file::SocketFile;

/// How many connections may wait to be accepted; the system may allow fewer.
pub(super) const BACKLOG: i32 = 4096;

/// A socket that is listened on, on the current runtime. Nothing is accepted from it yet.
pub struct ListeningSocket {
    pub(super) address: ListenAddress,
    pub(super) listener: Listener,
}

pub(super) enum Listener {
    Tcp(Arc<TcpListener>),
    Unix { listener: UnixListener, path: Arc<Path>, file: SocketFile },
}

impl ListeningSocket {
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
            Self::Unix { file, .. } => file.remove(),
        }
    }
}
