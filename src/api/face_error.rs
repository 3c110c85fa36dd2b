//! The errors that a token API answers, whatever its style.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::field_report::FieldReport;
use crate::wire::json::NotJson;
use crate::wire::retry_after::whole_seconds;

/// Every error of every token API. Each face answers it in its own shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaceError {
    /// 400: the body is not JSON.
    #[error("Request body is {0}")]
    BadJson(NotJson),
    /// 400: there are several credentials, or one that can be read in two ways.
    #[error("Malformed credentials")]
    AmbiguousCredential,
    /// 401: there is no credential.
    #[error("Missing bearer token")]
    NoCredential,
    /// 401: the credential is not accepted.
    #[error("Invalid or revoked token")]
    BadCredential,
    /// 403: the mount's parameter is not the caller's.
    #[error("The path does not belong to the caller")]
    ForeignMount,
    /// 403: the token is another user's.
    #[error("Not allowed to revoke another user's token")]
    NotOwner,
    /// 403: the caller is not in the tenant.
    #[error("Not a tenant of the caller")]
    ForeignTenant,
    /// 403: the credential opens no route itself, or has no record.
    #[error("Tickets are made only for a key of this API")]
    KeyNeeded,
    /// 404: the caller has no such token.
    #[error("Token not found")]
    NoSuchToken,
    /// 405, with what is allowed.
    #[error("Method not allowed")]
    MethodNotAllowed(&'static str),
    /// 408: the body did not come in time.
    #[error("The request body took too long")]
    BodyTooSlow,
    /// 400: the body broke off or its framing is broken.
    #[error("The request body is incomplete")]
    BodyBroken,
    /// 409: a bootstrap token cannot be revoked over the API.
    #[error("Bootstrap tokens are managed by an administrator and cannot be revoked here")]
    Protected,
    /// 413: the body is larger than the limit.
    #[error("Request body exceeds {0} bytes")]
    BodyTooLarge(usize),
    /// 415: the body is not declared as JSON.
    #[error("Content-Type must be application/json")]
    NotDeclaredJson,
    /// 422: a field is not what it should be, in a face that names the first one.
    #[error("{field}: {expected}")]
    BadField {
        /// Its name.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// 422: fields are not what they should be, in a face that names all.
    #[error("The request is malformed")]
    BadFields(Vec<FieldReport>),
    /// 401: no account has this username and password, or it is disabled.
    #[error("Invalid username or password")]
    WrongLogin,
    /// 403: only an administrator adds accounts.
    #[error("Registration is closed")]
    RegistrationClosed,
    /// 404: the caller has no such key.
    #[error("API key not found")]
    NoSuchKey,
    /// 409: an account has the username.
    #[error("Username already registered")]
    UsernameTaken,
    /// 409: an account has the email address.
    #[error("Email already registered")]
    EmailTaken,
    /// 429: too many attempts from one address or for one account.
    #[error("Too many attempts; please try again later")]
    TooMany {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
    /// 429: a limit lets no more requests through for a while.
    #[error("Too many requests; please try again later")]
    RateLimited {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
    /// 503: the store cannot tell or cannot do it.
    #[error("The service is temporarily unavailable; please retry")]
    Unavailable,
    /// 503: keyward as a whole has too much to do.
    #[error("The service is temporarily unavailable; please retry")]
    Overloaded,
    /// 500: a fault of ours.
    #[error("Internal error")]
    Internal,
}

impl FaceError {
    /// The error of a body that is no JSON, as an example.
    pub(super) const NO_JSON: Self = Self::BadJson(NotJson { line: 1, column: 2 });

    /// That there were too many, until then.
    #[must_use]
    pub fn too_many(retry_after: Duration) -> Self {
        Self::TooMany { retry_after_seconds: whole_seconds(retry_after) }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadJson(_) | Self::AmbiguousCredential | Self::BodyBroken => {
                StatusCode::BAD_REQUEST
            }
            Self::NoCredential | Self::BadCredential | Self::WrongLogin => StatusCode::UNAUTHORIZED,
            Self::ForeignMount
            | Self::NotOwner
            | Self::ForeignTenant
            | Self::KeyNeeded
            | Self::RegistrationClosed => StatusCode::FORBIDDEN,
            Self::NoSuchToken | Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Protected | Self::UsernameTaken | Self::EmailTaken => StatusCode::CONFLICT,
            Self::TooMany { .. } | Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotDeclaredJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadField { .. } | Self::BadFields(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    /// What FastAPI has in `detail`: the reports on fields, or a message.
    pub(super) fn detail(&self) -> Value {
        match self {
            Self::BadFields(reports) => json!(reports),
            other => json!(other.to_string()),
        }
    }
}

impl From<FieldReport> for FaceError {
    fn from(report: FieldReport) -> Self {
        Self::BadFields(vec![report])
    }
}
