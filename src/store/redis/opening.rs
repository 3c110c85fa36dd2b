//! Opening and closing: what the operations are built on, and the thread that keeps it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::Value;
use tokio::sync::{Notify, oneshot, watch};

use super::announced::Announced;
use super::calls::{Call, Endurance};
use super::connection::Connection;
use super::data::{self, Acks};
use super::fleet::{Fleet, Settled};
use super::inspect::{CHANGES, Expectations, inspect};
use super::layout::{LAYOUT, Layout};
use super::link::{self, Link, LinkState};
use super::membership::{self, Binding};
use super::node::{Means, Nodes};
use super::settings::RedisSettings;
use super::site::SiteWatch;
use super::site_fault::SiteFault;
use super::{Coherence, Master, Question, RedisStore};
use crate::store::record_codec::RecordKey;
use crate::tls;
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::store::StoreFuture;

/// How a store in Redis is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// Where it is.
    pub settings: RedisSettings,
    /// For how many replicas each change of the allowlist waits, and how long; `None`: for none.
    pub acks: Option<Acks>,
    /// Whether records may be lost when Redis is restarted.
    pub allow_volatile: bool,
}

/// The store cannot be used as it is: keyward must not start on it.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// It will not be reached until somebody changes something.
    #[error(transparent)]
    Site(#[from] SiteFault),
    /// It is tied to other keys than ours.
    #[error(
        "the store belongs to other keys: this instance's [keys] differ from those of its fleet"
    )]
    OtherKeys,
    /// A newer keyward has written it.
    #[error("the store has layout {0}, which a newer keyward has written")]
    Newer(String),
    /// keyward could not keep its promises on it.
    #[error("the Redis server is not fit for keyward: {}", sentences(.0))]
    Unfit(Vec<Finding>),
    /// The thread of the link could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

fn sentences(findings: &[Finding]) -> String {
    let words = findings.iter().map(|finding| {
        format!(
            "{} is {}, wanted is {} ({})",
            finding.subject, finding.found, finding.wanted, finding.words
        )
    });
    words.collect::<Vec<_>>().join("; ")
}

/// The thread of the link, which is also where changes are made.
pub(super) struct LinkThread {
    state: Arc<LinkState>,
    nodes: Arc<Nodes>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// How long saying goodbye to the fleet may take.
const FAREWELL: Duration = Duration::from_millis(500);

impl RedisStore {
    /// Opens the store, and keeps `cache` coherent from now on. Blocks while it looks at the
    /// server: at most as long as connecting may take, twice.
    ///
    /// A Redis that cannot be reached now is no error: until it is, nothing that needs it is
    /// served.
    ///
    /// # Errors
    ///
    /// What an operator has to mend: see [`RedisOpenError`].
    pub fn open(
        options: RedisOptions,
        key: RecordKey,
        fingerprint: Vec<u8>,
        cache: Arc<TokenCache>,
    ) -> Result<Self, RedisOpenError> {
        let nodes = Arc::new(Nodes::new(options.settings.clone())?);
        let layout = Layout::new(&options.settings.prefix);
        let instance = uuid::Uuid::new_v4().simple().to_string();
        let (site, current) = watch::channel(None);
        let watch = SiteWatch { current, doubt: Arc::new(Notify::new()) };
        let fleet = Arc::new(Fleet::new(instance.clone(), cache));
        let state = Arc::<LinkState>::default();
        let link = Link {
            nodes: Arc::clone(&nodes),
            layout: layout.clone(),
            fleet: Arc::clone(&fleet),
            fingerprint,
            site,
            doubt: Arc::clone(&watch.doubt),
            state: Arc::clone(&state),
        };
        let (opened, opening) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let farewell = (layout.clone(), instance.clone());
        let left = Arc::clone(&fleet);
        let master_nodes = Arc::clone(&nodes);
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(fault) => {
                    let _ = opened.send(Err(RedisOpenError::Thread(fault)));
                    return;
                }
            };
            runtime.block_on(async move {
                if let Err(fault) = look(&link, &options).await {
                    let _ = opened.send(Err(fault));
                    return;
                }
                let data = data::Data::new(master_nodes, watch, tokio::runtime::Handle::current());
                let master = Carrier { data: data.clone(), acks: options.acks };
                let _ = opened.send(Ok(master));
                // Kept until the end, although it rests once we stop: with it would go the site,
                // and no word would get through.
                let mut running = std::pin::pin!(link.run());
                tokio::select! {
                    () = &mut running => {}
                    _ = stopped => {}
                }
                // So that nobody waits for an instance that is gone. If it does not get through,
                // they wait once. As nobody waits any more, nothing that is remembered may be used
                // any more.
                left.cache().lease().end_all(clock::uptime());
                let goodbye = membership::goodbye(&farewell.0, &farewell.1);
                let _ = tokio::time::timeout(FAREWELL, data.change(goodbye, None)).await;
            });
            // A name that is being looked up blocks a thread for as long as the resolver takes: the
            // end does not wait for it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("store-link".into())
            .spawn(body)
            .map_err(RedisOpenError::Thread)?;
        let gone = || RedisOpenError::Thread(std::io::Error::other("it ended at once"));
        let master = Arc::new(opening.recv().map_err(|_| gone())??);
        let coherence = Arc::new(Watch {
            fleet,
            state: Arc::clone(&state),
            master: Arc::clone(&master) as Arc<dyn Master>,
            layout: layout.clone(),
        });
        let store = Self::new(layout, key, instance, master, coherence);
        let link = LinkThread { state, nodes, stop: Mutex::new(Some((stop, thread))) };
        Ok(Self { link: Some(Arc::new(link)), ..store })
    }

    /// Finds what [`open`](Self::open) would refuse, and a server that cannot be reached. Joins no
    /// fleet and changes nothing. Returns what is not as it should be and no reason to refuse.
    /// `bound` is for how long an instance that is cut off may use what it remembers. Blocks as
    /// long as connecting may take, twice.
    ///
    /// # Errors
    ///
    /// What an operator has to mend: see [`RedisOpenError`].
    pub fn check(
        options: &RedisOptions,
        fingerprint: &[u8],
        bound: Duration,
    ) -> Result<Vec<Finding>, RedisOpenError> {
        let nodes = Nodes::new(options.settings.clone())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RedisOpenError::Thread)?;
        let checked = runtime.block_on(async {
            let (mut connection, warnings) = examine(&nodes, options, bound).await?;
            let layout = Layout::new(&options.settings.prefix);
            if let Some(binding) = found_binding(&mut connection, &layout, fingerprint).await {
                binding.accepted()?;
            }
            Ok(warnings)
        });
        // A name that is being looked up blocks a thread for as long as the resolver takes.
        runtime.shutdown_background();
        checked
    }

    /// Leaves the fleet and ends the link. Blocks until then; what is asked afterwards is
    /// unavailable.
    pub fn close(&self) {
        let Some(link) = &self.link else { return };
        let stop = link.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = stop {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }

    /// What can be seen of the link.
    #[must_use]
    pub fn link_state(&self) -> Option<Arc<LinkState>> {
        self.link.as_ref().map(|link| Arc::clone(&link.state))
    }

    /// Uses these users, passwords and certificates for connections that are made from now on.
    pub fn replace(&self, means: Means) {
        if let Some(link) = &self.link {
            link.nodes.replace(means);
        }
    }

    /// The client side of TLS in force, whose files can be watched; none: in clear. A reload makes
    /// a new one.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<tls::Client>> {
        self.link.as_ref().and_then(|link| link.nodes.tls())
    }
}

/// Looks at the server before anything is built on it. That it cannot be reached now is no fault.
async fn look(link: &Link, options: &RedisOptions) -> Result<(), RedisOpenError> {
    let looked = async {
        let (mut connection, warnings) =
            examine(&link.nodes, options, link.fleet.cache().lease().bound()).await?;
        for finding in warnings {
            if finding.subject == CHANGES {
                tracing::error!(reason = %finding.words, "the store takes no changes yet");
                continue;
            }
            tracing::warn!(subject = %finding.subject, found = %finding.found, wanted = %finding.wanted,
                reason = %finding.words, "the store is not as it should be");
        }
        // The link says it again, with every term; here it is a reason not to start.
        let bound = membership::bind_keys(&link.layout, &link.fingerprint);
        match link::run(&mut connection, &bound).await.ok().map(membership::binding) {
            Some(Ok(binding)) => binding.accepted(),
            Some(Err(_)) | None => Ok(()),
        }
    };
    match looked.await {
        Err(RedisOpenError::Site(fault)) if !fault.is_definitive() => {
            tracing::error!(reason = %fault, "the store cannot be reached yet");
            Ok(())
        }
        outcome => outcome,
    }
}

/// Connects and inspects the server. Returns the connection, and what is no reason to refuse it.
async fn examine(
    nodes: &Nodes,
    options: &RedisOptions,
    bound: Duration,
) -> Result<(Connection, Vec<Finding>), RedisOpenError> {
    let address = nodes.discover().await?;
    let (mut connection, facts) = nodes.connect(&address, None).await?;
    let wanted = Expectations {
        revoke_acks: options.acks.map_or(0, |acks| acks.count),
        allow_volatile: options.allow_volatile,
        lease: bound,
        ..Expectations::of(&options.settings, address)
    };
    let findings = inspect(&mut connection, &facts, &wanted).await;
    // That it takes no changes may pass, as an outage does.
    let may_pass = |finding: &Finding| finding.subject == CHANGES;
    let is_fault = |finding: &Finding| finding.severity == Severity::Fault && !may_pass(finding);
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
        question.query_async(connection).await.ok()?;
    let is_newer =
        |written: &String| written.parse::<u32>().map_or(true, |written| written > LAYOUT);
    Some(match (written.filter(is_newer), bound) {
        (Some(newer), _) => Binding::Newer(newer),
        (None, Some(bound)) if bound != fingerprint => Binding::OtherKeys,
        (None, _) => Binding::Bound,
    })
}

impl Binding {
    /// # Errors
    ///
    /// The store is not for our keys.
    fn accepted(self) -> Result<(), RedisOpenError> {
        match self {
            Self::Bound => Ok(()),
            Self::OtherKeys => Err(RedisOpenError::OtherKeys),
            Self::Newer(layout) => Err(RedisOpenError::Newer(layout)),
        }
    }
}

/// The operations' way to the master.
struct Carrier {
    data: data::Data,
    acks: Option<Acks>,
}

impl Master for Carrier {
    fn read(&self, question: Question) -> StoreFuture<Value> {
        match question {
            Question::Command(command) => Box::pin(self.data.read(command)),
            // A script changes nothing here, but takes as long as a change may.
            Question::Script(call) => Box::pin(self.data.change(call, None)),
        }
    }

    fn change(&self, call: Call) -> StoreFuture<Value> {
        let wait = self.acks.filter(|_| call.endurance() == Endurance::Lasting);
        Box::pin(self.data.change(call, wait))
    }
}

/// The wait for the rest of the fleet.
struct Watch {
    fleet: Arc<Fleet>,
    state: Arc<LinkState>,
    master: Arc<dyn Master>,
    layout: Layout,
}

impl Coherence for Watch {
    fn announced(
        &self,
        announced: Announced,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let received = clock::uptime();
        let (fleet, master, layout) =
            (Arc::clone(&self.fleet), Arc::clone(&self.master), self.layout.clone());
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            if let Settled::Waited(silent) = fleet.settled(&announced, received).await {
                state
                    .unconfirmed
                    .fetch_add(silent.len() as u64, std::sync::atomic::Ordering::Relaxed);
                tracing::warn!(
                    instances = silent.len(),
                    "instances did not confirm a removal; their leases are over"
                );
                // So that a dead one is waited for once. One that has beaten since stays.
                let _ = master.change(membership::forget_instances(&layout, &silent)).await;
            }
        })
    }
}
