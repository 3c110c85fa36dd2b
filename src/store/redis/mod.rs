//! The store of a fleet: Redis.
//!
//! Every operation is one script and so one step (`calls.rs`, `scripts/`); the keys are in `layout.rs`. There are two exceptions,
//! both of reading: a list of more than 512 records is read on in parts, so a key that is removed meanwhile is missing, and
//! [`Store::browse`] and the list of accounts read everything in parts, so what they show need not have been there at one
//! moment. [`Store::find`] leaves [`Record::last_used_at`] out: that is kept beside the records, and a look-up is to be one
//! command. What builds on an account is a reading and a step that is only made if the account is still what was read.
//!
//! Records are sealed ([`crate::store::record_codec`]), and what is beside the seal is held against it: who can write to Redis
//! but has no key can destroy records, not make or change them. It cannot be noticed when such a one puts back a whole
//! record or account that was there before, or tells a script that a record that vouches ends later than it does.
//!
//! # Coherence
//!
//! Each instance remembers what it has read. When an operation that removes something has returned, no instance of the fleet
//! uses it any more, the calling one apart, which tells its own cache. How:
//!
//! * `link.rs`: one connection per instance on which it hears of removals (broadcast tracking of all records, and the fleet's
//!   announcements), and on which it earns its **lease** with heartbeats. What Redis has said counts only under the lease.
//! * `fleet.rs`: who removes announces it in the same script, and waits until every other registered instance has confirmed
//!   that it dropped its copy, or until the leases of those that did not are over for certain.
//! * `data.rs`: look-ups and changes go to the server of the link, and to no other. What was read in one **term** of the link
//!   counts for nothing in the next; the cache's fences see to what was removed while it was being read.
//!
//! When the link is cut, the lease ends, and with it the use of everything that was remembered: the bound of the promise is
//! the lease, and where a master may be cut off from its replicas, the time after which it refuses the heartbeat, which is
//! a write (`min-replicas-max-lag`; in a Cluster `cluster-node-timeout`). `tests/coherence` is a model of all this, with a
//! counterexample for each rule that is left out, or for two that guard the same place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{Notify, oneshot, watch};

use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordKey;
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::store::{Afterlife, Filter, Issue, Listed, Place, Removal, Store, StoreError, StoreFuture, Voucher};

mod account_operations;
mod accounts;
mod calls;
pub mod connection;
mod counters;
pub mod data;
pub mod discover;
mod fault;
mod fleet;
pub mod inspect;
mod lane;
mod layout;
mod link;
mod membership;
pub mod node;
mod operations;
mod pace;
pub mod presence;
mod reply;
mod script;
pub mod settings;
pub mod site;
pub mod site_fault;
mod slot;
mod tls;
mod trouble;

#[cfg(test)]
#[allow(dead_code, reason = "the tests here and those through the socket use different parts of it")]
#[path = "../../../tests/it/support/redis.rs"]
mod server;
#[cfg(test)]
mod tests;

pub use link::LinkState;

use calls::{Call, Endurance};
use data::Acks;
use fleet::{Fleet, Settled};
use inspect::{Expectations, inspect};
use layout::Layout;
use link::Link;
use membership::Binding;
use node::Nodes;
use operations::{Announced, Cursor, Operations, Page, Shelf, WHOLE};
use settings::RedisSettings;
use site::SiteWatch;
use site_fault::SiteFault;

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

/// How the operations reach the master.
trait Master: Send + Sync + 'static {
    /// Asks something. Handed over at once and pipelined; the answer is the master's.
    fn read(&self, question: Question) -> StoreFuture<Value>;

    /// Changes something. Whether a [`calls::Endurance::Lasting`] change must have reached replicas before it is
    /// acknowledged is the configuration's: if it has not, that is an error, although it has taken effect.
    fn change(&self, call: Call) -> StoreFuture<Value>;
}

/// What can be asked.
enum Question {
    /// A command.
    Command(Cmd),
    /// A script that changes nothing.
    Script(Call),
}

/// How a removal reaches the fleet.
trait Coherence: Send + Sync + 'static {
    /// Returns when no other instance uses any more what was removed before this announcement, be it that each has said so,
    /// be it that it could not use anything any more.
    fn announced(&self, announced: Announced) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// How a store in Redis is used.
#[derive(Clone, Debug)]
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
    #[error("the store belongs to other keys: this instance's [keys] differ from those of its fleet")]
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
        format!("{} is {}, wanted is {} ({})", finding.subject, finding.found, finding.wanted, finding.words)
    });
    words.collect::<Vec<_>>().join("; ")
}

/// The store. It keeps its link on a thread of its own until it is [closed](Self::close) or dropped.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
    link: Option<Arc<LinkThread>>,
}

/// The thread of the link, which is also where changes are made.
struct LinkThread {
    state: Arc<LinkState>,
    nodes: Arc<Nodes>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// How long saying goodbye to the fleet may take.
const FAREWELL: Duration = Duration::from_millis(500);

struct Inner {
    operations: Operations,
    data: Arc<dyn Master>,
    coherence: Arc<dyn Coherence>,
}

impl RedisStore {
    /// Opens the store, and keeps `cache` coherent from now on. Blocks while it looks at the server: at most as long as
    /// connecting may take, twice.
    ///
    /// A Redis that cannot be reached now is no error: until it is, nothing that needs it is served.
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
                // Kept until the end, although it rests once we stop: with it would go the site, and no word would get through.
                let mut running = std::pin::pin!(link.run());
                tokio::select! {
                    () = &mut running => {}
                    _ = stopped => {}
                }
                // So that nobody waits for an instance that is gone. If it does not get through, they wait once. As nobody
                // waits any more, nothing that is remembered may be used any more.
                left.cache().lease().end_all(clock::uptime());
                let goodbye = membership::goodbye(&farewell.0, &farewell.1);
                let _ = tokio::time::timeout(FAREWELL, data.change(goodbye, None)).await;
            });
        };
        let thread =
            std::thread::Builder::new().name("store-link".into()).spawn(body).map_err(RedisOpenError::Thread)?;
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

    /// Leaves the fleet and ends the link. Blocks until then; what is asked afterwards is unavailable.
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

    /// Takes users, passwords and certificates anew, for connections that are made from now on.
    ///
    /// # Errors
    ///
    /// When a file cannot be used; then nothing has changed.
    pub fn reload(&self, settings: &RedisSettings) -> Result<(), SiteFault> {
        self.link.as_ref().map_or(Ok(()), |link| link.nodes.reload(settings))
    }

    /// `instance` is this process in the fleet: a random id of its own.
    fn new(
        layout: Layout,
        key: RecordKey,
        instance: String,
        data: Arc<dyn Master>,
        coherence: Arc<dyn Coherence>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner { operations: Operations::new(layout, key, instance), data, coherence }),
            link: None,
        }
    }

    fn run<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(work(Arc::clone(&self.inner)))
    }
}

/// Looks at the server before anything is built on it. That it cannot be reached now is no fault.
async fn look(link: &Link, options: &RedisOptions) -> Result<(), RedisOpenError> {
    let seen = async {
        let address = link.nodes.discover().await?;
        let (mut connection, facts) = link.nodes.connect(&address, None).await?;
        let wanted = Expectations {
            revoke_acks: options.acks.map_or(0, |acks| acks.count),
            allow_volatile: options.allow_volatile,
            lease: link.fleet.cache().lease().bound(),
            ..Expectations::of(&options.settings, address)
        };
        let findings = inspect(&mut connection, &facts, &wanted).await;
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
            tracing::warn!(subject = %finding.subject, found = %finding.found, wanted = %finding.wanted,
                reason = %finding.words, "the store is not as it should be");
        }
        let faults: Vec<_> = findings.into_iter().filter(|finding| finding.severity == Severity::Fault).collect();
        if !faults.is_empty() {
            return Ok(Err(RedisOpenError::Unfit(faults)));
        }
        // The link says it again, with every term; here it is a reason not to start.
        let bound = membership::bind_keys(&link.layout, &link.fingerprint);
        Ok::<_, SiteFault>(match link::run(&mut connection, &bound).await.ok().map(membership::binding) {
            Some(Ok(Binding::OtherKeys)) => Err(RedisOpenError::OtherKeys),
            Some(Ok(Binding::Newer(layout))) => Err(RedisOpenError::Newer(layout)),
            Some(Ok(Binding::Bound) | Err(_)) | None => Ok(()),
        })
    };
    match seen.await {
        Ok(outcome) => outcome,
        Err(fault) if fault.is_definitive() => Err(fault.into()),
        Err(fault) => {
            tracing::error!(reason = %fault, "the store cannot be reached yet");
            Ok(())
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
            Question::Command(command) => {
                let answer = self.data.read(command);
                Box::pin(async move { answer.await.map(|answer| answer.value) })
            }
            // A script changes nothing here, but takes as long as a change may.
            Question::Script(call) => {
                let answer = self.data.change(call, None);
                Box::pin(async move { answer.await.map(|answer| answer.value) })
            }
        }
    }

    fn change(&self, call: Call) -> StoreFuture<Value> {
        let wait = self.acks.filter(|_| call.endurance() == Endurance::Lasting);
        let answer = self.data.change(call, wait);
        Box::pin(async move { answer.await.map(|answer| answer.value) })
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
    fn announced(&self, announced: Announced) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let received = clock::uptime();
        let (fleet, master, layout) = (Arc::clone(&self.fleet), Arc::clone(&self.master), self.layout.clone());
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            if let Settled::Waited(silent) = fleet.settled(&announced, received).await {
                state.unconfirmed.fetch_add(silent.len() as u64, std::sync::atomic::Ordering::Relaxed);
                tracing::warn!(instances = silent.len(), "instances did not confirm a removal; their leases are over");
                // So that a dead one is waited for once. One that has beaten since stays.
                let _ = master.change(membership::forget_instances(&layout, &silent)).await;
            }
        })
    }
}

impl data::ScriptCall for Call {
    fn by_name(&self) -> Cmd {
        Self::by_name(self)
    }

    fn by_source(&self) -> Cmd {
        Self::by_source(self)
    }
}

impl Inner {
    async fn ask(&self, call: Call) -> Result<Value, StoreError> {
        self.data.read(Question::Script(call)).await
    }

    async fn heeded(&self, announced: Option<Announced>) {
        if let Some(announced) = announced {
            self.coherence.announced(announced).await;
        }
    }

    async fn owned(&self, voucher: Voucher, owner: &Owner, now: Timestamp) -> Result<Option<Vec<Listed>>, StoreError> {
        let value = self.ask(self.operations.owned(voucher, owner, now)).await?;
        let Some(mut owned) = self.operations.read_owned(value)? else { return Ok(None) };
        for names in owned.others.chunks(WHOLE) {
            let value = self.ask(self.operations.records_of(names)).await?;
            owned.keys.extend(operations::kept(value)?);
        }
        self.operations.listed(owner, now, owned.keys).map(Some)
    }

    async fn browse(&self, filter: &Filter) -> Result<Vec<Record>, StoreError> {
        let matches = |record: &Record| {
            filter.token_api.as_ref().is_none_or(|wanted| record.token_api == *wanted)
                && filter.subject.as_ref().is_none_or(|wanted| record.identity.subject == *wanted)
                && filter.sort.is_none_or(|wanted| record.kind.sort() == wanted)
        };
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next.filter(|_| found.len() < limit) {
            let page = self.page(Shelf::Live, &cursor).await?;
            found.extend(page.kept.into_iter().map(|kept| kept.record).filter(matches));
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn retired(&self) -> Result<Vec<Listed>, StoreError> {
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next {
            let page = self.page(Shelf::Retired, &cursor).await?;
            found.extend(page.kept);
            next = page.next;
        }
        Ok(found)
    }

    async fn page(&self, which: Shelf, from: &Cursor) -> Result<Page, StoreError> {
        self.operations.page(self.ask(self.operations.browse(which, from)).await?)
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0_usize;
        loop {
            let wanted = limit.saturating_sub(deleted).min(operations::PURGED);
            let purged = self.operations.purged(self.data.change(self.operations.purge(now, wanted)).await?)?;
            self.heeded(purged.announced).await;
            deleted = deleted.saturating_add(purged.expired);
            if purged.expired < wanted || deleted >= limit {
                return Ok(deleted);
            }
        }
    }
}

impl Store for RedisStore {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        let answer = self.inner.data.read(Question::Command(self.inner.operations.find(digest)));
        self.run(async move |inner| inner.operations.found(digest, answer.await?))
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.run(async move |inner| {
            let value = inner.ask(inner.operations.find_by_id(id)).await?;
            inner.operations.found_by_id(&token_api, id, value)
        })
    }

    fn issue(&self, voucher: Voucher, child: Record, place: Place, now: Timestamp) -> StoreFuture<Issue> {
        self.run(async move |inner| {
            let call = inner.operations.issue(voucher, &child, place, now)?;
            let (issue, announced) = inner.operations.issued(inner.data.change(call).await?)?;
            inner.heeded(announced).await;
            Ok(issue)
        })
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        let now = record.issued_at;
        let issue = self.issue(Voucher::Outside, record, Place::Beside, now);
        Box::pin(async move { issue.await.map(|_| ()) })
    }

    fn owned(&self, voucher: Voucher, owner: Owner, now: Timestamp) -> StoreFuture<Option<Vec<Listed>>> {
        self.run(async move |inner| inner.owned(voucher, &owner, now).await)
    }

    fn remove(&self, voucher: Voucher, target: TokenDigest, after: Afterlife, now: Timestamp) -> StoreFuture<Removal> {
        self.run(async move |inner| {
            let value = inner.data.change(inner.operations.remove(voucher, target, after, now)).await?;
            let (removal, announced) = inner.operations.removed(value)?;
            inner.heeded(announced).await;
            Ok(removal)
        })
    }

    fn remove_owned(
        &self,
        voucher: Voucher,
        owner: Owner,
        after: Afterlife,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |inner| {
            let value = inner.data.change(inner.operations.remove_owned(voucher, &owner, after, now)).await?;
            let (removed, announced) = inner.operations.removed_owned(value)?;
            inner.heeded(announced).await;
            Ok(removed)
        })
    }

    fn settle(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            let announced = operations::announced(inner.data.change(inner.operations.settle()).await?)?;
            inner.heeded(Some(announced)).await;
            Ok(())
        })
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.run(async move |inner| inner.browse(&filter).await)
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.run(async move |inner| inner.retired().await)
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.run(async move |inner| {
            let call = inner.operations.restore(&kept)?;
            inner.operations.issued(inner.data.change(call).await?).map(|_| ())
        })
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        self.run(async move |inner| {
            for part in uses.chunks(TOUCHES) {
                inner.data.change(inner.operations.touch(part)).await?;
            }
            Ok(())
        })
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.run(async move |inner| inner.purge(now, limit).await)
    }

    fn check(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            inner.data.read(Question::Command(inner.operations.check_reads())).await?;
            inner.data.change(inner.operations.check_changes()).await?;
            Ok(())
        })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("layout", &self.inner.operations.layout).finish_non_exhaustive()
    }
}
