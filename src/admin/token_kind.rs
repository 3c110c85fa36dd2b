//! The two kinds of token that an administrator manages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::RecordSort;

/// The two kinds of token that an administrator manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A key that its owner made, listed and uses.
    ApiKey,
    /// A credential from an administrator, good only for making API keys.
    Bootstrap,
}

impl From<TokenKind> for RecordSort {
    fn from(kind: TokenKind) -> Self {
        match kind {
            TokenKind::ApiKey => Self::ApiKey,
            TokenKind::Bootstrap => Self::Bootstrap,
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "token",
            Self::Bootstrap => "bootstrap token",
        })
    }
}
