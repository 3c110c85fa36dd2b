//! Why a command failed.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::admin::AdminError;
use crate::config::Faults;

/// Why a command failed: what standard error says of it, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Empty: the output says it.
    words: String,
    exit_code: u8,
}

/// The exit code of wrong arguments, as the shell's own commands have it.
pub(super) const WRONG_USAGE: u8 = 2;

impl Failure {
    /// The output has shown what is wrong.
    pub(super) const SHOWN: Self = Self { words: String::new(), exit_code: 1 };

    /// Refused or failed.
    pub(super) fn new(words: impl fmt::Display) -> Self {
        Self { words: format!("keyward: {words}"), exit_code: 1 }
    }

    /// What was typed or piped in is wrong.
    pub(super) fn wrong_usage(words: impl fmt::Display) -> Self {
        Self { exit_code: WRONG_USAGE, ..Self::new(words) }
    }

    /// Says it on standard error. If even that cannot be written, the exit code still says it.
    pub(super) fn report(&self, err: &mut dyn Write) -> ExitCode {
        if !self.words.is_empty() {
            let _ = writeln!(err, "{self}");
        }
        self.exit_code.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::new(words)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::new(error)
    }
}

/// A line for each fault, which begins with its place.
impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self { words: faults.to_string(), exit_code: 1 }
    }
}
