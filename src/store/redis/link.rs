//! The link: the one connection on which an instance learns of removals, and by which it earns its
//! lease.
//!
//! A term of the link, from its establishment to its end:
//!
//! 1. find the master, connect, tie the store to our keys;
//! 2. subscribe to the fleet's announcements and to our confirmations, and switch broadcast
//!    tracking of all records on;
//! 3. heartbeat and proof, and with the first of them publish the **site**: data connections may be
//!    made to it;
//! 4. drop everything that is remembered, as what happened before is unknown, and begin the lease;
//! 5. heartbeat and proof, four times in a lease, one at a time, until the connection ends, another
//!    server is master, or it has been silent while somebody else who asks gets answers.
//!
//! The heartbeat is a write, so an isolated master refuses it (`min-replicas-to-write`). The
//! **proof** is a `PING` that is sent when the heartbeat has been answered: Redis writes broadcast
//! invalidations at the end of the turn of its event loop, so the heartbeat's answer may overtake
//! those of its own turn, but the proof is executed in a later one. When it has been answered,
//! everything that was removed before the heartbeat was executed has been dropped, and the lease
//! counts from the moment before the heartbeat was sent.
//!
//! A server whose background save has failed refuses every change (`MISCONF`), so it refuses
//! heartbeats, although nothing is wrong with what it says. There, a heartbeat may be replaced by a
//! **look**: it asks whether this instance is registered, and is proved as a heartbeat is. It
//! brings a lease only where
//!
//! * the instance is registered, on the same data: whoever removes something afterwards waits for
//!   it;
//! * nothing was announced since the latest heartbeat that was answered: otherwise the one that
//!   announced it may have waited in vain for a confirmation, and may take the instance off the
//!   register without knowing of the look (unless somebody deletes the register by hand, this
//!   implies that the instance is registered);
//! * the topology is a single server, and the server itself says that it is a master that no
//!   replica follows and that needs none (`min-replicas-to-write`): a look would prove nothing
//!   about a master that is cut off.
//!
//! `tests/coherence` has looks in it, with a counterexample without the second rule and one without
//! the third.
//!
//! What comes over the link is acted upon where it is read, before anything that comes behind it:
//! no queue, no other task.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::calls::Call;
use super::connection::Connection;
use super::fault::{self, Remedy};
use super::fleet::{Announcement, Dropped, Fleet, read_confirmation};
use super::layout::Layout;
use super::membership::{self, Binding};
use super::node::{Nodes, field};
use super::pace::back_off;
use super::refusal::ChangeRefusal;
use super::settings::{NodeAddress, Servers};
use super::site::Site;
use super::site_fault::{SiteFault, words_of};
use crate::domain::TokenDigest;
use crate::telemetry::metrics::FleetGauges;
use crate::tokens::clock;
use crate::tokens::lease::Lease;
use crate::tokens::store::StoreError;

/// Heartbeats in the time of one lease: so many may be lost or late, less one, before it ends.
const BEATS: u32 = 4;

/// How often, at most, another server is looked for while the link is silent.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Confirmations that wait to be sent; more are left out, and whoever waits for them waits for our
/// lease to end instead.
const MOST_CONFIRMATIONS: usize = 4096;

/// What a link needs to know.
pub(super) struct Link {
    pub(super) nodes: Arc<Nodes>,
    pub(super) layout: Layout,
    pub(super) fleet: Arc<Fleet>,
    /// What tells our keys from those of others.
    pub(super) fingerprint: Vec<u8>,
    /// Where the master is, for the data connections; `None`: nowhere.
    pub(super) site: watch::Sender<Option<Arc<Site>>>,
    /// Rung by data connections whose server says that it is not, or no longer, the master.
    pub(super) doubt: Arc<Notify>,
    pub(super) state: Arc<LinkState>,
}

/// What can be seen of the link from outside.
#[derive(Debug, Default)]
pub struct LinkState {
    /// How often it has been established.
    pub(super) terms: AtomicU64,
    /// How often the data turned out to be other data than before.
    pub(super) generations_lost: AtomicU64,
    /// How often everything was dropped.
    pub(super) drops: AtomicU64,
    /// How often an instance did not confirm a removal.
    pub(super) unconfirmed: AtomicU64,
    /// Why there is no link.
    pub(super) fault: std::sync::Mutex<Option<String>>,
}

impl LinkState {
    /// What is to be measured, of a fleet under this lease.
    #[must_use]
    pub fn gauges(&self, lease: &Lease) -> FleetGauges {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FleetGauges {
            lease_left: lease.left(clock::uptime()),
            bound: lease.bound(),
            links: read(&self.terms),
            drops: read(&self.drops),
            generations_lost: read(&self.generations_lost),
            unconfirmed: read(&self.unconfirmed),
        }
    }

    /// Why there is no link; `None`: there is one.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Site(#[from] SiteFault),
    #[error("the connection was lost")]
    Lost,
    #[error("the server is no longer the master")]
    Abandoned,
    #[error("the link is silent, and the server answers others")]
    Silent,
    #[error(
        "the store belongs to other keys: this instance's [keys] differ from those of its fleet"
    )]
    OtherKeys,
    #[error("{0}")]
    Refused(String),
}

impl End {
    fn is_definitive(&self) -> bool {
        match self {
            Self::Site(fault) => fault.is_definitive(),
            Self::OtherKeys => true,
            Self::Lost | Self::Abandoned | Self::Silent | Self::Refused(_) => false,
        }
    }
}

/// The pause after a fault that will stay until somebody changes something.
const DEFINITIVE_PAUSE: Duration = Duration::from_secs(5);

impl Link {
    /// Keeps the link, for as long as it is polled.
    pub(super) async fn run(self) {
        let mut failures = 0;
        let mut said = String::new();
        loop {
            let terms = self.state.terms.load(Ordering::Relaxed);
            let end = match self.term().await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            self.site.send_replace(None);
            self.fleet.unlinked(clock::uptime());
            let words = end.to_string();
            let was_up = self.state.terms.load(Ordering::Relaxed) != terms;
            if was_up {
                tracing::warn!(reason = %words, "the link to the store has ended");
            } else if words != said {
                tracing::error!(reason = %words, "there is no link to the store");
            }
            said.clone_from(&words);
            *self.state.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some(words);
            failures = if was_up { 1 } else { failures + 1 };
            let pause = if end.is_definitive() {
                DEFINITIVE_PAUSE.max(back_off(failures))
            } else {
                back_off(failures)
            };
            sleep(pause).await;
        }
    }

    async fn term(&self) -> Result<std::convert::Infallible, End> {
        // What was rung in an earlier term concerns this one no more.
        pin!(self.doubt.notified()).enable();
        let address = self.nodes.discover().await?;
        let term = self.state.terms.load(Ordering::Relaxed) + 1;
        let (sender, mut confirmations) = mpsc::channel(MOST_CONFIRMATIONS);
        let pushes =
            Pushes::new(&self.layout, Arc::clone(&self.fleet), Arc::clone(&self.state), sender);
        let channels = [pushes.revoked.clone(), pushes.confirmed.clone()];
        let (mut connection, facts) = self.nodes.connect(&address, Some(Arc::new(pushes))).await?;
        let patience = self.nodes.settings().timeouts.connect;
        let site = Arc::new(Site { address: address.clone(), run_id: facts.run_id, term });
        within(patience, self.establish(&mut connection, &channels, site)).await?;

        self.state.terms.store(term, Ordering::Relaxed);
        *self.state.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        tracing::info!(server = %address, term, "the link to the store is up");

        let interval = self.fleet.cache().lease().terms().span / BEATS;
        let mut next = Instant::now() + interval;
        let mut refused = String::new();
        loop {
            {
                // Between two heartbeats.
                let rest = pin!(sleep_until(next));
                self.attend(&connection, &mut confirmations, rest).await?;
            }
            next = Instant::now() + interval;
            let sent = clock::uptime();
            let beat = pin!(self.beat_or_look(connection.clone()));
            match self.attend_beat(&connection, &mut confirmations, beat).await? {
                Ok(Beaten { generation, refused: None }) => {
                    self.compare(&generation);
                    self.fleet.cache().lease().grant(sent);
                    if !refused.is_empty() {
                        tracing::info!("the store takes changes again");
                        refused.clear();
                    }
                }
                Ok(Beaten { refused: Some(words), .. }) => {
                    self.fleet.cache().lease().grant(sent);
                    if words != refused {
                        tracing::error!(reason = %words,
                            "the store refuses changes: tokens are judged as before, and none is \
                             issued or revoked");
                        refused = words;
                    }
                }
                Err(fault) if fault.is_moved => return Err(End::Abandoned),
                // The server answers, and does not take it: it lacks its replicas, or we a right.
                // The lease runs out meanwhile.
                Err(fault) => {
                    if fault.words != refused {
                        tracing::warn!(reason = %fault.words, "the store refuses heartbeats");
                    }
                    refused = fault.words;
                    self.fleet.cache().lease().give_up(clock::uptime());
                    // After a planned failover the old master may live on without its replicas:
                    // somebody else is master then.
                    if self.is_elsewhere(&address).await {
                        return Err(End::Abandoned);
                    }
                }
            }
        }
    }

    /// A heartbeat, or what stands in for one where it is refused (see the module).
    async fn beat_or_look(&self, connection: Connection) -> Result<Beaten, BeatFault> {
        match beat(&self.layout, &self.fleet, connection.clone()).await {
            Ok(generation) => Ok(Beaten { generation, refused: None }),
            Err(fault)
                if fault.allows_look
                    && matches!(self.nodes.settings().servers, Servers::Single(_)) =>
            {
                match look_at_register(&self.layout, &self.fleet, connection).await {
                    Ok(generation) => Ok(Beaten { generation, refused: Some(fault.words) }),
                    // Why there is no lease; why there is no heartbeat comes first.
                    Err(why) => {
                        Err(BeatFault { words: format!("{}; {why}", fault.words), ..fault })
                    }
                }
            }
            Err(fault) => Err(fault),
        }
    }

    /// Steps 1 to 4, after connecting.
    async fn establish(
        &self,
        connection: &mut Connection,
        channels: &[String],
        site: Arc<Site>,
    ) -> Result<(), End> {
        let refused = |fault: redis::RedisError| End::Refused(words_of(&fault));
        let bound = run(connection, &membership::bind_keys(&self.layout, &self.fingerprint))
            .await
            .map_err(refused)?;
        match membership::binding(bound).map_err(|fault| End::Refused(fault.to_string()))? {
            Binding::Bound => {}
            Binding::OtherKeys => return Err(End::OtherKeys),
            Binding::Newer(layout) => {
                return Err(End::Refused(format!(
                    "the store has layout {layout}, which a newer keyward has written"
                )));
            }
        }
        connection.inner().subscribe(channels).await.map_err(refused)?;
        redis::cmd("CLIENT")
            .arg(&["TRACKING", "ON", "BCAST", "PREFIX"])
            .arg(self.layout.records())
            .exec_async(connection)
            .await
            .map_err(refused)?;
        let sent = clock::uptime();
        let generation =
            beat(&self.layout, &self.fleet, connection.clone()).await.map_err(|fault| {
                if fault.is_moved { End::Abandoned } else { End::Refused(fault.words) }
            })?;
        self.note_loss(&generation);
        // The site first: from the drop on, everybody reads, and shall find where. What they read
        // before the drop is fenced off.
        self.site.send_replace(Some(site));
        self.fleet.cache().invalidate_all();
        self.state.drops.fetch_add(1, Ordering::Relaxed);
        self.fleet.linked(&generation, clock::uptime());
        self.fleet.cache().lease().grant(sent);
        Ok(())
    }

    /// Whether those who know name another master than this one. Only a hint to look anew: what is
    /// found then is asked itself.
    async fn is_elsewhere(&self, address: &NodeAddress) -> bool {
        let found = tokio::time::timeout(LOOK_EVERY, self.nodes.discover()).await;
        found.is_ok_and(|found| found.is_ok_and(|found| found != *address))
    }

    /// Sends confirmations until `rest` is over.
    async fn attend(
        &self,
        connection: &Connection,
        confirmations: &mut mpsc::Receiver<Confirmation>,
        mut rest: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), End> {
        loop {
            tokio::select! {
                () = &mut rest => return Ok(()),
                Some(confirmation) = confirmations.recv() => self.confirm(connection, confirmation),
                () = connection.closed() => return Err(End::Lost),
                () = self.doubt.notified() => return Err(End::Abandoned),
            }
        }
    }

    /// As [`attend`](Self::attend), until the heartbeat is answered. While it is overdue, another
    /// server is looked for, or another way to the same one: the link may be half-open.
    async fn attend_beat<T>(
        &self,
        connection: &Connection,
        confirmations: &mut mpsc::Receiver<Confirmation>,
        mut beat: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, End> {
        let lease = self.fleet.cache().lease();
        let span = lease.terms().span;
        // Seen from here, and not by the clock alone: this may have been stopped as long as whoever
        // waits.
        let mut overdue = pin!(async {
            sleep(span - span / BEATS).await;
            lease.give_up(clock::uptime());
            std::future::pending::<std::convert::Infallible>().await
        });
        let nodes = Arc::clone(&self.nodes);
        // Another who asks, and is answered, and even so the link stays silent a little longer:
        // then the link is dead.
        let mut silent = pin!(async {
            sleep(span).await;
            while look(&nodes).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
            sleep(span / BEATS).await;
        });
        loop {
            tokio::select! {
                biased;
                answered = &mut beat => return Ok(answered),
                () = connection.closed() => return Err(End::Lost),
                () = self.doubt.notified() => return Err(End::Abandoned),
                Some(confirmation) = confirmations.recv() => self.confirm(connection, confirmation),
                () = &mut silent => return Err(End::Silent),
                never = &mut overdue => match never {},
            }
        }
    }

    /// Sends a confirmation; nobody waits for its answer.
    fn confirm(&self, connection: &Connection, confirmation: Confirmation) {
        let mut connection = connection.clone();
        let channel = self.layout.confirmed(&confirmation.to);
        let payload = format!("{} {}", confirmation.number, self.fleet.me());
        tokio::spawn(async move {
            if confirmation.needs_proof
                && redis::cmd("PING").exec_async(&mut connection).await.is_err()
            {
                return;
            }
            // Should it get lost, the other waits for our lease to end.
            let _ =
                redis::cmd("PUBLISH").arg(channel).arg(payload).exec_async(&mut connection).await;
        });
    }

    /// Other data than before: nothing of what is remembered is in it, and the register is another,
    /// too.
    fn compare(&self, generation: &str) {
        if !self.fleet.is_known(generation) {
            self.note_loss(generation);
            self.fleet.linked(generation, clock::uptime());
            self.fleet.cache().invalidate_all();
            self.state.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says so if this is other data than the link was last on, in this term or in one before it.
    fn note_loss(&self, generation: &str) {
        if self.fleet.knows_other_than(generation) {
            tracing::error!(generation, "the store's data has been lost or replaced");
            self.state.generations_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a heartbeat brought.
struct Beaten {
    generation: String,
    /// The heartbeat was refused with these words, and a look stood in for it.
    refused: Option<String>,
}

/// A heartbeat that was answered with a refusal, or not at all.
struct BeatFault {
    is_moved: bool,
    /// It was refused for a reason that says nothing against what the server answers.
    allows_look: bool,
    words: String,
}

impl BeatFault {
    fn of(fault: &redis::RedisError) -> Self {
        let refusal = fault::change_refusal(fault);
        let said = words_of(fault);
        Self {
            is_moved: fault::judge(fault).remedy == Remedy::Rediscover,
            allows_look: matches!(
                refusal,
                Some(ChangeRefusal::SnapshotFailed | ChangeRefusal::AppendFailed)
            ),
            words: match refusal {
                Some(refusal) => format!("{}: {} ({said})", refusal.state(), refusal.remedy()),
                None => said,
            },
        }
    }
}

/// A heartbeat and its proof. Returns the generation of the data.
async fn beat(
    layout: &Layout,
    fleet: &Fleet,
    mut connection: Connection,
) -> Result<String, BeatFault> {
    let explain = |fault: redis::RedisError| BeatFault::of(&fault);
    let next = fleet.next_beat();
    let announcements = fleet.announcements();
    let answer =
        run(&mut connection, &membership::heartbeat(layout, &next)).await.map_err(explain)?;
    let unreadable = |fault: StoreError| BeatFault {
        is_moved: false,
        allows_look: false,
        words: fault.to_string(),
    };
    let heard = membership::heard(answer).map_err(unreadable)?;
    fleet.beaten(next.beat);
    fleet.quiet_since(announcements);
    redis::cmd("PING").exec_async(&mut connection).await.map_err(explain)?;
    Ok(heard.generation)
}

/// Whether the register still has this instance, without a change, and its proof. Returns the
/// generation of the data, or why this brings no lease.
async fn look_at_register(
    layout: &Layout,
    fleet: &Fleet,
    mut connection: Connection,
) -> Result<String, String> {
    let explain = |fault: redis::RedisError| words_of(&fault);
    let replication: String = redis::cmd("INFO")
        .arg("replication")
        .query_async(&mut connection)
        .await
        .map_err(explain)?;
    if !is_alone(&replication) {
        return Err("and it has replicas, or needs some: another may be the master".to_owned());
    }
    let answer =
        run(&mut connection, &membership::registered(layout, fleet.me())).await.map_err(explain)?;
    let found = membership::registered_in(answer).map_err(|fault| fault.to_string())?;
    let generation = found.ok_or("and this instance is not registered")?;
    // PING is refused where changes are (`MISCONF`).
    redis::cmd("ECHO").arg("").exec_async(&mut connection).await.map_err(explain)?;
    if !fleet.is_known(&generation) {
        return Err("and its data is other data than before".to_owned());
    }
    if !fleet.is_quiet() {
        return Err("and something was revoked since the latest heartbeat".to_owned());
    }
    Ok(generation)
}

/// Whether a server says in `INFO replication` that it is a master that no replica follows, and
/// that needs none for a change.
fn is_alone(replication: &str) -> bool {
    field(replication, "role") == Some("master")
        && field(replication, "connected_slaves") == Some("0")
        // Only there where min-replicas-to-write and min-replicas-max-lag are set.
        && field(replication, "min_slaves_good_slaves").is_none()
}

/// Runs a script on the link itself.
pub(super) async fn run(
    connection: &mut Connection,
    call: &Call,
) -> Result<Value, redis::RedisError> {
    match call.by_name().query_async(connection).await {
        Err(fault) if fault.code() == Some("NOSCRIPT") => {
            call.by_source().query_async(connection).await
        }
        answer => answer,
    }
}

/// Whether a server answers somebody who comes anew.
async fn look(nodes: &Nodes) -> Result<(), SiteFault> {
    let address = nodes.discover().await?;
    nodes.connect(&address, None).await.map(|_| ())
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    let late = || Err(End::Refused("it did not answer in time".into()));
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| late())
}

/// A confirmation that is to be sent.
#[derive(Debug)]
struct Confirmation {
    to: String,
    number: u64,
    /// What it confirms was removed by commands before it, whose invalidations may still be on
    /// their way.
    needs_proof: bool,
}

/// Acts upon what the server sends unasked.
struct Pushes {
    fleet: Arc<Fleet>,
    state: Arc<LinkState>,
    /// What keys of records begin with.
    records: Vec<u8>,
    revoked: String,
    confirmed: String,
    confirmations: mpsc::Sender<Confirmation>,
}

impl Pushes {
    fn new(
        layout: &Layout,
        fleet: Arc<Fleet>,
        state: Arc<LinkState>,
        confirmations: mpsc::Sender<Confirmation>,
    ) -> Self {
        Self {
            records: layout.records().as_bytes().to_vec(),
            revoked: layout.revoked(),
            confirmed: layout.confirmed(fleet.me()),
            fleet,
            state,
            confirmations,
        }
    }

    fn drop_everything(&self) {
        self.fleet.cache().invalidate_all();
        self.state.drops.fetch_add(1, Ordering::Relaxed);
    }

    /// `[keys]`, or nil after FLUSHALL and FLUSHDB. What cannot be read may be anything, so
    /// everything goes.
    fn invalidate(&self, data: &[Value]) {
        let Some(Value::Array(keys)) = data.first() else { return self.drop_everything() };
        for key in keys {
            match key {
                Value::BulkString(key) => match key.strip_prefix(&*self.records).and_then(digest) {
                    Some(digest) => self.fleet.cache().invalidate(&digest),
                    None => self.drop_everything(),
                },
                _ => self.drop_everything(),
            }
        }
    }

    fn message(&self, data: &[Value]) {
        let [Value::BulkString(channel), Value::BulkString(payload)] = data else { return };
        if channel == self.revoked.as_bytes() {
            self.fleet.note_announcement();
            let Some(announcement) = Announcement::read(payload) else {
                return self.drop_everything();
            };
            self.fleet.drop_named(&announcement.dropped);
            if announcement.dropped == Dropped::Everything {
                self.state.drops.fetch_add(1, Ordering::Relaxed);
            }
            if announcement.by != self.fleet.me() {
                let needs_proof = announcement.is_bare();
                let confirmation =
                    Confirmation { to: announcement.by, number: announcement.number, needs_proof };
                let _ = self.confirmations.try_send(confirmation);
            }
        } else if channel == self.confirmed.as_bytes()
            && let Some((number, by)) = read_confirmation(payload)
        {
            self.fleet.enter(number, by);
        }
    }
}

impl AsyncPushSender for Pushes {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        match push.kind {
            PushKind::Invalidate => self.invalidate(&push.data),
            PushKind::Message => self.message(&push.data),
            _ => {}
        }
        Ok(())
    }
}

/// 64 hexadecimal digits, as the layout writes a digest.
fn digest(hex: &[u8]) -> Option<TokenDigest> {
    let mut bytes = [0; 32];
    let (pairs, rest) = hex.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(TokenDigest::from_bytes(bytes))
}
