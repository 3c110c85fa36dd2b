//! The store port: what keyward asks of whoever keeps the records.
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
/// key that has not expired can be retired ([`Afterlife::Retired`]); of anything else nothing is
/// left. Digest and id of a retired key stay taken.
///
/// # Cancel safety
///
/// Dropping a future does not undo an operation that has been handed over: the caller who drops one
/// knows nothing of its outcome.
pub trait Store: Send + Sync + 'static {
    /// The record under `digest`, expired or not; never a retired one. It sees every change that
    /// was acknowledged before the call. [`Record::last_used_at`] may be left out: who lets a token
    /// in does not ask.
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>>;

    /// The record with this public id in this token API, expired or not, retired or not.
    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>>;

    /// Adds `child` in its `place`, if `voucher` is good at `now`; a bootstrap record that vouches
    /// is spent by one.
    fn issue(
        &self,
        voucher: Voucher,
        child: Record,
        place: Place,
        now: Timestamp,
    ) -> StoreFuture<Issue>;

    /// Adds a record that no other one vouches for: an administrator's doing.
    fn provision(&self, record: Record) -> StoreFuture<()>;

    /// The API keys of `owner` that are live at `now` or retired, oldest first, if `voucher` is
    /// good.
    fn owned(
        &self,
        voucher: Voucher,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>>;

    /// Removes the record under `target`, expired or not, if `voucher` is good at `now`.
    fn remove(
        &self,
        voucher: Voucher,
        target: TokenDigest,
        after: Afterlife,
        now: Timestamp,
    ) -> StoreFuture<Removal>;

    /// Removes every API key of `owner`, expired or not, and names them, if `voucher` is good at
    /// `now`. Bootstrap tokens and sessions stay, and so does what was retired before.
    fn remove_owned(
        &self,
        voucher: Voucher,
        owner: Owner,
        after: Afterlife,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Returns when no instance of the fleet still uses what was removed before the call, by
    /// whomever: for who finds a record gone and is about to say so.
    fn settle(&self) -> StoreFuture<()>;

    /// Every record that matches, expired or not, oldest first: for an administrator. What is
    /// retired is not among them.
    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>>;

    /// Every retired key, oldest first: for who moves a store.
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

/// Who answers for a change: if it is no longer good when the change is made, nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The caller's own record, of any kind: it must be there, not retired and not expired.
    Record(TokenDigest),
    /// Nobody whom the store knows: an administrator, or the holder of an outside issuer's JWT.
    Outside,
}

/// Where a new record goes among the API keys of its owner ([`Record::owner`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the others.
    Beside,
    /// In the place of all the others, expired or not, which are removed in the same step and leave
    /// nothing.
    Instead,
    /// Only if there is no other that is live. Those that have expired are removed in the same step
    /// and leave nothing.
    Alone,
}

/// What is left of an API key that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterlife {
    /// Nothing.
    Gone,
    /// It opens nothing any more, but its owner still sees it in the list, with the moment it was
    /// retired. The newest [`MOST_RETIRED`] of an owner are kept.
    Retired,
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
        /// What was removed to make its place.
        removed: Vec<TokenDigest>,
    },
    /// With [`Place::Alone`]: the owner has this one already, and nothing was changed.
    Taken(Box<Record>),
    /// What vouched is gone or has expired.
    VoucherGone,
    /// What vouched is a bootstrap token that has made all the keys it was good for.
    VoucherSpent,
}

/// What became of a [`Store::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone, and stays so after a crash.
    Removed,
    /// There was no such record, or it is retired already.
    Absent,
    /// What vouched is gone or has expired: nothing was done.
    VoucherGone,
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
    /// It has no room left to write; nothing was changed.
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
