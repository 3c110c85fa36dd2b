//! SIGHUP: everything that can change while keyward runs changes at once, or nothing does.
//!
//! Two steps: `prepare` does everything that can fail and puts nothing in force; `commit` puts everything in force and cannot fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Process;
use crate::app::assemble::{self, PreparedStore, TokenKeys};
use crate::app::issuers;
use crate::config::{self, Config};
use crate::gateway::Plan;
use crate::server::{Acceptor, BoundAddress, ListenAddress, ListenerSettings, ListeningSocket};
use crate::telemetry::access_log::ReopenedLog;
use crate::tls::Watcher;

/// A new configuration of which everything that can fail has been done, and nothing is in force.
struct Prepared {
    config: Config,
    store: PreparedStore,
    keys: TokenKeys,
    issuers: issuers::Prepared,
    plan: Plan,
    access_log: Option<ReopenedLog>,
    listeners: Vec<ReadyListener>,
}

impl Process {
    pub(super) fn reload(&mut self) {
        let prepared = self.prepare();
        match prepared {
            Ok(prepared) => {
                if let Some(prepared) = prepared {
                    self.commit(prepared);
                }
                self.status.reloads_done.fetch_add(1, Ordering::Relaxed);
                tracing::info!("the configuration was reloaded");
            }
            Err(words) => {
                self.status.reloads_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(faults = %words, "the new configuration was refused; the old one stays in force");
            }
        }
    }

    /// `None`: there is no file to read.
    ///
    /// What leaves a trace when a later step fails comes last: keys that are made, a log file that is made, and, last of all,
    /// sockets that are listened on, because a connection to one of those would be cut off.
    fn prepare(&self) -> Result<Option<Prepared>, String> {
        let Some(path) = &self.path else { return Ok(None) };
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        let fixed = needs_restart(&self.config, &config);
        if !fixed.is_empty() {
            return Err(format!("{} cannot change while keyward runs: restart it", fixed.join(", ")));
        }
        let bound = bind_all(&config, &self.acceptors, &self.watcher)?;
        let store = self.parts.store.prepare(&config)?;
        let issuers = self.issuers.prepare(&config, &self.parts.peppers)?;
        let keys = self.parts.reread_keys(&config)?;
        let plan = assemble::plan(&config, &keys.signed, issuers.set(), &self.watcher)?;
        let access_log = self.shared.access_log.as_ref().map(|log| log.open_again()).transpose();
        let access_log = access_log.map_err(|fault| assemble::access_log_fault(&config, &fault))?;
        let listeners = listen_all(bound)?;
        Ok(Some(Prepared { config, store, keys, issuers, plan, access_log, listeners }))
    }

    /// Puts everything in force. It returns nothing because nothing in it can fail.
    fn commit(&mut self, prepared: Prepared) {
        let Prepared { config, store, keys, issuers, plan, access_log, listeners } = prepared;
        store.commit();
        self.parts.store.watch(&self.watcher);
        self.parts.replace_keys(keys);
        self.issuers.replace(issuers);
        self.shared.replace_plan(plan);
        if let Some(pool) = &self.pool {
            pool.replace_settings(assemble::connection_settings(&config));
        }
        self.administration.replace(&config);
        if let Some(log) = &self.log {
            log.set_level(assemble::log_level(config.log.level));
        }
        if let (Some(access_log), Some(reopened)) = (&self.shared.access_log, access_log) {
            access_log.replace(reopened);
        }
        self.accept(listeners);
        self.acceptors.retain(|address, acceptor| {
            let stays = config.listeners.iter().any(|listener| listener.address == *address);
            if !stays {
                acceptor.stop();
            }
            stays
        });
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        self.config = config;
    }

    /// Accepts from sockets that are listened on now, and gives listeners that were there before their new settings.
    pub(super) fn accept(&mut self, listeners: Vec<ReadyListener>) {
        // There are workers until the end has begun, and no reload afterwards.
        let Some(pool) = &self.pool else { return };
        for ReadyListener { settings, socket } in listeners {
            let configured = settings.address.clone();
            match (socket, self.acceptors.get(&configured)) {
                (None, Some(acceptor)) => acceptor.replace(settings),
                (None, None) => {}
                (Some(socket), _) => {
                    let acceptor = Acceptor::start(socket, settings, pool, Arc::clone(&self.connection_limit));
                    self.acceptors.insert(configured, acceptor);
                }
            }
        }
    }
}

/// A listener whose files are read and whose address is bound.
pub(super) struct BoundListener {
    settings: ListenerSettings,
    /// None: it is listened on already.
    address: Option<BoundAddress>,
}

/// A listener that can be accepted from.
pub(super) struct ReadyListener {
    settings: ListenerSettings,
    /// None: it was listened on before.
    socket: Option<ListeningSocket>,
}

/// Reads the files of all listeners and binds those addresses that are not in `known`.
pub(super) fn bind_all(
    config: &Config,
    known: &HashMap<ListenAddress, Acceptor>,
    watcher: &Watcher,
) -> Result<Vec<BoundListener>, String> {
    let bind = |configured: &config::Listener| {
        let settings = assemble::listener(configured, watcher)?;
        let is_new = !known.contains_key(&configured.address);
        let address = is_new.then(|| Acceptor::bind(&settings)).transpose();
        let address =
            address.map_err(|fault| format!("the address {} cannot be bound: {fault}", configured.address))?;
        Ok(BoundListener { settings, address })
    };
    config.listeners.iter().map(bind).collect()
}

/// Listens on all addresses that were bound. From now on connections are taken in by the system.
pub(super) fn listen_all(bound: Vec<BoundListener>) -> Result<Vec<ReadyListener>, String> {
    let listen = |BoundListener { settings, address }| {
        let socket = address.map(BoundAddress::listen).transpose();
        let socket = socket.map_err(|fault| format!("{} cannot be listened on: {fault}", settings.address))?;
        Ok(ReadyListener { settings, socket })
    };
    bound.into_iter().map(listen).collect()
}

/// What of the store is fixed for the life of a process.
fn without_secrets(store: &config::Store) -> config::Store {
    let mut store = store.clone();
    if let Some(redis) = &mut store.redis {
        redis.username = None;
        redis.password = None;
        redis.sentinel_username = None;
        redis.sentinel_password = None;
        redis.ca_file = None;
        redis.client_certificate_file = None;
        redis.client_key_file = None;
    }
    store
}

/// What is fixed for the life of a process, and differs.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let logs = |config: &Config| (config.log.format, config.log.access.clone());
    [
        ("[store], but for passwords and certificates", without_secrets(&old.store) != without_secrets(&new.store)),
        ("[keys]", old.keys != new.keys),
        ("[logins]", old.logins != new.logins),
        ("[admin]", old.admin != new.admin),
        ("[server] workers and pin", (old.server.workers, old.server.pin) != (new.server.workers, new.server.pin)),
        ("[limits] connections", old.limits.connections != new.limits.connections),
        ("[limits] cached_tokens", old.limits.cached_tokens != new.limits.cached_tokens),
        ("[log] format and access", logs(old) != logs(new)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
