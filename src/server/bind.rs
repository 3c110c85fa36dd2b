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

use super::address::ListenAddress;
use super::inherit::{InheritedListener, InheritedSocket};
use super::listen::{BACKLOG, Listener, ListeningSocket, SocketOrigin};
use crate::wire::socket_file::BoundSocketFile;

/// An address that is bound and not listened on yet: connections to it are still refused.
pub struct BoundAddress {
    address: ListenAddress,
    socket: BoundSocket,
}

enum BoundSocket {
    Tcp(Socket),
    Unix(Arc<Path>, BoundSocketFile),
    /// It is listened on already.
    Inherited(Box<InheritedSocket>),
}

/// A socket of TCP that is listened on: another one may share its port.
#[derive(Clone)]
pub struct OpenSocket {
    pub(super) address: ListenAddress,
    pub(super) socket: Arc<Socket>,
}

impl InheritedSocket {
    /// As a socket that another one may share its port with; none: it is not of TCP.
    #[must_use]
    pub fn open_socket(&self) -> Option<OpenSocket> {
        let InheritedListener::Tcp(listener) = &self.socket else { return None };
        let socket = Arc::new(listener.try_clone().ok()?.into());
        Some(OpenSocket { address: self.address.clone(), socket })
    }
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
    pub fn bind(
        configured: &ListenAddress,
        socket_mode: u32,
        beside: &[OpenSocket],
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
        let sharing = Sharing::begin(overlapping.iter().map(|one| SockRef::from(&*one.socket)));
        socket.set_reuse_port(!overlapping.is_empty())?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(false)?;
        drop(sharing);
        Ok(Self { address: configured.clone(), socket: BoundSocket::Tcp(socket) })
    }

    /// A socket that is listened on already, for the listener that is configured as this.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub fn inherit(configured: &ListenAddress, socket: &InheritedSocket) -> io::Result<Self> {
        let socket = BoundSocket::Inherited(Box::new(socket.try_clone()?));
        Ok(Self { address: configured.clone(), socket })
    }

    fn tcp_socket(&self) -> Option<SockRef<'_>> {
        match &self.socket {
            BoundSocket::Tcp(socket) => Some(SockRef::from(socket)),
            BoundSocket::Unix(..) => None,
            BoundSocket::Inherited(inherited) => match &inherited.socket {
                InheritedListener::Tcp(listener) => Some(SockRef::from(listener)),
                InheritedListener::Unix(_) => None,
            },
        }
    }

    /// Begins to listen; the socket stays with this.
    fn begin(&self) -> io::Result<()> {
        match &self.socket {
            BoundSocket::Tcp(socket) => socket.listen(BACKLOG),
            BoundSocket::Unix(..) | BoundSocket::Inherited(_) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<ListeningSocket> {
        match self.socket {
            BoundSocket::Tcp(socket) => {
                let listener = TcpListener::from_std(socket.into())?;
                let address = ListenAddress::Tcp(listener.local_addr()?);
                let (listener, origin) = (Listener::Tcp(Arc::new(listener)), SocketOrigin::Keyward);
                Ok(ListeningSocket { address, listener, origin })
            }
            BoundSocket::Unix(path, bound) => {
                let (listener, file) = bound.listen(BACKLOG).map_err(io::Error::other)?;
                let listener = Arc::new(UnixListener::from_std(listener)?);
                let listener = Listener::Unix { listener, path, file: Some(file) };
                let origin = SocketOrigin::Keyward;
                Ok(ListeningSocket { address: self.address, listener, origin })
            }
            BoundSocket::Inherited(inherited) => inherited.into_listening(),
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
pub fn listen_all(
    bound: Vec<BoundAddress>,
    beside: &[OpenSocket],
) -> Result<Vec<ListeningSocket>, ListenError> {
    let older: Vec<_> = bound.iter().flat_map(|one| overlapping(&one.address, beside)).collect();
    let is_shared = |at: usize, address: &ListenAddress| {
        let mut others = bound.iter().enumerate().filter(|(other, _)| *other != at);
        others.any(|(_, other)| other.address.overlaps(address))
            || !overlapping(address, beside).is_empty()
    };
    let newer = bound.iter().enumerate().filter(|(at, one)| is_shared(*at, &one.address));
    let newer = newer.filter_map(|(_, one)| one.tcp_socket());
    let older = older.iter().map(|one| SockRef::from(&*one.socket));
    let sharing = Sharing::begin(newer.chain(older));
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
fn overlapping(address: &ListenAddress, beside: &[OpenSocket]) -> Vec<OpenSocket> {
    let is_tcp = matches!(address, ListenAddress::Tcp(_));
    let overlapping = beside.iter().filter(|one| is_tcp && one.address.overlaps(address));
    overlapping.cloned().collect()
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
