//! What a face is: the trait between the gateway and the four token APIs.

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::face_error::FaceError;
use super::operation::Operation;
use super::schema::Schema;
use crate::domain::{Timestamp, TokenId, hex};
use crate::telemetry::configured::CallKind;
use crate::tokens::command::{Command, CommandOutcome};
use crate::wire::json;

/// The path of the call for tickets, which every style has.
pub const TICKETS: &str = "/tickets";

/// One of the contracts that a token API can speak.
pub trait Face: Send + Sync {
    /// The paths of its calls below the mount, as route patterns, each with the methods that it
    /// takes as the value of `Allow`. Each is there with and without a slash at its end.
    fn paths(&self) -> &'static [(&'static str, &'static str)];

    /// The methods that a path of [`paths`](Self::paths) takes, as the value of `Allow`.
    fn allowed(&self, path: &str) -> &'static str {
        self.paths().iter().find(|(known, _)| *known == path).map_or("", |(_, methods)| methods)
    }

    /// The credential that the calls of a path need.
    fn credential(&self, path: &str) -> CredentialNeed {
        if path == TICKETS { CredentialNeed::Key } else { CredentialNeed::Own }
    }

    /// What a call asks for, as the metrics call it. `path` is one of [`paths`](Self::paths).
    fn call_kind(&self, method: &Method, path: &str) -> CallKind;

    /// The command that a call asks for. Its caller is authenticated and its mount checked already.
    ///
    /// # Errors
    ///
    /// What is wrong with the call: the client's fault.
    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError>;

    /// The answer to a command that was done.
    fn encode(&self, outcome: &CommandOutcome) -> Answer;

    /// The answer to a call that was refused or failed, in the face's own shape. `path` is one of
    /// [`paths`](Self::paths).
    fn refuse(&self, method: &Method, path: &'static str, error: &FaceError) -> Answer;

    /// What its calls are, for the OpenAPI document.
    fn describe(&self) -> Vec<Operation>;

    /// What its errors look like.
    fn error_schema(&self) -> Schema;

    /// The pages that it serves without a credential, for a token API that is mounted at `mount`.
    /// `openapi` is the document of all token APIs.
    fn documents(&self, _mount: &str, _openapi: &Bytes) -> Vec<Document> {
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
        let tag = hex::encode(digest.as_ref().get(..12).unwrap_or_default());
        Self { path, media_type, body, policy: None, tag: format!("\"{tag}\"") }
    }
}

/// Which credential a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialNeed {
    /// None.
    None,
    /// A token of the token API itself.
    Own,
    /// A session of the token API itself: its keys are refused.
    Session,
    /// A key of the token API itself, which opens routes.
    Key,
}

/// A call, as far as a face sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method; never HEAD, which a face sees as GET.
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
        let found = self.parameters.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The token id in a parameter of the pattern; `None`: it is no UUID.
    pub(super) fn token_id(&self, name: &str) -> Option<TokenId> {
        self.parameter(name).and_then(TokenId::parse)
    }

    /// Whether the body is declared as JSON.
    pub(super) fn is_json(&self) -> bool {
        self.content_type.is_some_and(is_json)
    }

    /// The body as JSON; `None`: it is empty or white space.
    pub(super) fn json(&self) -> Result<Option<Value>, FaceError> {
        let body = self.body.trim_ascii();
        if body.is_empty() {
            return Ok(None);
        }
        if !self.is_json() {
            return Err(FaceError::NotDeclaredJson);
        }
        json::parse(body).map(Some).map_err(FaceError::BadJson)
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

impl Answer {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        let body = Some(body.to_string().into_bytes());
        Self { status, body, allow: None, retry_after: None }
    }

    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, allow: None, retry_after: None }
    }

    /// With the status and the header fields that an error has in every face.
    pub(super) fn refusal(error: &FaceError, body: &Value) -> Self {
        let mut answer = Self::json(error.status(), body);
        match error {
            FaceError::MethodNotAllowed(methods) => {
                answer.allow = Some(HeaderValue::from_static(methods));
            }
            FaceError::TooMany { retry_after_seconds }
            | FaceError::RateLimited { retry_after_seconds } => {
                answer.retry_after = Some(HeaderValue::from(*retry_after_seconds));
            }
            _ => {}
        }
        answer
    }
}

/// Whether a `Content-Type` is JSON: `application/json` or a `+json` type, with any parameters (RFC
/// 9110, section 8.3.1; RFC 6839, section 3.1).
fn is_json(content_type: &str) -> bool {
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
