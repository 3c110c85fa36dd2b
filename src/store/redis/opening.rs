//! Opening and closing: what the operations are built on, and the thread that keeps it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use super::calls::Call;
use super::connection::Connection;
use super::data::Data;
use super::discovery_error::DiscoveryError;
use super::fleet::Fleet;
use super::inspect::{CHANGES, inspect};
use super::layout::{LAYOUT, Layout};
use super::link::Link;
use super::link_state::LinkState;
use super::membership::{self, Announced, Binding};
use super::node::{Nodes, ReloadableSettings};
use super::open_error::RedisOpenError;
use super::operations::{Executor, Operations};
use super::primary::PrimaryWatch;
use super::settings::{Acks, RedisOptions};
use crate::store::record_codec::RecordKey;
use crate::tls;
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::store::{StoreError, StoreFuture};

/// The store. It keeps its link on a thread of its own until it is [closed](Self::close) or
/// dropped.
#[derive(Clone)]
pub struct RedisStore {
    pub(super) operations: Arc<Operations>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) state: Arc<LinkState>,
    /// `None` once it is closed.
    pub(super) thread: Arc<Mutex<Option<LinkThread>>>,
}

/// The thread of the link, and what stops it.
pub(super) type LinkThread = (oneshot::Sender<()>, JoinHandle<()>);

impl RedisStore {
    pub(super) fn run<T, F>(&self, work: impl FnOnce(Arc<Operations>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(work(Arc::clone(&self.operations)))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("layout", &self.operations.layout)
            .finish_non_exhaustive()
    }
}

/// How long leaving the fleet may take.
const GOODBYE: Duration = Duration::from_millis(500);

impl RedisStore {
    /// Opens the store, and keeps `cache` coherent from now on. Blocks while it inspects the
    /// server: at most as long as connecting may take, twice.
    ///
    /// A Redis that cannot be reached now is no error, and is returned as the second value: until
    /// it is reached, nothing that needs it is served.
    ///
    /// # Errors
    ///
    /// What an operator has to correct: see [`RedisOpenError`].
    pub fn open(
        options: RedisOptions,
        key: RecordKey,
        fingerprint: Vec<u8>,
        cache: Arc<TokenCache>,
    ) -> Result<(Self, Option<DiscoveryError>), RedisOpenError> {
        let nodes = Arc::new(Nodes::new(options.settings.clone())?);
        let layout = Layout::new(&options.settings.prefix);
        let acks = options.acks;
        let instance = uuid::Uuid::new_v4().simple().to_string();
        let (primary, current) = watch::channel(None);
        let watch = PrimaryWatch { current, doubt: Arc::new(Notify::new()) };
        let fleet = Arc::new(Fleet::new(instance.clone(), cache));
        let state = Arc::clone(fleet.state());
        let link = Link {
            nodes: Arc::clone(&nodes),
            layout: layout.clone(),
            fleet: Arc::clone(&fleet),
            fingerprint,
            primary,
            doubt: Arc::clone(&watch.doubt),
        };
        let (opened, opening) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime()?;
        let body = move || {
            runtime.block_on(async {
                let unreachable = match check_before_start(&link, &options).await {
                    Ok(unreachable) => unreachable,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let data = Data::new(Arc::clone(&link.nodes), watch, Handle::current());
                let _ = opened.send(Ok((Arc::clone(&data), unreachable)));
                serve(link, &data, stopped).await;
            });
            shut_down(runtime);
        };
        let thread = std::thread::Builder::new().name("store-link".into()).spawn(body);
        let thread = thread.map_err(RedisOpenError::Thread)?;
        let gone = |_| RedisOpenError::Thread(io::Error::other("it ended at once"));
        let (data, unreachable) = opening.recv().map_err(gone)??;
        let executor = Arc::new(FleetExecutor { data, acks, fleet, layout: layout.clone() });
        let operations = Arc::new(Operations::new(layout, key, instance, executor));
        let thread = Arc::new(Mutex::new(Some((stop, thread))));
        Ok((Self { operations, nodes, state, thread }, unreachable))
    }

    /// Finds what [`open`](Self::open) would refuse, and a server that cannot be reached. Joins no
    /// fleet and changes nothing. Returns what is not as it should be and no reason to refuse.
    /// `bound` is for how long an instance that is cut off may use what it remembers. Blocks as
    /// long as connecting may take, twice.
    ///
    /// # Errors
    ///
    /// What an operator has to correct: see [`RedisOpenError`].
    pub fn check(
        options: &RedisOptions,
        fingerprint: &[u8],
        bound: Duration,
    ) -> Result<Vec<Finding>, RedisOpenError> {
        let nodes = Nodes::new(options.settings.clone())?;
        let runtime = runtime()?;
        let checked = runtime.block_on(async {
            let (mut connection, warnings) = examine(&nodes, options, bound).await?;
            let layout = Layout::new(&options.settings.prefix);
            if let Some(binding) = found_binding(&mut connection, &layout, fingerprint).await {
                binding.accepted()?;
            }
            Ok(warnings)
        });
        shut_down(runtime);
        checked
    }

    /// Leaves the fleet and ends the link. Blocks until then; what is asked afterwards is
    /// unavailable.
    pub fn close(&self) {
        let running = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// What can be seen of the link.
    #[must_use]
    pub fn link_state(&self) -> Arc<LinkState> {
        Arc::clone(&self.state)
    }

    /// Uses these users, passwords and certificates for connections that are made from now on.
    pub fn replace(&self, reloadable: ReloadableSettings) {
        self.nodes.replace(reloadable);
    }

    /// The client side of TLS in force, whose files can be watched; none: in clear. A reload makes
    /// a new one.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<tls::Client>> {
        self.nodes.tls()
    }
}

fn runtime() -> Result<Runtime, RedisOpenError> {
    Builder::new_current_thread().enable_all().build().map_err(RedisOpenError::Thread)
}

/// Does not wait for the thread that looks a name up.
fn shut_down(runtime: Runtime) {
    runtime.shutdown_background();
}

/// Keeps the link until it is `stopped`, and leaves the fleet.
async fn serve(link: Link, data: &Arc<Data>, stopped: oneshot::Receiver<()>) {
    let fleet = Arc::clone(&link.fleet);
    let goodbye = membership::goodbye(&link.layout, fleet.me());
    // Kept to the end: dropping it would end the primary, and the goodbye would not get through.
    let mut running = std::pin::pin!(link.run());
    tokio::select! {
        () = &mut running => {}
        _ = stopped => {}
    }
    // The goodbye takes this instance off the register: as the others do not wait for it any more,
    // nothing that is remembered may be used. If it does not get through, they wait once.
    fleet.cache().lease().end_all(clock::uptime());
    let _ = timeout(GOODBYE, data.change(goodbye, None)).await;
}

/// Inspects the server before anything is built on it. That it cannot be reached now is no error,
/// and is returned.
async fn check_before_start(
    link: &Link,
    options: &RedisOptions,
) -> Result<Option<DiscoveryError>, RedisOpenError> {
    let bound = link.fleet.cache().lease().bound();
    let (mut connection, warnings) = match examine(&link.nodes, options, bound).await {
        Err(RedisOpenError::Discovery(error)) if !error.is_definitive() => {
            return Ok(Some(error));
        }
        examined => examined?,
    };
    for finding in warnings {
        if finding.subject == CHANGES {
            tracing::error!(reason = %finding.words, "the store takes no changes yet");
            continue;
        }
        tracing::warn!(subject = %finding.subject, found = %finding.found, wanted = %finding.wanted,
            reason = %finding.words, "the store is not as it should be");
    }
    // The link does the same again with every term; at the start it is a reason not to start.
    let bind = membership::bind_keys(&link.layout, &link.fingerprint);
    match bind.run(&mut connection.inner).await.ok().map(membership::binding) {
        Some(Ok(binding)) => binding.accepted().map(|()| None),
        Some(Err(_)) | None => Ok(None),
    }
}

/// Connects and inspects. Returns the connection, and what is no reason to refuse the server.
async fn examine(
    nodes: &Nodes,
    options: &RedisOptions,
    bound: Duration,
) -> Result<(Connection, Vec<Finding>), RedisOpenError> {
    let address = nodes.discover().await?;
    let (mut connection, facts) = nodes.connect(&address, None).await?;
    let findings = inspect(&mut connection, &facts, &address, options, bound).await;
    // That it takes no changes may pass, as an outage does.
    let is_fault =
        |finding: &Finding| finding.severity == Severity::Fault && finding.subject != CHANGES;
    let (faults, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_fault);
    if !faults.is_empty() {
        return Err(RedisOpenError::Unfit(faults));
    }
    let matters =
        |finding: &Finding| matches!(finding.severity, Severity::Fault | Severity::Warning);
    Ok((connection, others.into_iter().filter(matters).collect()))
}

/// Whether the store is tied to the keys with this fingerprint, or to none yet, without tying it;
/// none: the server did not say.
async fn found_binding(
    connection: &mut Connection,
    layout: &Layout,
    fingerprint: &[u8],
) -> Option<Binding> {
    let mut question = redis::cmd("HMGET");
    question.arg(layout.meta()).arg("layout").arg("keys");
    let (written, bound): (Option<String>, Option<Vec<u8>>) =
        question.query_async(&mut connection.inner).await.ok()?;
    let is_newer =
        |written: &String| written.parse::<u32>().map_or(true, |written| written > LAYOUT);
    Some(match (written.filter(is_newer), bound) {
        (Some(newer), _) => Binding::Newer(newer),
        (None, Some(bound)) if bound != fingerprint => Binding::OtherKeys,
        (None, _) => Binding::Bound,
    })
}

/// The operations' way to the primary, and the wait for the rest of the fleet.
struct FleetExecutor {
    data: Arc<Data>,
    acks: Option<Acks>,
    fleet: Arc<Fleet>,
    layout: Layout,
}

impl Executor for FleetExecutor {
    fn read(&self, command: Cmd) -> StoreFuture<Value> {
        Box::pin(self.data.read(command))
    }

    fn ask(&self, call: Call) -> StoreFuture<Value> {
        Box::pin(self.data.read_by_script(call))
    }

    fn run(&self, call: Call) -> StoreFuture<Value> {
        let acks = self.acks.filter(|_| call.is_lasting);
        Box::pin(self.data.change(call, acks))
    }

    fn acknowledged(
        &self,
        announced: Announced,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let received = clock::uptime();
        let (data, fleet) = (Arc::clone(&self.data), Arc::clone(&self.fleet));
        let layout = self.layout.clone();
        Box::pin(async move {
            let silent = fleet.confirmed(&announced, received).await;
            if silent.is_empty() {
                return;
            }
            fleet.state().unconfirmed.fetch_add(silent.len() as u64, Ordering::Relaxed);
            tracing::warn!(
                instances = silent.len(),
                "instances did not confirm a removal; their leases are over"
            );
            // So that a dead one is waited for once. One that has beaten since stays.
            let _ = data.change(membership::forget_instances(&layout, &silent), None).await;
        })
    }
}
