//! Why an outside token is refused or cannot be checked, and what the log says of it.

use std::fmt;
use std::sync::Arc;

use crate::domain::OutsideAlgorithm;

/// Why a token is refused. For the log: a client learns only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// It is longer than the limit, not three parts of canonical base64url, or not JSON with each
    /// name once.
    #[error("it is not a JWT: {0}")]
    Malformed(&'static str),
    /// Its header asks for an unknown extension, or is for another purpose.
    #[error("its header is refused: {0}")]
    Header(&'static str),
    /// The algorithm is not accepted from its issuer, or not that of its key.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// Its issuer has no such key.
    #[error("its key is not published")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature is wrong")]
    Signature,
    /// A claim that must be there is missing, has the wrong type, is out of range or holds a
    /// control character.
    #[error("its claim {0:?} is missing or malformed")]
    Claim(&'static str),
    /// It is for another audience.
    #[error("its audience is another")]
    Audience,
    /// A required claim is not as it must be.
    #[error("a required claim is not as it must be")]
    RequiredClaim,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYet,
    /// It has expired.
    #[error("it has expired")]
    Expired,
}

/// A fault with details for an operator: claims and names of keys, cut at 100 characters, never a
/// token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OutsideRefusal {
    /// The fault.
    pub fault: OutsideFault,
    /// What was found, and what is expected.
    pub(super) detail: Option<Box<str>>,
    /// The name of the issuer that the token says it is of, if it is configured.
    pub issuer: Option<Arc<str>>,
}

impl OutsideFault {
    pub(super) fn with(self, detail: String) -> OutsideRefusal {
        OutsideRefusal { fault: self, detail: Some(detail.into()), issuer: None }
    }
}

impl fmt::Display for OutsideRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl From<OutsideFault> for OutsideRefusal {
    fn from(fault: OutsideFault) -> Self {
        Self { fault, detail: None, issuer: None }
    }
}

/// A token cannot be checked: there are no keys of its issuer, or they are too old. This is no
/// fault of the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of issuer {issuer} are not available: {reason}")]
pub struct IssuerUnavailable {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// Why, for the log.
    pub reason: String,
}

/// Their names, with commas.
pub(super) fn names(algorithms: &[OutsideAlgorithm]) -> String {
    algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}

/// A text as the log shows it: in quotes, cut at 100 characters.
pub(super) fn quoted(text: &str) -> String {
    let (text, dots) = cut(text);
    format!("{text:?}{dots}")
}

/// The first 100 characters, and dots if there are more.
pub(super) fn cut(text: &str) -> (&str, &'static str) {
    match text.char_indices().nth(100).and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => (beginning, "..."),
        None => (text, ""),
    }
}
