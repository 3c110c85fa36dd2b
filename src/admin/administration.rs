//! What an administrator may do with tokens and accounts. A running keyward carries it out, or the
//! command line on the store alone.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ExplainRequest, Listing, TokenKind, UserChange, UserListing, UserOutcome, UserRequest,
};
use crate::domain::{Identity, KeyLimits, RawToken, TokenId};
use crate::telemetry::Explanation;
use crate::tokens::store::{Filter, StoreError};

/// What every operation returns.
pub type AdminFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, AdminError>> + Send + 'a>>;

/// The most keys that one bootstrap token can be good for.
pub const MAX_MINTS: u32 = 1_000_000;

/// The most tokens that one list shows: a list is built in memory.
pub const MAX_LISTED: usize = 100_000;

/// The most characters of one claim: a token with all claims must fit into a header field.
const MAX_CLAIM_CHARACTERS: usize = 255;

/// The administrator's operations on tokens and accounts.
///
/// # Cancel safety
///
/// Dropping a future does not undo what has been handed to the store; its outcome is then not
/// known.
pub trait Administration: Send + Sync + 'static {
    /// Makes a bootstrap token. The token is in the answer and nowhere else.
    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap>;

    /// The tokens that match, oldest first. The caller sets `sort` to that of a [`TokenKind`], and
    /// a `limit` of at most [`MAX_LISTED`].
    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>>;

    /// Revokes the token of this kind with this public id. An id of the other kind is
    /// [`Revocation::NotFound`]. When [`Revocation::Revoked`] is answered, no worker accepts the
    /// token any more.
    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation>;

    /// Makes an account.
    fn user_add(&self, request: UserRequest) -> AdminFuture<'_, UserListing>;

    /// At most `limit` accounts of this token API or of each, oldest first; `limit` is at most
    /// [`MAX_LISTED`].
    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>>;

    /// Changes an account. When [`UserOutcome::Done`] is answered, no worker accepts any more what
    /// the change ends.
    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome>;

    /// Tells what the configuration in force does with a request, which is not made, logged or
    /// counted.
    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation>;
}

/// A new bootstrap token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapRequest {
    /// The token API that it makes keys of.
    pub token_api: String,
    /// The identity that the keys will have.
    pub identity: Identity,
    /// How many keys it can make: 1 to [`MAX_MINTS`].
    pub mints: u32,
    /// How long it is good for, at least a second; `None`: until it is spent or revoked.
    pub expires_in: Option<Duration>,
    /// The limits of the keys that it makes: those of each key, not of all together.
    pub limits: Option<KeyLimits>,
}

impl BootstrapRequest {
    /// Checks what can be checked without knowing the token APIs.
    ///
    /// # Errors
    ///
    /// The name of the first field that is wrong, and its fault: the caller's.
    pub fn check(&self) -> Result<(), AdminError> {
        let Identity { subject, username, organization, role, email } = &self.identity;
        let fields = [
            ("token_api", Some(&self.token_api)),
            ("subject", Some(subject)),
            ("username", username.as_ref()),
            ("organization", organization.as_ref()),
            ("role", role.as_ref()),
            ("email", email.as_ref()),
        ];
        for (field, text) in fields {
            if let Some(text) = text {
                claim_text(text)
                    .map_err(|fault| AdminError::Refused(format!("{field}: {fault}")))?;
            }
        }
        if !(1..=MAX_MINTS).contains(&self.mints) {
            return Err(AdminError::Refused(format!("mints: must be between 1 and {MAX_MINTS}")));
        }
        if self.expires_in.is_some_and(|span| span < Duration::from_secs(1)) {
            return Err(AdminError::Refused("expires_in_seconds: must be at least 1".to_owned()));
        }
        Ok(())
    }
}

/// Takes a claim as an administrator typed it.
///
/// # Errors
///
/// It is empty, longer than 255 characters, or holds control characters.
pub fn claim_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.chars().count() > MAX_CLAIM_CHARACTERS {
        Err(format!("must be at most {MAX_CLAIM_CHARACTERS} characters"))
    } else if text.chars().any(char::is_control) {
        Err("must not hold control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// A bootstrap token that has just been made.
#[derive(Clone, Debug)]
pub struct IssuedBootstrap {
    /// Its public id: what revokes it.
    pub id: TokenId,
    /// The token itself.
    pub token: RawToken,
}

/// The result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// It was there, and nothing accepts it any more.
    Revoked,
    /// No token of that kind has this id.
    NotFound,
}

/// Why an operation was not carried out. The message is for the administrator: it may name the
/// store, never a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The request is wrong; repeating it does not help.
    #[error("{0}")]
    Refused(String),
    /// It cannot be done now, or it is not known whether it was; repeating it may help.
    #[error("{0}")]
    Unavailable(String),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BootstrapRequest {
        BootstrapRequest {
            token_api: "jarvispy".into(),
            identity: Identity {
                subject: "u1".into(),
                username: Some("ann".into()),
                organization: Some("acme".into()),
                role: Some("user".into()),
                email: None,
            },
            mints: 1,
            expires_in: None,
            limits: None,
        }
    }

    #[test]
    fn a_request_is_checked_field_by_field_and_the_fault_names_the_field() {
        assert_eq!(request().check(), Ok(()));
        let mut wrong = request();
        wrong.identity.subject = String::new();
        assert_eq!(wrong.check(), Err(AdminError::Refused("subject: must not be empty".into())));
        wrong = request();
        wrong.identity.role = Some("a\nb".into());
        assert_eq!(
            wrong.check(),
            Err(AdminError::Refused("role: must not hold control characters".into()))
        );
        wrong = request();
        wrong.identity.email = Some("é".repeat(256));
        assert_eq!(
            wrong.check(),
            Err(AdminError::Refused("email: must be at most 255 characters".into()))
        );
        wrong.identity.email = Some("é".repeat(255));
        assert_eq!(wrong.check(), Ok(()));
        for mints in [0, MAX_MINTS + 1] {
            wrong = request();
            wrong.mints = mints;
            assert!(wrong.check().is_err(), "{mints}");
        }
        wrong = request();
        wrong.expires_in = Some(Duration::ZERO);
        assert!(wrong.check().is_err());
    }
}
