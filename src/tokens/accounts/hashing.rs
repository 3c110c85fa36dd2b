//! Hashes and verifies passwords: a bounded number at a time, on threads of low priority.
//!
//! A hash takes some 20 ms of a core and 19 MiB, on purpose; a flood of logins must take neither
//! from the proxy. So a semaphore lets half as many computations run as there are cores, and
//! another bounds how many wait: with a full queue the answer is [`HashingError::Busy`] at once. A
//! thread keeps the memory for its next computation, and ends after 10 s without work.
//!
//! The threads run under SCHED_IDLE (sched(7)), while a core has nothing else to do: a request that
//! arrives takes the core from a hash at once. Niceness alone does not: since Linux 6.6 a nice
//! thread finishes a slice of a few milliseconds before a thread that has just woken up runs.
//! `bench/logins` measures it.
//!
//! On cores that are never idle such a thread would never finish. So a computation that takes more
//! than a quarter of a second is repeated on a reserve thread. Those are nice (10), which leaves a
//! busy worker nine parts of ten (weights 1024 and 110). If the system has no SCHED_IDLE, all
//! threads are nice.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use super::password_hash::{Arena, HashFault, HashingCost, PasswordHash, Verdict};
use crate::domain::{NewPassword, Password};

#[cfg(test)]
mod tests;

/// How long an idle thread keeps its memory.
const KEEP_ARENA: Duration = Duration::from_secs(10);

/// The niceness of the reserve threads: nice 10, counted from the other end and in hundredths.
const NICE_10: u8 = 22;

/// How long one computation may take before its thread is considered starved.
const STARVED: Duration = Duration::from_millis(250);

/// Computes hashes. When it is dropped, running computations still end.
pub struct HashingPool {
    /// A permit for each computation that runs or waits.
    places: Arc<Semaphore>,
    /// A permit for each computation that runs.
    turns: Arc<Semaphore>,
    threads: Arc<Threads>,
    cost: HashingCost,
    /// The hash against which passwords of unknown users are verified.
    unknown_user: PasswordHash,
}

/// Why a password was not hashed or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// Too many are waiting already, or the process is ending.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// A stored hash cannot be read, or there are no random bytes.
    #[error(transparent)]
    Fault(#[from] HashFault),
}

impl HashingPool {
    /// Lets `threads` computations run at a time (see [`default_threads`]) and `queue` more wait.
    /// The last of a `queue` of 64 waits some 0.7 s for two threads.
    ///
    /// # Errors
    ///
    /// The system is out of resources or of random bytes.
    pub fn start(
        threads: NonZeroUsize,
        queue: NonZeroUsize,
        cost: HashingCost,
    ) -> io::Result<Self> {
        let places = threads.get().saturating_add(queue.get()).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            places: Arc::new(Semaphore::new(places)),
            turns: Arc::new(Semaphore::new(threads.get())),
            threads: Arc::new(Threads::new(threads)?),
            cost,
            unknown_user: PasswordHash::of_unknown_user(cost).map_err(io::Error::other)?,
        })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    ///
    /// See [`HashingError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it costs nothing. A computation that has begun runs to its end.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, HashingError> {
        let cost = self.cost;
        self.compute(move |arena| PasswordHash::make(&password, cost, arena)).await
    }

    /// Whether `password` is that of `hash`; without a hash it is wrong, after the same time.
    ///
    /// # Errors
    ///
    /// See [`HashingError`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Self::hash`].
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<Verdict, HashingError> {
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.unknown_user.clone());
        let verdict = self.compute(move |arena| hash.verify(&password, arena)).await?;
        Ok(if is_known { verdict } else { Verdict::Wrong })
    }

    /// Whether a hash has another cost than a new one.
    #[must_use]
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.cost != self.cost
    }

    /// Waits for a turn, if the queue is not full, and computes.
    async fn compute<T: Send + 'static>(
        &self,
        computation: impl Computation<T>,
    ) -> Result<T, HashingError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| HashingError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| HashingError::Busy)?;
        let threads = Arc::clone(&self.threads);
        // In a task, so that the turn lasts until the computation ends, even if the caller is gone.
        let running = tokio::spawn(async move {
            let _held = (place, turn);
            threads.compute(computation).await
        });
        Ok(running.await.flatten().map_err(|_| HashingError::Busy)??)
    }
}

/// Half as many as there are cores, at least one.
#[must_use]
pub fn default_threads() -> NonZeroUsize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}

/// The computation of one hash, which can be repeated on another thread.
trait Computation<T>: Fn(&mut Arena) -> Result<T, HashFault> + Clone + Send + 'static {}

impl<T, F: Fn(&mut Arena) -> Result<T, HashFault> + Clone + Send + 'static> Computation<T> for F {}

/// The threads of both priorities.
struct Threads {
    idle: BlockingThreads,
    /// A permit for each thread of `idle` that has no work.
    idle_free: Arc<Semaphore>,
    reserve: BlockingThreads,
}

impl Threads {
    fn new(threads: NonZeroUsize) -> io::Result<Self> {
        Ok(Self {
            idle: BlockingThreads::new("passwords", threads, run_when_idle)?,
            idle_free: Arc::new(Semaphore::new(threads.get())),
            reserve: BlockingThreads::new("reserve", threads, be_nice)?,
        })
    }

    /// Computes on an idle thread, and on a reserve thread if all of those are starved.
    async fn compute<T: Send + 'static>(
        &self,
        computation: impl Computation<T>,
    ) -> Result<Result<T, HashFault>, JoinError> {
        if let Ok(permit) = Arc::clone(&self.idle_free).try_acquire_owned() {
            let first = computation.clone();
            let running = self.idle.spawn(move |arena| {
                let _permit = permit;
                first(arena)
            });
            if let Ok(done) = tokio::time::timeout(STARVED, running).await {
                return done;
            }
        }
        self.reserve.spawn(computation).await
    }
}

thread_local! {
    /// The memory of this thread's computations.
    static ARENA: RefCell<Arena> = RefCell::default();
}

/// Threads that start when there is work, and end after [`KEEP_ARENA`] without: those of a runtime
/// without tasks. `None` only while it is dropped.
struct BlockingThreads(Option<Runtime>);

impl BlockingThreads {
    /// At most `most` threads, each of which calls `begin` first.
    fn new(name: &str, most: NonZeroUsize, begin: fn()) -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        builder.thread_name(name).max_blocking_threads(most.get()).thread_keep_alive(KEEP_ARENA);
        Ok(Self(Some(builder.on_thread_start(begin).build()?)))
    }

    async fn spawn<T: Send + 'static>(
        &self,
        computation: impl FnOnce(&mut Arena) -> Result<T, HashFault> + Send + 'static,
    ) -> Result<Result<T, HashFault>, JoinError> {
        let run = move || ARENA.with_borrow_mut(computation);
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(run).await,
            None => Ok(Err(HashFault)),
        }
    }
}

/// In the background, because waiting for a thread would block a worker.
impl Drop for BlockingThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lets the calling thread run only when a core has nothing else to do.
fn run_when_idle() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let thread = thread_priority::thread_native_id();
    if let Err(error) =
        thread_priority::set_thread_priority_and_policy(thread, ThreadPriority::Min, idle)
    {
        tracing::debug!(?error, "a thread for passwords is not idle, but nice");
        be_nice();
    }
}

/// Makes the calling thread nice (on Linux niceness is per thread: nice(2), "C library/kernel
/// differences"), and lets it not preempt a worker when it wakes up (SCHED_BATCH, sched(7)). A
/// thread of a process that is as nice already keeps its niceness.
fn be_nice() {
    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let thread = thread_priority::thread_native_id();
    if let Ok(nice) = ThreadPriority::try_from(NICE_10)
        && let Err(error) = thread_priority::set_thread_priority_and_policy(thread, nice, batch)
    {
        tracing::debug!(?error, "a thread for passwords keeps its priority");
    }
}
