//! What every command gets, and its exit codes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::runtime::Runtime;
use super::settings::Settings;

/// Done.
pub(super) const DONE: ExitCode = ExitCode::SUCCESS;

/// Refused or failed; standard error says why.
pub(super) const REFUSED: ExitCode = ExitCode::FAILURE;

/// The arguments were wrong, as the shell's own commands say it.
pub(super) const WRONG_USAGE: u8 = 2;

/// What every command gets.
pub(super) struct Context<'a> {
    pub(super) config: &'a Path,
    pub(super) runtime: &'a dyn Runtime,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl Context<'_> {
    /// Says on standard error what went wrong, and fails.
    pub(super) fn refuse(&mut self, words: impl std::fmt::Display) -> ExitCode {
        // If even that cannot be written, the exit code still says it.
        let _ = writeln!(self.err, "keyward: {words}");
        REFUSED
    }

    /// Says something on standard error that is not the result.
    pub(super) fn note(&mut self, words: impl std::fmt::Display) {
        let _ = writeln!(self.err, "keyward: {words}");
    }

    /// Done, if the result could be written.
    pub(super) fn shown(&mut self, written: io::Result<()>) -> ExitCode {
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => DONE,
            Err(error) => self.refuse(format_args!("standard output cannot be written: {error}")),
        }
    }

    /// The settings, or all faults on standard error and the exit code.
    pub(super) fn settings(&mut self) -> Result<Settings, ExitCode> {
        let settings = self.runtime.settings(self.config);
        self.or_refused(settings)
    }

    pub(super) fn or_refused<T>(&mut self, outcome: Result<T, String>) -> Result<T, ExitCode> {
        outcome.map_err(|faults| {
            let _ = writeln!(self.err, "{faults}");
            REFUSED
        })
    }
}
