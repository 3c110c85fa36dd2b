//! The store's threads: a bounded queue, a connection of its own, and batches of whatever has
//! queued up.
//!
//! A batch shares one transaction. For the writer that is one sync of the disk for everything that
//! was queued while the last one was under way; for a reader it is one round of file locks. What is
//! in a batch sees everything that was acknowledged before it was queued: the transaction begins
//! later still.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::fault::Fault;
use super::tables::Tables;
use crate::tokens::store::{StoreError, StoreFuture};

/// How many operations at most share a transaction: at some 30 µs each, the first of them waits 15
/// ms for the last.
const BATCH: usize = 512;

/// What an operation did to the open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Its changes, if any, are to be committed.
    Keep,
    /// It was not allowed to: its changes are to be undone. Nothing is wrong with the store.
    Undo,
    /// Something is wrong with the store: its changes are to be undone.
    Fail,
}

/// An operation of any result type.
pub(super) trait Job: Send {
    /// Does the work and keeps the result; can be done again if the transaction came to nothing.
    fn run(&mut self, tables: &Tables) -> Effect;
    /// Forgets the result for an error.
    fn fail(&mut self, error: StoreError);
    /// Hands the result over.
    fn answer(self: Box<Self>);
}

/// `work`, and where its result goes.
struct Task<W, T> {
    work: W,
    result: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Job for Task<W, T>
where
    W: Fn(&Tables) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, tables: &Tables) -> Effect {
        self.result = (self.work)(tables).map_err(|fault| tables.explain(&fault));
        match &self.result {
            Ok(_) => Effect::Keep,
            Err(StoreError::Conflict) => Effect::Undo,
            Err(_) => Effect::Fail,
        }
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Err(error);
    }

    fn answer(self: Box<Self>) {
        // An error says that the caller has given up waiting.
        let _ = self.reply.send(self.result);
    }
}

enum Message {
    Work(Box<dyn Job>),
    Close,
}

/// A thread and its queue. Dropping it is [`StoreThread::close`].
pub(super) struct StoreThread {
    pub(super) queue: Queue,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The sending end of a thread's queue.
#[derive(Clone)]
pub(super) struct Queue(SyncSender<Message>);

impl Queue {
    /// Queues `work` or refuses it at once, whether or not the future is polled.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl Fn(&Tables) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        let (reply, receiver) = oneshot::channel();
        let result = Err(StoreError::Unavailable("it was never asked".into()));
        let job = Box::new(Task { work, result, reply });
        let submitted = self.0.try_send(Message::Work(job)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => closed(),
        });
        Box::pin(async move {
            submitted?;
            receiver.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}

/// How a thread does a batch: [`read_batch`] or [`write_batch`].
type Run = fn(&Tables, Vec<Box<dyn Job>>);

impl StoreThread {
    pub(super) fn start(
        name: &str,
        tables: Tables,
        queue: NonZeroUsize,
        run: Run,
        others: Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue.get());
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || serve(&tables, &receiver, run, &others))?;
        Ok(Self { queue: Queue(sender), thread: Mutex::new(Some(thread)) })
    }

    /// Lets the thread finish what is queued and waits for its end. What comes later finds the
    /// store closed.
    pub(super) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error in either says that the thread has ended already.
            let _ = self.queue.0.send(Message::Close);
            let _ = thread.join();
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.close();
    }
}

/// The answer to what comes after the end.
fn closed() -> StoreError {
    StoreError::Unavailable("it has been closed".into())
}

/// How long a thread lets another process that has the database, too, begin a transaction: SQLite
/// tries again for a lock after 1, 2, 5, 10 ms and so on, and would seldom meet a moment in which a
/// busy thread does not have it.
const TURN_OF_THE_OTHER: Duration = Duration::from_millis(3);

fn serve(tables: &Tables, queue: &Receiver<Message>, run: Run, others: &AtomicUsize) {
    while let Ok(Message::Work(first)) = queue.recv() {
        let mut batch = vec![first];
        let mut closing = false;
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(Message::Work(job)) => batch.push(job),
                Ok(Message::Close) => {
                    closing = true;
                    break;
                }
                Err(_) => break,
            }
        }
        run(tables, batch);
        if closing {
            return;
        }
        if others.load(Ordering::Acquire) > 0 {
            thread::sleep(TURN_OF_THE_OTHER);
        }
    }
}

pub(super) fn read_batch(tables: &Tables, batch: Vec<Box<dyn Job>>) {
    let begun = execute(tables, "BEGIN").map_err(|fault| tables.explain(&fault));
    for mut job in batch {
        match &begun {
            Ok(()) => {
                job.run(tables);
            }
            Err(error) => job.fail(error.clone()),
        }
        job.answer();
    }
    end(tables);
}

/// Where a transaction failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FailedAt {
    Begin,
    /// At an operation, so that SQLite may have rolled the transaction back by itself.
    Operation,
    Commit,
}

pub(super) fn write_batch(tables: &Tables, mut batch: Vec<Box<dyn Job>>) {
    if attempt(tables, &mut batch) == Err(FailedAt::Operation) && batch.len() > 1 {
        // Nothing is in the database, so each can be done again; alone in its transaction, an
        // operation can only undo itself.
        for alone in batch.chunks_mut(1) {
            let _ = attempt(tables, alone);
        }
    }
    for job in batch {
        job.answer();
    }
    if tables.log_due.get() {
        cut_log(tables);
    }
}

/// One transaction for all of `batch`. After an error, nothing of it is in the database, and its
/// operations hold the error.
fn attempt(tables: &Tables, batch: &mut [Box<dyn Job>]) -> Result<(), FailedAt> {
    let written = tables.connection.total_changes();
    match transaction(tables, batch) {
        Ok(Effect::Fail) => tables.failed.set(true),
        Ok(_) if tables.connection.total_changes() != written => tables.failed.set(false),
        Ok(_) => {}
        Err((at, fault)) => {
            tables.failed.set(true);
            if let Some(error) = fault.map(|fault| tables.explain(&fault)) {
                batch.iter_mut().for_each(|job| job.fail(error.clone()));
            }
            end(tables);
            // The log may now end in a transaction whose callers were told that it failed. Written
            // back and begun anew, the log cannot be taken for a damaged one, see super::wal.
            if at == FailedAt::Commit {
                tables.log_due.set(true);
            }
            return Err(at);
        }
    }
    Ok(())
}

/// The worst that an operation of `batch` had to say; an error without a fault is held by its
/// operation.
fn transaction(
    tables: &Tables,
    batch: &mut [Box<dyn Job>],
) -> Result<Effect, (FailedAt, Option<Fault>)> {
    let unchanged = tables.connection.total_changes();
    execute(tables, "BEGIN IMMEDIATE").map_err(|fault| (FailedAt::Begin, Some(fault)))?;
    let failed = |fault| (FailedAt::Operation, Some(fault));
    let mut worst = Effect::Keep;
    for job in batch {
        execute(tables, "SAVEPOINT operation").map_err(failed)?;
        let effect = job.run(tables);
        if effect != Effect::Keep {
            if tables.connection.is_autocommit() {
                return Err((FailedAt::Operation, None));
            }
            execute(tables, "ROLLBACK TO operation").map_err(failed)?;
        }
        execute(tables, "RELEASE operation").map_err(failed)?;
        if effect == Effect::Fail {
            worst = Effect::Fail;
        }
    }
    let has_changed = tables.connection.total_changes() != unchanged;
    if has_changed {
        tables.count_transaction().map_err(failed)?;
    }
    execute(tables, "COMMIT").map_err(|fault| (FailedAt::Commit, Some(fault)))?;
    Ok(worst)
}

/// Ends the transaction, if it has not ended by itself, without a change.
fn end(tables: &Tables) {
    if !tables.connection.is_autocommit()
        && let Err(fault) = execute(tables, "ROLLBACK")
    {
        tracing::warn!(error = %tables.explain(&fault), "the store could not end a transaction");
    }
}

/// Stays due if it fails. It changes nothing of what was acknowledged.
fn cut_log(tables: &Tables) {
    match tables.cut_log() {
        Ok(()) => tables.log_due.set(false),
        // The operations that write have reported it already.
        Err(_) if tables.failed.get() => {}
        Err(fault) => {
            let error = tables.explain(&fault);
            tracing::warn!(%error, "the store could not write its log back");
        }
    }
}

fn execute(tables: &Tables, sql: &str) -> Result<(), Fault> {
    tables.connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
