//! What a caller can ask a token API to do, and what comes of it: the words between the faces and
//! the service.

use super::accounts::{AccountCommand, AccountOutcome};
use super::opaque::{NoRandomness, OpaqueFormat};
use super::signed::SigningAlgorithm;
use super::store::Listed;
use crate::domain::{RawToken, Record, Timestamp, TokenId};

/// The longest label of a token, in characters (Unicode scalar values), not bytes.
pub const NAME_MAX_CHARS: usize = 120;
/// The longest lifetime that can be asked for: one year.
pub const LIFETIME_MAX_MINUTES: u32 = 525_600;

/// The longest label of a key in a tenant, in characters.
pub const TENANT_NAME_MAX_CHARS: usize = 100;

/// How a token API makes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minting {
    /// It signs them.
    Signed(SigningAlgorithm),
    /// They are random characters with a MAC.
    Opaque(OpaqueFormat),
}

/// One call, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a key with the caller's identity.
    Issue {
        /// Its label.
        name: Option<String>,
        /// Its lifetime, 1 to [`LIFETIME_MAX_MINUTES`]; `None`: it does not expire.
        lifetime_minutes: Option<u32>,
    },
    /// Name the caller's keys.
    List,
    /// Revoke the key that makes the call.
    RevokeCurrent,
    /// Revoke one key.
    Revoke(TokenId),
    /// Revoke all keys of the caller.
    RevokeAll,
    /// Make a key that speaks for the caller in one tenant.
    IssueInTenant {
        /// The tenant, as the path names it.
        tenant: String,
        /// The key's label, 1 to [`TENANT_NAME_MAX_CHARS`].
        name: String,
        /// When it ends: later than now, in whole seconds.
        expires_at: Timestamp,
    },
    /// Name the caller's keys in one tenant.
    ListInTenant {
        /// The tenant, as the path names it.
        tenant: String,
    },
    /// Revoke one of the caller's keys in one tenant.
    RevokeInTenant {
        /// The tenant, as the path names it.
        tenant: String,
        /// Which key; `None`: what the path says is no id, so there is no such key.
        id: Option<TokenId>,
    },
    /// Say whether the caller has its one key.
    ShowSole,
    /// Make the caller's one key, in the place of any other.
    RenewSole,
    /// Make the caller's one key, if it has none.
    EnsureSole,
    /// Revoke the caller's one key, if it has one.
    RevokeSole,
    /// What only [`AccountsService`](super::accounts::AccountsService) does.
    Account(AccountCommand),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum CommandOutcome {
    /// A key was made. The one place where it is ever seen.
    Issued {
        /// The key.
        token: RawToken,
        /// Its record.
        record: Box<Record>,
        /// Its lifetime, as asked for.
        lifetime_minutes: Option<u32>,
    },
    /// The caller's keys, live and retired, oldest first.
    Listed(Vec<Listed>),
    /// It is revoked.
    Revoked(TokenId),
    /// There is no such key.
    NotFound(TokenId),
    /// All keys of this subject are revoked.
    AllRevoked {
        /// Whose.
        subject: String,
    },
    /// The caller's one key, if it has one.
    SoleShown(Option<Box<Record>>),
    /// The caller's one key was made, and any other is gone.
    SoleRenewed {
        /// The key.
        token: RawToken,
        /// Its record.
        record: Box<Record>,
    },
    /// The caller has its one key now.
    SoleEnsured {
        /// The key, if it was made just now.
        token: Option<RawToken>,
        /// Its record.
        record: Box<Record>,
    },
    /// The caller has no key any more.
    SoleRevoked,
    /// What came of a [`Command::Account`].
    Account(AccountOutcome),
}

/// Why nothing came of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// The caller's own token is no longer good, or not for this.
    #[error("the credential is no longer accepted")]
    CredentialGone,
    /// The key is another owner's.
    #[error("the token belongs to another user")]
    NotOwner,
    /// A bootstrap token is not revoked over a token API.
    #[error("a bootstrap token is managed by an administrator")]
    Protected,
    /// The tenant is none of the caller's.
    #[error("the tenant is none of the caller's")]
    ForeignTenant,
    /// The caller has no such key.
    #[error("there is no such token")]
    NoSuchToken,
    /// A fault of ours: another service does this command.
    #[error("a command came to the wrong service")]
    Misdirected,
    /// The store cannot tell or cannot do it. A change may or may not have taken effect; it can be
    /// repeated.
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
    /// A key could not be signed.
    #[error(transparent)]
    Signing(#[from] super::signed::KeyError),
    /// A key could not be made.
    #[error(transparent)]
    Minting(#[from] NoRandomness),
}
