//! What an error answer of Redis means for who asked.

use redis::ServerError;

use super::fault::{self, Fault, Remedy};
use crate::tokens::store::StoreError;

/// What to do about an error answer. None of them has changed anything.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The script is not in the server's memory: send its source.
    NoScript,
    /// It will pass: ask again after a moment. `ASK` is among them and is never followed: where it
    /// leads to is not tracked, so nothing that is read there could be kept.
    Passing(String),
    /// This is not, or no longer, the master of the keys: the site must be found anew.
    Elsewhere(String),
    /// It stays so for this request.
    Refused(StoreError),
}

impl Trouble {
    pub(super) fn of(error: &ServerError) -> Self {
        if error.code() == "NOSCRIPT" {
            return Self::NoScript;
        }
        let Fault { error, remedy } = fault::judge_answer(error);
        match remedy {
            Remedy::Retry => Self::Passing(error.to_string()),
            Remedy::Rediscover => Self::Elsewhere(error.to_string()),
            Remedy::Nothing => Self::Refused(error),
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
