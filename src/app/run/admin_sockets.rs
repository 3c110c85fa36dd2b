//! The administrator's sockets once more, for a process that takes over.

use std::io;
use std::os::unix::net::UnixListener;

use socket2::SockRef;
use tokio::net::TcpListener;

use crate::admin::{AdminSocket, SocketFileHandle};
use crate::config::Config;
use crate::server::{InheritedSocket, ListenAddress, SocketOrigin};

/// The administrator's sockets, for a process that takes over.
pub(super) struct AdminSockets {
    pub(super) socket: (UnixListener, SocketFileHandle),
    pub(super) probes: Option<InheritedSocket>,
}

impl AdminSockets {
    /// Of what is listened on.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub(super) fn share(
        config: &Config,
        socket: &AdminSocket,
        probes: Option<&TcpListener>,
    ) -> io::Result<Self> {
        let probes = match (probes, config.admin.address) {
            (Some(probes), Some(address)) => {
                let socket = SockRef::from(probes).try_clone()?;
                let shared = InheritedSocket::tcp(socket.into(), SocketOrigin::Keyward)?;
                Some(shared.configured_as(ListenAddress::Tcp(address), true))
            }
            _ => None,
        };
        Ok(Self { socket: socket.share()?, probes })
    }
}
