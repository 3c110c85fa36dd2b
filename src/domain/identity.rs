//! The identity of the holder of a credential.

use serde::{Deserialize, Serialize};

/// The holder of a credential. A token carries exactly the identity of the credential that made it;
/// nothing that a request says can change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The `sub` claim: unique within its token API or issuer.
    pub subject: String,
    /// The name that people use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The organization, or the tenant where that is the word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The role; [`ADMIN_ROLE`] is the one that keyward itself gives a meaning to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The email address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The role whose holders may revoke the tokens of others within one token API.
pub const ADMIN_ROLE: &str = "admin";

impl Identity {
    /// Whether the role is [`ADMIN_ROLE`], to the letter.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role.as_deref() == Some(ADMIN_ROLE)
    }
}
