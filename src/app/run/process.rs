//! A running keyward: its start, and what it consists of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::bounds::{connection_limit, workers};
use super::listening::listen;
use super::prepare::{Occasion, Prepared, PreparedKeys, prepare};
use super::running::Running;
use crate::admin::{AdminSocket, Administration, SocketError, Status, serve_probes, serve_socket};
use crate::app::administration::OwnAdministration;
use crate::app::assemble;
use crate::app::issuers::Issuers;
use crate::app::keys::{self, MissingKeys, ReadKeys};
use crate::app::open_store::OpenStore;
use crate::app::parts::Parts;
use crate::app::status::OwnStatus;
use crate::cli::Failure;
use crate::config::{Config, Faults};
use crate::gateway::Shared;
use crate::server::{
    Acceptor, BoundAddress, ConnectionLimit, ListenAddress, ListeningSocket, WorkerPool,
    WorkerPoolSettings, listen_all,
};
use crate::store::EmbeddedOptions;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::log::Log;
use crate::tls::Watcher;
use crate::upstream::NameWatch;

/// How long the last lines of the access log may take.
pub(super) const LAST_LINES: Duration = Duration::from_secs(2);

/// A running keyward.
pub(in crate::app) struct Process {
    pub(super) config: Config,
    /// Where the configuration is read again; none: it is not.
    pub(super) path: Option<PathBuf>,
    pub(super) log: Option<Log>,
    pub(super) parts: Parts,
    pub(super) issuers: Issuers,
    /// Watches the files of certificates and keys.
    pub(super) watcher: Watcher,
    pub(super) shared: Arc<Shared>,
    pub(super) names: Arc<NameWatch>,
    pub(super) pool: Option<WorkerPool>,
    pub(super) acceptors: HashMap<ListenAddress, Acceptor>,
    /// Those that stop: for a moment, they are still listened on.
    pub(super) retiring: HashMap<ListenAddress, Acceptor>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) status: Arc<OwnStatus>,
    pub(super) administration: Arc<OwnAdministration>,
    pub(super) stop: watch::Sender<bool>,
}

impl Process {
    /// Opens, binds and starts everything. What can fail without the store comes before the store
    /// is opened, and everything that can fail comes before the addresses are listened on: a port
    /// is open once it is served.
    ///
    /// # Cancel safety
    ///
    /// It waits for the store to be opened and, for a while, for the addresses of names. When it is
    /// dropped meanwhile, the store is opened all the same and closed by the end of the process.
    pub(in crate::app) async fn start(
        config: Config,
        path: Option<PathBuf>,
        log: Option<Log>,
    ) -> Result<Self, Failure> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let watcher = Watcher::default();
        let mut issuers = Issuers::new(watcher.clone());
        let prepared = prepare_to_start(&config, &issuers, &watcher).await?;
        let Prepared { keys, issuers: prepared_issuers, plan, listeners, probes, warnings, .. } =
            prepared;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        // Preparing for a start makes first keys.
        let PreparedKeys::First(keys) = keys else {
            return Err("the keys were not read".to_owned().into());
        };
        let fault = |key: &str, words: String| config.places.one(key, words);
        let socket_fault =
            |error: SocketError| fault("admin.socket", format!("[admin] socket: {error}"));
        let socket = AdminSocket::reserve(&config.admin.socket).map_err(socket_fault)?;
        // It blocks for as long as a Redis that does not answer may take: on a thread of its own,
        // so that signals are followed.
        let opening = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Parts::open_with(&config, keys, EmbeddedOptions::default())
        });
        let parts = opening.await.map_err(|_| "the store could not be opened".to_owned())?;
        let parts = parts.map_err(|words| fault(OpenStore::key(&config), words.to_string()))?;
        let access_log = config.log.access.clone();
        let access_log =
            access_log.map(|target| AccessLog::start(target, config.log.format)).transpose();
        let access_log = match access_log {
            Ok(access_log) => access_log,
            Err(error) => {
                let _ = close(parts.store).await;
                return Err(fault("log.access", assemble::access_log_fault(&config, &error)).into());
            }
        };
        // Beside the opening of the store it would begin before everything that can fail is done.
        let (names, name_set) = (NameWatch::new(config.dns.clone()), plan.names());
        names.learn(&config.dns, &name_set).await;
        let shared = Arc::new(Shared::new(
            parts.authenticator(),
            parts.service(),
            parts.accounts(),
            parts.store.port(),
            access_log,
            plan,
        ));
        shared.replace_addresses(&names.replace(&config.dns, &name_set));

        let started = WorkerPool::start(
            WorkerPoolSettings {
                workers: workers(config.server.workers),
                pin: config.server.pin,
                connection: assemble::connection_settings(&config),
            },
            &shared,
        )
        .map_err(|error| Failure::from(format!("the workers cannot be started: {error}")))
        .and_then(|pool| {
            // The clients' addresses last: once one is open, everything else is.
            let socket = socket.listen().map_err(socket_fault)?;
            Ok((pool, socket, listen_on_probes(&config, probes)?, listen(&config, listeners, [])?))
        });
        let (pool, socket, probes, listeners) = match started {
            Ok(started) => started,
            Err(failure) => {
                // An instance that has joined a fleet leaves it in order, or the fleet waits for
                // it.
                let _ = close(parts.store).await;
                return Err(failure);
            }
        };

        // From here on, nothing can fail.
        parts.store.watch(&watcher);
        issuers.replace(prepared_issuers);
        let connection_limit =
            Arc::new(ConnectionLimit::new(connection_limit(config.limits.connections)));
        let status = Arc::new(OwnStatus::new(
            Arc::clone(&shared),
            &parts,
            pool.counters(),
            Arc::clone(&connection_limit),
            watcher.clone(),
        ));
        let administration =
            Arc::new(OwnAdministration::new(parts.clone(), &config, Some(Arc::clone(&shared))));
        let (stop, stopped) = watch::channel(false);
        if let Some(probes) = probes {
            tokio::spawn(serve_probes(
                probes,
                Arc::clone(&status) as Arc<dyn Status>,
                stopped.clone(),
            ));
        }
        tokio::spawn({
            let (administration, status) = (
                Arc::clone(&administration) as Arc<dyn Administration>,
                Arc::clone(&status) as Arc<dyn Status>,
            );
            async move {
                if let Err(fault) = serve_socket(socket, administration, status, stopped).await {
                    tracing::error!(%fault, "the admin socket failed");
                }
            }
        });
        let mut process = Self {
            config,
            path,
            log,
            parts,
            issuers,
            watcher: watcher.clone(),
            shared,
            names,
            pool: Some(pool),
            acceptors: HashMap::new(),
            retiring: HashMap::new(),
            connection_limit,
            status,
            administration,
            stop,
        };
        process.accept(listeners);
        process.note_listening();
        tokio::spawn(watcher.run());
        tokio::spawn({
            let (names, shared) = (Arc::clone(&process.names), Arc::clone(&process.shared));
            async move { names.run(|answers| shared.replace_addresses(&answers)).await }
        });
        process.status.is_started.store(true, Ordering::Release);
        for acceptor in process.acceptors.values() {
            tracing::info!(address = %acceptor.address(), "listening");
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            configuration =
                process.path.as_deref().map_or("built in".into(), Path::to_string_lossy).as_ref(),
            admin = process
                .config
                .admin
                .address
                .map_or("off".to_owned(), |address| address.to_string()),
            workers = process.status.counters.len(),
            connections = process.connection_limit.most(),
            "started"
        );
        Ok(process)
    }

    /// What a new configuration is compared with.
    pub(super) fn running(&self) -> Running<'_> {
        Running {
            config: &self.config,
            parts: &self.parts,
            issuers: &self.issuers,
            watcher: &self.watcher,
            acceptors: &self.acceptors,
            retiring: &self.retiring,
        }
    }

    /// The addresses that are listened on.
    pub(in crate::app) fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.acceptors.values().map(Acceptor::address)
    }

    /// The administrator's operations.
    pub(in crate::app) fn administration(&self) -> &dyn Administration {
        self.administration.as_ref()
    }

    /// Closes what is open.
    pub(in crate::app) async fn stop(self) -> Result<(), String> {
        self.stop.send_replace(true);
        let shared = Arc::clone(&self.shared);
        let logged = tokio::task::spawn_blocking(move || {
            if let Some(access_log) = &shared.access_log {
                access_log.close();
            }
        });
        // The reader of the log may have stopped reading; the end does not wait for it.
        if tokio::time::timeout(LAST_LINES, logged).await.is_err() {
            tracing::warn!("the access log takes nothing any more: its last lines are lost");
        }
        let closed = close(self.parts.store.clone()).await;
        tracing::info!("stopped");
        closed
    }
}

/// Prepares, and makes the keys that are missing once there is no other fault. A store that is tied
/// to keys is such a fault: its keys are elsewhere.
async fn prepare_to_start(
    config: &Config,
    issuers: &Issuers,
    watcher: &Watcher,
) -> Result<Prepared, Faults> {
    let occasion = Occasion::Start(issuers, watcher);
    loop {
        // What else was prepared is given up before it is prepared again.
        let (keys, lacking) = {
            let prepared = prepare(config, occasion)?;
            if prepared.lacking.is_empty() {
                return Ok(prepared);
            }
            (prepared.keys, prepared.lacking)
        };
        let PreparedKeys::First(keys) = keys else { break };
        let checking = tokio::task::spawn_blocking({
            let config = config.clone();
            move || OpenStore::check(&config, &keys.store, EmbeddedOptions::default())
        });
        match checking.await {
            // Another process has made the keys that the store is tied to.
            Ok(Err(_)) if keys::have_come(config, &lacking) => {}
            Ok(Err(fault)) if !fault.may_pass() => {
                return Err(config.places.one(OpenStore::key(config), fault.to_string()));
            }
            // Opening it says what else there is to say.
            Ok(_) | Err(_) => break,
        }
    }
    ReadKeys::open(config, MissingKeys::Make)
        .map_err(|words| config.places.one("keys.directory", words))?;
    let prepared = prepare(config, occasion)?;
    prepared.check_complete(config)?;
    Ok(prepared)
}

/// Listens on the admin address.
fn listen_on_probes(
    config: &Config,
    probes: Option<BoundAddress>,
) -> Result<Option<TcpListener>, Faults> {
    let sockets = listen_all(probes.into_iter().collect(), [])
        .map_err(|fault| config.places.one("admin.address", format!("[admin] address {fault}")))?;
    Ok(sockets.into_iter().find_map(ListeningSocket::into_tcp))
}

/// Closes the store in order, on a thread of its own, because that blocks.
async fn close(store: OpenStore) -> Result<(), String> {
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|_| "the store could not be closed in order".to_owned())
}
