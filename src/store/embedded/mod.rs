//! The store of a single keyward: a SQLite database in a file, in this process.
//!
//! What it promises: an operation is acknowledged when it is on the disk (write-ahead log,
//! `synchronous=FULL`), so a crash at any moment loses nothing that was acknowledged and leaves
//! nothing half-done. Records are sealed ([`crate::store::record_codec`]), damage is an error and
//! never an empty or another answer, and a full disk refuses changes until there is space again.
//!
//! It serves one process: a second one is refused, but for the one that takes over from the first
//! ([`EmbeddedStore::open_beside`]). It puts no deadline on an operation: its callers
//! do.
//!
//! SQLite blocks, so it runs on threads of its own (`store_thread`): one writes, one looks
//! up, one lists. A listing takes as long as what it lists, some 5 µs a record; a request that
//! waits for a look-up must not wait for that.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

mod accounts;
pub mod backup;
mod draft;
mod fault;
mod files;
mod lock;
mod options;
mod records;
mod retired;
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

use fault::Opening as _;
use files::{beside, cannot};
use rusqlite::Connection;
use schema::Access;
use store_thread::{StoreThread, read_batch, write_batch};
use tables::Tables;
use verify::{blame_log, check_identity, check_structure, verify};

/// An open store. Dropping it is [`EmbeddedStore::close`].
pub struct EmbeddedStore {
    path: PathBuf,
    // In this order: the last connection to close, which must be the one that writes, removes the
    // log.
    lookups: StoreThread,
    listings: StoreThread,
    writer: StoreThread,
    /// The lock, until the store is closed.
    lock: Weak<File>,
    /// How many other processes have the store, too.
    others: Arc<AtomicUsize>,
}

/// While it lives, another process has the store, too: see [`EmbeddedStore::share`].
pub struct Shared(Arc<AtomicUsize>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl EmbeddedStore {
    /// Opens the store at `path`, or makes it if nothing is there, its directory included. A new
    /// store is tied to the keys of `identity`, and held to them ever after: with others, tokens
    /// would verify against one set of keys and be recorded under another.
    ///
    /// The whole database is checked and every record is read: some 0.7 s for 100,000 records.
    ///
    /// # Errors
    ///
    /// What an operator has to correct: see [`OpenError`]. Nothing is made or changed in the place
    /// of what is damaged or foreign.
    pub fn open(
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let path = files::absolute(path)?;
        let lock = lock::take(&path, options)?;
        if verify::is_there(&path)? {
            files::keep_private(&path)?;
            verify::check_log(&path)?;
        } else {
            draft::create(&path, identity, options.busy)?;
        }
        let had_log = files::has_log(&path);
        let blamed = |fault| blame_log(fault, &path, had_log);
        let mut connection = schema::connect(&path, Access::Write, options.busy).opening(&path)?;
        check_structure(&connection, &path).map_err(blamed)?;
        schema::migrate(&mut connection, &path, schema::STEPS)?;
        Self::open_checked(connection, &path, identity, options, lock, blamed)
    }

    /// Opens the store at `path` beside the process that has it and hands it over. `lock` is the
    /// lock that that process holds: from now on, both do. The other process goes on working, and
    /// its log is not looked at: it was when that process opened the store. Until one of the two
    /// has closed the store, neither may remember what it has read
    /// ([`TokenCache::read_anew`](crate::tokens::cache::TokenCache::read_anew)), and each is to be
    /// [told](Self::share) that there are two.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). Also when the lock is of another store, and when the layout of the
    /// database is an older one, which cannot change while another process uses it.
    pub fn open_beside(
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
        lock: File,
    ) -> Result<Arc<Self>, OpenError> {
        let path = files::absolute(path)?;
        lock::check_adopted(&path, &lock)?;
        if !verify::is_there(&path)? {
            return Err(OpenError::OtherStore(path));
        }
        let connection = schema::connect(&path, Access::Write, options.busy).opening(&path)?;
        check_structure(&connection, &path)?;
        if !schema::missing(&connection, &path, schema::STEPS)?.is_empty() {
            return Err(OpenError::Older(path));
        }
        Self::open_checked(connection, &path, identity, options, lock, |fault| fault)
    }

    fn open_checked(
        connection: Connection,
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
        lock: File,
        blamed: impl Fn(OpenError) -> OpenError,
    ) -> Result<Arc<Self>, OpenError> {
        let (lock, others) = (Arc::new(lock), Arc::<AtomicUsize>::default());
        let shared_lock = Arc::downgrade(&lock);
        let tables = |connection| {
            Tables::new(connection, path.to_owned(), identity.key.clone(), options.busy)
        };
        check_identity(&connection, path, identity)?;
        let writing = tables(connection).holding(lock);
        writing.verify().opening(path).map_err(blamed)?;
        writing.tie_log().opening(path)?;
        writing.bind_keys(identity.fingerprint).opening(path)?;
        let start = |name, tables, run, others| {
            let thread = StoreThread::start(name, tables, options.queue, run, others);
            thread.map_err(cannot("start a thread for", path))
        };
        let writer = start("store-writer", writing, write_batch, Arc::clone(&others))?;
        let reader = |name| -> Result<StoreThread, OpenError> {
            let connection = schema::connect(path, Access::Read, options.busy).opening(path)?;
            // A reader keeps no other process from its turn.
            Ok(start(name, tables(connection), read_batch, Arc::default())?)
        };
        let (lookups, listings) = (reader("store-lookups")?, reader("store-listings")?);
        let path = path.to_owned();
        Ok(Arc::new(Self { path, lookups, listings, writer, lock: shared_lock, others }))
    }

    /// Until the returned value is dropped, another process has the store, too: the thread that
    /// writes lets it have its turn.
    #[must_use]
    pub fn share(&self) -> Shared {
        self.others.fetch_add(1, Ordering::AcqRel);
        Shared(Arc::clone(&self.others))
    }

    /// The lock of the store, for the process that it is handed over to. It is held as long as one
    /// of the two has it.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give, or the store has been closed.
    pub fn lock(&self) -> io::Result<File> {
        let closed = || io::Error::other("the store has been closed");
        self.lock.upgrade().ok_or_else(closed)?.try_clone()
    }

    /// Names this process as the holder of the lock, which it has shared until now.
    pub fn name_holder(&self) {
        if let Some(lock) = self.lock.upgrade() {
            lock::name_holder(&lock, Opener::Server);
        }
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
        beside(path, ".lock")
    }

    /// The files that a store at `path` has, or may have for a while.
    pub fn files_of(path: &Path) -> impl Iterator<Item = PathBuf> {
        files::BESIDE.iter().map(|ending| beside(path, ending))
    }

    /// Whether anything is at `path`: a database, or the log or journal of one.
    #[must_use]
    pub fn is_there(path: &Path) -> bool {
        ["", "-wal", "-journal"].iter().any(|ending| beside(path, ending).exists())
    }

    /// Finds what [`open`](Self::open) would refuse at `path`, where something is, and changes
    /// nothing. The records of an older layout are not read: opening changes them. Meanwhile it has
    /// the lock, which it waits for as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn check(
        path: &Path,
        identity: &StoreIdentity<'_>,
        options: EmbeddedOptions,
    ) -> Result<(), OpenError> {
        let path = files::absolute(path)?;
        let _lock = lock::take(&path, options)?;
        if !verify::is_there(&path)? {
            return Ok(());
        }
        verify::check_log(&path)?;
        let had_log = files::has_log(&path);
        let connection = if had_log {
            schema::connect_to_look(&path, options.busy)
        } else {
            schema::connect_without_log(&path)
        };
        let verified = verify(connection.opening(&path)?, &path, identity, options.busy);
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

    /// Finishes what is queued, writes the log back, closes the database and gives the lock up.
    /// Blocks until then; what is asked afterwards is
    /// [`StoreError::Unavailable`](crate::tokens::store::StoreError::Unavailable).
    pub fn close(&self) {
        self.lookups.close();
        self.listings.close();
        self.writer.close();
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path).finish_non_exhaustive()
    }
}
