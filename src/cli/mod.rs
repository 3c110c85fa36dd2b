//! The command line: one file per command, each with its arguments and what it does.
//!
//! Standard output carries the result and nothing else, standard error the messages. A token or
//! password is never an argument: every user can read the argument list of a process. Commands that
//! manage tokens talk to a running keyward over its admin socket, and to the store itself when none
//! runs.

mod admin_client;
mod backup;
mod backup_report;
mod bootstrap;
mod completions;
mod context;
mod demo;
mod explain;
mod health;
mod keys;
mod openapi;
mod run;
mod runtime;
mod schema;
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
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use context::{Context, DONE, WRONG_USAGE};

pub use backup_report::{BackupReport, Replace, RestoreReport};
pub use runtime::{OpenRefusal, Runtime};
pub use settings::Settings;

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
    /// Print the JSON Schema of the configuration file, for editors.
    Schema(schema::Arguments),
    /// Print the version.
    Version(version::Arguments),
    /// Print the completion script of a shell.
    Completions(completions::Arguments),
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
        Command::Schema(arguments) => arguments.execute(&mut context),
        Command::Version(arguments) => arguments.execute(&mut context),
        Command::Completions(arguments) => arguments.execute(&mut context, &mut Cli::command()),
    }
}
