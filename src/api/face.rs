//! What a face is: the trait between the gateway and the four token APIs.

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::face_error::FaceError;
use super::operation::Operation;
use super::schema::Schema;
use crate::domain::{Timestamp, hex};
use crate::tokens::command::{Command, CommandOutcome};

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
