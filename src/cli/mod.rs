//! The command line: one file per command, each with its arguments and what it does.
//!
//! Standard output carries the result and nothing else, standard error the words about it. A token
//! or password is never an argument: the argument list of a process is there for everybody to read.
//! Commands that manage tokens talk to a running keyward over its admin socket, and to the store
//! itself when none runs.

mod backup;
mod bootstrap;
mod completions;
mod demo;
mod door;
mod explain;
mod health;
mod keys;
mod openapi;
mod run;
mod settings;
mod span;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod user;
mod validate;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::admin::Administration;
use crate::tokens::finding::Finding;
use crate::tokens::migration::{Migration, Step};
use crate::tokens::signed::SigningAlgorithm;

pub use backup::{BackupReport, Replace, RestoreReport};
pub use settings::Settings;

/// Done.
const DONE: ExitCode = ExitCode::SUCCESS;

/// Refused or failed; standard error says why.
const REFUSED: ExitCode = ExitCode::FAILURE;

/// The arguments were wrong, as the shell's own commands say it.
const WRONG_USAGE: u8 = 2;

/// The rest of the program, as the command line needs it: the parts are put together elsewhere.
pub trait Runtime {
    /// Runs keyward in the foreground until it is told to stop. All faults of the configuration,
    /// and whatever else keeps it from starting, have been written to standard error when this
    /// returns [`ExitCode::FAILURE`].
    fn run(&self, config: &Path) -> ExitCode;

    /// Runs the demonstration on `address` until it is told to stop: a temporary store, a built-in
    /// echo upstream, and the calls to try on standard output. Touches no file of the user's.
    fn demo(&self, address: SocketAddr) -> ExitCode;

    /// Loads the configuration as [`Runtime::run`] would, without starting anything.
    ///
    /// # Errors
    ///
    /// Every fault, one line each, in the order of the file: `keyward.toml:12:7: message`.
    fn settings(&self, config: &Path) -> Result<Settings, String> {
        crate::config::load(config)
            .map(|config| Settings::from(&config))
            .map_err(|faults| faults.to_string())
    }

    /// As [`settings`](Self::settings), with everything done that a start does before it takes
    /// effect.
    ///
    /// # Errors
    ///
    /// Every fault, a line each, in the words of a start.
    fn validate(&self, config: &Path) -> Result<Settings, String> {
        self.settings(config)
    }

    /// The OpenAPI document of the configured token APIs, as JSON to read.
    ///
    /// # Errors
    ///
    /// Every fault of the configuration, as [`Runtime::settings`] says it.
    fn openapi(&self, config: &Path) -> Result<String, String>;

    /// Looks at the configured store.
    ///
    /// # Errors
    ///
    /// Why that cannot be done, in words. A store that is not fit for its work is no error: the
    /// findings say so.
    fn check_store(&self, config: &Path) -> Result<Vec<Finding>, String>;

    /// Makes a directory with every key that a start would make, and names the files: a signing key
    /// for each of `algorithms`; where none is named, for each that the configuration's token APIs
    /// sign with, or, without a configuration, for HS256.
    ///
    /// # Errors
    ///
    /// Why it was not made, in words; among others, that there is something in it.
    fn create_keys(
        &self,
        config: &Path,
        directory: &Path,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Vec<PathBuf>, String>;

    /// Copies the configured store into a file that is whole in itself, while a keyward may run on
    /// it, and verifies the copy.
    ///
    /// # Errors
    ///
    /// Why it was not done, in words.
    fn back_up_store(
        &self,
        config: &Path,
        file: &Path,
        replace: Replace,
    ) -> Result<BackupReport, String>;

    /// Verifies a backup and puts it in the place of the configured store, on which no keyward may
    /// run. What was there is kept beside it.
    ///
    /// # Errors
    ///
    /// Why it was not done, in words.
    fn restore_store(&self, config: &Path, file: &Path) -> Result<RestoreReport, String>;

    /// Copies everything from the store of one configuration into that of another, and compares.
    /// `step` hears how far it is.
    ///
    /// # Errors
    ///
    /// Why it could not be done, or was broken off, in words. That the stores differ is no error:
    /// the migration says so.
    fn migrate_store(
        &self,
        from: &Path,
        to: &Path,
        step: &mut dyn FnMut(Step),
    ) -> Result<Migration, String>;

    /// Opens the store for the command line alone, when no keyward runs. The answer's futures are
    /// awaited on a tokio runtime with time and I/O that was made after this call.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, in words; among others, that a running keyward has it open: what it
    /// remembers of verified tokens would not learn of a revocation made behind its back. Does not
    /// wait for it.
    fn open_administration(&self, config: &Path) -> Result<Box<dyn Administration>, OpenRefusal>;

    /// How long a command waits for a keyward that is starting or stopping, or for another command
    /// that has the store. A start takes well below a second, unless the machine is busy or the
    /// store is large.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Why the store was not opened for the command line, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenRefusal {
    /// Another process has it: a keyward that starts, or another command. It may be asked for again
    /// soon.
    InUse(String),
    /// Asking again will not help.
    Other(String),
}

/// An authenticating reverse proxy: checks every bearer token against a server-side allowlist.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "keyward.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try keyward: a temporary store, a built-in echo upstream, and the calls to make.
    Demo(demo::Arguments),
    /// Run keyward in the foreground.
    Run(run::Arguments),
    /// Check the configuration and say everything that is wrong with it.
    Validate(validate::Arguments),
    /// Make, list and revoke bootstrap tokens: an administrator's credentials for making API keys.
    #[command(subcommand)]
    Bootstrap(bootstrap::Command),
    /// List and revoke the API keys of all users.
    #[command(subcommand)]
    Token(token::Command),
    /// Make a directory of keys to mount.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look after the store.
    #[command(subcommand)]
    Store(store::Command),
    /// Add, list, disable and enable the users of a token API of the style accounts, and set their
    /// passwords.
    #[command(subcommand)]
    User(user::Command),
    /// Say what would become of a request, and why; its headers, or a token, come on standard
    /// input.
    Explain(explain::Arguments),
    /// Ask a running keyward whether it is ready: exit code 0 if it is.
    Health(health::Arguments),
    /// Print the OpenAPI document of the token APIs.
    Openapi(openapi::Arguments),
    /// Print the version.
    Version(version::Arguments),
    /// Print the completion script of a shell.
    Completions(completions::Arguments),
}

/// What every command gets.
struct Context<'a> {
    config: &'a Path,
    runtime: &'a dyn Runtime,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Context<'_> {
    /// Says on standard error what went wrong, and fails.
    fn refuse(&mut self, words: impl std::fmt::Display) -> ExitCode {
        // If even that cannot be written, the exit code still says it.
        let _ = writeln!(self.err, "keyward: {words}");
        REFUSED
    }

    /// Says something on standard error that is not the result.
    fn note(&mut self, words: impl std::fmt::Display) {
        let _ = writeln!(self.err, "keyward: {words}");
    }

    /// Done, if the result could be written.
    fn shown(&mut self, written: io::Result<()>) -> ExitCode {
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => DONE,
            Err(error) => self.refuse(format_args!("standard output cannot be written: {error}")),
        }
    }

    /// The settings, or all faults on standard error and the exit code.
    fn settings(&mut self) -> Result<Settings, ExitCode> {
        let settings = self.runtime.settings(self.config);
        self.or_refused(settings)
    }

    fn or_refused<T>(&mut self, outcome: Result<T, String>) -> Result<T, ExitCode> {
        outcome.map_err(|faults| {
            let _ = writeln!(self.err, "{faults}");
            REFUSED
        })
    }
}

/// The program: reads the process's arguments, does what they say, and returns the exit code. 0:
/// done; 1: refused or failed; 2: wrong usage.
#[must_use]
pub fn main(runtime: &dyn Runtime) -> ExitCode {
    execute(std::env::args_os(), runtime, &mut io::stdout(), &mut io::stderr())
}

fn execute(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    runtime: &dyn Runtime,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let _ = write!(err, "{}", error.render());
            return ExitCode::from(WRONG_USAGE);
        }
        // `--help` and `--version`.
        Err(answer) => {
            let _ = write!(out, "{}", answer.render());
            return DONE;
        }
    };
    let mut context = Context { config: &cli.config, runtime, out, err };
    match cli.command {
        Command::Demo(arguments) => arguments.execute(&context),
        Command::Run(arguments) => arguments.execute(&context),
        Command::Validate(arguments) => arguments.execute(&mut context),
        Command::Bootstrap(command) => command.execute(&mut context),
        Command::Token(command) => command.execute(&mut context),
        Command::Keys(command) => command.execute(&mut context),
        Command::Store(command) => command.execute(&mut context),
        Command::User(command) => command.execute(&mut context),
        Command::Explain(arguments) => arguments.execute(&mut context),
        Command::Health(arguments) => arguments.execute(&mut context),
        Command::Openapi(arguments) => arguments.execute(&mut context),
        Command::Version(arguments) => arguments.execute(&mut context),
        Command::Completions(arguments) => arguments.execute(&mut context),
    }
}
