//! The store port: what keyward asks of whoever keeps the records.
//!
//! The operations are those of the token rules, each atomic against every other, not those of a database. A change made
//! by a caller names the caller's own record, and is refused in the same step if that record is gone: so a token that is
//! being revoked can make nothing any more, and nothing is left alive and unlisted.

use std::future::Future;
use std::pin::Pin;

use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};

/// What every operation returns: `Send`, because the work is done off the worker threads.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// The allowlist.
///
/// # Cancel safety
///
/// Dropping a future does not undo an operation that has been handed over: the caller who drops one knows nothing of its
/// outcome.
pub trait Store: Send + Sync + 'static {
    /// The record under `digest`, expired or not. It sees every change that was acknowledged before the call.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>>;

    /// The record with this public id in this token API, expired or not.
    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Record>>;

    /// Adds `child` if the record under `parent` is live at `now`; a bootstrap parent is spent by one.
    fn issue(&self, parent: TokenDigest, child: Record, now: Timestamp) -> StoreFuture<Issue>;

    /// Adds a record that no other one vouches for: an administrator's doing.
    fn provision(&self, record: Record) -> StoreFuture<()>;

    /// The API keys of `owner` that are live at `now`, oldest first, if the record under `caller` is live too.
    fn owned(&self, caller: TokenDigest, owner: Owner, now: Timestamp) -> StoreFuture<Option<Vec<Record>>>;

    /// Removes the record under `target`, if `caller` (where there is one) is live at `now`.
    fn remove(&self, caller: Option<TokenDigest>, target: TokenDigest, now: Timestamp) -> StoreFuture<Removal>;

    /// Removes every API key of `owner` and names them, if the record under `caller` is live at `now`. Bootstrap tokens
    /// stay.
    fn remove_owned(&self, caller: TokenDigest, owner: Owner, now: Timestamp) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Every record that matches, oldest first: for an administrator.
    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>>;

    /// Notes when tokens were last used. Best effort: what is unknown is passed over.
    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()>;

    /// Deletes at most `limit` records that expired before `now`, and says how many.
    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize>;

    /// Whether reads and writes would be served now.
    fn check(&self) -> StoreFuture<()>;
}

/// What became of an [`Store::issue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// The child is in the store and will survive a crash.
    Issued,
    /// The parent's record is gone or has expired.
    ParentGone,
    /// The parent is a bootstrap token that has made all the keys it was good for.
    ParentSpent,
}

/// What became of a [`Store::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone, and stays so after a crash.
    Removed,
    /// There was no such record.
    Absent,
    /// The caller's own record is gone or has expired: nothing was done.
    CallerGone,
}

/// Which records an administrator wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this token API.
    pub token_api: Option<String>,
    /// Only of this subject.
    pub subject: Option<String>,
    /// Only bootstrap tokens (`Some(true)`) or only API keys (`Some(false)`).
    pub bootstrap: Option<bool>,
    /// At most so many; 0: no bound.
    pub limit: usize,
}

/// The store could not tell or could not do it. Never a reason to refuse a credential as bad.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer within the deadline; the operation may still take effect.
    #[error("the store did not answer in time")]
    TimedOut,
    /// Too many operations are waiting for it.
    #[error("the store is overloaded")]
    Overloaded,
    /// It has no room left to write; nothing was changed.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// It cannot be reached or has failed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What it returned is not what was once written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A record with this digest or id is there already.
    #[error("a record with this id exists already")]
    Conflict,
}
