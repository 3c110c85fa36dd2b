//! SIGHUP: everything that can change while keyward runs changes at once, or nothing does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Process;
use crate::app::assemble;
use crate::config::{self, Config};
use crate::server::{Acceptor, ListenerSettings};

impl Process {
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => {
                self.status.reloads_done.fetch_add(1, Ordering::Relaxed);
                tracing::info!("the configuration was reloaded");
            }
            Err(words) => {
                self.status.reloads_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(faults = %words, "the new configuration was refused; the old one stays in force");
            }
        }
    }

    /// Everything that can fail comes before anything that takes effect.
    fn try_reload(&mut self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        let fixed = needs_restart(&self.config, &config);
        if !fixed.is_empty() {
            return Err(format!("{} cannot change while keyward runs: restart it", fixed.join(", ")));
        }
        let listeners = bind_all(&config, &self.acceptors)?;
        let keys = self.parts.reread_keys(&config)?;
        let issuers = self.issuers.prepare(&config, &self.parts.peppers)?;
        let plan = assemble::plan(&config, &keys.signed, issuers.set())?;

        self.parts.store.reload(&config)?;
        self.listen(listeners)?;
        self.parts.replace_keys(keys);
        self.acceptors.retain(|address, acceptor| {
            let stays = config.listeners.iter().any(|listener| listener.address == *address);
            if !stays {
                acceptor.stop();
            }
            stays
        });
        self.issuers.replace(issuers);
        self.shared.replace_plan(plan);
        if let Some(pool) = &self.pool {
            pool.replace_settings(assemble::connection_settings(&config));
        }
        self.administration.replace(&config);
        if let Some(log) = &self.log {
            log.set_level(assemble::log_level(config.log.level));
        }
        if let Some(access_log) = &self.shared.access_log {
            access_log.reopen();
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        self.config = config;
        Ok(())
    }

    /// Accepts from sockets that were just bound, and gives those that were bound before their new settings.
    pub(super) fn listen(&mut self, listeners: Vec<Bound>) -> Result<(), String> {
        let Some(pool) = &self.pool else { return Ok(()) };
        for Bound { settings, socket } in listeners {
            let configured = settings.address;
            match (socket, self.acceptors.get(&configured)) {
                (None, Some(acceptor)) => acceptor.replace(settings),
                (None, None) => {}
                (Some(socket), _) => {
                    let refused = Arc::clone(&self.status.connections_refused);
                    let acceptor = Acceptor::start(socket, settings, pool, self.connection_limit, refused)
                        .map_err(|fault| format!("{configured} cannot be listened on: {fault}"))?;
                    self.acceptors.insert(configured, acceptor);
                }
            }
        }
        Ok(())
    }
}

/// A listener that is ready to be accepted from.
pub(super) struct Bound {
    settings: ListenerSettings,
    /// None: it is listened on already.
    socket: Option<std::net::TcpListener>,
}

pub(super) fn bind_all(config: &Config, known: &HashMap<SocketAddr, Acceptor>) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    for configured in &config.listeners {
        let settings = assemble::listener(configured)?;
        let socket = if known.contains_key(&configured.address) {
            None
        } else {
            let bind = |fault| format!("the address {} cannot be bound: {fault}", configured.address);
            Some(Acceptor::bind(configured.address).map_err(bind)?)
        };
        bound.push(Bound { settings, socket });
    }
    Ok(bound)
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
