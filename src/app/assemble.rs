//! From a configuration to parts: every translation from what was configured to what a part takes is here.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::api::Face;
use crate::api::accounts::Accounts;
use crate::api::agent_tokens::AgentTokens;
use crate::api::allowlist_jwt::AllowlistJwt;
use crate::api::tenant_tokens::TenantTokens;
use crate::config::{self, Config};
use crate::domain::Timestamp;
use crate::gateway::{
    Callers, ExchangeTimeouts, HeadLimits, HostRule, IdentityNames, Plan, PlanSettings, Requirement, RequirementField,
    RouteSettings, TenantRule, TokenApiSettings, TrustedProxies, UpstreamPlan,
};
use crate::server::{ConnectionSettings, ListenerSettings, ProxyProtocol};
use crate::store::key_directory::{KeyDirectory, KeyDirectoryError};
use crate::store::redis::data::Acks;
use crate::store::redis::node::Means;
use crate::store::redis::settings::{NodeAddress, RedisSettings, RedisTimeouts, Secret, Servers};
use crate::store::redis::{LinkState, RedisOptions, RedisStore};
use crate::store::{EmbeddedOptions, EmbeddedStore, OpenError, Opener, RecordKey};
use crate::telemetry::access_log::AccessLogTarget;
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::telemetry::metrics::Timings;
use crate::tls::{self, CertificateFiles, ClientSettings, ServerSettings, Trust};
use crate::tokens::accounts::{
    AccountParts, AccountStore, AccountTerms, AccountsService, Counters, Enrolment, HashingCost, HashingPool,
    MemoryCounters, ThrottleLimits, hashing,
};
use crate::tokens::authenticator::Authenticator;
use crate::tokens::cache::TokenCache;
use crate::tokens::command::Minting;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::keyring::{Peppers, SecretBytes, StoreKey};
use crate::tokens::lease::{Lease, LeaseTerms};
use crate::tokens::opaque::{Alphabet, OpaqueFormat, OpaqueTokens};
use crate::tokens::service::TokenService;
use crate::tokens::signed::{KeyMaterial, SignedTokens, SigningAlgorithm};
use crate::tokens::store::Store;
use crate::upstream::connect::UpstreamTls;
use crate::upstream::{ResponseHeadLimits, UpstreamSettings};

/// What lives as long as the process: the keys, the store, the cache.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) store: OpenStore,
    pub(super) cache: Arc<TokenCache>,
    pub(super) signed: Arc<SignedTokens>,
    opaque: Arc<OpaqueTokens>,
    hashing: Arc<HashingPool>,
    limits: ThrottleLimits,
    counters: Arc<dyn Counters>,
    pub(super) peppers: Arc<Peppers>,
    store_key: Arc<StoreKey>,
    /// How long one look-up may take.
    look_up: Duration,
    /// How long one change may take, until the whole fleet has heeded it.
    change: Duration,
    /// How long revocations took.
    pub(super) revocations: Arc<Timings>,
}

/// What makes tokens, and knows those that it made.
pub(super) struct TokenKeys {
    pub(super) signed: SignedTokens,
    opaque: OpaqueTokens,
    peppers: Peppers,
}

/// The keys, read, and what is made of them: all that is needed before the store is opened.
pub(super) struct Keys {
    pub(super) signed: Arc<SignedTokens>,
    opaque: Arc<OpaqueTokens>,
    pub(super) peppers: Arc<Peppers>,
    store: Arc<StoreKey>,
}

impl Keys {
    /// Reads the key directory, and makes what is missing in it.
    pub(super) fn open(config: &Config) -> Result<Self, String> {
        Self::open_with(config, KeyDirectory::open)
    }

    fn open_with(config: &Config, open: OpenKeys) -> Result<Self, String> {
        let keys = open_keys(config, open)?;
        Ok(Self {
            opaque: Arc::new(OpaqueTokens::new(&keys.macs)),
            peppers: Arc::new(peppers(&keys.peppers)?),
            store: Arc::new(keys.store),
            signed: Arc::new(signed_tokens(config, keys.signing)?),
        })
    }
}

/// The store that is configured.
#[derive(Clone)]
pub(super) enum OpenStore {
    Embedded(Arc<EmbeddedStore>),
    Redis(RedisStore),
}

/// Why what is configured was not opened, in words.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// Another process has the store: later, it may have not.
    InUse(String),
    /// The operator's to mend.
    Other(String),
}

impl From<String> for OpenFault {
    fn from(words: String) -> Self {
        Self::Other(words)
    }
}

impl From<OpenFault> for String {
    fn from(fault: OpenFault) -> Self {
        match fault {
            OpenFault::InUse(words) | OpenFault::Other(words) => words,
        }
    }
}

impl From<OpenError> for OpenFault {
    fn from(fault: OpenError) -> Self {
        let words = with_sources(&fault);
        if matches!(fault, OpenError::Locked { .. }) { Self::InUse(words) } else { Self::Other(words) }
    }
}

/// How a command opens an embedded store. It waits a few seconds for another command.
pub(super) fn command() -> EmbeddedOptions {
    let wait_for_command = Duration::from_secs(10);
    EmbeddedOptions { opener: Opener::Command, wait_for_command, ..EmbeddedOptions::default() }
}

impl OpenStore {
    /// Opens what is configured, for these keys; an embedded store with `options`.
    pub(super) fn open(
        config: &Config,
        keys: &StoreKey,
        cache: &Arc<TokenCache>,
        options: EmbeddedOptions,
    ) -> Result<Self, OpenFault> {
        let key = RecordKey::new(keys.record_key().expose());
        let fingerprint = keys.fingerprint();
        let Some(redis) = &config.store.redis else {
            let store = EmbeddedStore::open(&config.store.path, key, options)
                .and_then(|store| store.bind_keys(fingerprint.expose()).map(|()| store));
            return Ok(Self::Embedded(store?));
        };
        let acks =
            (redis.revoke_acks > 0).then_some(Acks { count: redis.revoke_acks, patience: redis.revoke_acks_timeout });
        let settings = redis_settings(config)?;
        let options = RedisOptions { settings, acks, allow_volatile: redis.allow_volatile };
        let store = RedisStore::open(options, key, fingerprint.expose().to_vec(), Arc::clone(cache));
        store.map(Self::Redis).map_err(|fault| with_sources(&fault).into())
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
    fn counters(&self) -> Arc<dyn Counters> {
        match self {
            Self::Embedded(_) => Arc::new(MemoryCounters::default()),
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

    /// Reads what may change without a restart, passwords and certificates, and uses nothing of it yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<PreparedStore, String> {
        Ok(PreparedStore(match self {
            Self::Embedded(_) => None,
            Self::Redis(store) => {
                let means = Means::of(&redis_settings(config)?).map_err(|fault| fault.to_string())?;
                Some((store.clone(), means))
            }
        }))
    }

    /// The files of TLS towards the store are watched by `watcher` from now on. To be called again after a reload.
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
            Self::Redis(store) => store.link_state(),
        }
    }
}

/// What of the store's settings may change without a restart, read and not in use yet.
pub(super) struct PreparedStore(Option<(RedisStore, Means)>);

impl PreparedStore {
    /// Puts it in use.
    pub(super) fn commit(self) {
        if let Some((store, means)) = self.0 {
            store.replace(means);
        }
    }
}

/// Beyond the time that a fleet may take to confirm a removal.
const FLEET_SLACK: Duration = Duration::from_secs(1);

/// How long what is open may go on without a word from the store: WebSockets, event streams, long transfers.
const OPEN_WITHOUT_STORE: Duration = Duration::from_secs(30);

/// What remembers verified tokens, under the lease that is configured.
pub(super) fn cache(config: &Config) -> Arc<TokenCache> {
    Arc::new(TokenCache::new(config.limits.cached_tokens, lease(config)))
}

fn lease(config: &Config) -> Lease {
    let Some(redis) = &config.store.redis else { return Lease::endless() };
    let staleness = match redis.on_outage {
        config::OnOutage::Deny => Duration::ZERO,
        config::OnOutage::ServeCached => redis.max_staleness,
    };
    Lease::pending(LeaseTerms {
        span: redis.coherence_lease,
        staleness,
        open: OPEN_WITHOUT_STORE.max(staleness),
        patience: redis.read_timeout,
    })
}

impl Parts {
    /// Opens the keys and the store for a command, without waiting for another process to be done with them.
    pub(super) fn open_for_command(config: &Config) -> Result<Self, OpenFault> {
        // Looked at first: reading keys and starting threads at each try would hold up the process that has the store.
        if config.store.redis.is_none() {
            EmbeddedStore::check_free(&config.store.path)?;
        }
        let at_once =
            EmbeddedOptions { wait_for_command: Duration::ZERO, wait_for_server: Duration::ZERO, ..command() };
        Self::open_with(config, Keys::open(config)?, at_once)
    }

    /// Opens the keys, which must be there, and the store for a command.
    pub(super) fn reopen(config: &Config) -> Result<Self, OpenFault> {
        Self::open_with(config, Keys::open_with(config, KeyDirectory::reopen)?, command())
    }

    /// Opens the store with these keys, an embedded one with `options`. Blocks, with Redis for as long as connecting may take, twice. The store is the last that
    /// is opened: an instance that joins a fleet and then does not start is one for which the fleet waits in vain.
    pub(super) fn open_with(config: &Config, keys: Keys, options: EmbeddedOptions) -> Result<Self, OpenFault> {
        let cache = cache(config);
        let threads = NonZeroUsize::new(config.logins.hashing_threads).unwrap_or_else(hashing::default_threads);
        let queue = NonZeroUsize::new(config.logins.hashing_queue).unwrap_or(NonZeroUsize::MIN);
        let hashing = HashingPool::start(threads, queue, HashingCost::OWASP)
            .map_err(|fault| format!("the threads for passwords cannot be started: {fault}"))?;
        let store = OpenStore::open(config, &keys.store, &cache, options)?;
        let (look_up, change) = match &config.store.redis {
            None => (config.store.timeout, config.store.timeout),
            // A removal takes as long as Redis, and then as long as the fleet takes to confirm it.
            Some(redis) => (redis.read_timeout, config.store.timeout + cache.lease().bound() + FLEET_SLACK),
        };
        Ok(Self {
            counters: store.counters(),
            store,
            hashing: Arc::new(hashing),
            limits: throttle_limits(&config.logins),
            cache,
            signed: keys.signed,
            opaque: keys.opaque,
            peppers: keys.peppers,
            store_key: keys.store,
            look_up,
            change,
            revocations: Arc::default(),
        })
    }

    /// Reads the keys of tokens again, without using them yet.
    pub(super) fn reread_keys(&self, config: &Config) -> Result<TokenKeys, String> {
        let keys = open_keys(config, KeyDirectory::reopen)?;
        if keys.store.fingerprint().expose() != self.store_key.fingerprint().expose() {
            return Err(format!("{}: store.key has changed; that takes a new store", config.keys.directory.display()));
        }
        let (opaque, peppers) = (OpaqueTokens::new(&keys.macs), peppers(&keys.peppers)?);
        Ok(TokenKeys { signed: signed_tokens(config, keys.signing)?, opaque, peppers })
    }

    /// A key that was added makes tokens from now on; those of one that was removed are no longer accepted.
    pub(super) fn replace_keys(&self, keys: TokenKeys) {
        self.signed.replace(keys.signed);
        self.opaque.replace(keys.opaque);
        self.peppers.replace(keys.peppers);
        // What an absent key once made may still be remembered.
        self.cache.invalidate_all();
    }

    pub(super) fn authenticator(&self) -> Authenticator {
        Authenticator::new(
            Arc::clone(&self.cache),
            self.store.port(),
            Arc::clone(&self.signed),
            Arc::clone(&self.opaque),
            Arc::clone(&self.peppers),
            self.look_up,
        )
    }

    pub(super) fn accounts(&self) -> AccountsService {
        AccountsService::new(AccountParts {
            store: self.store.port(),
            accounts: self.store.accounts(),
            counters: Arc::clone(&self.counters),
            cache: Arc::clone(&self.cache),
            signed: Arc::clone(&self.signed),
            opaque: Arc::clone(&self.opaque),
            peppers: Arc::clone(&self.peppers),
            counter_key: Arc::new(self.store_key.counter_key()),
            hashing: Arc::clone(&self.hashing),
            limits: self.limits,
            deadline: self.change,
        })
    }

    pub(super) fn service(&self) -> TokenService {
        TokenService::new(
            self.store.port(),
            Arc::clone(&self.cache),
            Arc::clone(&self.signed),
            Arc::clone(&self.opaque),
            Arc::clone(&self.peppers),
            self.change,
            Arc::clone(&self.revocations),
        )
    }
}

fn peppers(ring: &[SecretBytes]) -> Result<Peppers, String> {
    let (first, others) = ring.split_first().ok_or("[keys] directory: it holds no pepper")?;
    Ok(Peppers::new(first, others))
}

/// What is needed to reach the configured Redis.
pub(super) fn redis_settings(config: &Config) -> Result<RedisSettings, String> {
    let store = config.store.redis.as_ref().ok_or("[store] is of another kind than \"redis\"")?;
    let secret = |secret: &config::Secret| Secret::new(secret.expose().to_owned());
    let mut addresses: Vec<_> =
        store.servers.iter().map(|(host, port)| NodeAddress::new(host.as_str(), *port)).collect();
    let servers = match store.topology {
        config::Topology::Single => Servers::Single(addresses.pop().ok_or("[store] has no \"url\"")?),
        config::Topology::Cluster => Servers::Cluster(addresses),
        config::Topology::Sentinel => Servers::Sentinel {
            sentinels: addresses,
            master: store.sentinel_master.clone().ok_or("[store] has no \"sentinel_master\"")?,
            username: store.sentinel_username.clone(),
            password: store.sentinel_password.as_ref().map(secret),
        },
    };
    let certificate = store.client_certificate_file.clone().zip(store.client_key_file.clone());
    let tls = ClientSettings {
        trust: store.ca_file.clone().map_or(Trust::System, Trust::File),
        identity: certificate.map(|(certificate, key)| CertificateFiles { certificate, key }),
        // Redis has no protocol to negotiate.
        alpn: Vec::new(),
    };
    Ok(RedisSettings {
        servers,
        tls: store.tls.then_some(tls),
        username: store.username.clone(),
        password: store.password.as_ref().map(secret),
        database: store.database,
        prefix: store.prefix.clone(),
        timeouts: RedisTimeouts {
            connect: config.store.timeout,
            read: store.read_timeout,
            change: config.store.timeout,
        },
    })
}

fn throttle_limits(logins: &config::Logins) -> ThrottleLimits {
    ThrottleLimits {
        window: logins.window,
        of_pair: logins.failures,
        of_address: logins.failures_per_address,
        suspect_from: logins.suspect_from,
        of_stranger: logins.failures_of_strangers,
        registration_window: logins.registration_window,
        registrations: logins.registrations_per_address,
    }
}

type OpenKeys = fn(&Path, &[SigningAlgorithm], Timestamp) -> Result<KeyDirectory, KeyDirectoryError>;

fn open_keys(config: &Config, open: OpenKeys) -> Result<KeyDirectory, String> {
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let keys = open(&config.keys.directory, &signing_algorithms(config), now)
        .map_err(|fault| format!("[keys] directory: {fault}"))?;
    for warning in &keys.warnings {
        tracing::warn!("{warning}");
    }
    Ok(keys)
}

/// What the token APIs sign with: a key of each must be there.
pub(super) fn signing_algorithms(config: &Config) -> Vec<SigningAlgorithm> {
    let signed = config.token_apis.iter().filter(|api| api.style.signs());
    let mut algorithms: Vec<_> = signed.map(|api| algorithm(api.algorithm)).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}

fn signed_tokens(config: &Config, keys: Vec<(String, SigningAlgorithm, KeyMaterial)>) -> Result<SignedTokens, String> {
    SignedTokens::new(config.keys.issuer.clone(), keys)
        .map_err(|fault| format!("{}: {fault}", config.keys.directory.display()))
}

/// An error with all that lies behind it, on one line.
pub(super) fn with_sources(fault: &dyn std::error::Error) -> String {
    let mut words = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    words
}

pub(super) fn algorithm(configured: config::Algorithm) -> SigningAlgorithm {
    match configured {
        config::Algorithm::Hs256 => SigningAlgorithm::Hs256,
        config::Algorithm::EdDsa => SigningAlgorithm::EdDsa,
        config::Algorithm::Es256 => SigningAlgorithm::Es256,
        config::Algorithm::Rs256 => SigningAlgorithm::Rs256,
    }
}

/// The token APIs.
pub(super) fn token_apis(config: &Config) -> Vec<TokenApiSettings> {
    let accounts: Vec<_> = config
        .token_apis
        .iter()
        .filter(|api| matches!(api.style, config::Style::Accounts(_)))
        .map(|api| Arc::clone(&api.name))
        .collect();
    config.token_apis.iter().map(|api| token_api_settings(api, &accounts)).collect()
}

/// Compiles what a reload may change.
///
/// The files of the upstreams' TLS are watched by `watcher` from now on.
pub(super) fn plan(
    config: &Config,
    signed: &SignedTokens,
    issuers: Arc<IssuerSet>,
    watcher: &tls::Watcher,
) -> Result<Plan, String> {
    let upstreams =
        config.upstreams.iter().map(|upstream| upstream_plan(config, upstream, watcher)).collect::<Result<_, _>>()?;
    let routes = config.routes.iter().map(|route| route_settings(config, route)).collect::<Result<_, _>>()?;
    let names = &config.identity_headers;
    Plan::new(PlanSettings {
        token_apis: token_apis(config),
        upstreams,
        routes,
        identity_names: IdentityNames {
            subject: names.subject.clone(),
            username: names.username.clone(),
            organization: names.organization.clone(),
            role: names.role.clone(),
            email: names.email.clone(),
            token_id: names.token_id.clone(),
            credential: names.credential.clone(),
            request_id: names.request_id.clone(),
            client_certificate_subject: names.client_certificate_subject.clone(),
            client_certificate_names: names.client_certificate_names.clone(),
        },
        token_limit: config.limits.token,
        timeouts: ExchangeTimeouts { body: config.timeouts.body, response_head: config.timeouts.response_head },
        public_keys: signed.public_keys(),
        issuers,
    })
    .map_err(|fault| fault.to_string())
}

/// The faults in the files of upstreams that only show when they are loaded.
pub(super) fn upstream_faults(config: &Config) -> Vec<String> {
    let watcher = tls::Watcher::default();
    config.upstreams.iter().filter_map(|upstream| upstream_plan(config, upstream, &watcher).err()).collect()
}

/// One upstream, with the files of its TLS loaded.
fn upstream_plan(config: &Config, upstream: &config::Upstream, watcher: &tls::Watcher) -> Result<UpstreamPlan, String> {
    let tls = if upstream.endpoints.iter().any(|endpoint| endpoint.is_tls) {
        let config::UpstreamTls { trust, server_name, identity } = upstream.tls.clone();
        // What is offered by ALPN depends on the connection, not on the files.
        let client = tls::Client::load(tls::ClientSettings { trust, identity, alpn: Vec::new() })
            .map_err(|fault| format!("[[upstream]] {:?}: {}", upstream.name, with_sources(&fault)))?;
        watcher.register(&client);
        Some(UpstreamTls { client, server_name })
    } else {
        None
    };
    Ok(UpstreamPlan {
        name: Arc::clone(&upstream.name),
        settings: UpstreamSettings {
            endpoints: upstream.endpoints.clone(),
            protocol: upstream.protocol,
            tls,
            connect_timeout: config.timeouts.connect,
            idle_connections: upstream.idle_connections,
            idle_timeout: upstream.idle_timeout,
            response_head: ResponseHeadLimits {
                bytes: config.limits.response_head,
                fields: config.limits.response_headers,
            },
        },
        preserve_host: upstream.preserve_host,
    })
}

/// `accounts`: the token APIs with login sessions.
fn token_api_settings(api: &config::TokenApi, accounts: &[Arc<str>]) -> TokenApiSettings {
    let opaque = |alphabet| Minting::Opaque(OpaqueFormat { prefix: api.prefix.clone(), alphabet });
    let issuers = || api.issuers.clone();
    let (face, minting, callers): (Arc<dyn Face>, _, _) = match &api.style {
        config::Style::AllowlistJwt => (
            Arc::new(AllowlistJwt),
            Minting::Signed(algorithm(api.algorithm)),
            Callers { own_keys: true, own_bootstrap: true, ..Callers::default() },
        ),
        config::Style::TenantTokens => (
            Arc::new(TenantTokens),
            opaque(Alphabet::Base62),
            Callers { own_keys: true, issuers: issuers(), ..Callers::default() },
        ),
        config::Style::AgentTokens => (
            Arc::new(AgentTokens),
            opaque(Alphabet::Hex),
            Callers { issuers: issuers(), sessions_of: accounts.to_vec(), ..Callers::default() },
        ),
        config::Style::Accounts(_) => (
            Arc::new(Accounts),
            opaque(Alphabet::Base36),
            Callers { sessions_of: vec![Arc::clone(&api.name)], ..Callers::default() },
        ),
    };
    TokenApiSettings {
        name: Arc::clone(&api.name),
        face,
        mount: api.mount.as_str().to_owned(),
        minting,
        callers,
        accounts: account_terms(api),
        takes_api_key_field: matches!(api.style, config::Style::Accounts(_)),
    }
}

fn account_terms(api: &config::TokenApi) -> Option<AccountTerms> {
    let config::Style::Accounts(style) = &api.style else { return None };
    Some(AccountTerms {
        token_api: Arc::clone(&api.name),
        algorithm: algorithm(api.algorithm),
        session: style.session,
        enrolment: match style.registration {
            config::RegistrationMode::Open => Enrolment::Open,
            config::RegistrationMode::Closed => Enrolment::Closed,
        },
        format: OpaqueFormat { prefix: api.prefix.clone(), alphabet: Alphabet::Base36 },
    })
}

fn route_settings(config: &Config, route: &config::Route) -> Result<RouteSettings, String> {
    let upstream = config
        .upstreams
        .iter()
        .position(|upstream| upstream.name == route.upstream)
        .ok_or_else(|| format!("there is no upstream named {:?}", route.upstream))?;
    let require = &route.require;
    let fields = [
        (RequirementField::Subject, &require.subject),
        (RequirementField::Username, &require.username),
        (RequirementField::Organization, &require.organization),
        (RequirementField::Role, &require.role),
        (RequirementField::Email, &require.email),
        (RequirementField::Tenant, &require.tenant),
    ];
    let fields = fields
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(field, values)| Requirement::Field { field, one_of: values.clone() });
    let claims = require.claims.iter().cloned().map(Requirement::Claim);
    let scope = (!require.scope.is_empty()).then(|| Requirement::Scope(require.scope.clone()));
    // A route that is neither public nor open to anybody would be public by having nobody to accept.
    if route.accept.is_empty() != route.public {
        return Err(format!("route {}: either public or with something to accept", route.path));
    }
    Ok(RouteSettings {
        host: match &route.host {
            config::HostPattern::Any => HostRule::Any,
            config::HostPattern::Exact(host) => HostRule::Exact(host.clone()),
            config::HostPattern::Suffix(suffix) => HostRule::Suffix(suffix.clone()),
        },
        path: route.path.as_str().to_owned(),
        methods: route.methods.clone(),
        upstream,
        accept: route.accept.clone(),
        forward_credential: route.forward_credential,
        require: fields.chain(claims).chain(scope).collect(),
        tenant: route
            .tenant_param
            .clone()
            .map(|parameter| TenantRule { parameter, rewrites_path: route.resolve_tenant }),
    })
}

/// What clients may choose by ALPN, best first; `http/1.0` is what some old clients offer alone.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The files of its certificates are watched by `watcher` from now on.
pub(super) fn listener(configured: &config::Listener, watcher: &tls::Watcher) -> Result<ListenerSettings, String> {
    let tls = if configured.tls.is_empty() {
        None
    } else {
        let settings = ServerSettings {
            certificates: configured.tls.clone(),
            client_auth: configured.client_certificates.clone(),
            alpn: ALPN.to_vec(),
        };
        let tls = tls::Server::load(settings).map_err(|fault| fault.to_string())?;
        watcher.register(&tls);
        Some(tls)
    };
    let trusted = configured.trusted_proxies.clone();
    Ok(ListenerSettings {
        address: configured.address.clone(),
        socket_mode: configured.mode,
        tls,
        proxy_protocol: match configured.proxy_protocol {
            config::ProxyProtocol::Off => ProxyProtocol::Off,
            config::ProxyProtocol::Required => ProxyProtocol::Required,
        },
        trusted_proxies: TrustedProxies::new(move |peer| trusted.iter().any(|proxy| proxy.is(peer))),
    })
}

pub(super) fn connection_settings(config: &Config) -> ConnectionSettings {
    ConnectionSettings {
        head_limits: HeadLimits {
            bytes: config.limits.head,
            target: config.limits.target,
            lines: config.limits.headers,
        },
        first_byte: config.timeouts.first_byte,
        head: config.timeouts.head,
        idle: config.timeouts.idle,
        body: config.timeouts.body,
        handshake: config.timeouts.tls_handshake,
        streams: u32::try_from(config.limits.streams).unwrap_or(u32::MAX),
    }
}

pub(super) fn log_format(configured: config::LogFormat) -> LogFormat {
    match configured {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Human => LogFormat::Human,
    }
}

pub(super) fn log_level(configured: config::LogLevel) -> LogLevel {
    match configured {
        config::LogLevel::Error => LogLevel::Error,
        config::LogLevel::Warn => LogLevel::Warn,
        config::LogLevel::Info => LogLevel::Info,
        config::LogLevel::Debug => LogLevel::Debug,
        config::LogLevel::Trace => LogLevel::Trace,
    }
}

/// Why the access log cannot be opened, in the operator's words.
pub(super) fn access_log_fault(config: &Config, fault: &std::io::Error) -> String {
    format!("[log] access = {:?} cannot be opened: {fault}", config.log.access)
}

pub(super) fn access_log_target(configured: &config::AccessLog) -> Option<AccessLogTarget> {
    match configured {
        config::AccessLog::Off => None,
        config::AccessLog::Stdout => Some(AccessLogTarget::Stdout),
        config::AccessLog::Stderr => Some(AccessLogTarget::Stderr),
        config::AccessLog::File(path) => Some(AccessLogTarget::File(path.clone())),
    }
}
