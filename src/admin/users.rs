//! What an administrator may do with accounts: the requests and answers between the command line
//! and an [`Administration`](super::Administration).

use serde::{Deserialize, Serialize};

use super::listing::rfc3339;
use crate::domain::{Account, AccountId, Email, FullName, NewPassword, Timestamp, Username};

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRequest {
    /// The token API that it logs in to; `None`: the only one of its style.
    pub token_api: Option<String>,
    /// What it logs in with.
    pub username: Username,
    /// Its email address.
    pub email: Email,
    /// The name to display.
    pub full_name: FullName,
    /// Its password.
    pub password: NewPassword,
}

/// A change of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// The token API that it logs in to; `None`: the only one of its style.
    pub token_api: Option<String>,
    /// Its username, in any case.
    pub username: Username,
    /// What is to be changed.
    pub action: UserAction,
}

/// What can be changed of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Disable it; its sessions and keys end.
    Disable,
    /// Enable it again; sessions and keys do not come back.
    Enable,
    /// Give it this password; its sessions end.
    SetPassword(NewPassword),
}

/// The result of a [`UserChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserOutcome {
    /// It was made, or the account was so already.
    Done,
    /// No account has this username.
    NotFound,
}

/// One account in a list. As JSON every key is always there, and the time is RFC 3339 in UTC, to
/// the second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserListing {
    /// The subject of its tokens.
    pub id: AccountId,
    /// The token API that it logs in to.
    pub token_api: String,
    /// What it logs in with.
    pub username: String,
    /// Its email address.
    pub email: String,
    /// The name to display.
    pub full_name: String,
    /// When it was registered.
    #[serde(with = "rfc3339")]
    pub created_at: Timestamp,
    /// Whether it is disabled.
    pub is_disabled: bool,
}

impl From<&Account> for UserListing {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            token_api: account.token_api.clone(),
            username: account.username.as_str().to_owned(),
            email: account.email.as_str().to_owned(),
            full_name: account.full_name.as_str().to_owned(),
            created_at: account.created_at,
            is_disabled: account.is_disabled,
        }
    }
}
