//! What a store is opened with.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::store::record_codec::RecordKey;

/// What a store is sealed with and known by.
pub struct StoreIdentity<'a> {
    /// What records are sealed with.
    pub key: &'a RecordKey,
    /// What the store is tied to when it is first opened.
    pub fingerprint: &'a [u8],
}

/// The bounds of an embedded store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// How many operations may wait for each of the threads before further ones are
    /// [`Overloaded`](crate::tokens::store::StoreError::Overloaded). Default 4096: some 0.2 s of
    /// work for the one that writes.
    pub queue: NonZeroUsize,
    /// How long to wait while another program, such as an operator's `sqlite3`, has the database
    /// locked. Default 1 s.
    pub busy: Duration,
    /// What opens it; the lock file names it to other processes. Default: a server.
    pub opener: Opener,
    /// How long to wait for a command to be done with the store. Default 5 min: a command ends by
    /// itself, and one that reads or copies everything takes some 0.7 s for 100,000 records.
    pub wait_for_command: Duration,
    /// How long to wait for a server to be done with the store: one that is stopping. Default 1 s.
    pub wait_for_server: Duration,
}

/// What opens a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// A keyward that runs until it is told to stop.
    Server,
    /// A command that ends by itself, soon.
    Command,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            queue: NonZeroUsize::MIN.saturating_add(4095),
            busy: Duration::from_secs(1),
            opener: Opener::Server,
            wait_for_command: Duration::from_secs(300),
            wait_for_server: Duration::from_secs(1),
        }
    }
}
