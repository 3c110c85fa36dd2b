//! Look-ups and changes: the connections that carry them.
//!
//! Every connection belongs to a [`Primary`]: it is opened to the primary's address, checks that
//! the same server answers there, and is closed when the term ends. So look-ups, changes and the
//! link never speak to different servers.
//!
//! Look-ups: one connection a thread, on that thread's runtime, shared by all of its requests.
//! Changes: one connection on the control runtime, and a few more for those that wait for replicas,
//! because `WAIT` delays whatever is behind it.
//!
//! Answers come in the order of the questions, and nothing in them says to which they belong. So
//! each question is followed by a number (`ECHO`), and where an answer does not come with its own
//! number, the connection is closed and every question on it fails: no answer is ever given to
//! another question. Every look-up needs the number, also one that finds a record. The record's
//! seal proves to which digest it belongs, but not when it was read; and the cache may keep it only
//! if it was read after the fence was taken. The answer to an earlier look-up of the same digest
//! has a valid seal, too, and may be from before a revocation of which the cache has been told.
//!
//! While no primary is known, a look-up fails at once and a change waits for one until its
//! deadline.

use std::cell::RefCell;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::calls::Call;
use super::connection_slot::{ConnectionSlot, Open};
use super::failure::{RedisFailure, Retry};
use super::node::Nodes;
use super::pace::back_off;
use super::primary::{Primary, PrimaryWatch};
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
    pub timeout: Duration,
}

/// The data connections of a process.
#[derive(Clone)]
pub struct Data {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Arc<Nodes>,
    watch: PrimaryWatch,
    control: Handle,
    changes: Arc<Semaphore>,
    writer: Arc<ConnectionSlot>,
    /// For changes that wait for replicas: as many permits as there are slots.
    waiting: Arc<Semaphore>,
    waiters: Mutex<Vec<Arc<ConnectionSlot>>>,
}

/// What one thread has for the look-ups of one [`Data`].
struct ThreadSlot {
    owner: Weak<Shared>,
    slot: Arc<ConnectionSlot>,
    in_flight: Arc<AtomicUsize>,
}

thread_local! {
    static SLOTS: RefCell<Vec<ThreadSlot>> = const { RefCell::new(Vec::new()) };
}

/// Counts a look-up for as long as it is under way.
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How far an operation has come: what is said if its deadline passes.
#[derive(Default)]
struct Progress {
    /// The connection on which an answer is awaited, and since when.
    sent: Option<(Arc<ConnectionSlot>, Arc<Open>, Instant)>,
    /// Why it has not been made yet; empty: for no known reason.
    why: String,
}

impl Progress {
    /// The deadline has passed. A connection on which no answer at all has come since is closed.
    fn give_up(self) -> StoreError {
        match self.sent {
            Some((slot, open, at)) => {
                if !open.has_answered_since(at) {
                    slot.fail(&open, "Redis does not answer");
                }
                StoreError::TimedOut
            }
            None if self.why.is_empty() => StoreError::TimedOut,
            None => StoreError::Unavailable(self.why),
        }
    }
}

impl Data {
    /// Prepares; connects to no server. Changes are made on the runtime of `control`.
    #[must_use]
    pub fn new(nodes: Arc<Nodes>, watch: PrimaryWatch, control: Handle) -> Self {
        let new_slot = || ConnectionSlot::new(&nodes, &watch);
        Self {
            shared: Arc::new(Shared {
                changes: Arc::new(Semaphore::new(CHANGES)),
                writer: new_slot(),
                waiting: Arc::new(Semaphore::new(WAITING)),
                waiters: Mutex::new((0..WAITING).map(|_| new_slot()).collect()),
                nodes,
                watch,
                control,
            }),
        }
    }

    /// Asks the primary something that changes nothing, on the connection of the thread that polls
    /// first. That the term still goes on is checked when the answer has come; whether the lease
    /// does is the caller's to check.
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
            let (slot, _in_flight) = shared.thread_slot()?;
            let deadline = Instant::now() + shared.nodes.settings().timeouts.read;
            let mut progress = Progress::default();
            match timeout_at(deadline, shared.look_up(&slot, command, &mut progress)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(progress.give_up()),
            }
        }
    }

    /// Runs a script on the primary. `acks`: returns only when so many replicas have what it
    /// changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the deadline is `timeouts.change`. After [`StoreError::TimedOut`], and after
    /// [`StoreError::Unavailable`] that says so, the change may have been made.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it is carried out whether or not the outcome is awaited.
    pub(super) fn change(
        &self,
        call: Call,
        acks: Option<Acks>,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let permit = Arc::clone(&shared.changes)
                .try_acquire_owned()
                .map_err(|_| StoreError::Overloaded)?;
            let control = shared.control.clone();
            let work = control.spawn(shared.carry_out(call, acks, permit));
            work.await.unwrap_or_else(|_| Err(stopping()))
        }
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("primary", &self.shared.watch.now()).finish_non_exhaustive()
    }
}

impl Shared {
    fn new_slot(&self) -> Arc<ConnectionSlot> {
        ConnectionSlot::new(&self.nodes, &self.watch)
    }

    /// This thread's slot, with one more look-up under way.
    fn thread_slot(self: &Arc<Self>) -> Result<(Arc<ConnectionSlot>, InFlight), StoreError> {
        SLOTS.with_borrow_mut(|slots| {
            let is_ours = |slot: &ThreadSlot| slot.owner.as_ptr() == Arc::as_ptr(self);
            if !slots.iter().any(is_ours) {
                slots.retain(|slot| slot.owner.strong_count() > 0);
                slots.push(ThreadSlot {
                    owner: Arc::downgrade(self),
                    slot: self.new_slot(),
                    in_flight: Arc::default(),
                });
            }
            let ours = slots.iter().find(|slot| is_ours(slot)).ok_or(StoreError::Overloaded)?;
            let in_flight = InFlight(Arc::clone(&ours.in_flight));
            if ours.in_flight.fetch_add(1, Ordering::Relaxed) >= LOOKUPS {
                return Err(StoreError::Overloaded);
            }
            Ok((Arc::clone(&ours.slot), in_flight))
        })
    }

    async fn look_up(
        &self,
        slot: &Arc<ConnectionSlot>,
        command: Cmd,
        progress: &mut Progress,
    ) -> Result<Value, StoreError> {
        let mut round = 0;
        loop {
            let primary = self.watch.now().ok_or_else(away)?;
            let open = slot.open(&primary).await.map_err(StoreError::Unavailable)?;
            let [value] = self
                .ask(slot, &open, [command.clone()], progress)
                .await
                .map_err(StoreError::Unavailable)?;
            let failure = match value {
                Ok(value) if self.watch.is_current(primary.term) => return Ok(value),
                // It was read from a server that may not be the primary any more.
                Ok(_) => return Err(away()),
                Err(failure) => failure,
            };
            match failure.retry {
                Retry::Later => progress.why = failure.to_string(),
                Retry::Rediscover => {
                    self.watch.doubt.notify_one();
                    return Err(failure.into());
                }
                Retry::WithSource | Retry::AfterChange | Retry::Never => return Err(failure.into()),
            }
            round += 1;
            sleep(back_off(round)).await;
        }
    }

    /// Sends the questions in one go, with a number behind them, and takes the answers.
    ///
    /// # Errors
    ///
    /// Why there are none, in words. The connection is closed.
    async fn ask<const N: usize>(
        &self,
        slot: &Arc<ConnectionSlot>,
        open: &Arc<Open>,
        questions: [Cmd; N],
        progress: &mut Progress,
    ) -> Result<[Result<Value, RedisFailure>; N], String> {
        let nonce = open.nonce().to_string();
        let mut pipeline = Pipeline::with_capacity(N + 1);
        for question in questions {
            pipeline.add_command(question);
        }
        pipeline.cmd("ECHO").arg(&nonce);
        progress.sent = Some((Arc::clone(slot), Arc::clone(open), Instant::now()));
        let answered = open.connection.clone().req_packed_commands(&pipeline, 0, N + 1).await;
        progress.sent = None;
        let mut values = answered.map_err(|error| {
            slot.fail(open, "the connection was lost");
            format!("the connection to Redis was lost: {error}")
        })?;
        let echo = values.pop();
        let has_nonce = matches!(echo, Some(Value::BulkString(echo)) if echo == nonce.as_bytes());
        match <[Value; N]>::try_from(values) {
            Ok(values) if has_nonce => {
                open.note_answer(Instant::now());
                Ok(values.map(|value| match value {
                    Value::ServerError(error) => Err(RedisFailure::of_answer(&error)),
                    value => Ok(value),
                }))
            }
            _ => {
                slot.fail(open, "an answer did not fit its question");
                Err("an answer of Redis did not fit its question".to_owned())
            }
        }
    }

    /// Makes a change, on the control runtime.
    async fn carry_out(
        self: Arc<Self>,
        call: Call,
        acks: Option<Acks>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Value, StoreError> {
        let _permit = permit;
        let deadline = Instant::now() + self.nodes.settings().timeouts.change;
        let mut progress = Progress { sent: None, why: AWAY.to_owned() };
        let making = async {
            let waiter = if acks.is_some() { Some(self.waiter().await?) } else { None };
            let slot = waiter.as_ref().map_or(&self.writer, |waiter| &waiter.slot);
            self.make(slot, &call, acks, deadline, &mut progress).await
        };
        match timeout_at(deadline, making).await {
            Ok(outcome) => outcome,
            Err(_) => Err(progress.give_up()),
        }
    }

    async fn make(
        &self,
        slot: &Arc<ConnectionSlot>,
        call: &Call,
        acks: Option<Acks>,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Value, StoreError> {
        let mut round = 0;
        let mut with_source = false;
        loop {
            let primary = self.primary().await?;
            let tried = match slot.open(&primary).await {
                Err(words) => Err(RedisFailure::unavailable(Retry::Later, words)),
                Ok(open) => {
                    let command = if with_source { call.by_source() } else { call.by_name() };
                    self.try_once(slot, &open, command, acks, deadline, progress).await?
                }
            };
            let failure = match tried {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match failure.retry {
                Retry::WithSource if !with_source => {
                    with_source = true;
                    continue;
                }
                Retry::WithSource => {
                    return Err(StoreError::Unavailable("Redis takes no scripts".to_owned()));
                }
                Retry::AfterChange | Retry::Never => return Err(failure.into()),
                Retry::Later => progress.why = failure.to_string(),
                Retry::Rediscover => {
                    progress.why = failure.to_string();
                    self.watch.doubt.notify_one();
                    // Nothing was changed, so it is made at the next primary, if that is found in
                    // time.
                    self.watch.ended(primary.term).await;
                    continue;
                }
            }
            round += 1;
            sleep(back_off(round)).await;
        }
    }

    /// The outer error is final; the inner one says that nothing was changed.
    async fn try_once(
        &self,
        slot: &Arc<ConnectionSlot>,
        open: &Arc<Open>,
        command: Cmd,
        acks: Option<Acks>,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<Result<Value, RedisFailure>, StoreError> {
        let lost = |why| {
            StoreError::Unavailable(format!(
                "there was no answer ({why}): the change may or may not have been made; repeat the \
                 call"
            ))
        };
        let Some(acks) = acks else {
            let [value] = self.ask(slot, open, [command], progress).await.map_err(lost)?;
            return Ok(value);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = acks.timeout.min(left.mul_f64(0.9)).as_millis().max(1);
        let wanted = u64::try_from(acks.count).unwrap_or(u64::MAX);
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted).arg(u64::try_from(timeout).unwrap_or(u64::MAX));
        let [value, acked] = self.ask(slot, open, [command, wait], progress).await.map_err(lost)?;
        let found = match acked {
            _ if value.is_err() => return Ok(value),
            Ok(Value::Int(acked)) if u64::try_from(acked).is_ok_and(|acked| acked >= wanted) => {
                return Ok(value);
            }
            Ok(Value::Int(acked)) => acked.to_string(),
            Ok(_) => "something else than a number".to_owned(),
            Err(failure) => failure.to_string(),
        };
        Err(StoreError::Unavailable(format!(
            "the change was made, but not confirmed by {wanted} replicas in time (found: \
             {found}); repeat the call"
        )))
    }

    /// The primary, as soon as there is one.
    async fn primary(&self) -> Result<Arc<Primary>, StoreError> {
        let mut current = self.watch.current.clone();
        let found = current.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.ok_or_else(stopping)
    }

    /// A slot for one change at a time.
    async fn waiter(self: &Arc<Self>) -> Result<Waiter, StoreError> {
        let permit = Arc::clone(&self.waiting).acquire_owned().await.map_err(|_| away())?;
        let slot = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = slot.unwrap_or_else(|| self.new_slot());
        Ok(Waiter { slot, shared: Arc::clone(self), _permit: permit })
    }
}

/// A slot in use. Dropping it gives the slot back.
struct Waiter {
    slot: Arc<ConnectionSlot>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.shared.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.push(Arc::clone(&self.slot));
    }
}

fn away() -> StoreError {
    StoreError::Unavailable(AWAY.to_owned())
}

fn stopping() -> StoreError {
    StoreError::Unavailable("keyward is stopping".to_owned())
}
