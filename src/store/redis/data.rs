//! Look-ups and changes: the connections that carry them.
//!
//! Every connection belongs to a [`Primary`]: it is opened to the primary's address, checks that
//! the same server answers there, and is closed when the term ends. So look-ups, changes and the
//! link never speak to different servers.
//!
//! Look-ups: one connection a thread, on that thread's runtime, shared by all of its requests. The
//! permits of limits are taken on it, too.
//! Changes: one connection on the control runtime, and a few more for those that wait for replicas,
//! because `WAIT` delays whatever is behind it.
//!
//! Nothing in an answer says to which question it belongs. So each question is followed by a number
//! (`ECHO`), and where an answer does not come with its own number, the connection is closed and
//! every question on it fails. A look-up that finds a record needs the number, too: the record's
//! seal proves to which digest it belongs, but not when it was read, and the cache may keep it only
//! if it was read after the fence was taken.
//!
//! While no primary is known, a look-up fails at once and a change waits for one until its
//! deadline.

use std::cell::RefCell;
use std::future::Future;
use std::sync::{Arc, Weak};

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::calls::Call;
use super::connection_slot::{ConnectionSlot, Open};
use super::failure::{RedisFailure, Retry};
use super::node::Nodes;
use super::pace::back_off;
use super::primary::{Primary, PrimaryWatch};
use super::settings::Acks;
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

/// The data connections of a process.
pub struct Data {
    nodes: Arc<Nodes>,
    watch: PrimaryWatch,
    control: Handle,
    changes: Arc<Semaphore>,
    writer: Arc<ConnectionSlot>,
    /// For changes that wait for replicas, one at a time on each; as many permits as there are.
    waiters: [Mutex<Arc<ConnectionSlot>>; WAITING],
    waiting: Semaphore,
}

/// What one thread has for the look-ups of one [`Data`]; at most [`LOOKUPS`] are under way.
struct ThreadSlot {
    owner: Weak<Data>,
    slot: Arc<ConnectionSlot>,
    look_ups: Arc<Semaphore>,
}

thread_local! {
    static SLOTS: RefCell<Vec<ThreadSlot>> = const { RefCell::new(Vec::new()) };
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
    pub fn new(nodes: Arc<Nodes>, watch: PrimaryWatch, control: Handle) -> Arc<Self> {
        let new_slot = || ConnectionSlot::new(&nodes, &watch);
        Arc::new(Self {
            changes: Arc::new(Semaphore::new(CHANGES)),
            writer: new_slot(),
            waiters: std::array::from_fn(|_| Mutex::new(new_slot())),
            waiting: Semaphore::new(WAITING),
            nodes,
            watch,
            control,
        })
    }

    /// Asks the primary something that changes nothing, on the connection of the thread that polls
    /// first. That the term still goes on is checked when the answer has come; whether the lease
    /// does is the caller's to check.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the deadline is `timeouts.read`.
    pub fn read(
        self: &Arc<Self>,
        command: Cmd,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + use<> {
        self.read_by(move |_| command.clone())
    }

    /// As [`read`](Self::read), by a script. What it changes may have been made although there is
    /// an error.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the deadline is `timeouts.read`.
    pub(super) fn read_by_script(
        self: &Arc<Self>,
        call: Call,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + use<> {
        self.read_by(move |with_source| if with_source { call.by_source() } else { call.by_name() })
    }

    /// `command`: what is asked, and whether with the source of its script.
    fn read_by<C: Fn(bool) -> Cmd + Send + Sync>(
        self: &Arc<Self>,
        command: C,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + use<C> {
        let data = Arc::clone(self);
        async move {
            let (slot, _permit) = data.thread_slot()?;
            let deadline = Instant::now() + data.nodes.settings.timeouts.read;
            let mut progress = Progress::default();
            let looked_up =
                timeout_at(deadline, data.look_up(&slot, &command, &mut progress)).await;
            looked_up.unwrap_or_else(|_| Err(progress.give_up()))
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
        self: &Arc<Self>,
        call: Call,
        acks: Option<Acks>,
    ) -> impl Future<Output = Result<Value, StoreError>> + Send + use<> {
        let data = Arc::clone(self);
        async move {
            let permit = Arc::clone(&data.changes)
                .try_acquire_owned()
                .map_err(|_| StoreError::Overloaded)?;
            let control = data.control.clone();
            let work = control.spawn(data.carry_out(call, acks, permit));
            work.await.unwrap_or_else(|_| Err(stopping()))
        }
    }

    /// This thread's slot, and a permit for one look-up.
    fn thread_slot(
        self: &Arc<Self>,
    ) -> Result<(Arc<ConnectionSlot>, OwnedSemaphorePermit), StoreError> {
        SLOTS.with_borrow_mut(|slots| {
            let is_ours = |slot: &ThreadSlot| slot.owner.as_ptr() == Arc::as_ptr(self);
            if !slots.iter().any(is_ours) {
                slots.retain(|slot| slot.owner.strong_count() > 0);
                slots.push(ThreadSlot {
                    owner: Arc::downgrade(self),
                    slot: ConnectionSlot::new(&self.nodes, &self.watch),
                    look_ups: Arc::new(Semaphore::new(LOOKUPS)),
                });
            }
            let ours = slots.iter().find(|slot| is_ours(slot)).ok_or(StoreError::Overloaded)?;
            let permit = Arc::clone(&ours.look_ups).try_acquire_owned();
            Ok((Arc::clone(&ours.slot), permit.map_err(|_| StoreError::Overloaded)?))
        })
    }

    async fn look_up(
        &self,
        slot: &Arc<ConnectionSlot>,
        command: &(impl Fn(bool) -> Cmd + Sync),
        progress: &mut Progress,
    ) -> Result<Value, StoreError> {
        let mut round = 0;
        let mut with_source = false;
        loop {
            let primary = self.watch.now().ok_or_else(away)?;
            let open = slot.open(&primary).await.map_err(StoreError::Unavailable)?;
            let asked = self.ask(slot, &open, [command(with_source)], progress).await;
            let [value] = asked.map_err(StoreError::Unavailable)?;
            let failure = match value {
                Ok(value) if self.watch.is_current(primary.term) => return Ok(value),
                // It was read from a server that may not be the primary any more.
                Ok(_) => return Err(away()),
                Err(failure) => failure,
            };
            if failure.retry == Retry::WithSource && !with_source {
                with_source = true;
                continue;
            }
            if failure.retry == Retry::Rediscover {
                self.watch.doubt.notify_one();
            }
            if failure.retry != Retry::Later {
                return Err(failure.into());
            }
            progress.why = failure.to_string();
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
        let mut connection = open.connection.inner.clone();
        let answered = connection.req_packed_commands(&pipeline, 0, N + 1).await;
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
        let deadline = Instant::now() + self.nodes.settings.timeouts.change;
        let mut progress = Progress { sent: None, why: AWAY.to_owned() };
        let making = async {
            if acks.is_none() {
                return self.make(&self.writer, &call, None, deadline, &mut progress).await;
            }
            let _permit = self.waiting.acquire().await.map_err(|_| away())?;
            let free = self.waiters.iter().find_map(|waiter| waiter.try_lock().ok());
            self.make(&*free.ok_or_else(away)?, &call, acks, deadline, &mut progress).await
        };
        let made = timeout_at(deadline, making).await;
        made.unwrap_or_else(|_| Err(progress.give_up()))
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
}

fn away() -> StoreError {
    StoreError::Unavailable(AWAY.to_owned())
}

fn stopping() -> StoreError {
    StoreError::Unavailable("keyward is stopping".to_owned())
}
