//! The store port: the operations on records that keyward needs from a store.
//!
//! The operations are those of the token rules, each atomic against every other, not those of a
//! database. A change made by a caller names the caller's own record, and is refused in the same
//! step if that record is gone: so a token that is being revoked can make nothing any more, and
//! nothing is left alive and unlisted.

use std::future::Future;
use std::pin::Pin;

use crate::domain::{Owner, Record, RecordSort, Timestamp, TokenDigest, TokenId};

/// What every operation returns: `Send`, because the work is done off the worker threads.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// The allowlist.
///
/// Every operation is atomic against every other. A change has taken effect when its future has
/// returned. What an operation has removed, no instance of the fleet uses any more when its future
/// has returned, but for the one that called it: that one tells its own cache.
///
/// A record is there until it is removed, retired or purged, also after it has expired. Only an API
/// key that has not expired can be retired ([`OnRemove::Retire`]); of anything else nothing is
/// left. Digest and id of a retired key stay taken.
///
/// # Cancel safety
///
/// Dropping a future does not undo an operation that has been handed over; its outcome is then not
/// known.
pub trait Store: Send + Sync + 'static {
    /// The record under `digest`, expired or not; never a retired one. It sees every change that
    /// was acknowledged before the call. [`Record::last_used_at`] may be left out: a decision on a
    /// token does not need it.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>>;

    /// The record with this public id in this token API, expired or not, retired or not.
    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>>;

    /// Adds `child` in the given `mode`, if `authorized_by` is valid at `now`. A bootstrap record
    /// that authorizes it has one mint less afterwards.
    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue>;

    /// Adds a record that an administrator makes: no other record authorizes it.
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

    /// Removes every API key of `owner`, expired or not, and names them, if `authorized_by` is
    /// valid at `now`. Bootstrap tokens and sessions stay, and so does what was retired before.
    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Returns when no instance of the fleet still uses what was removed before the call, by any
    /// caller. To be called before "it is gone" is answered.
    fn settle(&self) -> StoreFuture<()>;

    /// Every record that matches, expired or not, oldest first: for an administrator. What is
    /// retired is not among them.
    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>>;

    /// Every retired key, oldest first. A migration reads them.
    fn retired(&self) -> StoreFuture<Vec<Listed>>;

    /// Adds what another store kept as it was there: a record, or a retired key, which is at no
    /// moment anything else. Of what cannot have been retired then (see above) nothing is left.
    fn restore(&self, kept: Listed) -> StoreFuture<()>;

    /// Notes when tokens were last used. Best effort: what is unknown is passed over.
    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()>;

    /// Deletes at most `limit` records that have expired at `now`, and says how many. What is
    /// retired stays.
    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize>;

    /// Whether reads and writes would be served now.
    fn check(&self) -> StoreFuture<()>;
}

/// What authorizes a change: if it is no longer valid when the change is made, nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizedBy {
    /// The caller's own record, of any kind: it must be there, not retired and not expired.
    Record(TokenDigest),
    /// No record: an administrator, or the holder of an outside issuer's JWT.
    Outside,
}

/// What becomes of the owner's other API keys ([`Record::owner`]) when a record is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueMode {
    /// They stay: the record is added to them.
    Add,
    /// They are deleted in the same step, expired or not: the record replaces them all.
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
    /// It opens nothing any more, but its owner still sees it in the list, with the moment it was
    /// retired. The newest [`MOST_RETIRED`] of an owner are kept.
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

/// What became of a [`Store::issue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issue {
    /// The child is in the store and will survive a crash.
    Issued {
        /// What was removed in the same step.
        removed: Vec<TokenDigest>,
    },
    /// With [`IssueMode::IfNone`]: the owner has this one already, and nothing was changed.
    Taken(Box<Record>),
    /// The authorizing record is gone or has expired.
    AuthorizationGone,
    /// The authorizing record is of a bootstrap token that has made all its keys.
    AuthorizationSpent,
}

/// What became of a [`Store::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone, and stays so after a crash.
    Removed,
    /// There was no such record, or it is retired already.
    Absent,
    /// The authorizing record is gone or has expired: nothing was done.
    AuthorizationGone,
}

/// Which records an administrator wants to see.
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

/// The store could not tell or could not do it. Never a reason to refuse a credential as bad.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer within the deadline; the operation may still take effect.
    #[error("the store did not answer in time")]
    TimedOut,
    /// Too many operations are waiting for it.
    #[error("the store is overloaded")]
    Overloaded,
    /// It has no space left to write; nothing was changed.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// It can tell, and takes no changes; nothing was changed.
    #[error("the store takes no changes: {0}")]
    RefusesChanges(String),
    /// It cannot be reached or has failed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What it returned is not what was once written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A record with this digest or id is there already, be it retired; nothing was changed.
    #[error("a record with this id exists already")]
    Conflict,
}
