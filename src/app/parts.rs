//! What lives as long as the process: the keys, the store, the cache.

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::keys::{Keys, MissingKeys, ReadKeys};
use super::lease::lease;
use super::open_store::{OpenStore, StoreFault, command};
use crate::config::Config;
use crate::gateway::Services;
use crate::limits::FleetCounters;
use crate::store::{EmbeddedOptions, EmbeddedStore, Timed};
use crate::telemetry::histogram::Histogram;
use crate::telemetry::store_durations::StoreDurations;
use crate::tokens::accounts::{
    AccountParts, AccountsService, Counters, HashingCost, HashingPool, Logins, hashing,
};
use crate::tokens::authenticator::Authenticator;
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;
use crate::tokens::keyring::{Peppers, StoreKey};
use crate::tokens::opaque::OpaqueTokens;
use crate::tokens::parts::TokenParts;
use crate::tokens::service::TokenService;
use crate::tokens::signed::SignedTokens;
use crate::tokens::store::Store;
use crate::tokens::tickets::TicketService;

/// The parts, put together.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) store: OpenStore,
    pub(super) cache: Arc<TokenCache>,
    pub(super) signed: Arc<SignedTokens>,
    opaque: Arc<OpaqueTokens>,
    hashing: Arc<HashingPool>,
    limits: Logins,
    counters: Arc<dyn Counters>,
    /// Of limits; none where this is no fleet.
    fleet_counters: Option<Arc<FleetCounters>>,
    tickets: TicketService,
    pub(super) peppers: Arc<Peppers>,
    store_key: Arc<StoreKey>,
    /// How long one look-up may take.
    look_up: Duration,
    /// How long one change may take, until the whole fleet has confirmed it.
    change: Duration,
    /// How long revocations took.
    pub(super) revocations: Arc<Histogram>,
    /// How long the store took.
    pub(super) durations: Arc<StoreDurations>,
}

/// Beyond the time that a fleet may take to confirm a removal.
const FLEET_SLACK: Duration = Duration::from_secs(1);

/// The cache of verified tokens, under the lease that is configured.
pub(super) fn cache(config: &Config) -> Arc<TokenCache> {
    Arc::new(TokenCache::new(config.limits.cached_tokens, lease(config)))
}

impl Parts {
    /// Opens the keys and the store for a command, and does not wait for another process that has
    /// them.
    pub(super) fn open_for_command(config: &Config) -> Result<Self, StoreFault> {
        // First, because reading keys and starting threads at each try would slow down the process
        // that has the store.
        if config.store.redis.is_none() {
            EmbeddedStore::check_free(&config.store.path)?;
        }
        let at_once = EmbeddedOptions {
            wait_for_command: Duration::ZERO,
            wait_for_server: Duration::ZERO,
            ..command()
        };
        Self::open_with(config, ReadKeys::open(config, MissingKeys::Make)?.into(), at_once, None)
    }

    /// Opens the keys, which must be there, and the store for a command.
    pub(super) fn reopen(config: &Config) -> Result<Self, StoreFault> {
        Self::open_with(
            config,
            ReadKeys::open(config, MissingKeys::MakeBesideOthers)?.into(),
            command(),
            None,
        )
    }

    /// Opens the store with these keys, an embedded one with `options`, and beside the process that
    /// has handed over its lock, if one has. Blocks, with Redis for as
    /// long as connecting may take, twice. The store is the last that is opened: an instance that
    /// joins a fleet and then does not start is one for which the fleet waits in vain.
    pub(super) fn open_with(
        config: &Config,
        keys: Keys,
        options: EmbeddedOptions,
        lock: Option<File>,
    ) -> Result<Self, StoreFault> {
        let cache = cache(config);
        let threads = NonZeroUsize::new(config.logins.hashing_threads)
            .unwrap_or_else(hashing::default_threads);
        let queue = NonZeroUsize::new(config.logins.hashing_queue).unwrap_or(NonZeroUsize::MIN);
        let hashing = HashingPool::start(threads, queue, HashingCost::OWASP)
            .map_err(|fault| format!("the threads for passwords cannot be started: {fault}"))?;
        let store = OpenStore::open(config, &keys.store, &cache, options, lock)?;
        let (look_up, change) = match &config.store.redis {
            None => (config.store.timeout, config.store.timeout),
            // A removal takes as long as Redis, and then as long as the fleet takes to confirm it.
            Some(redis) => (
                redis.options.settings.timeouts.read,
                config.store.timeout + cache.lease().bound() + FLEET_SLACK,
            ),
        };
        let tickets = store.tickets();
        let opaque = Arc::clone(&keys.opaque);
        let tickets = TicketService::new(tickets, opaque, keys.ids, config.store.timeout);
        Ok(Self {
            counters: store.counters(),
            fleet_counters: store.fleet_counters(),
            tickets,
            store,
            hashing: Arc::new(hashing),
            limits: config.logins,
            cache,
            signed: keys.signed,
            opaque: keys.opaque,
            peppers: keys.peppers,
            store_key: keys.store,
            look_up,
            change,
            revocations: Arc::default(),
            durations: Arc::default(),
        })
    }

    /// The store, measured.
    pub(super) fn port(&self) -> Arc<dyn Store> {
        Arc::new(Timed::new(self.store.port(), Arc::clone(&self.durations)))
    }

    /// Checks that keys that were read anew are of the store that is open.
    pub(super) fn check_store_key(&self, keys: &ReadKeys) -> Result<(), String> {
        if keys.store.fingerprint().expose() == self.store_key.fingerprint().expose() {
            return Ok(());
        }
        Err("[keys] directory: store.key has changed; put the old one back: another one takes a \
             new store"
            .to_owned())
    }

    /// A key that was added makes tokens from now on; those of one that was removed are no longer
    /// accepted.
    pub(super) fn replace_keys(&self, keys: ReadKeys) {
        self.signed.replace(keys.signed);
        self.opaque.replace(keys.opaque);
        self.peppers.replace(keys.peppers);
        self.tickets.replace_keys(keys.ids, clock::read().wall);
        // Tokens of a key that was removed may be cached.
        self.cache.invalidate_all();
    }

    /// `deadline`: of one operation of the store.
    fn tokens(&self, deadline: Duration) -> TokenParts {
        TokenParts {
            store: self.port(),
            cache: Arc::clone(&self.cache),
            signed: Arc::clone(&self.signed),
            opaque: Arc::clone(&self.opaque),
            peppers: Arc::clone(&self.peppers),
            deadline,
        }
    }

    /// What requests are judged and served with.
    pub(super) fn services(&self) -> Services {
        Services {
            authenticator: self.authenticator(),
            service: self.service(),
            accounts: self.accounts(),
            tickets: self.tickets.clone(),
            store: self.port(),
            fleet_counters: self.fleet_counters.clone(),
        }
    }

    fn authenticator(&self) -> Authenticator {
        Authenticator::new(self.tokens(self.look_up))
    }

    pub(super) fn accounts(&self) -> AccountsService {
        AccountsService::new(AccountParts {
            tokens: self.tokens(self.change),
            accounts: Arc::new(Timed::new(self.store.accounts(), Arc::clone(&self.durations))),
            counters: Arc::clone(&self.counters),
            counter_key: Arc::new(self.store_key.counter_key()),
            hashing: Arc::clone(&self.hashing),
            limits: self.limits,
        })
    }

    pub(super) fn service(&self) -> TokenService {
        TokenService::new(self.tokens(self.change), Arc::clone(&self.revocations))
    }
}
