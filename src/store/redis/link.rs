//! The link: the one connection on which an instance learns of removals, and by which it earns its
//! lease.
//!
//! A term of the link, from its establishment to its end:
//!
//! 1. find the primary, connect, tie the store to our keys;
//! 2. subscribe to the fleet's announcements and to our confirmations, and switch broadcast
//!    tracking of all records on;
//! 3. heartbeat and proof (`heartbeat.rs`), and with the first of them publish the **primary**:
//!    data connections may be made to it;
//! 4. drop everything that is remembered, as what happened before is unknown, and begin the lease;
//! 5. heartbeat and proof, four times in a lease, one at a time, until the connection ends, another
//!    server is primary, or the link has been silent while the server answers another connection.
//!
//! What comes over the link without being asked is acted upon in `pushes.rs`.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::Connection;
use super::discovery_error::DiscoveryError;
use super::failure::{RedisFailure, Retry};
use super::fleet::Fleet;
use super::heartbeat::{Beaten, beat, beat_or_look};
use super::layout::Layout;
use super::membership::{self, Binding};
use super::node::Nodes;
use super::open_error::RedisOpenError;
use super::pace::back_off;
use super::primary::Primary;
use super::pushes::{Confirmation, Pushes};
use super::settings::{NodeAddress, Servers};
use crate::tokens::clock;
use crate::tokens::store::StoreError;

/// Heartbeats in the time of one lease: so many may be lost or late, less one, before it ends.
const BEATS: u32 = 4;

/// The pause before each look for another server while the link is silent.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Confirmations that wait to be sent. In place of further ones, the other instances wait for our
/// lease to end.
const MOST_CONFIRMATIONS: usize = 4096;

/// The pause after an error that stays until an operator changes something.
const DEFINITIVE_PAUSE: Duration = Duration::from_secs(5);

/// What a link needs to know.
pub(super) struct Link {
    pub(super) nodes: Arc<Nodes>,
    pub(super) layout: Layout,
    pub(super) fleet: Arc<Fleet>,
    /// What tells our keys from those of others.
    pub(super) fingerprint: Vec<u8>,
    /// The primary, for the data connections; `None` while there is no link.
    pub(super) primary: watch::Sender<Option<Arc<Primary>>>,
    /// Notified by data connections whose server says that it is not, or no longer, the primary.
    pub(super) doubt: Arc<Notify>,
}

fn ended(words: &str) -> RedisFailure {
    RedisFailure::unavailable(Retry::Rediscover, words)
}

fn not_primary() -> RedisFailure {
    ended("the server is no longer the master")
}

impl Link {
    /// Keeps the link, for as long as it is polled.
    pub(super) async fn run(self) {
        let state = self.fleet.state();
        let mut failures = 0;
        let mut said = String::new();
        loop {
            let terms = state.terms.load(Ordering::Relaxed);
            let Err(failure) = self.term().await;
            self.primary.send_replace(None);
            self.fleet.unlinked(clock::uptime());
            let words = failure.to_string();
            let was_up = state.terms.load(Ordering::Relaxed) != terms;
            if was_up {
                tracing::warn!(reason = %words, "the link to the store has ended");
            } else if words != said {
                tracing::error!(reason = %words, "there is no link to the store");
            }
            said.clone_from(&words);
            state.set_fault(Some(words));
            failures = if was_up { 1 } else { failures + 1 };
            let pause = back_off(failures);
            let is_definitive = failure.retry == Retry::AfterChange;
            sleep(if is_definitive { pause.max(DEFINITIVE_PAUSE) } else { pause }).await;
        }
    }

    async fn term(&self) -> Result<Infallible, RedisFailure> {
        // A notification of an earlier term does not concern this one.
        pin!(self.doubt.notified()).enable();
        let address = self.nodes.discover().await?;
        let term = self.fleet.state().terms.load(Ordering::Relaxed) + 1;
        let (sender, mut confirmations) = mpsc::channel(MOST_CONFIRMATIONS);
        let pushes = Pushes::new(&self.layout, Arc::clone(&self.fleet), sender);
        let channels = pushes.channels();
        let (mut connection, facts) = self.nodes.connect(&address, Some(Arc::new(pushes))).await?;
        let primary = Arc::new(Primary { address: address.clone(), run_id: facts.run_id, term });
        let establishing = self.establish(&mut connection, &channels, primary);
        timeout(self.nodes.settings.timeouts.connect, establishing).await.unwrap_or_else(|_| {
            Err(RedisFailure::unavailable(Retry::Later, "it did not answer in time"))
        })?;

        self.fleet.state().terms.store(term, Ordering::Relaxed);
        self.fleet.state().set_fault(None);
        tracing::info!(server = %address, term, "the link to the store is up");

        let lease = self.fleet.cache().lease();
        let interval = lease.terms().span / BEATS;
        let allows_look = matches!(self.nodes.settings.servers, Servers::Single(_));
        let mut next = Instant::now() + interval;
        let mut refused = String::new();
        loop {
            self.attend(&connection, &mut confirmations, sleep_until(next)).await?;
            next = Instant::now() + interval;
            let sent = clock::uptime();
            let beat = beat_or_look(&self.layout, &self.fleet, connection.clone(), allows_look);
            let answered = self.answered(&address, beat);
            match self.attend(&connection, &mut confirmations, answered).await?? {
                Ok(Beaten { generation, refused: None }) => {
                    self.compare(&generation);
                    lease.grant(sent);
                    if !refused.is_empty() {
                        tracing::info!("the store takes changes again");
                        refused.clear();
                    }
                }
                Ok(Beaten { refused: Some(words), .. }) => {
                    lease.grant(sent);
                    if words != refused {
                        tracing::error!(reason = %words,
                            "the store refuses changes: tokens are judged as before, and none is \
                             issued or revoked");
                        refused = words;
                    }
                }
                Err(failure) if failure.retry == Retry::Rediscover => return Err(not_primary()),
                // The server answers, and does not take it: it lacks its replicas, or we a right.
                // The lease runs out meanwhile.
                Err(failure) => {
                    let words = failure.to_string();
                    if words != refused {
                        tracing::warn!(reason = %words, "the store refuses heartbeats");
                    }
                    refused = words;
                    lease.give_up(clock::uptime());
                    // After a planned failover the old primary may live on without its replicas,
                    // while another server is primary.
                    let look = self.nodes.is_elsewhere(&address);
                    if self.attend(&connection, &mut confirmations, look).await? {
                        return Err(not_primary());
                    }
                }
            }
        }
    }

    /// Steps 1 to 4, after connecting.
    async fn establish(
        &self,
        connection: &mut Connection,
        channels: &[String],
        primary: Arc<Primary>,
    ) -> Result<(), RedisFailure> {
        let later = |error: StoreError| RedisFailure::unavailable(Retry::Later, error.to_string());
        let bind = membership::bind_keys(&self.layout, &self.fingerprint);
        let binding = membership::binding(bind.run(&mut connection.inner).await?).map_err(later)?;
        let retry = if binding == Binding::OtherKeys { Retry::AfterChange } else { Retry::Later };
        let not_ours = |error: RedisOpenError| RedisFailure::unavailable(retry, error.to_string());
        binding.accepted().map_err(not_ours)?;
        connection.inner.subscribe(channels).await?;
        redis::cmd("CLIENT")
            .arg(&["TRACKING", "ON", "BCAST", "PREFIX"])
            .arg(self.layout.records())
            .exec_async(&mut connection.inner)
            .await?;
        let sent = clock::uptime();
        let generation = beat(&self.layout, &self.fleet, connection.clone()).await?;
        self.note_loss(&generation);
        // The primary before the drop: from then on every request reads. What was read before the
        // drop is fenced off.
        self.primary.send_replace(Some(primary));
        self.begin(&generation);
        self.fleet.cache().lease().grant(sent);
        Ok(())
    }

    /// Sends confirmations until `work` is done or the link has ended.
    async fn attend<T>(
        &self,
        connection: &Connection,
        confirmations: &mut mpsc::Receiver<Confirmation>,
        work: impl Future<Output = T>,
    ) -> Result<T, RedisFailure> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = connection.closed() => return Err(ended("the connection was lost")),
                () = self.doubt.notified() => return Err(not_primary()),
                Some(confirmation) = confirmations.recv() => self.confirm(connection, confirmation),
            }
        }
    }

    /// Waits until the heartbeat is answered. While it is not, another server is looked for, which
    /// is the primary when this one hangs; and when it is overdue, another connection is tried: the
    /// link may be half-open.
    async fn answered<T>(
        &self,
        address: &NodeAddress,
        beat: impl Future<Output = T>,
    ) -> Result<T, RedisFailure> {
        let lease = self.fleet.cache().lease();
        let span = lease.terms().span;
        // By a timer, and not by the clock alone: the whole process may have been stopped
        // meanwhile.
        let overdue = async {
            sleep(span - span / BEATS).await;
            lease.give_up(clock::uptime());
            pending::<Infallible>().await
        };
        // Another connection is answered, and even so the link stays silent a little longer: then
        // the link is dead.
        let dead = async {
            sleep(span).await;
            while connect_anew(&self.nodes).await.is_err() {
                sleep(LOOK_EVERY).await;
            }
            sleep(span / BEATS).await;
        };
        let replaced = async {
            loop {
                sleep(LOOK_EVERY).await;
                if self.nodes.is_elsewhere(address).await {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            answered = beat => Ok(answered),
            () = replaced => Err(not_primary()),
            () = dead => Err(ended("the link is silent, and the server answers others")),
            never = overdue => match never {},
        }
    }

    /// Sends a confirmation; its answer is not awaited.
    fn confirm(&self, connection: &Connection, confirmation: Confirmation) {
        let mut connection = connection.clone();
        let channel = self.layout.confirmed(&confirmation.to);
        let payload = format!("{} {}", confirmation.number, self.fleet.me());
        tokio::spawn(async move {
            if confirmation.needs_proof
                && redis::cmd("PING").exec_async(&mut connection.inner).await.is_err()
            {
                return;
            }
            // If it gets lost, the other instance waits for our lease to end.
            let _ = redis::cmd("PUBLISH")
                .arg(channel)
                .arg(payload)
                .exec_async(&mut connection.inner)
                .await;
        });
    }

    /// Drops everything if the data is other data than before.
    fn compare(&self, generation: &str) {
        if !self.fleet.is_known(generation) {
            self.note_loss(generation);
            self.begin(generation);
        }
    }

    /// Drops everything that is remembered, and counts the register from now on.
    fn begin(&self, generation: &str) {
        self.fleet.drop_everything();
        self.fleet.linked(generation, clock::uptime());
    }

    /// Reports that this is other data than the link was last on, in whichever term.
    fn note_loss(&self, generation: &str) {
        if self.fleet.knows_other_than(generation) {
            tracing::error!(generation, "the store's data has been lost or replaced");
            self.fleet.state().generations_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a server answers on a new connection.
async fn connect_anew(nodes: &Nodes) -> Result<(), DiscoveryError> {
    let address = nodes.discover().await?;
    nodes.connect(&address, None).await.map(|_| ())
}
