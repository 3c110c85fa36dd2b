//! What an error answer of Redis means for who asked.

use redis::ServerError;

use crate::tokens::store::StoreError;

/// What to do about an error answer. None of them has changed anything.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The script is not in the server's memory: send its source.
    NoScript,
    /// It will pass: ask again after a moment. `ASK` is among them and is never followed: where it leads to is not tracked,
    /// so nothing that is read there could be kept.
    Passing(String),
    /// This is not, or no longer, the master of the keys: the site must be found anew.
    Elsewhere(String),
    /// It stays so for this request.
    Refused(StoreError),
}

impl Trouble {
    pub(super) fn of(error: &ServerError) -> Self {
        let words = words(error);
        match error.code() {
            "NOSCRIPT" => Self::NoScript,
            "TRYAGAIN" | "ASK" | "LOADING" | "BUSY" => Self::Passing(words),
            // A user without rights after a change of the ACL, too: the next connection may have them.
            "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" | "NOAUTH" => Self::Elsewhere(words),
            "OOM" => Self::Refused(StoreError::Full(words)),
            // A script's own words stand behind the code of the error that it met.
            _ if words.contains("OOM command not allowed") => Self::Refused(StoreError::Full(words)),
            _ if words.contains("READONLY ") => Self::Elsewhere(words),
            _ => Self::Refused(StoreError::Unavailable(words)),
        }
    }
}

/// The server's words on one line, not endless.
pub(super) fn words(error: &ServerError) -> String {
    const LONGEST: usize = 200;
    let whole = match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    };
    whole.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
