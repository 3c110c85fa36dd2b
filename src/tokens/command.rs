//! The commands of a token API, and their outcomes: what the faces and the service exchange.

use super::accounts::{AccountCommand, AccountOutcome, KeyCommand};
use super::opaque::{NoRandomness, OpaqueFormat};
use super::signed::SigningAlgorithm;
use super::store::Listed;
use crate::domain::{KeyLimits, RawToken, Record, Timestamp, TokenId};

/// The longest label of a token, in characters (Unicode scalar values), not bytes.
pub const NAME_MAX_CHARS: usize = 120;
/// The longest lifetime that can be asked for: one year.
pub const LIFETIME_MAX_MINUTES: u32 = 525_600;

/// The longest label of a key in a tenant, in characters.
pub const TENANT_NAME_MAX_CHARS: usize = 100;

/// The form in which a token API makes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minting {
    /// Signed JWTs.
    Signed(SigningAlgorithm),
    /// Random characters with a MAC.
    Opaque(OpaqueFormat),
}

/// A call of a token API, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a key with the caller's identity.
    Issue {
        /// Its label.
        name: Option<String>,
        /// Its lifetime, 1 to [`LIFETIME_MAX_MINUTES`]; `None`: it does not expire.
        lifetime_minutes: Option<u32>,
        /// Its limits, as far as the caller's allow them.
        limits: Option<KeyLimits>,
    },
    /// List the caller's keys.
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
        /// Its limits, as far as the caller's allow them.
        limits: Option<KeyLimits>,
    },
    /// List the caller's keys in one tenant.
    ListInTenant {
        /// The tenant, as the path names it.
        tenant: String,
    },
    /// Revoke one of the caller's keys in one tenant.
    RevokeInTenant {
        /// The tenant, as the path names it.
        tenant: String,
        /// The key; `None`: the path has no valid id, so there is no such key.
        id: Option<TokenId>,
    },
    /// Show whether the caller has its one key.
    ShowSole,
    /// Make the caller's one key, which replaces any other.
    RenewSole {
        /// Its limits, as far as the caller's and those of the replaced key allow them.
        limits: Option<KeyLimits>,
    },
    /// Make the caller's one key, if it has none.
    EnsureSole {
        /// The limits of a key that is made, as far as the caller's allow them.
        limits: Option<KeyLimits>,
    },
    /// Revoke the caller's one key, if it has one.
    RevokeSole,
    /// Make a ticket for the key that makes the call; for
    /// [`TicketService`](super::tickets::TicketService).
    IssueTicket,
    /// A command for [`AccountsService`](super::accounts::AccountsService).
    Account(AccountCommand),
}

impl Command {
    /// Whether it only takes keys away: that is never put off, or whoever has a key could keep its
    /// owner from revoking it, by using up what the key may do.
    #[must_use]
    pub fn only_revokes(&self) -> bool {
        matches!(
            self,
            Self::RevokeCurrent
                | Self::Revoke(_)
                | Self::RevokeAll
                | Self::RevokeInTenant { .. }
                | Self::RevokeSole
                | Self::Account(AccountCommand::Keys(KeyCommand::Revoke(_)))
        )
    }
}

/// The outcome of a [`Command`].
#[derive(Clone, Debug)]
pub enum CommandOutcome {
    /// A key was made.
    Issued {
        /// The key, which is never seen again.
        token: RawToken,
        /// Its record.
        record: Box<Record>,
        /// Its lifetime, as asked for.
        lifetime_minutes: Option<u32>,
    },
    /// The caller's keys, live and retired, oldest first.
    Listed(Vec<Listed>),
    /// The key is revoked.
    Revoked(TokenId),
    /// There is no such key.
    NotFound(TokenId),
    /// All keys of this subject are revoked.
    AllRevoked {
        /// The subject.
        subject: String,
    },
    /// The caller's one key, if it has one.
    SoleShown(Option<Box<Record>>),
    /// The caller's one key was made, and replaced any other.
    SoleRenewed {
        /// The key.
        token: RawToken,
        /// Its record.
        record: Box<Record>,
    },
    /// The caller has its one key.
    SoleEnsured {
        /// The key, if this command made it.
        token: Option<RawToken>,
        /// Its record.
        record: Box<Record>,
    },
    /// The caller has no key.
    SoleRevoked,
    /// A ticket was made.
    TicketIssued(RawToken),
    /// The outcome of a [`Command::Account`].
    Account(AccountOutcome),
}

/// Why a [`Command`] failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// The caller's own token is no longer good, or not for this command.
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
    /// A fault of keyward: another service executes this command.
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
