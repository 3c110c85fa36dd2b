//! The command line: a file for each command that does more than hand on what it is asked for.
//!
//! Standard output carries the result and nothing else, standard error the messages. A token or
//! password is never an argument: every user can read the argument list of a process. Commands that
//! manage tokens talk to a running keyward over its admin socket, and to the store itself when none
//! runs.

mod admin_client;
mod backup;
mod backup_report;
mod bootstrap;
mod context;
mod explain;
mod failure;
mod health;
mod keys;
mod runtime;
mod settings;
mod span;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod user;
mod validate;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use context::Context;
use failure::WRONG_USAGE;

use crate::config::reference;

pub use backup_report::{BackupReport, Replace, RestoreReport};
pub use failure::Failure;
pub use runtime::{Beginning, OpenRefusal, Runtime};
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
    Demo {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
        address: SocketAddr,
    },
    /// Run keyward in the foreground.
    Run {
        /// Take the sockets over from the keyward that runs on this configuration, without losing a
        /// request; that one then finishes what it has begun, and ends. Where none runs, start as
        /// usual.
        #[arg(long)]
        take_over: bool,
    },
    /// Check the configuration and say everything that is wrong with it.
    Validate,
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
    Health,
    /// Print the OpenAPI document of the token APIs.
    Openapi,
    /// Print the JSON Schema of the configuration file, for editors.
    Schema {
        /// Print the reference in Markdown instead, which is docs/configuration.md.
        #[arg(long, hide = true)]
        markdown: bool,
    },
    /// Print the version.
    Version {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
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
            return WRONG_USAGE.into();
        }
        // `--help` and `--version`.
        Err(answer) => {
            let _ = write!(out, "{}", answer.render());
            return ExitCode::SUCCESS;
        }
    };
    let mut context = Context { config: &cli.config, runtime, out, err };
    match carry_out(cli.command, &mut context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(context.err),
    }
}

fn carry_out(command: Command, context: &mut Context<'_>) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match command {
        Command::Demo { address } => context.runtime.demo(address),
        Command::Run { take_over } => {
            let beginning = if take_over { Beginning::TakeOver } else { Beginning::Alone };
            context.runtime.run(context.config, beginning)
        }
        Command::Validate => validate::execute(context),
        Command::Bootstrap(command) => command.execute(context),
        Command::Token(command) => command.execute(context),
        Command::Keys(command) => command.execute(context),
        Command::Store(command) => command.execute(context),
        Command::User(command) => command.execute(context),
        Command::Explain(arguments) => arguments.execute(context),
        Command::Health => health::execute(context),
        Command::Openapi => {
            let document = context.runtime.openapi(context.config)?;
            context.print(document)
        }
        Command::Schema { markdown: true } => context.write(reference::markdown()),
        Command::Schema { markdown: false } => context.print(reference::schema()),
        Command::Version { json: true } => {
            context.print(serde_json::json!({ "name": "keyward", "version": version }))
        }
        Command::Version { json: false } => context.print(format_args!("keyward {version}")),
        Command::Completions { shell } => {
            // Into memory first: the generator panics on a closed pipe.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "keyward", &mut script);
            context.write(String::from_utf8_lossy(&script))
        }
    }
}
