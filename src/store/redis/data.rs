//! Look-ups and changes: the connections that carry them.
//!
//! Every connection belongs to a [`Site`]: it is opened to the site's address, checks that the same
//! server answers there, and is thrown away when the term ends. So look-ups, changes and the link
//! never speak to different servers.
//!
//! Look-ups: one connection a thread, on that thread's runtime, shared by all of its requests.
//! Changes: one connection on the control runtime, and a few more for those that wait for replicas,
//! because `WAIT` holds up whatever is behind it.
//!
//! Answers come in the order of the questions, and nothing in them says to which they belong. So
//! each question carries a number with it (`ECHO`), and where an answer does not come with its own
//! number, the connection is thrown away with all that is out on it: no answer is ever given to
//! another question.
//!
//! While there is no site, a look-up fails at once and a change waits for one until its deadline.

use std::cell::RefCell;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::lane::{Lane, Open};
use super::node::Nodes;
use super::pace::back_off;
use super::site::{Site, SiteWatch};
use super::trouble::Trouble;
use crate::tokens::store::StoreError;

#[cfg(test)]
mod tests;

/// How many changes may be under way; further ones are [`StoreError::Overloaded`].
const CHANGES: usize = 1024;

/// How many changes may wait for replicas at the same time; further ones wait for their turn.
const WAITING: usize = 8;

/// How many look-ups of one thread may be under way; further ones are [`StoreError::Overloaded`].
const LOOKUPS: usize = 4096;

const AWAY: &str = "there is no connection to Redis";

/// For how many replicas a change waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acks {
    /// How many must have it; at least 1.
    pub count: usize,
    /// How long to wait for them; less than the deadline of a change.
    pub patience: Duration,
}

/// The data connections of a process.
#[derive(Clone)]
pub struct Data {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells the lanes of one `Data` from those of another on the same thread.
    number: u64,
    nodes: Arc<Nodes>,
    watch: SiteWatch,
    control: Handle,
    changes: Arc<Semaphore>,
    writer: Arc<Lane>,
    waiting: Arc<Semaphore>,
    waiters: Mutex<Vec<Arc<Lane>>>,
}

/// What one thread has for look-ups.
struct ThreadLane {
    number: u64,
    owner: Weak<Shared>,
    lane: Arc<Lane>,
    out: Arc<AtomicUsize>,
}

thread_local! {
    static LANES: RefCell<Vec<ThreadLane>> = const { RefCell::new(Vec::new()) };
}

/// Counts a look-up for as long as it is under way.
struct Out(Arc<AtomicUsize>);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What has been sent, for who gives up waiting.
struct Sent {
    lane: Arc<Lane>,
    open: Arc<Open>,
    at: Instant,
}

/// Why a round of questions brought no answers.
enum Lost {
    /// The connection broke, or was thrown away.
    Broken(String),
    /// An answer came without its number.
    Mixed,
}

impl Data {
    /// Prepares; connects to nobody. Changes are made on the runtime of `control`.
    #[must_use]
    pub fn new(nodes: Arc<Nodes>, watch: SiteWatch, control: Handle) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            shared: Arc::new(Shared {
                number: NEXT.fetch_add(1, Ordering::Relaxed),
                nodes,
                watch,
                control,
                changes: Arc::new(Semaphore::new(CHANGES)),
                writer: Lane::new(),
                waiting: Arc::new(Semaphore::new(WAITING)),
                waiters: Mutex::new((0..WAITING).map(|_| Lane::new()).collect()),
            }),
        }
    }

    /// Asks the master something that changes nothing, on the connection of the thread that polls
    /// first. Whether the term still stands has been looked at when the answer came; whether the
    /// lease does is the caller's to see.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the deadline is `timeouts.read`.
    pub fn read(
        &self,
        command: Cmd,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let (lane, _out) = shared.thread_lane()?;
            let deadline = tokio::time::Instant::now() + shared.nodes.settings().timeouts.read;
            let mut sent = None;
            let mut why = String::new();
            let asked = shared.look_up(&lane, command, &mut sent, &mut why);
            match timeout_at(deadline, asked).await {
                Ok(outcome) => outcome,
                Err(_) => Err(give_up(sent, why)),
            }
        }
    }

    /// Runs a script on the master. `wait`: returns only when so many replicas have what it
    /// changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the deadline is `timeouts.change`. After [`StoreError::TimedOut`], and after
    /// [`StoreError::Unavailable`] that says so, the change may have been made.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it is carried out whether or not somebody waits for the outcome.
    pub fn change(
        &self,
        call: impl ScriptCall,
        wait: Option<Acks>,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let order = Order { call: Box::new(call), wait };
        async move {
            let permit = Arc::clone(&shared.changes)
                .try_acquire_owned()
                .map_err(|_| StoreError::Overloaded)?;
            let control = shared.control.clone();
            let work = control.spawn(shared.carry_out(order, permit));
            work.await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("keyward is stopping".to_owned())))
        }
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("site", &self.shared.watch.now()).finish_non_exhaustive()
    }
}

/// A script with its keys and arguments, in both ways in which it can be sent.
pub trait ScriptCall: Send + Sync + 'static {
    /// By the script's name (`EVALSHA`).
    fn by_name(&self) -> Cmd;

    /// By its source (`EVAL`), for a server that does not know the name.
    fn by_source(&self) -> Cmd;
}

/// A change to be made.
struct Order {
    call: Box<dyn ScriptCall>,
    wait: Option<Acks>,
}

impl Shared {
    /// This thread's lane, and a place among its look-ups.
    fn thread_lane(self: &Arc<Self>) -> Result<(Arc<Lane>, Out), StoreError> {
        LANES.with_borrow_mut(|lanes| {
            let known = lanes.iter().position(|lane| lane.number == self.number);
            if known.is_none() {
                lanes.retain(|lane| lane.owner.strong_count() > 0);
                lanes.push(ThreadLane {
                    number: self.number,
                    owner: Arc::downgrade(self),
                    lane: Lane::new(),
                    out: Arc::default(),
                });
            }
            let found = known
                .and_then(|at| lanes.get(at))
                .or(lanes.last())
                .ok_or(StoreError::Overloaded)?;
            if found.out.fetch_add(1, Ordering::Relaxed) >= LOOKUPS {
                found.out.fetch_sub(1, Ordering::Relaxed);
                return Err(StoreError::Overloaded);
            }
            Ok((Arc::clone(&found.lane), Out(Arc::clone(&found.out))))
        })
    }

    async fn look_up(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        command: Cmd,
        sent: &mut Option<Sent>,
        why: &mut String,
    ) -> Result<Value, StoreError> {
        let mut round = 0;
        loop {
            let site = self.watch.now().ok_or_else(away)?;
            let open = lane
                .open(&self.nodes, &self.watch, &site)
                .await
                .map_err(StoreError::Unavailable)?;
            let mut values = self.ask(lane, &open, [command.clone()], sent).await.map_err(
                |lost| match lost {
                    Lost::Broken(words) => StoreError::Unavailable(format!(
                        "the connection to Redis was lost: {words}"
                    )),
                    Lost::Mixed => StoreError::Unavailable(
                        "an answer of Redis did not fit its question".to_owned(),
                    ),
                },
            )?;
            match values.pop().unwrap_or_default() {
                Value::ServerError(error) => match Trouble::of(&error) {
                    Trouble::Passing(words) => *why = words,
                    Trouble::Elsewhere(words) => {
                        self.watch.doubt.notify_one();
                        return Err(StoreError::Unavailable(words));
                    }
                    Trouble::NoScript => {
                        return Err(StoreError::Unavailable(
                            "Redis does not know a script".to_owned(),
                        ));
                    }
                    Trouble::Refused(fault) => return Err(fault),
                },
                value if self.watch.is_current(site.term) => return Ok(value),
                // Read from a server that may not be the master any more.
                _ => return Err(away()),
            }
            round += 1;
            tokio::time::sleep(back_off(round)).await;
        }
    }

    /// Sends the questions in one go, with a number behind them, and takes the answers.
    async fn ask<const N: usize>(
        &self,
        lane: &Arc<Lane>,
        open: &Arc<Open>,
        questions: [Cmd; N],
        sent: &mut Option<Sent>,
    ) -> Result<Vec<Value>, Lost> {
        let nonce = open.nonce().to_string();
        let mut pipeline = Pipeline::with_capacity(N + 1);
        for question in questions {
            pipeline.add_command(question);
        }
        pipeline.cmd("ECHO").arg(&nonce);
        *sent = Some(Sent { lane: Arc::clone(lane), open: Arc::clone(open), at: Instant::now() });
        let answered = open.connection.clone().req_packed_commands(&pipeline, 0, N + 1).await;
        *sent = None;
        let mut values = match answered {
            Ok(values) => values,
            Err(fault) => {
                lane.fail(open, "the connection was lost");
                return Err(Lost::Broken(fault.to_string()));
            }
        };
        let fits =
            matches!(values.pop(), Some(Value::BulkString(echo)) if echo == nonce.as_bytes());
        if !fits || values.len() != N {
            lane.fail(open, "an answer did not fit its question");
            return Err(Lost::Mixed);
        }
        open.hear(Instant::now());
        Ok(values)
    }

    /// Makes a change, on the control runtime.
    async fn carry_out(
        self: Arc<Self>,
        order: Order,
        permit: OwnedSemaphorePermit,
    ) -> Result<Value, StoreError> {
        let _permit = permit;
        let deadline = tokio::time::Instant::now() + self.nodes.settings().timeouts.change;
        let mut sent = None;
        let mut why = AWAY.to_owned();
        let making = async {
            match order.wait {
                None => self.make(&self.writer, &order, deadline, &mut sent, &mut why).await,
                Some(_) => {
                    let waiter = self.waiter().await?;
                    self.make(&waiter.lane, &order, deadline, &mut sent, &mut why).await
                }
            }
        };
        match timeout_at(deadline, making).await {
            Ok(outcome) => outcome,
            Err(_) => Err(give_up(sent, why)),
        }
    }

    async fn make(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        order: &Order,
        deadline: tokio::time::Instant,
        sent: &mut Option<Sent>,
        why: &mut String,
    ) -> Result<Value, StoreError> {
        let mut round = 0;
        let mut with_source = false;
        loop {
            let site = self.site().await?;
            match lane.open(&self.nodes, &self.watch, &site).await {
                Err(words) => *why = words,
                Ok(open) => {
                    let outcome =
                        self.try_once(lane, &open, order, with_source, deadline, sent).await?;
                    match outcome {
                        Ok(value) => return Ok(value),
                        Err(Trouble::NoScript) if !with_source => {
                            with_source = true;
                            continue;
                        }
                        Err(Trouble::NoScript) => {
                            return Err(StoreError::Unavailable(
                                "Redis takes no scripts".to_owned(),
                            ));
                        }
                        Err(Trouble::Refused(fault)) => return Err(fault),
                        Err(Trouble::Passing(words)) => *why = words,
                        Err(Trouble::Elsewhere(words)) => {
                            *why = words;
                            self.watch.doubt.notify_one();
                            // It changed nothing there, so it is made at the next site, if that is
                            // found in time.
                            self.watch.ended(site.term).await;
                            continue;
                        }
                    }
                }
            }
            round += 1;
            tokio::time::sleep(back_off(round)).await;
        }
    }

    /// The outer error is final; the inner one says that nothing was changed.
    async fn try_once(
        &self,
        lane: &Arc<Lane>,
        open: &Arc<Open>,
        order: &Order,
        with_source: bool,
        deadline: tokio::time::Instant,
        sent: &mut Option<Sent>,
    ) -> Result<Result<Value, Trouble>, StoreError> {
        let lost = |lost| {
            let words = match lost {
                Lost::Broken(words) => words,
                Lost::Mixed => "an answer did not fit its question".to_owned(),
            };
            StoreError::Unavailable(format!(
                "the connection to Redis was lost before the answer ({words}): the change may or \
                 may not have been made; \
                 repeat the call"
            ))
        };
        let call = if with_source { order.call.by_source() } else { order.call.by_name() };
        let (value, acked) = match order.wait {
            None => (self.ask(lane, open, [call], sent).await.map_err(lost)?.pop(), None),
            Some(wait) => {
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                let patience = wait.patience.min(left.mul_f64(0.9)).as_millis().max(1);
                let mut waiting = redis::cmd("WAIT");
                waiting.arg(wait.count).arg(u64::try_from(patience).unwrap_or(u64::MAX));
                let mut values = self.ask(lane, open, [call, waiting], sent).await.map_err(lost)?;
                let acked = values.pop();
                (values.pop(), acked.zip(Some(wait.count)))
            }
        };
        let value = match value.unwrap_or_default() {
            Value::ServerError(error) => return Ok(Err(Trouble::of(&error))),
            value => value,
        };
        match acked {
            Some((Value::Int(acked), count))
                if usize::try_from(acked).is_ok_and(|acked| acked >= count) =>
            {
                Ok(Ok(value))
            }
            Some((found, count)) => {
                let found = match found {
                    Value::Int(acked) => acked.to_string(),
                    Value::ServerError(error) => super::trouble::words(&error),
                    _ => "something else than a number".to_owned(),
                };
                Err(StoreError::Unavailable(format!(
                    "the change was made, but not confirmed by {count} replicas in time (found: \
                     {found}); repeat the call"
                )))
            }
            None => Ok(Ok(value)),
        }
    }

    /// The site, as soon as there is one.
    async fn site(&self) -> Result<Arc<Site>, StoreError> {
        let mut current = self.watch.current.clone();
        let found = current.wait_for(Option::is_some).await.ok().and_then(|site| site.clone());
        found.ok_or_else(|| StoreError::Unavailable("keyward is stopping".to_owned()))
    }

    /// A lane that nobody else uses at the same time.
    async fn waiter(self: &Arc<Self>) -> Result<Waiter, StoreError> {
        let permit = Arc::clone(&self.waiting).acquire_owned().await.map_err(|_| away())?;
        let lane = self
            .waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_else(Lane::new);
        Ok(Waiter { lane, shared: Arc::clone(self), _permit: permit })
    }
}

/// A lane on loan.
struct Waiter {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared
            .waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&self.lane));
    }
}

fn away() -> StoreError {
    StoreError::Unavailable(AWAY.to_owned())
}

/// The deadline has passed. A connection on which nothing at all has come back meanwhile is not
/// waited for any longer.
fn give_up(sent: Option<Sent>, why: String) -> StoreError {
    match sent {
        Some(Sent { lane, open, at }) => {
            if !open.has_answered_since(at) {
                lane.fail(&open, "Redis does not answer");
            }
            StoreError::TimedOut
        }
        None if why.is_empty() => StoreError::TimedOut,
        None => StoreError::Unavailable(why),
    }
}
