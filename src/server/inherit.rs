//! Sockets that are listened on already when this process begins: by the service manager (systemd),
//! or by the keyward that it takes over from. They are used in the place of one that would be
//! bound, so no connection is refused in between.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::address::ListenAddress;
use super::listen::{Listener, ListeningSocket, SocketOrigin};
use crate::wire::socket_file::SocketFile;

/// A socket that is listened on, apart from what accepts from it.
#[derive(Debug)]
pub struct InheritedSocket {
    /// What it is configured as in the process that hands it over: port 0 is found again by this.
    pub configured: ListenAddress,
    /// Its address.
    pub address: ListenAddress,
    /// Whether it is configured as the admin address.
    pub is_admin: bool,
    /// Whose it is.
    pub origin: SocketOrigin,
    pub(super) socket: InheritedListener,
    /// Of the file of a Unix socket that keyward has made.
    pub(super) lock: Option<File>,
}

#[derive(Debug)]
pub(super) enum InheritedListener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl InheritedSocket {
    /// A TCP socket.
    ///
    /// # Errors
    ///
    /// When it is not listened on.
    pub fn tcp(listener: std::net::TcpListener, origin: SocketOrigin) -> io::Result<Self> {
        check(&listener)?;
        listener.set_nonblocking(true)?;
        let address = ListenAddress::Tcp(listener.local_addr()?);
        Ok(Self::of(address, InheritedListener::Tcp(listener), origin))
    }

    /// A Unix socket.
    ///
    /// # Errors
    ///
    /// When it is not listened on, or has no path.
    pub fn unix(
        listener: std::os::unix::net::UnixListener,
        origin: SocketOrigin,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a Unix socket without a path")
        })?;
        Self::unix_at(ListenAddress::Unix(path.into()), listener, origin)
    }

    /// A Unix socket whose file is at this address, wherever it was when it was bound.
    ///
    /// # Errors
    ///
    /// When it is not listened on.
    pub fn unix_at(
        address: ListenAddress,
        listener: std::os::unix::net::UnixListener,
        origin: SocketOrigin,
    ) -> io::Result<Self> {
        check(&listener)?;
        listener.set_nonblocking(true)?;
        Ok(Self::of(address, InheritedListener::Unix(listener), origin))
    }

    /// A socket as its file descriptor came from another keyward, which has it at this address.
    ///
    /// # Errors
    ///
    /// When it is not listened on, or of another kind.
    pub fn handed_over(
        address: ListenAddress,
        descriptor: OwnedFd,
        origin: SocketOrigin,
    ) -> io::Result<Self> {
        let is_unix =
            rustix::net::sockopt::socket_domain(&descriptor)? == rustix::net::AddressFamily::UNIX;
        match address {
            ListenAddress::Unix(_) if is_unix => Self::unix_at(address, descriptor.into(), origin),
            ListenAddress::Tcp(_) if !is_unix => Self::tcp(descriptor.into(), origin),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is of another kind")),
        }
    }

    fn of(address: ListenAddress, socket: InheritedListener, origin: SocketOrigin) -> Self {
        let configured = address.clone();
        Self { configured, address, is_admin: false, origin, socket, lock: None }
    }

    /// With the lock on the file of a Unix socket.
    #[must_use]
    pub fn with_lock(self, lock: Option<File>) -> Self {
        Self { lock, ..self }
    }

    /// As it is configured in the process that has it.
    #[must_use]
    pub fn configured_as(self, configured: ListenAddress, is_admin: bool) -> Self {
        Self { configured, is_admin, ..self }
    }

    /// Whether it is what a listener, or the admin address, is configured as.
    #[must_use]
    pub fn is_for(&self, configured: &ListenAddress, is_admin: bool) -> bool {
        self.address.is_same(configured)
            || (self.configured == *configured && self.is_admin == is_admin)
    }

    /// The same socket once more.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub fn try_clone(&self) -> io::Result<Self> {
        let lock = self.lock.as_ref().map(File::try_clone).transpose()?;
        Ok(Self {
            configured: self.configured.clone(),
            address: self.address.clone(),
            is_admin: self.is_admin,
            origin: self.origin,
            socket: self.socket.try_clone()?,
            lock,
        })
    }

    /// The file descriptors of the socket and the lock, to be handed to another process.
    #[must_use]
    pub fn into_descriptors(self) -> (OwnedFd, Option<OwnedFd>) {
        let socket = match self.socket {
            InheritedListener::Tcp(listener) => listener.into(),
            InheritedListener::Unix(listener) => listener.into(),
        };
        (socket, self.lock.map(OwnedFd::from))
    }

    /// To be accepted from, on the current runtime.
    ///
    /// # Errors
    ///
    /// When the runtime does not take it, or its lock is not that of its file.
    pub fn into_listening(self) -> io::Result<ListeningSocket> {
        let Self { address, origin, socket, lock, .. } = self;
        let listener = match socket {
            InheritedListener::Tcp(listener) => {
                Listener::Tcp(Arc::new(TcpListener::from_std(listener)?))
            }
            InheritedListener::Unix(listener) => {
                let ListenAddress::Unix(path) = &address else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                let file = lock.map(|lock| SocketFile::handed_over(path, lock)).transpose();
                Listener::Unix {
                    listener: Arc::new(UnixListener::from_std(listener)?),
                    path: Arc::clone(path),
                    file: file.map_err(io::Error::other)?,
                }
            }
        };
        Ok(ListeningSocket { address, listener, origin })
    }
}

impl InheritedListener {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

fn check(socket: &impl AsFd) -> io::Result<()> {
    if rustix::net::sockopt::socket_acceptconn(socket.as_fd())? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not listened on (a unit of systemd must have Accept=no, which is the default)",
    ))
}
