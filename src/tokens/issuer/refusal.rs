//! Why an outside token is refused, or cannot be judged, and what the log says of it.

use std::fmt;
use std::sync::Arc;

use crate::domain::OutsideAlgorithm;

/// Why a token is refused. For the log; a client learns only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// It is longer than the limit, not three parts of canonical base64url, or not JSON with each
    /// name once.
    #[error("it is not a JWT: {0}")]
    Malformed(&'static str),
    /// Its header asks for what is not understood, or for another purpose.
    #[error("its header is refused: {0}")]
    Header(&'static str),
    /// The algorithm is none of those that its issuer, or its key, is good for.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// Its key is not among those of its issuer.
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
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// A fault of a token with what an operator needs to know of it. Quotes claims and the names of
/// keys, cut at 100 characters; never a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OutsideRefusal {
    /// What is wrong.
    pub fault: OutsideFault,
    /// What was found, and what would be right.
    pub(super) detail: Option<Box<str>>,
}

impl OutsideFault {
    pub(super) fn with(self, detail: String) -> OutsideRefusal {
        OutsideRefusal { fault: self, detail: Some(detail.into()) }
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
        Self { fault, detail: None }
    }
}

/// A token cannot be judged: no key of its issuer is here, or they are too old. The
/// sender of the token is not at fault.
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
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
