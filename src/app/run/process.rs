//! A running keyward: its start, and what it consists of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::admin_sockets::AdminSockets;
use super::bounds::{connection_limit, workers};
use super::health_checks::HealthChecks;
use super::listening::listen;
use super::prepare::{Inherited, Occasion, Prepared, PreparedKeys, prepare};
use super::running::Running;
use super::succession::{check_names, check_store, is_covered, leave_out, taken, until_able};
use super::under_way::{HandOver, Kept};
use crate::admin::{AdminSocket, Administration, SocketError, Status, serve_probes, serve_socket};
use crate::app::administration::OwnAdministration;
use crate::app::assemble;
use crate::app::hand_over::take::Predecessor;
use crate::app::hand_over::{Alive, Sharing};
use crate::app::issuers::Issuers;
use crate::app::keys::{self, MissingKeys, ReadKeys};
use crate::app::open_store::OpenStore;
use crate::app::parts::Parts;
use crate::app::service_manager;
use crate::app::status::OwnStatus;
use crate::cli::Failure;
use crate::config::{Config, Faults};
use crate::gateway::Shared;
use crate::server::{
    Acceptor, BoundAddress, ConnectionLimit, InheritedSocket, ListenAddress, ListeningSocket,
    SocketOrigin, WorkerPool, WorkerPoolSettings, listen_all,
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
    pub(super) health_checks: Arc<HealthChecks>,
    pub(super) pool: Option<WorkerPool>,
    pub(super) acceptors: HashMap<ListenAddress, Acceptor>,
    /// Those that stop: for a moment, they are still listened on.
    pub(super) retiring: HashMap<ListenAddress, Acceptor>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) status: Arc<OwnStatus>,
    pub(super) administration: Arc<OwnAdministration>,
    pub(super) stop: watch::Sender<bool>,
    /// The sockets of the service manager, used or not.
    pub(super) inherited: Vec<InheritedSocket>,
    pub(super) admin_sockets: AdminSockets,
    /// Processes that ask to take over.
    pub(super) hand_overs: mpsc::Receiver<UnixStream>,
    pub(super) hand_over: Option<HandOver>,
    /// Once another process has taken over.
    pub(super) kept: Option<Kept>,
    /// Those that were taken over from, and may still have something to finish.
    pub(super) predecessors: Vec<Alive>,
    /// The one that does not know yet that this process serves.
    taking_over: Option<(Predecessor, Option<Sharing>)>,
}

/// What a keyward finds when it starts.
#[derive(Default)]
pub(in crate::app) struct Surroundings {
    /// Sockets of the service manager.
    pub(in crate::app) sockets: Vec<InheritedSocket>,
    /// The keyward to take over from.
    pub(in crate::app) predecessor: Option<Predecessor>,
}

impl Process {
    /// Opens, binds and starts everything. What can fail without the store comes before the store
    /// is opened, and everything that can fail comes before the addresses are listened on: a port
    /// is open once it is served. A keyward that is taken over from serves until then, and goes on
    /// if anything fails.
    ///
    /// # Cancel safety
    ///
    /// It waits for the store to be opened and, for a while, for the addresses of names and for the
    /// first health checks. When it is dropped meanwhile, the store is opened all the same and
    /// closed by the end of the process.
    pub(in crate::app) async fn start(
        config: Config,
        path: Option<PathBuf>,
        log: Option<Log>,
        surroundings: Surroundings,
    ) -> Result<Self, Failure> {
        let Surroundings { sockets, mut predecessor } = surroundings;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let watcher = Watcher::default();
        let mut issuers = Issuers::new(watcher.clone());
        let mut inherited = Inherited { sockets, has_admin_socket: predecessor.is_some() };
        let number_of_own = inherited.sockets.len();
        if let Some(predecessor) = &mut predecessor {
            inherited.sockets.append(&mut predecessor.sockets);
            check_store(&config, predecessor)?;
        }
        let prepared = prepare_to_start(&config, &issuers, &watcher, &inherited).await?;
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
        // Before anything is taken over or opened: what waits for servers of names may be told to
        // end.
        let (names, name_set) = (NameWatch::new(config.dns.clone()), plan.names());
        names.learn(&config.dns, &name_set).await;
        if let Some(predecessor) = &predecessor {
            check_names(&names.without_address(&name_set), predecessor)?;
        }
        let admin_socket = predecessor.as_mut().and_then(|one| one.admin_socket.take());
        let socket = match admin_socket {
            None => AdminSocket::reserve(&config.admin.socket),
            Some((listener, lock)) => {
                AdminSocket::handed_over(&config.admin.socket, listener, lock)
            }
        };
        let socket = socket.map_err(socket_fault)?;
        let lock = predecessor.as_mut().and_then(|one| one.store.1.take());
        // It blocks for as long as a Redis that does not answer may take: on a thread of its own,
        // so that signals are followed.
        let opening = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Parts::open_with(&config, keys, EmbeddedOptions::default(), lock)
        });
        let parts = opening.await.map_err(|_| "the store could not be opened".to_owned())?;
        let parts = parts.map_err(|words| fault(OpenStore::key(&config), words.to_string()))?;
        // From its first request on, while there are two.
        let sharing = predecessor.as_ref().and_then(|_| Sharing::begin(&parts));
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
        let workers = workers(config.server.workers);
        let shared = Arc::new(Shared::new(parts.services(), access_log, plan, workers));
        shared.replace_addresses(&names.replace(&config.dns, &name_set));
        if let Some(predecessor) = &predecessor {
            leave_out(&shared, predecessor);
        }
        // What is unwell gets no request: not the first ones either.
        let health_checks = Arc::new(HealthChecks::of(&shared));
        health_checks.first_round().await;

        let started = WorkerPool::start(
            WorkerPoolSettings {
                pin: config.server.pin,
                connection: assemble::connection_settings(&config),
            },
            &shared,
        )
        .map_err(|error| Failure::from(format!("the workers cannot be started: {error}")))
        .and_then(|pool| {
            // The clients' addresses last: once one is open, everything else is.
            let socket = socket.listen().map_err(socket_fault)?;
            let probes = listen_on_probes(&config, probes)?;
            let shared =
                AdminSockets::share(&config, &socket, probes.as_ref()).map_err(|error| {
                    Failure::from(format!("[admin] cannot be listened on: {error}"))
                })?;
            let listeners = listen(&config, listeners, &inherited.open_sockets())?;
            let covered = inherited.sockets.iter().filter(|socket| is_covered(&config, socket));
            let covered = covered.map(|socket| {
                Ok((socket.configured.clone(), socket.try_clone()?.into_listening()?))
            });
            let covered = covered.collect::<std::io::Result<Vec<_>>>();
            let covered = covered.map_err(|error| {
                Failure::from(format!("a socket cannot be taken over: {error}"))
            })?;
            Ok((pool, socket, shared, probes, (listeners, covered)))
        });
        // Their keys are fetched from now on.
        issuers.replace(prepared_issuers);
        let started = match (started, &mut predecessor) {
            (Ok(started), Some(predecessor)) => {
                let taken = taken(&config, &inherited.sockets, number_of_own);
                // What is not taken is closed by the other process, and here.
                let is_kept = |one: &InheritedSocket| one.origin == SocketOrigin::ServiceManager;
                inherited.sockets.retain(is_kept);
                let permitted = async {
                    until_able(&shared).await?;
                    predecessor.wait_to_serve(taken).await
                };
                // Threads end when nothing has their handles.
                permitted.await.map(|()| started).map_err(Failure::from)
            }
            (started, _) => started,
        };
        let (pool, socket, admin_sockets, probes, listeners) = match started {
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
        let connection_limit =
            Arc::new(ConnectionLimit::new(connection_limit(config.limits.connections)));
        let status = Arc::new(OwnStatus::new(
            Arc::clone(&shared),
            &parts,
            pool.counters(),
            Arc::clone(&connection_limit),
            watcher.clone(),
        ));
        shared.load.bound(config.limits.requests);
        status.memory.bound(&config.limits);
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
        let (asking, hand_overs) = mpsc::channel(1);
        tokio::spawn({
            let (administration, status) = (
                Arc::clone(&administration) as Arc<dyn Administration>,
                Arc::clone(&status) as Arc<dyn Status>,
            );
            async move {
                let served =
                    serve_socket(socket, administration, status, Some(asking), stopped).await;
                if let Err(fault) = served {
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
            health_checks,
            pool: Some(pool),
            acceptors: HashMap::new(),
            retiring: HashMap::new(),
            connection_limit,
            status,
            administration,
            stop,
            inherited: inherited.sockets,
            admin_sockets,
            hand_overs,
            hand_over: None,
            kept: None,
            predecessors: Vec::new(),
            taking_over: predecessor.map(|predecessor| (predecessor, sharing)),
        };
        let (listeners, covered) = listeners;
        process.accept(listeners);
        process.accept_for_others(covered);
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

    /// Says that it serves: to the process that it takes over from, and to the service manager. A
    /// signal that comes meanwhile is followed afterwards.
    pub(super) async fn announce(&mut self) {
        if let Some((predecessor, sharing)) = self.taking_over.take() {
            self.conclude_take_over(predecessor, sharing).await;
        }
        self.status.serving.ready(None);
        if let Some(interval) = service_manager::watchdog() {
            tokio::spawn(say_well(interval));
        }
    }

    /// This process serves: the one before it accepts nothing any more.
    async fn conclude_take_over(&mut self, predecessor: Predecessor, sharing: Option<Sharing>) {
        let process = predecessor.process;
        match predecessor.note_serving().await {
            Ok(()) => tracing::info!(process, "taken over"),
            Err(fault) => tracing::warn!(
                %fault,
                process,
                "the process before has not said that it accepts nothing any more"
            ),
        }
        // Their files are this process's from now on.
        self.acceptors.values().for_each(Acceptor::take_file);
        self.admin_sockets.socket.1.take();
        self.parts.store.name_holder();
        self.predecessors =
            predecessor.alive.iter().filter_map(|one| one.try_clone().ok()).collect();
        tokio::spawn(async move {
            for alive in predecessor.alive {
                alive.wait_for_end().await;
            }
            drop(sharing);
            tracing::info!(process, "the process before has ended");
        });
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
            inherited: &self.inherited,
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
    inherited: &Inherited,
) -> Result<Prepared, Faults> {
    let occasion = Occasion::Start(issuers, watcher, inherited);
    let missing = loop {
        // What else was prepared is given up before it is prepared again.
        let (keys, lacking) = {
            let prepared = prepare(config, occasion)?;
            if prepared.lacking.is_empty() {
                return Ok(prepared);
            }
            (prepared.keys, prepared.lacking)
        };
        if inherited.has_admin_socket {
            // The keyward to take over from has the store, and its keys are there.
            break MissingKeys::MakeBesideOthers;
        }
        let PreparedKeys::First(keys) = keys else { break MissingKeys::Make };
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
            Ok(_) | Err(_) => break MissingKeys::Make,
        }
    };
    ReadKeys::open(config, missing).map_err(|words| config.places.one("keys.directory", words))?;
    let prepared = prepare(config, occasion)?;
    prepared.check_complete(config)?;
    Ok(prepared)
}

/// Tells the service manager that this thread is at work: it has what all others depend on.
async fn say_well(interval: Duration) {
    // As sd_watchdog_enabled(3) recommends; an interval must not be empty.
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        service_manager::well();
    }
}

/// Listens on the admin address.
fn listen_on_probes(
    config: &Config,
    probes: Option<BoundAddress>,
) -> Result<Option<TcpListener>, Faults> {
    let sockets = listen_all(probes.into_iter().collect(), &[])
        .map_err(|fault| config.places.one("admin.address", format!("[admin] address {fault}")))?;
    Ok(sockets.into_iter().find_map(ListeningSocket::into_tcp))
}

/// Closes the store in order, on a thread of its own, because that blocks.
async fn close(store: OpenStore) -> Result<(), String> {
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|_| "the store could not be closed in order".to_owned())
}
