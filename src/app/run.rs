//! `keyward run`: start, serve, follow signals, stop.

mod clashes;
pub(super) mod prepare;
mod reload;
mod writable;

use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::administration::OwnAdministration;
use super::assemble;
use super::issuers::Issuers;
use super::keys::{self, MissingKeys, ReadKeys};
use super::open_store::OpenStore;
use super::parts::Parts;
use super::status::OwnStatus;
use crate::admin::{AdminSocket, Administration, SocketError, Status, serve_probes, serve_socket};
use crate::config::{self, Config, Faults};
use crate::domain::Timestamp;
use crate::gateway::Shared;
use crate::server::{
    Acceptor, BoundAddress, ConnectionLimit, Grace, ListenAddress, ListeningSocket, WorkerPool,
    WorkerPoolSettings, listen_all,
};
use crate::store::EmbeddedOptions;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::log::{self, Log};
use crate::tls::Watcher;
use crate::tokens::store::Store;
use prepare::{Occasion, Prepared, PreparedKeys, prepare};
use reload::listen;

/// Runs until a signal ends it.
pub(super) fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => return complain(&faults.to_string()),
    };
    let log = match log::init(config.log.format, config.log.level) {
        Ok(log) => log,
        Err(fault) => return complain(&format!("keyward: {fault}")),
    };
    match on_control_runtime(async {
        // First of all: a signal that comes while the store is opened must be received.
        let mut signals = Signals::listen()?;
        let start = Process::start(config, Some(path.to_owned()), Some(log));
        let Some(started) = signals.unless_told_to_end(start).await else { return Ok(()) };
        let mut process = started?;
        process.follow(signals).await;
        Ok(process.stop().await?)
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure.to_string()),
    }
}

/// Why a keyward does not run, as it is said on standard error.
#[derive(Debug)]
pub(super) enum Failure {
    /// What is wrong with its configuration, a line each.
    Faults(Faults),
    /// Anything else, in words.
    Words(String),
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => write!(f, "{faults}"),
            Self::Words(words) => write!(f, "keyward: {words}"),
        }
    }
}

/// Runs on the control thread: everything that is not the data plane.
pub(super) fn on_control_runtime(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|fault| format!("the system has no resources to work with: {fault}"))?;
    let outcome = runtime.block_on(work);
    // Without waiting for what still blocks: told to stop at once, we do.
    runtime.shutdown_background();
    outcome
}

/// Says on standard error why it ends; if even that fails, the exit code says that it did.
pub(super) fn complain(words: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{words}");
    ExitCode::FAILURE
}

/// What tells a keyward to end or to reload.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they are received, not obeyed by the system.
    pub(super) fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|fault| format!("signals cannot be received: {fault}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// The outcome of `work`; `None`: a signal to end came first, and `work` was dropped where it
    /// stood.
    pub(super) async fn unless_told_to_end<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            outcome = work => return Some(outcome),
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping: told to before the start was over");
        None
    }
}

/// A running keyward.
pub(super) struct Process {
    config: Config,
    /// Where the configuration is read again; none: it is not.
    path: Option<PathBuf>,
    log: Option<Log>,
    parts: Parts,
    issuers: Issuers,
    /// Watches the files of certificates and keys.
    watcher: Watcher,
    shared: Arc<Shared>,
    pool: Option<WorkerPool>,
    acceptors: HashMap<ListenAddress, Acceptor>,
    /// Those that stop: for a moment, they are still listened on.
    retiring: HashMap<ListenAddress, Acceptor>,
    connection_limit: Arc<ConnectionLimit>,
    status: Arc<OwnStatus>,
    administration: Arc<OwnAdministration>,
    stop: watch::Sender<bool>,
}

/// How often expired records are removed, and how many in one step.
const PURGE_EVERY: Duration = Duration::from_secs(60);
const PURGE_AT_ONCE: usize = 1000;
/// How often the process looks at itself, so that a fault of the store is in the log and in a
/// metric without anybody asking.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// A second signal within this time is the first one, sent twice: to the process and to its group.
const ONE_SIGNAL: Duration = Duration::from_millis(20);
/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How many file descriptors are kept for what is no connection: the store, the logs, the admin
/// listener.
const SPARE_DESCRIPTORS: u64 = 64;

impl Process {
    /// Opens, binds and starts everything. What can fail without the store comes before the store
    /// is opened, and everything that can fail comes before the addresses are listened on: a port
    /// is open once it is served.
    ///
    /// # Cancel safety
    ///
    /// It waits for nothing but the store to be opened. When it is dropped meanwhile, the store is
    /// opened all the same and closed by the end of the process.
    pub(super) async fn start(
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
        let shared = Arc::new(Shared::new(
            parts.authenticator(),
            parts.service(),
            parts.accounts(),
            parts.store.port(),
            access_log,
            plan,
        ));

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

    /// The addresses that are listened on.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.acceptors.values().map(Acceptor::address)
    }

    /// The sockets that are listened on, those of listeners that stop included.
    fn sockets(&self) -> impl Iterator<Item = &Acceptor> + Clone {
        self.acceptors.values().chain(self.retiring.values())
    }

    /// The administrator's operations.
    pub(super) fn administration(&self) -> &dyn Administration {
        self.administration.as_ref()
    }

    /// Serves until it is told to end.
    pub(super) async fn follow(&mut self, signals: Signals) {
        let Signals { mut terminate, mut interrupt, mut hang_up } = signals;
        let recurring = self.start_recurring();
        // No branch waits for anything but its signal: what waits for the store does so in a task
        // of its own.
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => self.reload(),
            }
        }
        drop(recurring);
        self.drain(&mut terminate, &mut interrupt).await;
    }

    /// Not ready first, so that whoever balances load notices; then no new connections; then what
    /// is under way is finished.
    async fn drain(&mut self, terminate: &mut Signal, interrupt: &mut Signal) {
        tracing::info!("stopping: draining connections");
        self.status.is_draining.store(true, Ordering::Release);
        let server = &self.config.server;
        let delay = server.shutdown_delay;
        let grace = Grace { requests: server.shutdown_grace, tunnels: server.tunnel_grace };
        let acceptors = std::mem::take(&mut self.acceptors);
        let pool = self.pool.take();
        let stopper = pool.as_ref().map(WorkerPool::stopper);
        let drained = async move {
            tokio::time::sleep(delay).await;
            for acceptor in acceptors.into_values() {
                acceptor.finish().await;
            }
            if let Some(pool) = pool {
                let _ = tokio::task::spawn_blocking(move || pool.drain(grace)).await;
            }
        };
        let mut drained = std::pin::pin!(drained);
        let second_signal = async {
            let begun = tokio::time::Instant::now();
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if begun.elapsed() >= ONE_SIGNAL {
                    return;
                }
            }
        };
        tokio::select! {
            () = &mut drained => return,
            () = second_signal => tracing::warn!("stopping at once: told to a second time"),
        }
        // What was answered is in the log before the end.
        if let Some(stopper) = stopper {
            stopper.stop_now();
            let _ = tokio::time::timeout(LAST_LINES, drained).await;
        }
    }

    /// Closes what is open.
    pub(super) async fn stop(self) -> Result<(), String> {
        self.stop.send_replace(true);
        let shared = Arc::clone(&self.shared);
        let logged = tokio::task::spawn_blocking(move || {
            if let Some(access_log) = &shared.access_log {
                access_log.close();
            }
        });
        // Whoever reads the log may have stopped reading; the end does not wait for them.
        if tokio::time::timeout(LAST_LINES, logged).await.is_err() {
            tracing::warn!("the access log takes nothing any more: its last lines are lost");
        }
        let closed = close(self.parts.store.clone()).await;
        tracing::info!("stopped");
        closed
    }

    /// Starts what is done again and again, each in a task of its own, so that none is done twice
    /// at a time. All of them end, wherever they stand, when the set is dropped: a change that the
    /// store was asked for is carried out all the same.
    fn start_recurring(&self) -> JoinSet<()> {
        let (store, status) = (self.parts.store.port(), Arc::clone(&self.status));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ticks = every(PURGE_EVERY);
            loop {
                ticks.tick().await;
                purge(store.as_ref()).await;
            }
        });
        tasks.spawn(async move {
            let mut ticks = every(OBSERVE_EVERY);
            loop {
                ticks.tick().await;
                status.observe().await;
            }
        });
        tasks
    }
}

/// Prepares, and makes the keys that are missing once there is no other fault. A store that is tied
/// to keys is one: its keys are elsewhere, and others would stand in their way.
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

/// Ticks now, and then at this distance. After a tick that was missed, the distance counts from the
/// late one.
fn every(distance: Duration) -> Interval {
    let mut ticks = tokio::time::interval(distance);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Removes all records that have expired.
async fn purge(store: &dyn Store) {
    loop {
        let now = Timestamp::from_system(SystemTime::now());
        match store.purge(now, PURGE_AT_ONCE).await {
            Ok(removed) if removed >= PURGE_AT_ONCE => {}
            Ok(_) => return,
            Err(fault) => {
                tracing::warn!(%fault, "expired records could not be removed");
                return;
            }
        }
    }
}

/// Closes the store in order, on a thread of its own, because that blocks.
async fn close(store: OpenStore) -> Result<(), String> {
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|_| "the store could not be closed in order".to_owned())
}

fn workers(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of file descriptors as far as the system lets us, and says how many connections
/// it is good for: each may need a second one, to its upstream.
fn connection_limit(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let available =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let affordable = available
        .map_or(usize::MAX, |all| {
            usize::try_from(all.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(usize::MAX)
        })
        .max(1);
    match configured {
        0 => affordable,
        more if more > affordable => {
            tracing::warn!(
                configured = more,
                affordable,
                "limits.connections is more than the file descriptors are good for"
            );
            affordable
        }
        fits => fits,
    }
}
