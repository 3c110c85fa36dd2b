//! The configured store: opened, looked at, and given new passwords and certificates.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::assemble::with_sources;
use super::lease::lease;
use crate::config::Config;
use crate::limits::FleetCounters;
use crate::store::redis::discovery_error::DiscoveryError;
use crate::store::redis::node::ReloadableSettings;
use crate::store::redis::settings::RedisSettings;
use crate::store::redis::{LinkState, RedisOpenError, RedisStore};
use crate::store::{EmbeddedOptions, EmbeddedStore, OpenError, Opener, RecordKey, StoreIdentity};
use crate::tls;
use crate::tokens::accounts::{AccountStore, Counters, MemoryCounters};
use crate::tokens::cache::TokenCache;
use crate::tokens::finding::Finding;
use crate::tokens::keyring::StoreKey;
use crate::tokens::store::Store;
use crate::tokens::tickets::{MemoryTickets, Tickets};

/// The store that is configured.
#[derive(Clone)]
pub(super) enum OpenStore {
    Embedded(Arc<EmbeddedStore>),
    Redis(RedisStore),
}

/// How a command opens an embedded store. It waits a few seconds for another command.
pub(super) fn command() -> EmbeddedOptions {
    let wait_for_command = Duration::from_secs(10);
    EmbeddedOptions { opener: Opener::Command, wait_for_command, ..EmbeddedOptions::default() }
}

impl OpenStore {
    /// The key of the configuration at which a fault of the store is said.
    pub(super) fn key(config: &Config) -> &'static str {
        if config.store.redis.is_some() { "store.url" } else { "store.path" }
    }

    /// Opens what is configured, for these keys; an embedded store with `options`, and beside the
    /// process that has handed over its `lock`.
    pub(super) fn open(
        config: &Config,
        keys: &StoreKey,
        cache: &Arc<TokenCache>,
        options: EmbeddedOptions,
        lock: Option<File>,
    ) -> Result<Self, StoreFault> {
        let key = RecordKey::new(keys.record_key().expose());
        let fingerprint = keys.fingerprint();
        let Some(redis) = &config.store.redis else {
            let identity = StoreIdentity { key: &key, fingerprint: fingerprint.expose() };
            let path = &config.store.path;
            return Ok(Self::Embedded(match lock {
                None => EmbeddedStore::open(path, &identity, options)?,
                Some(lock) => EmbeddedStore::open_beside(path, &identity, options, lock)?,
            }));
        };
        let options = redis.options.clone();
        let (store, unreachable) =
            RedisStore::open(options, key, fingerprint.expose().to_vec(), Arc::clone(cache))?;
        if let Some(error) = unreachable {
            // In the words of `validate`, with the place in the file.
            let fault = StoreFault::from(RedisOpenError::Discovery(error));
            let fault = config.places.one(Self::key(config), fault.to_string());
            tracing::error!(%fault, "the store cannot be reached yet");
        }
        Ok(Self::Redis(store))
    }

    /// What is configured, in words by which two processes find that they mean the same.
    pub(super) fn name(config: &Config) -> String {
        match &config.store.redis {
            None => "embedded".to_owned(),
            Some(redis) => format!("redis {}", redis.options.settings.prefix),
        }
    }

    /// The lock of an embedded store, for the process that it is handed over to.
    pub(super) fn lock(&self) -> std::io::Result<Option<File>> {
        match self {
            Self::Embedded(store) => store.lock().map(Some),
            Self::Redis(_) => Ok(None),
        }
    }

    /// This process has taken the store over.
    pub(super) fn name_holder(&self) {
        if let Self::Embedded(store) = self {
            store.name_holder();
        }
    }

    /// Finds what [`open`](Self::open) would refuse for these keys, and a Redis that cannot be
    /// reached. Changes nothing, joins no fleet, and makes no database. Returns what is probably
    /// not meant. Blocks; `options` say for how long another process is waited for.
    pub(super) fn check(
        config: &Config,
        keys: &StoreKey,
        options: EmbeddedOptions,
    ) -> Result<Vec<String>, StoreFault> {
        let fingerprint = keys.fingerprint();
        if let Some(redis) = &config.store.redis {
            let bound = lease(config).bound();
            let findings = RedisStore::check(&redis.options, fingerprint.expose(), bound)?;
            return Ok(findings.iter().map(sentence).collect());
        }
        if EmbeddedStore::is_there(&config.store.path) {
            let key = RecordKey::new(keys.record_key().expose());
            let identity = StoreIdentity { key: &key, fingerprint: fingerprint.expose() };
            EmbeddedStore::check(&config.store.path, &identity, options)?;
        }
        Ok(Vec::new())
    }

    pub(super) fn port(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as _,
            Self::Redis(store) => Arc::new(store.clone()),
        }
    }

    pub(super) fn accounts(&self) -> Arc<dyn AccountStore> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as _,
            Self::Redis(store) => Arc::new(store.clone()),
        }
    }

    /// Shared by the fleet, if it is one; otherwise new ones, which begin with nothing.
    pub(super) fn counters(&self) -> Arc<dyn Counters> {
        match self {
            Self::Embedded(_) => Arc::new(MemoryCounters::default()),
            Self::Redis(store) => Arc::new(store.clone()),
        }
    }

    /// The counters of limits that the fleet shares, if it is one.
    pub(super) fn fleet_counters(&self) -> Option<Arc<FleetCounters>> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(store) => Some(FleetCounters::new(Arc::new(store.clone()))),
        }
    }

    /// Shared by the fleet, if it is one; otherwise new ones, of which none is open.
    pub(super) fn tickets(&self) -> Arc<dyn Tickets> {
        match self {
            Self::Embedded(_) => Arc::new(MemoryTickets::default()),
            Self::Redis(store) => Arc::new(store.clone()),
        }
    }

    /// Blocks until everything that was begun is done.
    pub(super) fn close(&self) {
        match self {
            Self::Embedded(store) => store.close(),
            Self::Redis(store) => store.close(),
        }
    }

    /// Reads what may change without a restart, passwords and certificates, and uses nothing of it
    /// yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Option<PreparedStore>, String> {
        let Self::Redis(store) = self else { return Ok(None) };
        let reloadable =
            ReloadableSettings::of(redis_settings(config)?).map_err(|fault| fault.to_string())?;
        Ok(Some(PreparedStore { store: store.clone(), reloadable }))
    }

    /// The files of TLS towards the store are watched by `watcher` from now on. To be called again
    /// after a reload.
    pub(super) fn watch(&self, watcher: &tls::Watcher) {
        if let Self::Redis(store) = self
            && let Some(client) = store.tls()
        {
            watcher.register(&client);
        }
    }

    /// What can be seen of the link to a fleet.
    pub(super) fn link(&self) -> Option<Arc<LinkState>> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(store) => Some(store.link_state()),
        }
    }
}

/// What of the store's settings may change without a restart, read and not in use yet.
pub(super) struct PreparedStore {
    store: RedisStore,
    reloadable: ReloadableSettings,
}

impl PreparedStore {
    /// Puts it in use.
    pub(super) fn commit(self) {
        self.store.replace(self.reloadable);
    }
}

/// Why the store cannot be used, in words that say what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreFault {
    #[error("[store] {}", with_sources(.0))]
    Embedded(#[from] OpenError),
    #[error("[store] {}{}", with_sources(.0), advice(.0))]
    Redis(#[from] RedisOpenError),
    /// Something else, with the part of the configuration that it is about.
    #[error("{0}")]
    Words(String),
}

impl StoreFault {
    /// Whether it may pass by itself, so that a start waits for that.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Redis(RedisOpenError::Discovery(site)) if !site.is_definitive())
    }

    /// Whether another process has the store: later, it may have not.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self, Self::Embedded(OpenError::Locked { .. }))
    }

    /// The process that has the embedded store open, if that is why.
    pub(super) fn holder(&self) -> Option<u32> {
        match self {
            Self::Embedded(OpenError::Locked { process, .. }) => *process,
            _ => None,
        }
    }
}

/// What to do about a Redis that cannot be used, to be read after its own words; empty where they
/// say it.
fn advice(fault: &RedisOpenError) -> &'static str {
    let site = match fault {
        RedisOpenError::Discovery(site) => site,
        RedisOpenError::OtherKeys => {
            return ": give every instance the same key directory, or another \"prefix\"";
        }
        RedisOpenError::Newer(_) => {
            return ": run a keyward of the version that wrote it, or a later one";
        }
        RedisOpenError::Unfit(_) | RedisOpenError::Thread(_) => return "",
    };
    match site {
        DiscoveryError::Unreachable { .. }
        | DiscoveryError::TimedOut { .. }
        | DiscoveryError::MasterUnknown { .. } => ": start it, or correct \"url\"",
        DiscoveryError::NotMaster { .. } => ": name the master in \"url\", or set \"topology\"",
        DiscoveryError::Refused { .. } => {
            ": correct \"username\" and \"password\" or \"password_file\""
        }
        DiscoveryError::NotPermitted { .. } => {
            ": give the user this right: docs/fleet.md has the whole ACL rule"
        }
        DiscoveryError::TooOld { .. } => ": upgrade it",
        DiscoveryError::Tls { .. } => ": correct \"ca_file\", the client certificate, or \"url\"",
        DiscoveryError::NotNow { .. }
        | DiscoveryError::OtherServer { .. }
        | DiscoveryError::Crowded
        | DiscoveryError::Unsuitable { .. }
        | DiscoveryError::Settings(_) => "",
    }
}

/// A finding on one line.
fn sentence(finding: &Finding) -> String {
    let Finding { subject, found, wanted, words, .. } = finding;
    format!("[store] {subject} is {found}, wanted is {wanted} ({words})")
}

impl From<String> for StoreFault {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<StoreFault> for String {
    fn from(fault: StoreFault) -> Self {
        fault.to_string()
    }
}

/// What is needed to reach the configured Redis.
pub(super) fn redis_settings(config: &Config) -> Result<&RedisSettings, String> {
    let redis = config.store.redis.as_ref().map(|redis| &redis.options.settings);
    redis.ok_or_else(|| "[store] is of another kind than \"redis\"".to_owned())
}
