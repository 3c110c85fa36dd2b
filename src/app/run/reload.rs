//! SIGHUP: everything that can change while keyward runs changes at once, or nothing does.
//!
//! But for the access log, whose file is opened anew in any case: a rotation asks for no more, and
//! what was rotated is deleted one day.
//!
//! Two steps: [`Process::ready`] does everything that can fail and puts nothing in force; `commit`
//! puts everything in force and cannot fail.

use std::io;
use std::sync::Arc;

use super::listening::{ReadyListener, listen};
use super::prepare::{Occasion, Prepared, PreparedKeys, prepare};
use super::process::Process;
use crate::app::assemble;
use crate::app::keys::{MissingKeys, ReadKeys};
use crate::app::service_manager;
use crate::config::{self, Config, Faults};
use crate::server::{Acceptor, ListenAddress, ListeningSocket};

/// A new configuration that can be put in force.
struct Ready {
    config: Config,
    prepared: Prepared,
    listeners: Vec<ReadyListener>,
}

impl Process {
    /// # Cancel safety
    ///
    /// Dropped while it waits for the addresses of new names, it has put nothing in force.
    pub(super) async fn reload(&mut self) {
        service_manager::reloading();
        let access_log = self.shared.access_log.as_ref().map(|log| log.open_again());
        match self.ready(access_log.unwrap_or(Ok(()))).await {
            Ok(ready) => {
                if let Some(ready) = ready {
                    self.commit(ready);
                }
                self.status.note_reload(true);
                tracing::info!("the configuration was reloaded");
                self.status.serving.ready(None);
            }
            Err(faults) => {
                self.status.note_reload(false);
                let why = faults.to_string().replace('\n', "; ");
                self.status.serving.ready(Some(why));
                tracing::error!(%faults, "the new configuration was refused; the old one stays in \
                                          force");
            }
        }
    }

    /// `None`: there is no file to read. `access_log`: whether it could be opened anew. What leaves
    /// a trace comes last, when nothing else can fail: new keys, and, last of all, sockets that are
    /// listened on, because a connection to one of those would be cut off.
    async fn ready(&mut self, access_log: io::Result<()>) -> Result<Option<Ready>, Faults> {
        let Some(path) = &self.path else { return Ok(None) };
        let config = config::load(path)?;
        self.retiring.retain(|_, acceptor| acceptor.is_listening());
        let mut prepared = prepare(&config, Occasion::Reload(self.running()))?;
        if !prepared.lacking.is_empty() {
            drop(prepared);
            let made = ReadKeys::open(&config, MissingKeys::MakeBesideOthers);
            made.map_err(|words| config.places.one("keys.directory", words))?;
            prepared = prepare(&config, Occasion::Reload(self.running()))?;
            prepared.check_complete(&config)?;
        }
        access_log.map_err(|fault| {
            config.places.one("log.access", assemble::access_log_fault(&config, &fault))
        })?;
        // Names that are new have addresses when they are in force, if a server of names answers.
        // Until then nothing is listened on that would not be served.
        self.names.learn(&config.dns, &prepared.plan.names()).await;
        let listeners =
            listen(&config, std::mem::take(&mut prepared.listeners), &self.running().sockets())?;
        Ok(Some(Ready { config, prepared, listeners }))
    }

    /// Puts everything in force. It returns nothing because nothing in it can fail.
    fn commit(&mut self, ready: Ready) {
        let Ready { config, prepared, listeners } = ready;
        if let Some(store) = prepared.store {
            store.commit();
        }
        self.parts.store.watch(&self.watcher);
        if let PreparedKeys::Next(keys) = prepared.keys {
            self.parts.replace_keys(keys);
        }
        self.issuers.replace(prepared.issuers);
        let answers = self.names.replace(&config.dns, &prepared.plan.names());
        self.shared.replace_plan(prepared.plan, &answers);
        self.health_checks.begin();
        if let Some(pool) = &self.pool {
            pool.replace_settings(assemble::connection_settings(&config));
        }
        self.shared.load.bound(config.limits.requests);
        self.status.memory.bound(&config.limits);
        self.administration.replace(&config);
        if let Some(log) = &self.log {
            log.set_level(config.log.level);
        }
        self.config = config;
        self.accept(listeners);
        self.retire_listeners();
        self.note_listening();
        for warning in self.config.warnings.iter().chain(&prepared.warnings) {
            tracing::warn!("{warning}");
        }
    }

    /// Accepts from sockets that are listened on now, and gives listeners that were there before
    /// their new settings.
    pub(super) fn accept(&mut self, listeners: Vec<ReadyListener>) {
        // There are workers until the end has begun, and no reload afterwards.
        let Some(pool) = &self.pool else { return };
        for ReadyListener { settings, socket } in listeners {
            let configured = settings.address.clone();
            match (socket, self.acceptors.get(&configured)) {
                (None, Some(acceptor)) => acceptor.replace(settings),
                (None, None) => {
                    if let Some(acceptor) = self.retiring.remove(&configured) {
                        acceptor.resume(settings);
                        self.acceptors.insert(configured, acceptor);
                    }
                }
                (Some(socket), _) => {
                    let acceptor =
                        Acceptor::start(socket, settings, pool, Arc::clone(&self.connection_limit));
                    self.acceptors.insert(configured, acceptor);
                }
            }
        }
    }

    /// Accepts from sockets of the process before, each for the listener that covers its address.
    pub(super) fn accept_for_others(&mut self, sockets: Vec<(ListenAddress, ListeningSocket)>) {
        let Some(pool) = &self.pool else { return };
        for (configured, socket) in sockets {
            let covering = self.acceptors.values();
            let covering = covering.filter(|other| other.address().covers(socket.address()));
            if let Some(other) = most_specific(covering) {
                let limit = Arc::clone(&self.connection_limit);
                let acceptor = other.start_beside(socket, pool, limit);
                self.acceptors.insert(configured, acceptor);
            }
        }
    }

    /// Stops listening on addresses that are not configured any more. Where another listener covers
    /// the address, the socket stays and serves for that one: closing it would cut off connections
    /// that the system has taken in for it. It is closed with the listener that it serves for.
    fn retire_listeners(&mut self) {
        let is_configured = |(key, acceptor): &(&ListenAddress, &Acceptor)| {
            let mut addresses = self.config.listeners.iter().map(|listener| &listener.address);
            addresses.any(|address| address == *key || address.is_same(acceptor.address()))
        };
        let (configured, others): (Vec<_>, Vec<_>) = self.acceptors.iter().partition(is_configured);
        let mut gone = Vec::new();
        for (key, acceptor) in others {
            let covering = configured.iter().map(|(_, other)| *other);
            let covering = covering.filter(|other| other.address().covers(acceptor.address()));
            if let Some(other) = most_specific(covering) {
                acceptor.serve_for(other);
                let (socket, listener) = (acceptor.address(), other.address());
                tracing::info!(%socket, %listener, "a socket stays open and serves for the \
                 listener that covers it");
            } else {
                acceptor.yield_to(configured.iter().map(|(_, other)| *other));
                gone.push(key.clone());
            }
        }
        for key in gone {
            if let Some(acceptor) = self.acceptors.remove(&key) {
                self.retiring.insert(key, acceptor);
            }
        }
    }

    /// Has the status say which addresses are listened on.
    pub(super) fn note_listening(&self) {
        let admin = self.config.admin.address.map(|address| address.to_string());
        let listening =
            self.acceptors.values().map(|acceptor| acceptor.address().to_string()).chain(admin);
        self.status.listening.store(Arc::new(listening.collect()));
    }
}

/// Of several that cover an address, the one that the system would give the connections to.
fn most_specific<'a>(covering: impl Iterator<Item = &'a Acceptor>) -> Option<&'a Acceptor> {
    covering.reduce(|one, other| if one.address().covers(other.address()) { other } else { one })
}
