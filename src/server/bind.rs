//! From an address to a socket that is listened on, in two steps: binding, which may fail and can
//! be undone, and listening, from which on the system takes connections in.
//!
//! Addresses of one process may overlap: a listener can be added beside one that is accepted from,
//! without a moment in which neither is there. The system allows that to sockets of one user with
//! `SO_REUSEPORT` (socket(7)). It is set only while such sockets are bound and listened on:
//! otherwise another program could take a share of the connections unnoticed.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::accept::Acceptor;
use super::address::ListenAddress;
use super::listen::{BACKLOG, Listener, ListeningSocket};
use crate::wire::socket_file::BoundSocketFile;

/// An address that is bound and not listened on yet: connections to it are still refused.
pub struct BoundAddress {
    address: ListenAddress,
    socket: BoundSocket,
}

enum BoundSocket {
    Tcp(Socket),
    Unix(Arc<Path>, BoundSocketFile),
}

/// An address that could be bound but not listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {source}")]
pub struct ListenError {
    /// The address.
    pub address: ListenAddress,
    /// What the system says.
    pub source: io::Error,
}

impl BoundAddress {
    /// Binds the address, which may overlap with those of `beside`. The file of a Unix socket gets
    /// the permissions `socket_mode`.
    ///
    /// # Errors
    ///
    /// When it cannot be bound, for example because another program listens on it.
    pub fn bind<'a>(
        configured: &ListenAddress,
        socket_mode: u32,
        beside: impl IntoIterator<Item = &'a Acceptor>,
    ) -> io::Result<Self> {
        let address = match configured {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => {
                let bound = BoundSocketFile::bind(path, socket_mode).map_err(io::Error::other)?;
                let socket = BoundSocket::Unix(Arc::clone(path), bound);
                return Ok(Self { address: configured.clone(), socket });
            }
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A restart must not wait for the connections of the process before.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
            // Both families, whatever the system's default is.
            socket.set_only_v6(false)?;
        }
        let overlapping = overlapping(configured, beside);
        let sharing = Sharing::begin(overlapping.iter().map(SockRef::from));
        socket.set_reuse_port(!overlapping.is_empty())?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(false)?;
        drop(sharing);
        Ok(Self { address: configured.clone(), socket: BoundSocket::Tcp(socket) })
    }

    fn tcp_socket(&self) -> Option<SockRef<'_>> {
        match &self.socket {
            BoundSocket::Tcp(socket) => Some(SockRef::from(socket)),
            BoundSocket::Unix(..) => None,
        }
    }

    /// Begins to listen; the socket stays with this.
    fn begin(&self) -> io::Result<()> {
        self.tcp_socket().map_or(Ok(()), |socket| socket.listen(BACKLOG))
    }

    fn finish(self) -> io::Result<ListeningSocket> {
        match self.socket {
            BoundSocket::Tcp(socket) => {
                let listener = TcpListener::from_std(socket.into())?;
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(ListeningSocket { address, listener: Listener::Tcp(Arc::new(listener)) })
            }
            BoundSocket::Unix(path, bound) => {
                let (listener, file) = bound.listen(BACKLOG).map_err(io::Error::other)?;
                let listener = UnixListener::from_std(listener)?;
                let listener = Listener::Unix { listener, path, file };
                Ok(ListeningSocket { address: self.address, listener })
            }
        }
    }
}

/// Listens on all of them or none, beside those that are listened on already. Must be called on the
/// runtime that is to accept.
///
/// # Errors
///
/// When another program has listened on one of the addresses since it was bound, or the runtime
/// does not take a socket.
pub fn listen_all<'a>(
    bound: Vec<BoundAddress>,
    beside: impl IntoIterator<Item = &'a Acceptor> + Clone,
) -> Result<Vec<ListeningSocket>, ListenError> {
    let older: Vec<_> =
        bound.iter().flat_map(|one| overlapping(&one.address, beside.clone())).collect();
    let is_shared = |at: usize, address: &ListenAddress| {
        let mut others = bound.iter().enumerate().filter(|(other, _)| *other != at);
        others.any(|(_, other)| other.address.overlaps(address))
            || !overlapping(address, beside.clone()).is_empty()
    };
    let newer = bound.iter().enumerate().filter(|(at, one)| is_shared(*at, &one.address));
    let newer = newer.filter_map(|(_, one)| one.tcp_socket());
    let sharing = Sharing::begin(newer.chain(older.iter().map(SockRef::from)));
    for one in &bound {
        one.begin().map_err(|source| ListenError { address: one.address.clone(), source })?;
    }
    drop(sharing);
    let finish = |one: BoundAddress| {
        let address = one.address.clone();
        one.finish().map_err(|source| ListenError { address, source })
    };
    bound.into_iter().map(finish).collect()
}

/// Those of the listening sockets whose addresses overlap with this one.
fn overlapping<'a>(
    address: &ListenAddress,
    beside: impl IntoIterator<Item = &'a Acceptor>,
) -> Vec<Arc<TcpListener>> {
    let is_tcp = matches!(address, ListenAddress::Tcp(_));
    beside
        .into_iter()
        .filter(|acceptor| is_tcp && acceptor.address().overlaps(address))
        .filter_map(Acceptor::tcp_listener)
        .collect()
}

/// While it lives, these sockets share their ports with others that ask for it.
struct Sharing<'a>(Vec<SockRef<'a>>);

impl<'a> Sharing<'a> {
    fn begin(sockets: impl Iterator<Item = SockRef<'a>>) -> Self {
        let sockets: Vec<_> = sockets.collect();
        for socket in &sockets {
            // If it is refused, the bind that needs it fails, and says so.
            let _ = socket.set_reuse_port(true);
        }
        Self(sockets)
    }
}

impl Drop for Sharing<'_> {
    fn drop(&mut self) {
        for socket in &self.0 {
            let _ = socket.set_reuse_port(false);
        }
    }
}
