//! What a running keyward has in force, as a new configuration is compared with it.

use std::collections::HashMap;

use crate::app::issuers::Issuers;
use crate::app::parts::Parts;
use crate::config::Config;
use crate::server::{Acceptor, InheritedSocket, ListenAddress, OpenSocket};
use crate::tls::Watcher;

/// What a running keyward has in force, for a reload.
#[derive(Clone, Copy)]
pub(in crate::app) struct Running<'a> {
    pub(super) config: &'a Config,
    pub(super) parts: &'a Parts,
    pub(super) issuers: &'a Issuers,
    pub(super) watcher: &'a Watcher,
    /// What is accepted from, by the address that is configured.
    pub(super) acceptors: &'a HashMap<ListenAddress, Acceptor>,
    /// Those that stop: for a moment, they are still listened on.
    pub(super) retiring: &'a HashMap<ListenAddress, Acceptor>,
    /// The sockets of the service manager, used or not.
    pub(super) inherited: &'a [InheritedSocket],
}

impl Running<'_> {
    /// The sockets that are listened on, those of listeners that stop included.
    pub(super) fn sockets(self) -> Vec<OpenSocket> {
        let own = self.acceptors.values().chain(self.retiring.values());
        let own = own.filter_map(Acceptor::open_socket);
        own.chain(self.inherited.iter().filter_map(InheritedSocket::open_socket)).collect()
    }
}
