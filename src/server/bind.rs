//! From an address to a socket that is listened on, in two steps: binding, which may fail and can
//! be undone, and listening, from which on the system takes connections in.
//!
//! Addresses of one process may overlap: a listener can be added beside one that is accepted from,
//! without a moment in which neither is there. The system allows that to sockets of one user that
//! ask for it (`SO_REUSEPORT`, socket(7)). It is asked for only while such sockets are bound and
//! listened on: otherwise another program could take a share of the connections unnoticed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::accept::Acceptor;
use super::address::ListenAddress;
use super::listen::{BACKLOG, Listener, ListeningSocket};
use crate::wire::socket_file::BoundSocketFile;

/// An address that is bound and not listened on yet: connections to it are still refused.
pub struct BoundAddress(Bound);

enum Bound {
    Tcp(SocketAddr, socket2::Socket),
    Unix(Arc<Path>, BoundSocketFile),
}

/// An address that could be bound and cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on: {source}")]
pub struct ListenError {
    /// Which.
    pub address: ListenAddress,
    /// What the system says.
    pub source: io::Error,
}

impl BoundAddress {
    /// Binds the address, without listening on it. It may overlap with those of `beside`. The file
    /// of a Unix socket is to have the permissions `socket_mode`.
    ///
    /// # Errors
    ///
    /// When it cannot be bound, because another program listens on it, say; the operator's to mend.
    pub fn bind<'a>(
        configured: &ListenAddress,
        socket_mode: u32,
        beside: impl IntoIterator<Item = &'a Acceptor>,
    ) -> io::Result<Self> {
        let address = match configured {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => {
                let bound = BoundSocketFile::bind(path, socket_mode).map_err(io::Error::other)?;
                return Ok(Self(Bound::Unix(Arc::clone(path), bound)));
            }
        };
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        // A restart must not wait for the connections of the process before.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
            // Both families, whatever the system's default is.
            socket.set_only_v6(false)?;
        }
        let overlapping: Vec<_> = overlapping(configured, beside).collect();
        let sharing =
            Sharing::begin(overlapping.iter().map(|listener| socket2::SockRef::from(&**listener)));
        if !sharing.is_empty() {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.set_reuse_port(false)?;
        drop(sharing);
        Ok(Self(Bound::Tcp(address, socket)))
    }

    fn address(&self) -> ListenAddress {
        match &self.0 {
            Bound::Tcp(address, _) => ListenAddress::Tcp(*address),
            Bound::Unix(path, _) => ListenAddress::Unix(Arc::clone(path)),
        }
    }

    fn socket(&self) -> Option<socket2::SockRef<'_>> {
        match &self.0 {
            Bound::Tcp(_, socket) => Some(socket2::SockRef::from(socket)),
            Bound::Unix(..) => None,
        }
    }

    /// Begins to listen; the socket stays with this.
    fn begin(&self) -> io::Result<()> {
        match &self.0 {
            Bound::Tcp(_, socket) => socket.listen(BACKLOG),
            Bound::Unix(..) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<ListeningSocket> {
        match self.0 {
            Bound::Tcp(_, socket) => {
                let listener = TcpListener::from_std(socket.into())?;
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(ListeningSocket { address, listener: Listener::Tcp(Arc::new(listener)) })
            }
            Bound::Unix(path, bound) => {
                let (listener, file) = bound.listen(BACKLOG).map_err(io::Error::other)?;
                let listener = UnixListener::from_std(listener)?;
                let address = ListenAddress::Unix(Arc::clone(&path));
                Ok(ListeningSocket { address, listener: Listener::Unix { listener, path, file } })
            }
        }
    }
}

/// Listens on all of them, beside those that are listened on already. Must be called on the runtime
/// that is to accept.
///
/// # Errors
///
/// When another program has listened on one of the addresses since it was bound, or the runtime
/// does not take a socket. None of them is listened on then.
pub fn listen_all<'a>(
    bound: Vec<BoundAddress>,
    beside: impl IntoIterator<Item = &'a Acceptor> + Clone,
) -> Result<Vec<ListeningSocket>, ListenError> {
    let addresses: Vec<_> = bound.iter().map(BoundAddress::address).collect();
    let older: Vec<_> = addresses
        .iter()
        .flat_map(|address| overlapping(address, beside.clone()).collect::<Vec<_>>())
        .collect();
    let is_shared = |at: usize, address: &ListenAddress| {
        let overlaps_newer = addresses
            .iter()
            .enumerate()
            .any(|(other, known)| other != at && known.overlaps(address));
        overlaps_newer || overlapping(address, beside.clone()).next().is_some()
    };
    let newer = bound.iter().zip(&addresses).enumerate();
    let newer = newer
        .filter_map(|(at, (bound, address))| bound.socket().filter(|_| is_shared(at, address)));
    let sharing = Sharing::begin(
        newer.chain(older.iter().map(|listener| socket2::SockRef::from(&**listener))),
    );
    for (one, address) in bound.iter().zip(&addresses) {
        one.begin().map_err(|source| ListenError { address: address.clone(), source })?;
    }
    drop(sharing);
    let finish = |(one, address): (BoundAddress, ListenAddress)| {
        one.finish().map_err(|source| ListenError { address, source })
    };
    bound.into_iter().zip(addresses).map(finish).collect()
}

/// The sockets among those that are accepted from whose addresses overlap with this one.
fn overlapping<'a>(
    address: &ListenAddress,
    beside: impl IntoIterator<Item = &'a Acceptor>,
) -> impl Iterator<Item = Arc<TcpListener>> {
    let is_tcp = matches!(address, ListenAddress::Tcp(_));
    beside
        .into_iter()
        .filter(move |acceptor| is_tcp && acceptor.address().overlaps(address))
        .filter_map(Acceptor::tcp_listener)
}

/// While it lives, these sockets share their ports with others that ask for it.
struct Sharing<'a>(Vec<socket2::SockRef<'a>>);

impl<'a> Sharing<'a> {
    fn begin(sockets: impl Iterator<Item = socket2::SockRef<'a>>) -> Self {
        let sockets: Vec<_> = sockets.collect();
        for socket in &sockets {
            // If it is refused, the bind that needs it fails, and says so.
            let _ = socket.set_reuse_port(true);
        }
        Self(sockets)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Sharing<'_> {
    fn drop(&mut self) {
        for socket in &self.0 {
            let _ = socket.set_reuse_port(false);
        }
    }
}
