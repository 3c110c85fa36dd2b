//! Passwords are hashed here and nowhere else: on a few threads of their own, behind a bounded
//! queue.
//!
//! A login takes some 20 ms of a core and 19 MiB, on purpose; a flood of logins must not take
//! either from the proxy. So there are half as many threads as cores, and memory for one hash for
//! each, which is kept for the next one and given back after 10 s without work. A full queue is
//! [`HashingError::Busy`] at once.
//!
//! Passwords are hashed while a core has nothing else to do: under SCHED_IDLE (sched(7)) a request
//! that arrives takes the core from a hash at once. Niceness alone does not: it says how much of a
//! core a thread gets, not when, and since Linux 6.6 a nice thread finishes a slice of a few
//! milliseconds before somebody who has just woken up runs. `bench/logins` measures it.
//!
//! Where the cores are never idle, nobody would log in. So each of these threads has a reserve,
//! which waits for it, and does its work as soon as one hash takes more than a quarter of a second:
//! nice (10), which leaves a busy worker nine parts of ten (weights 1024 and 110), as every thread
//! would be if the system has no SCHED_IDLE.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
use tokio::sync::oneshot;

use super::password_hash::{Arena, HashFault, HashingCost, PasswordHash, Verdict};
use crate::domain::{NewPassword, Password};

#[cfg(test)]
mod tests;

/// How long idle threads keep their memory.
const KEEP_ARENA: Duration = Duration::from_secs(10);

/// How far the reserves stand back: nice 10, counted from the other end and in hundredths.
const NICE_10: u8 = 22;

/// How long one hash may take on a core that has little else to do; after that its thread is taken
/// for starved.
const STARVED: Duration = Duration::from_millis(250);

/// How often a reserve looks whether its thread is done: for the sake of the workers. A thread
/// under SCHED_IDLE gives way to who wakes up. But when the last of several others on its core goes
/// to sleep, the kernel may choose it although a worker waits there (EEVDF passes over who has just
/// had more than its share), and chooses anew at the next tick: up to 4 ms later with 250 Hz. Who
/// wakes up and sleeps again makes it choose at once. Seen in a flood of logins on one core:
/// without it a worker waited ten times a second, for up to 3 ms; with it, more often, but hardly
/// ever longer than 0.2 ms.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

/// The threads and their queue. They end when it is dropped, after what they are at.
pub struct HashingPool {
    queue: SyncSender<Work>,
    cost: HashingCost,
    /// What the passwords of users who are not there are verified against.
    nobody: PasswordHash,
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

/// One computation. It is passed over if nobody waits for it any more.
#[derive(Clone)]
enum Work {
    Hash(NewPassword, Reply<PasswordHash>),
    Verify(Password, PasswordHash, Reply<Verdict>),
}

/// Where an outcome goes; the first one goes there, should two threads have been at the same work.
struct Reply<T>(Arc<Mutex<Option<Sender<T>>>>);

type Sender<T> = oneshot::Sender<Result<T, HashFault>>;

impl<T> Reply<T> {
    fn new(sender: Sender<T>) -> Self {
        Self(Arc::new(Mutex::new(Some(sender))))
    }

    fn is_awaited(&self) -> bool {
        lock(&self.0).as_ref().is_some_and(|sender| !sender.is_closed())
    }

    fn send(&self, outcome: Result<T, HashFault>) {
        if let Some(sender) = lock(&self.0).take() {
            let _ = sender.send(outcome);
        }
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl HashingPool {
    /// Starts `threads` threads; [`default_threads`] is a good number. Behind a `queue` of 64 the
    /// last waits some 0.7 s for two threads.
    ///
    /// # Errors
    ///
    /// The system is out of threads or of random bytes.
    pub fn start(
        threads: NonZeroUsize,
        queue: NonZeroUsize,
        cost: HashingCost,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue.get());
        let shared = Arc::new(Shared { queue: Mutex::new(receiver), arenas: Mutex::default() });
        for number in 0..threads.get() {
            let (hand_over, handed_over) = sync_channel(1);
            let (done, is_done) = sync_channel(1);
            let idle = Arc::clone(&shared);
            thread::Builder::new().name(format!("passwords-{number}")).spawn(move || {
                take_what_is_left();
                idle.serve_idle(&handed_over, &done, cost);
            })?;
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("reserve-{number}")).spawn(move || {
                stand_back();
                shared.serve(&Idle { hand_over, is_done }, cost);
            })?;
        }
        Ok(Self {
            queue: sender,
            cost,
            nobody: PasswordHash::of_nobody(cost).map_err(io::Error::other)?,
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
    /// Dropped while it waits in the queue, it costs nothing.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, HashingError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Work::Hash(password, Reply::new(sender)))?;
        Ok(receiver.await.map_err(|_| HashingError::Busy)??)
    }

    /// Whether `password` is that of `hash`; without one it takes the same time and is not.
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
        let (sender, receiver) = oneshot::channel();
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        self.submit(Work::Verify(password, hash, Reply::new(sender)))?;
        let verdict = receiver.await.map_err(|_| HashingError::Busy)??;
        Ok(if is_known { verdict } else { Verdict::Wrong })
    }

    /// Whether a new hash of the same password would cost something else.
    #[must_use]
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        !hash.costs(self.cost)
    }

    fn submit(&self, work: Work) -> Result<(), HashingError> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => HashingError::Busy,
        })
    }
}

/// Half as many as there are cores, at least one.
#[must_use]
pub fn default_threads() -> NonZeroUsize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}

/// What the threads share.
struct Shared {
    queue: Mutex<Receiver<Work>>,
    /// The memory that nobody works in: never more than there are threads and reserves.
    arenas: Mutex<Vec<Arena>>,
}

impl Shared {
    fn take_arena(&self) -> Arena {
        lock(&self.arenas).pop().unwrap_or_default()
    }

    fn keep_arena(&self, arena: Arena) {
        lock(&self.arenas).push(arena);
    }

    /// Hands work to the one that works when nobody else does, and does it in its place while that
    /// one is starved. The idle one never touches the queue: a worker that submits must not wait
    /// for a lock whose holder does not get to run.
    fn serve(&self, idle: &Idle, cost: HashingCost) {
        let mut is_away = false;
        loop {
            // The lock is held while waiting: the others wait for it instead, and each computation
            // wakes one thread.
            let next = lock(&self.queue).recv_timeout(KEEP_ARENA);
            let work = match next {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => {
                    lock(&self.arenas).clear();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            is_away = is_away && matches!(idle.is_done.try_recv(), Err(TryRecvError::Empty));
            if is_away {
                self.compute(work, cost);
                continue;
            }
            let is_handed_over = idle.hand_over.try_send(work.clone()).is_ok();
            if is_handed_over && idle.is_done_in_time() {
                continue;
            }
            // Who waits for this one should not wait for a core to become idle: it is done twice.
            is_away = is_handed_over;
            self.compute(work, cost);
        }
    }

    fn serve_idle(&self, handed_over: &Receiver<Work>, done: &SyncSender<()>, cost: HashingCost) {
        while let Ok(work) = handed_over.recv() {
            self.compute(work, cost);
            // Its reserve may have gone meanwhile; then there is no more work either.
            let _ = done.try_send(());
        }
    }

    /// Does one piece of work, unless nobody waits for it any more.
    fn compute(&self, work: Work, cost: HashingCost) {
        match work {
            Work::Hash(password, reply) if reply.is_awaited() => {
                let mut arena = self.take_arena();
                reply.send(PasswordHash::make(&password, cost, &mut arena));
                self.keep_arena(arena);
            }
            Work::Verify(password, hash, reply) if reply.is_awaited() => {
                let mut arena = self.take_arena();
                reply.send(hash.verify(&password, &mut arena));
                self.keep_arena(arena);
            }
            Work::Hash(..) | Work::Verify(..) => {}
        }
    }
}

/// A reserve's way to the thread that works when nobody else does.
struct Idle {
    hand_over: SyncSender<Work>,
    is_done: Receiver<()>,
}

impl Idle {
    /// Waits until the work is done, or its thread is starved.
    fn is_done_in_time(&self) -> bool {
        let begin = Instant::now();
        loop {
            match self.is_done.recv_timeout(LOOK_AGAIN) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Timeout) if begin.elapsed() < STARVED => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Has the calling thread run when a core has nothing else to do.
fn take_what_is_left() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let thread = thread_priority::thread_native_id();
    if let Err(error) =
        thread_priority::set_thread_priority_and_policy(thread, ThreadPriority::Min, idle)
    {
        tracing::debug!(?error, "a thread for passwords is not idle, but nice");
        stand_back();
    }
}

/// Makes the calling thread nice (on Linux niceness is a thread's own: nice(2), "C library/kernel
/// differences"), and one that does not take a core from a worker when it wakes up (SCHED_BATCH,
/// sched(7)). One of a process that is as nice already stays as it is.
fn stand_back() {
    let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let thread = thread_priority::thread_native_id();
    if let Ok(nice) = ThreadPriority::try_from(NICE_10)
        && let Err(error) = thread_priority::set_thread_priority_and_policy(thread, nice, batch)
    {
        tracing::debug!(?error, "a thread for passwords keeps its priority");
    }
}

/// What is under these locks is whole between any two instructions: a panic elsewhere has not
/// broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
