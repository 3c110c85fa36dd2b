//! A store to try things on, and what the tests share.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::*;
use crate::domain::{Record, RecordKind, RecordSort, Timestamp, TokenDigest};
use crate::store::record_codec::RecordKey;
use crate::store::tests::conformance::{
    NOW, api_key, at, bootstrap, by, digest, expiring, owner, session,
};
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreError,
    StoreFuture,
};

mod accounts;
mod backup;
mod conformance;
mod damage;
mod disk_full;
mod kill;
mod logins;
mod measure;
mod migration;
mod opening;
mod operations;
mod races;

/// Where most keys go.
const ADD: IssueMode = IssueMode::Add;

/// What the stores of these tests are tied to, unless a test says otherwise.
const FINGERPRINT: &[u8] = &[9; 32];

/// Opens the store at `path` with the keys of these tests.
fn open(path: &Path, options: EmbeddedOptions) -> Result<Arc<EmbeddedStore>, OpenError> {
    EmbeddedStore::open(path, &StoreIdentity { key: &key(), fingerprint: FINGERPRINT }, options)
}

/// A directory with a store in it, gone with the value.
struct StoreDirectory {
    directory: tempfile::TempDir,
}

impl StoreDirectory {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keyward.db")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.directory.path().join(format!("keyward.db{ending}"))
    }

    fn try_open(&self) -> Result<Arc<EmbeddedStore>, OpenError> {
        open(&self.path(), EmbeddedOptions::default())
    }

    fn open(&self) -> Arc<EmbeddedStore> {
        self.try_open().unwrap()
    }

    /// What a crash at this moment would leave: the files without an orderly end, elsewhere. They are
    /// of one moment: the log may be written back after a change has been answered.
    fn crash(&self) -> Self {
        let read = |ending| fs::read(self.beside(ending)).ok();
        let after = Self::new();
        loop {
            let (store, log) = (read(""), read("-wal"));
            if (&store, &log) == (&read(""), &read("-wal")) {
                for (ending, bytes) in [("", store), ("-wal", log)] {
                    if let Some(bytes) = bytes {
                        fs::write(after.beside(ending), bytes).unwrap();
                    }
                }
                return after;
            }
        }
    }

    /// What another program may do to the database.
    fn meddle(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

fn key() -> RecordKey {
    RecordKey::new(&[7; 32])
}

/// The whole store, oldest first.
fn all(store: &EmbeddedStore) -> Vec<Record> {
    wait(store.browse(Filter::default())).unwrap()
}

fn wait<T>(mut future: StoreFuture<T>) -> Result<T, StoreError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// SplitMix64: the same numbers from the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Flips bits of one byte of the file, and says which.
fn flip(path: &Path, random: &mut Random) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len());
    bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
    fs::write(path, bytes).unwrap();
    at
}
