//! The port to the store of records.
//!
//! A change that a caller makes names the caller's own record, and is refused in the same step if
//! that record is gone: a token that is being revoked can make no other one that outlives it.

use std::future::Future;
use std::pin::Pin;

use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest, TokenId};

/// What every operation returns: `Send`, because stores work on threads of their own.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// The allowlist.
///
/// Every operation is atomic against every other. When its future has returned, a change has taken
/// effect, and no instance of the fleet uses any more what it removed, except the calling one,
/// which tells its own cache.
///
/// A record stays until it is removed, retired or purged, also after it has expired. Only an API
/// key that has not expired can be retired ([`OnRemove::Retire`]); anything else is deleted. Digest
/// and id of a retired key stay taken.
///
/// # Cancel safety
///
/// Dropping a future does not undo an operation that has been handed over; its outcome is unknown.
pub trait Store: Send + Sync + 'static {
    /// The record under `digest`, expired or not; never a retired one. It sees every change that
    /// was acknowledged before the call. [`Record::last_used_at`] may be left out.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>>;

    /// The record with this public id in this token API, expired or not, retired or not.
    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>>;

    /// Adds `child` in the given `mode`, if `authorized_by` is valid at `now`. This takes one mint
    /// from a bootstrap record that authorizes it.
    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue>;

    /// Adds a record for an administrator.
    fn provision(&self, record: Record) -> StoreFuture<()>;

    /// The API keys of `owner` that are live at `now` or retired, oldest first, if `authorized_by`
    /// is valid.
    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>>;

    /// Removes the record under `target`, expired or not, if `authorized_by` is valid at `now`.
    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal>;

    /// Removes every API key of `owner`, expired or not, and returns their digests, if
    /// `authorized_by` is valid at `now`. Bootstrap tokens, sessions and retired keys stay.
    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Returns when no instance of the fleet uses any more what was removed before the call, by any
    /// caller. To be awaited before "it is gone" is answered.
    fn settle(&self) -> StoreFuture<()>;

    /// Every record that matches, expired or not, oldest first, without retired keys.
    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>>;

    /// Every retired key, oldest first, for a migration.
    fn retired(&self) -> StoreFuture<Vec<Listed>>;

    /// Adds a record or a retired key as it was in another store; a retired key is never live. A
    /// retired record that cannot have been retired (see above) is not added.
    fn restore(&self, kept: Listed) -> StoreFuture<()>;

    /// Notes when tokens were last used. Unknown digests are passed over.
    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()>;

    /// Deletes at most `limit` records that have expired at `now`, and returns how many. Retired
    /// keys stay.
    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize>;

    /// Whether reads and writes would be served now.
    fn check(&self) -> StoreFuture<()>;
}

/// What authorizes a change. If it is not valid when the change is made, nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizedBy {
    /// The caller's own record, of any kind: it must be there, not retired and not expired.
    Record(TokenDigest),
    /// No record: an administrator, or the holder of an outside issuer's JWT.
    Outside,
}

/// What happens to the owner's other API keys ([`Record::owner`]) when a record is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueMode {
    /// They stay.
    Add,
    /// They are deleted in the same step, expired or not.
    Replace,
    /// The record is issued only if none of them is live. Those that have expired are deleted in
    /// the same step.
    IfNone,
}

/// What is left of an API key that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemove {
    /// Nothing.
    Delete,
    /// A retired key: it is not accepted any more, and its owner still sees it in the list. The
    /// newest [`MOST_RETIRED`] of an owner are kept.
    Retire,
}

/// How many retired keys of one owner are kept for the list.
pub const MOST_RETIRED: usize = 1000;

/// A record as its owner sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The record.
    pub record: Record,
    /// When it was retired; `None`: it is live.
    pub retired_at: Option<Timestamp>,
}

/// The outcome of [`Store::issue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issue {
    /// The child was added, and survives a crash.
    Issued {
        /// The keys that were removed in the same step.
        removed: Vec<TokenDigest>,
    },
    /// With [`IssueMode::IfNone`]: the owner has this key already, and nothing was changed.
    Taken(Box<Record>),
    /// The authorizing record is gone or has expired.
    AuthorizationGone,
    /// The authorizing record is of a bootstrap token that has made all its keys.
    AuthorizationSpent,
}

/// The outcome of [`Store::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was removed, and stays so after a crash.
    Removed,
    /// There is no such record, or it is retired already.
    Absent,
    /// The authorizing record is gone or has expired: nothing was done.
    AuthorizationGone,
}

/// Selects records, for an administrator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this token API.
    pub token_api: Option<String>,
    /// Only of this subject.
    pub subject: Option<String>,
    /// Only of this sort.
    pub sort: Option<RecordSort>,
    /// At most so many; 0: no bound.
    pub limit: usize,
}

/// The store cannot tell or cannot do it. Never a reason to refuse a credential as bad.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time; the operation may still take effect.
    #[error("the store did not answer in time")]
    TimedOut,
    /// Too many operations are waiting for it.
    #[error("the store is overloaded")]
    Overloaded,
    /// It has no space left to write; nothing was changed.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// It can be read, and takes no changes; nothing was changed.
    #[error("the store takes no changes: {0}")]
    RefusesChanges(String),
    /// It cannot be reached or has failed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It returned other data than were written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// There is a record with this digest or id already, perhaps retired; nothing was changed.
    #[error("a record with this id exists already")]
    Conflict,
}
