//! The store of a single keyward: a SQLite database in a file, in this process.
//!
//! What it promises: an operation is acknowledged when it is on the disk (write-ahead log,
//! `synchronous=FULL`), so a crash at any moment loses nothing that was acknowledged and leaves
//! nothing half-done. Records are sealed ([`crate::store::record_codec`]), damage is an error and
//! never an empty or another answer, and a full disk refuses changes until there is space again.
//!
//! What it does not: serve two processes (the second is refused), or put a deadline on an operation
//! (its callers do).
//!
//! SQLite blocks, so it runs on threads of its own, see `store_thread.rs`: one writes, one looks
//! up, one lists. A listing takes as long as what it lists, some 5 µs a record; a request that
//! waits for a look-up must not wait for that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordKey;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreError,
    StoreFuture,
};

mod accounts;
pub mod backup;
mod fault;
mod files;
mod job;
mod lock;
mod options;
mod schema;
mod store_thread;
mod tables;
mod tie;
mod verify;
mod wal;

#[cfg(test)]
mod tests;

pub use fault::OpenError;
pub use options::{EmbeddedOptions, Opener, StoreIdentity};

use fault::Fault;
use job::Task;
use schema::Access;
use store_thread::{Queue, StoreThread};
use tables::Tables;
use verify::{blame_log, check_seal, check_structure, verify};

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

/// An open store. Dropping it is [`EmbeddedStore::close`].
pub struct EmbeddedStore {
    path: PathBuf,
    // In this order: the last connection to close, which must be the one that writes, removes the
    // log.
    lookups: StoreThread,
    listings: StoreThread,
    writer: StoreThread,
}

impl EmbeddedStore {
    /// Opens the store at `path`, or makes it if nothing is there, its directory included.
    /// `integrity` seals the records.
    ///
    /// The whole database is checked and every record is read: some 0.7 s for 100,000 records.
    ///
    /// # Errors
    ///
    /// What an operator has to correct: see [`OpenError`]. Nothing is made or changed in the place
    /// of what is damaged or foreign.
    pub fn open(
        path: &Path,
        integrity: RecordKey,
        options: EmbeddedOptions,
    ) -> Result<Arc<Self>, OpenError> {
        // Absolute, because the working directory may change, and because SQLite takes `file:…` for
        // a URL.
        let path = std::path::absolute(path).map_err(|source| OpenError::Files {
            doing: "find",
            path: path.to_owned(),
            source,
        })?;
        let lock = lock::take(&path, options)?;
        files::prepare(&path, &integrity, options.busy)?;
        let had_log = files::has_log(&path);
        let explain = |fault: Fault| fault.explain_opening(&path);
        let mut connection =
            schema::connect(&path, Access::Write, options.busy).map_err(explain)?;
        check_structure(&connection, &path).map_err(|fault| blame_log(fault, &path, had_log))?;
        schema::migrate(&mut connection, &path, schema::STEPS)?;
        check_seal(
            &path,
            schema::meta(&connection, "seal").map_err(explain)?.as_deref(),
            &integrity,
        )?;
        let writing =
            Tables::new(connection, path.clone(), integrity.clone(), options.busy, Some(lock));
        writing.verify().map_err(explain).map_err(|fault| blame_log(fault, &path, had_log))?;
        writing.tie_log().map_err(explain)?;
        let thread =
            |source| OpenError::Files { doing: "start a thread for", path: path.clone(), source };
        let reader = |name| {
            let connection = schema::connect(&path, Access::Read, options.busy).map_err(explain)?;
            let reading =
                Tables::new(connection, path.clone(), integrity.clone(), options.busy, None);
            StoreThread::reader(name, reading, options.queue).map_err(thread)
        };
        let writer = StoreThread::writer(writing, options.queue).map_err(thread)?;
        let (lookups, listings) = (reader("store-lookups")?, reader("store-listings")?);
        Ok(Arc::new(Self { path, lookups, listings, writer }))
    }

    /// Looks whether the store at `path` could be opened now, as far as other processes go.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] if another process has it, [`OpenError::Files`] if that cannot be
    /// told.
    pub fn check_free(path: &Path) -> Result<(), OpenError> {
        lock::look(path)
    }

    /// The file whose lock says that a process has the store at `path`.
    #[must_use]
    pub fn lock_of(path: &Path) -> PathBuf {
        files::beside(path, ".lock")
    }

    /// The files that a store at `path` has, or may have for a while.
    pub fn files_of(path: &Path) -> impl Iterator<Item = PathBuf> {
        files::BESIDE.iter().map(|ending| files::beside(path, ending))
    }

    /// Whether anything is at `path`: a database, or the log or journal of one.
    #[must_use]
    pub fn is_there(path: &Path) -> bool {
        path.exists() || files::log_of(path).exists() || files::journal_of(path).exists()
    }

    /// Finds what [`open`](Self::open) and [`bind_keys`](Self::bind_keys) would refuse at `path`,
    /// where something is, and changes nothing. The records of an older layout are not read:
    /// opening changes them. As long as it looks, it has the lock, which it waits for as
    /// [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`bind_keys`](Self::bind_keys).
    pub fn check(
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
    ) -> Result<(), OpenError> {
        let path = std::path::absolute(path).map_err(|source| OpenError::Files {
            doing: "find",
            path: path.to_owned(),
            source,
        })?;
        let _lock = lock::take(&path, options)?;
        if !files::is_there(&path)? {
            return Ok(());
        }
        files::check_log(&path)?;
        let explain = |fault: Fault| fault.explain_opening(&path);
        let had_log = files::has_log(&path);
        let connection = if had_log {
            schema::connect_to_look(&path, options.busy)
        } else {
            schema::connect_without_log(&path)
        };
        let verified = verify(connection.map_err(explain)?, &path, identity, options.busy);
        verified.map(drop).map_err(|fault| blame_log(fault, &path, had_log))
    }

    /// As [`check`](Self::check), of a store that another process has: its state that was
    /// acknowledged last. The other process goes on working.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), but for [`OpenError::Locked`].
    pub fn check_in_use(
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
    ) -> Result<(), OpenError> {
        let connection = backup::snapshot(path, options)?;
        verify(connection, path, identity, options.busy).map(drop)
    }

    /// Ties the store to the keys with this fingerprint at first use, and holds it to them ever
    /// after. Blocks until that is on the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError::OtherKeys`] if it is tied to others: tokens would verify against one and be
    /// recorded under the other. [`OpenError::Refused`] or [`OpenError::Damaged`] if the store
    /// cannot tell.
    pub fn bind_keys(&self, fingerprint: &[u8]) -> Result<(), OpenError> {
        let fingerprint = fingerprint.to_owned();
        let (sender, receiver) = mpsc::sync_channel(1);
        let reply = move |result| {
            let _ = sender.send(result);
        };
        let work = move |tables: &Tables| tables.bind_keys(&fingerprint);
        let path = self.path.clone();
        let result = self.writer.queue().submit_waiting(Task::new(work, reply));
        match result.and_then(|()| receiver.recv().unwrap_or_else(|_| Err(store_thread::closed())))
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(OpenError::OtherKeys { path }),
            Err(StoreError::Corrupt(what)) => Err(OpenError::Damaged { path, what }),
            Err(error) => Err(OpenError::Refused { path, source: Box::new(error) }),
        }
    }

    /// Finishes what is queued, writes the log back, closes the database and gives the lock up.
    /// Blocks until then; what is asked afterwards is [`StoreError::Unavailable`].
    pub fn close(&self) {
        self.lookups.close();
        self.listings.close();
        self.writer.close();
    }

    fn list<T: Send + 'static>(
        &self,
        work: impl Fn(&Tables) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        ask(self.listings.queue(), work)
    }

    fn look_up<T: Send + 'static>(
        &self,
        work: impl Fn(&Tables) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        ask(self.lookups.queue(), work)
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Tables) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        ask(self.writer.queue(), work)
    }
}

/// Hands `work` over at once, whether or not the future is polled.
fn ask<T: Send + 'static>(
    queue: &Queue,
    work: impl Fn(&Tables) -> Result<T, Fault> + Send + 'static,
) -> StoreFuture<T> {
    let (sender, receiver) = oneshot::channel();
    let reply = move |result| {
        // An error says that the caller has given up waiting.
        let _ = sender.send(result);
    };
    let submitted = queue.submit(Task::new(work, reply));
    Box::pin(async move {
        submitted?;
        receiver.await.unwrap_or_else(|_| Err(store_thread::closed()))
    })
}

impl Store for EmbeddedStore {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        self.look_up(move |tables| tables.find(digest))
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.look_up(move |tables| tables.find_by_id(&token_api, id))
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue> {
        self.write(move |tables| tables.issue(authorized_by, &child, mode, now))
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        self.write(move |tables| tables.provision(&record))
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.list(move |tables| tables.owned(authorized_by, &owner, now))
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal> {
        self.write(move |tables| tables.remove(authorized_by, target, on_remove, now))
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.write(move |tables| tables.remove_owned(authorized_by, &owner, on_remove, now))
    }

    /// At once: there is no other instance.
    fn settle(&self) -> StoreFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.list(move |tables| tables.browse(&filter))
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.list(Tables::retired)
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.write(move |tables| tables.restore(&kept))
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        let queue = self.writer.queue().clone();
        Box::pin(async move {
            for part in uses.chunks(TOUCHES) {
                let part = part.to_vec();
                ask(&queue, move |tables| tables.touch(&part)).await?;
            }
            Ok(())
        })
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.write(move |tables| tables.purge(now, limit))
    }

    fn check(&self) -> StoreFuture<()> {
        let (reads, writes) = (self.look_up(Tables::check), self.write(Tables::check));
        Box::pin(async move {
            reads.await?;
            writes.await
        })
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path).finish_non_exhaustive()
    }
}
