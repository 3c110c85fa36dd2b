//! The commands of a token API of style `accounts`, and their outcomes.

use std::time::Duration;

use super::hashing::HashingError;
use crate::domain::{
    Account, Email, FullName, KeyLimits, NewPassword, Password, RawToken, Record, TokenId, Username,
};
use crate::tokens::opaque::NoRandomness;
use crate::tokens::signed::KeyError;
use crate::tokens::store::{Listed, StoreError};

/// The longest label of a key, in characters; the shortest has one.
pub const KEY_NAME_MAX_CHARS: usize = 100;

/// One call, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountCommand {
    /// Make an account. Needs no credential.
    Register(Registration),
    /// Open a session. Needs no credential.
    Login {
        /// Any text: one that cannot be a username is answered like one without an account.
        username: String,
        /// Any text.
        password: Password,
    },
    /// Manage API keys. From the holder of a session.
    Keys(KeyCommand),
}

/// The fields of a new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its username.
    pub username: Username,
    /// Its email address.
    pub email: Email,
    /// Its password.
    pub password: NewPassword,
    /// The name to display.
    pub full_name: FullName,
}

/// A command on the keys of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    /// Make one.
    Issue {
        /// Its label: 1 to [`KEY_NAME_MAX_CHARS`] characters.
        name: String,
        /// Its limits.
        limits: Option<KeyLimits>,
    },
    /// List them, retired ones too.
    List,
    /// Retire one.
    Revoke(TokenId),
}

/// The outcome of an [`AccountCommand`].
#[derive(Clone, Debug)]
pub enum AccountOutcome {
    /// The account was made.
    Registered(Account),
    /// A session was opened.
    LoggedIn {
        /// Its token, which is never seen again.
        token: RawToken,
    },
    /// A key was made.
    KeyIssued {
        /// The key, which is never seen again.
        key: RawToken,
        /// Its record.
        record: Box<Record>,
    },
    /// The account's keys, live and retired, oldest first.
    Keys(Vec<Listed>),
    /// The key is retired, now or before.
    KeyRevoked,
}

/// Why an [`AccountCommand`] failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// Only an administrator adds accounts to this token API.
    #[error("registration is closed")]
    RegistrationClosed,
    /// Another account has the username.
    #[error("the username is taken")]
    UsernameTaken,
    /// Another account has the email address.
    #[error("the email address is taken")]
    EmailTaken,
    /// The password is wrong, no account has the username, or the account is disabled.
    #[error("wrong username or password")]
    WrongLogin,
    /// Too many attempts failed, or are under way.
    #[error("too many attempts")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// There is no session, or it is over.
    #[error("the session is no longer good")]
    NoSession,
    /// The account has no such key.
    #[error("there is no such key")]
    NoSuchKey,
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The store cannot tell or cannot do it. A change may or may not have taken effect.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A session could not be signed.
    #[error(transparent)]
    Signing(#[from] KeyError),
    /// The system gave no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<HashingError> for AccountError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Fault(fault) => Self::Store(StoreError::Corrupt(fault.to_string())),
        }
    }
}
