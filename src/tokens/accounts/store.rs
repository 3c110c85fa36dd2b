//! The port to the store of accounts. The store of records implements it, because accounts and
//! records change together.

use super::password_hash::PasswordHash;
use crate::domain::{Account, AccountId, Record, Timestamp, TokenDigest};
use crate::tokens::store::StoreFuture;

/// How many sessions an account can have: a login beyond it ends the oldest.
pub const MOST_SESSIONS: usize = 100;

/// The accounts.
///
/// Every operation is atomic against every other one and against those of
/// [`Store`](crate::tokens::store::Store). What an operation has removed, no instance of the fleet
/// uses any more when its future has returned, but for the one that called it: that one tells its
/// own cache. The records of an account are those of its token API that have its id as their
/// subject and no origin.
///
/// # Cancel safety
///
/// As for [`Store`](crate::tokens::store::Store): an operation that has been handed over is done.
pub trait AccountStore: Send + Sync + 'static {
    /// Adds an account as it is given (disabled, of any revision), if its username and its email
    /// address are free in its token API, both compared as they are folded.
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered>;

    /// The account with this folded username.
    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>>;

    /// The account with this id.
    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>>;

    /// At most `limit` accounts (0: all) of this token API or of each, oldest first: for an
    /// administrator.
    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>>;

    /// Shuts the account out and raises its revision. In the same step its sessions are removed,
    /// its API keys are retired, and so is every record removed that its sessions made at other
    /// token APIs (those whose origin is this token API and whose subject is the account). Names
    /// what was removed; `None`: there is no such account.
    ///
    /// Enabling brings none of it back. Done to an account that is disabled, it does the same
    /// again.
    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Lets the account in again, and says whether there is one.
    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool>;

    /// Gives the account another password, raises its revision, removes its sessions and names
    /// them. Its keys stay. `None`: there is no such account.
    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Keeps another hash of the same password, if the account still has this revision; otherwise
    /// nothing.
    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()>;

    /// Adds `session`, a record of the account `id`, if the account is there, enabled and still of
    /// this revision. The oldest sessions of an account that has more than [`MOST_SESSIONS`] are
    /// removed.
    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening>;
}

/// An account and what its password is verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub account: Account,
    /// The hash.
    pub hash: PasswordHash,
}

/// What became of an [`AccountStore::register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is there, and will survive a crash.
    Registered,
    /// Another account has the username.
    UsernameTaken,
    /// Another account has the email address.
    EmailTaken,
}

/// What became of an [`AccountStore::open_session`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOpening {
    /// It is there.
    Opened {
        /// The sessions that were removed for it.
        removed: Vec<TokenDigest>,
    },
    /// The account is gone, disabled, or not what it was.
    Stale,
}
