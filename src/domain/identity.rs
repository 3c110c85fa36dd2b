//! The identity of the holder of a credential.

use serde::{Deserialize, Serialize};

/// The holder of a credential. A token carries exactly the identity of the credential that made it;
/// no field of a request changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The `sub` claim: unique within its token API or issuer.
    pub subject: String,
    /// The name that the user is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The organization; the tenant at token APIs that have tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The role; only [`ADMIN_ROLE`] has a meaning to keyward itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The email address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The role whose holders may revoke the tokens of others within one token API.
pub const ADMIN_ROLE: &str = "admin";
