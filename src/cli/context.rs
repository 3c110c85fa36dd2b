//! What every command gets.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::failure::Failure;
use super::runtime::Runtime;

pub(super) struct Context<'a> {
    pub(super) config: &'a Path,
    pub(super) runtime: &'a dyn Runtime,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl Context<'_> {
    /// Says on standard error what is not the result. If that cannot be written, the work goes on.
    pub(super) fn note(&mut self, words: impl Display) {
        let _ = writeln!(self.err, "keyward: {words}");
    }

    /// Writes the result.
    pub(super) fn write(&mut self, text: impl Display) -> Result<(), Failure> {
        self.try_write(text).map_err(unwritable)
    }

    /// Writes the result as one line.
    pub(super) fn print(&mut self, line: impl Display) -> Result<(), Failure> {
        self.write(format_args!("{line}\n"))
    }

    /// Writes the result as JSON on one line.
    pub(super) fn print_json(&mut self, result: &impl Serialize) -> Result<(), Failure> {
        self.print(serde_json::to_string(result).map_err(unwritable)?)
    }

    /// Writes a result that is done with when its reader has seen enough (`| head`).
    pub(super) fn write_list(&mut self, text: impl Display) -> Result<(), Failure> {
        match self.try_write(text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(error)),
            _ => Ok(()),
        }
    }

    fn try_write(&mut self, text: impl Display) -> io::Result<()> {
        write!(self.out, "{text}")?;
        self.out.flush()
    }
}

fn unwritable(error: impl Display) -> Failure {
    Failure::new(format_args!("standard output cannot be written: {error}"))
}
