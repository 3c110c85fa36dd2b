//! What a face is: the trait between the gateway and the four token APIs.

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::field_report::FieldReport;
use super::openapi::{Operation, Schema};
use crate::domain::Timestamp;
use crate::tokens::command::{Command, Outcome};

/// One of the contracts that a token API can speak.
pub trait Face: Send + Sync {
    /// The paths of its calls below the mount, as route patterns. Each is there with and without a
    /// slash at its end.
    fn paths(&self) -> &'static [&'static str];

    /// The methods that a path of [`paths`](Self::paths) takes, as the value of `Allow`.
    fn allowed(&self, path: &str) -> &'static str;

    /// The credential that the calls of a path need.
    fn credential(&self, path: &str) -> CredentialNeed {
        let _ = path;
        CredentialNeed::Own
    }

    /// The command that a call asks for. Its caller is authenticated and its mount checked already.
    ///
    /// # Errors
    ///
    /// The client's, in the words of [`FaceError`].
    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError>;

    /// The answer to a command that was done.
    fn encode(&self, outcome: &Outcome) -> Answer;

    /// The answer to a call that was refused or failed, in the face's own shape. `path` is one of
    /// [`paths`](Self::paths).
    fn refuse(&self, method: &Method, path: &'static str, error: &FaceError) -> Answer;

    /// What its calls are, for the OpenAPI document.
    fn describe(&self) -> Vec<Operation>;

    /// What its errors look like.
    fn error_schema(&self) -> Schema;

    /// What it serves to everybody beside its calls, for a token API that is mounted at `mount`.
    /// `openapi` is the document of all token APIs.
    fn documents(&self, mount: &str, openapi: &Bytes) -> Vec<Document> {
        let _ = (mount, openapi);
        Vec::new()
    }
}

/// A page that needs no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where, from the root.
    pub path: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// The page.
    pub body: Bytes,
    /// `Content-Security-Policy`, for what a browser runs.
    pub policy: Option<&'static str>,
    /// `ETag`: changes with the page.
    pub tag: String,
}

impl Document {
    /// A page that a browser does not run.
    pub(super) fn new(path: String, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = digest::digest(&digest::SHA256, &body);
        let tag =
            digest.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { path, media_type, body, policy: None, tag: format!("\"{tag}\"") }
    }
}

/// Which credential a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialNeed {
    /// None: anybody may make it.
    None,
    /// A token of the token API itself.
    Own,
    /// A session of the token API itself: its keys are refused.
    Session,
}

/// A call, as far as a face sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method; never HEAD, which is GET here.
    pub method: &'a Method,
    /// The path below the mount, as the pattern that it matched.
    pub path: &'static str,
    /// The parameters of the mount and of the pattern, in order, with their values,
    /// percent-decoded.
    pub parameters: &'a [(String, String)],
    /// `Content-Type`, if there is one; one that is no text is empty.
    pub content_type: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
    /// When the call came.
    pub now: Timestamp,
}

impl Call<'_> {
    /// The value of a parameter of the pattern.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        // The mount's come first.
        self.parameters
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer: a status and a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body, if there is one: `application/json`.
    pub body: Option<Vec<u8>>,
    /// `Allow`, on 405.
    pub allow: Option<HeaderValue>,
    /// `Retry-After`, on 429.
    pub retry_after: Option<HeaderValue>,
}

/// Every "no" that a token API has, so that each face says it in its own shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaceError {
    /// 400: the body is not JSON.
    #[error("Request body is {0}")]
    BadJson(crate::wire::json::NotJson),
    /// 400: the credential came twice or in a way that could be read in two ways.
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
    /// 403: the token is somebody else's.
    #[error("Not allowed to revoke another user's token")]
    NotOwner,
    /// 403: the tenant is none of the caller's.
    #[error("Not a tenant of the caller")]
    ForeignTenant,
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
    /// 409: a bootstrap token cannot be revoked here.
    #[error("Bootstrap tokens are managed by an administrator and cannot be revoked here")]
    Protected,
    /// 413: the body is larger than the limit.
    #[error("Request body exceeds {0} bytes")]
    BodyTooLarge(usize),
    /// 415: the body is not declared as JSON.
    #[error("Content-Type must be application/json")]
    NotDeclaredJson,
    /// 422: a field is not what it should be.
    #[error("{field}: {expected}")]
    BadField {
        /// Which.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// 422: fields are not what they should be, in a face that names all of them.
    #[error("The request is malformed")]
    BadFields(Vec<FieldReport>),
    /// 401: nobody has this username and password, or may use them.
    #[error("Invalid username or password")]
    WrongLogin,
    /// 403: only an administrator adds accounts.
    #[error("Registration is closed")]
    RegistrationClosed,
    /// 404: the caller has no such key.
    #[error("API key not found")]
    NoSuchKey,
    /// 409.
    #[error("Username already registered")]
    UsernameTaken,
    /// 409.
    #[error("Email already registered")]
    EmailTaken,
    /// 429: too many attempts from one address or for one account.
    #[error("Too many attempts; please try again later")]
    TooMany {
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u64,
    },
    /// 503: the store cannot tell or cannot do it.
    #[error("The service is temporarily unavailable; please retry")]
    Unavailable,
    /// 500: a fault of ours.
    #[error("Internal error")]
    Internal,
}

impl FaceError {
    /// The status that says it.
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
            | Self::RegistrationClosed => StatusCode::FORBIDDEN,
            Self::NoSuchToken => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Protected | Self::UsernameTaken | Self::EmailTaken => StatusCode::CONFLICT,
            Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotDeclaredJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadField { .. } | Self::BadFields(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Whether a `Content-Type` is JSON: `application/json` or a `+json` type, with any parameters (RFC
/// 9110, section 8.3.1; RFC 6839, section 3.1).
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = match media_type.split_once('/') {
        Some((kind, subtype)) if kind.eq_ignore_ascii_case("application") => subtype,
        _ => return false,
    };
    let suffix = subtype.len().checked_sub("+json".len()).and_then(|at| subtype.get(at..));
    subtype.eq_ignore_ascii_case("json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_is_known_by_its_media_type() {
        for yes in
            ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"]
        {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "json",
            "+json",
            "é+jsom",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }
}
