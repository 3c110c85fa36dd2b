//! The port to the store of accounts. The store of records implements it, because accounts and
//! records change together.

use super::password_hash::PasswordHash;
use crate::domain::{Account, AccountId, Record, Timestamp, TokenDigest};
use crate::tokens::store::StoreFuture;

/// How many sessions an account can have: a further login ends the oldest.
pub const MOST_SESSIONS: usize = 100;

/// The accounts.
///
/// Atomicity, removal and cancel safety are as for [`Store`](crate::tokens::store::Store), whose
/// operations they include. The records of an account are those of its token API that have its id
/// as their subject and no origin.
pub trait AccountStore: Send + Sync + 'static {
    /// Adds an account (disabled or not, of any revision), if its username and its email address,
    /// folded, are free in its token API.
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered>;

    /// The account with this folded username.
    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>>;

    /// The account with this id.
    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>>;

    /// At most `limit` accounts (0: all) of this token API or of all, oldest first.
    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>>;

    /// Disables the account and raises its revision. In the same step its sessions are removed, its
    /// API keys are retired, and the records that its sessions made at other token APIs (whose
    /// origin is this token API and whose subject is the account) are removed. Returns what was
    /// removed; `None`: there is no such account.
    ///
    /// Enabling brings none of it back. On a disabled account it does the same again.
    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Enables the account, and returns whether there is one.
    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool>;

    /// Gives the account another password, raises its revision, and removes its sessions, which it
    /// returns. Its keys stay. `None`: there is no such account.
    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>>;

    /// Replaces the hash by another one of the same password, if the account still has this
    /// revision.
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

/// An account and the hash of its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub account: Account,
    /// The hash.
    pub hash: PasswordHash,
}

/// The outcome of [`AccountStore::register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It was added, and survives a crash.
    Registered,
    /// Another account has the username.
    UsernameTaken,
    /// Another account has the email address.
    EmailTaken,
}

/// The outcome of [`AccountStore::open_session`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOpening {
    /// It was added.
    Opened {
        /// The sessions that were removed for it.
        removed: Vec<TokenDigest>,
    },
    /// The account is gone, disabled, or of another revision.
    Stale,
}
