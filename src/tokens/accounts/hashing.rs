//! Passwords are hashed here and nowhere else: on a few threads of their own, behind a bounded queue.
//!
//! A login takes some 20 ms of a core and 19 MiB, on purpose; a flood of logins must not take either from the proxy. So there
//! are half as many threads as cores, and memory for one hash for each, which is kept for the next one and given back after
//! 10 s without work. The threads are nice (10): where one competes with a worker for a core, Linux gives the worker
//! nine parts of ten (sched(7); weights 1024 and 110). A full queue is [`HashingError::Busy`] at
//! once.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::password_hash::{Arena, HashFault, HashingCost, PasswordHash};
use crate::domain::{NewPassword, Password};

#[cfg(test)]
mod tests;

/// How long idle threads keep their memory.
const KEEP_ARENA: Duration = Duration::from_secs(10);

/// How far the threads stand back.
const NICENESS: i32 = 10;

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
enum Work {
    Hash(NewPassword, oneshot::Sender<Result<PasswordHash, HashFault>>),
    Verify(Password, PasswordHash, oneshot::Sender<Result<bool, HashFault>>),
}

impl HashingPool {
    /// Starts `threads` threads; [`default_threads`] is a good number. Behind a `queue` of 64 the last waits some 0.7 s for two
    /// threads.
    ///
    /// # Errors
    ///
    /// The system is out of threads or of random bytes.
    pub fn start(threads: NonZeroUsize, queue: NonZeroUsize, cost: HashingCost) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue.get());
        let shared = Arc::new(Shared { queue: Mutex::new(receiver), arenas: Mutex::default() });
        for number in 0..threads.get() {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("passwords-{number}")).spawn(move || shared.serve(cost))?;
        }
        Ok(Self { queue: sender, cost, nobody: PasswordHash::of_nobody(cost).map_err(io::Error::other)? })
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
        self.submit(Work::Hash(password, sender))?;
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
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, HashingError> {
        let (sender, receiver) = oneshot::channel();
        let is_known = hash.is_some();
        self.submit(Work::Verify(password, hash.unwrap_or_else(|| self.nobody.clone()), sender))?;
        let matches = receiver.await.map_err(|_| HashingError::Busy)??;
        Ok(matches && is_known)
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
    /// The memory that nobody works in: never more than there are threads.
    arenas: Mutex<Vec<Arena>>,
}

impl Shared {
    fn take_arena(&self) -> Arena {
        lock(&self.arenas).pop().unwrap_or_default()
    }

    fn keep_arena(&self, arena: Arena) {
        lock(&self.arenas).push(arena);
    }

    fn serve(&self, cost: HashingCost) {
        // On Linux niceness is a thread's own (nice(2), "C library/kernel differences"). Refused, the thread works all the same.
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "a thread for passwords keeps its priority");
        }
        loop {
            // The lock is held while waiting: the others wait for it instead, and each computation wakes one thread.
            let next = lock(&self.queue).recv_timeout(KEEP_ARENA);
            match next {
                Ok(Work::Hash(password, reply)) if !reply.is_closed() => {
                    let mut arena = self.take_arena();
                    let _ = reply.send(PasswordHash::make(&password, cost, &mut arena));
                    self.keep_arena(arena);
                }
                Ok(Work::Verify(password, hash, reply)) if !reply.is_closed() => {
                    let mut arena = self.take_arena();
                    let _ = reply.send(hash.verify(&password, &mut arena));
                    self.keep_arena(arena);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => lock(&self.arenas).clear(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// What is under these locks is whole between any two instructions: a panic elsewhere has not broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
