//! `keyward user add | list | disable | enable | passwd`: the accounts of a token API of that
//! style. A password comes from a file or from standard input, and is never an argument.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use zeroize::Zeroizing;

use super::bootstrap::note_limit;
use super::context::Context;
use super::token::limit;
use super::{admin_client, table};
use crate::admin::{UserAction, UserChange, UserOutcome, UserRequest, claim_text};
use crate::domain::{Email, FullName, NewPassword, Password, Username};
use crate::files::text_of;

/// What is read of a password at most, in bytes: the longest that may be typed, in UTF-16 if it
/// must be, a byte order mark, and the end of the line.
const PASSWORD_BYTES: u64 = 2 * NewPassword::MOST_BYTES as u64 + 3 + 4;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account and print its id.
    Add(Add),
    /// List accounts, oldest first.
    List(List),
    /// Shut a user out. When this has succeeded, nothing accepts the user's sessions and API keys
    /// any more.
    Disable(Which),
    /// Let a user in again. The sessions and API keys of before do not come back.
    Enable(Which),
    /// Give a user another password. The user's sessions end, the API keys stay.
    Passwd(Passwd),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What the user logs in with: 3 to 50 letters and digits.
    #[arg(long, value_parser = username)]
    username: Username,
    /// The email address.
    #[arg(long, value_parser = email)]
    email: Email,
    /// The name to display.
    #[arg(long, value_name = "NAME", value_parser = full_name)]
    full_name: FullName,
    #[command(flatten)]
    secret: Secret,
    #[command(flatten)]
    token_api: Api,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    token_api: Api,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = limit)]
    limit: usize,
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The username, in any case.
    #[arg(value_parser = username)]
    username: Username,
    #[command(flatten)]
    token_api: Api,
}

#[derive(Debug, clap::Args)]
pub(super) struct Passwd {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, clap::Args)]
struct Api {
    /// The token API; may be left out where there is only one of the style accounts.
    #[arg(long, value_name = "NAME", value_parser = claim_text)]
    token_api: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Secret {
    /// The file that holds the password, on one line; without: standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

fn username(text: &str) -> Result<Username, String> {
    Username::new(text).map_err(|fault| fault.to_string())
}

fn email(text: &str) -> Result<Email, String> {
    Email::new(text).map_err(|fault| fault.to_string())
}

fn full_name(text: &str) -> Result<FullName, String> {
    FullName::new(text).map_err(|fault| fault.to_string())
}

impl Secret {
    /// Reads the password.
    fn read(&self) -> Result<NewPassword, String> {
        match &self.password_file {
            Some(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                read_password(file).map_err(|error| unreadable(path, &error))?
            }
            None if io::stdin().is_terminal() => {
                Err("pipe the password in, or name a file that holds it with --password-file"
                    .to_owned())
            }
            None => {
                let read = read_password(io::stdin().lock());
                read.map_err(|error| format!("standard input cannot be read: {error}"))?
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// One line, with or without its end. What is wrong with it does not repeat it.
fn read_password(source: impl Read) -> io::Result<Result<NewPassword, String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(NewPassword::MOST_BYTES + 64));
    source.take(PASSWORD_BYTES + 1).read_to_end(&mut bytes)?;
    // What an editor or a shell of another system put around it is no part of a password.
    let text = Zeroizing::new(text_of(&bytes).into_owned());
    let line =
        text.strip_suffix(b"\n").map_or(&text[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(match std::str::from_utf8(line) {
        Ok(text) if text.contains(['\n', '\r']) => Err("the password must be one line".to_owned()),
        Ok(text) => NewPassword::new(Password::presented(text.to_owned()))
            .map_err(|fault| format!("the password cannot be that: {fault}")),
        // A long one may have been cut within a character.
        Err(_) if bytes.len() as u64 > PASSWORD_BYTES => Err(format!(
            "the password cannot be that: it must have at most {} characters",
            NewPassword::MOST
        )),
        Err(_) => Err("the password is not UTF-8".to_owned()),
    })
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match self {
            Self::Add(arguments) => arguments.execute(context),
            Self::List(arguments) => arguments.execute(context),
            Self::Disable(which) => which.change(context, UserAction::Disable, "disabled user"),
            Self::Enable(which) => which.change(context, UserAction::Enable, "enabled user"),
            Self::Passwd(Passwd { which, secret }) => match secret.read() {
                Ok(password) => which.change(
                    context,
                    UserAction::SetPassword(password),
                    "set the password of user",
                ),
                Err(words) => context.refuse(words),
            },
        }
    }
}

impl Add {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let password = match self.secret.read() {
            Ok(password) => password,
            Err(words) => return context.refuse(words),
        };
        let request = UserRequest {
            token_api: self.token_api.token_api,
            username: self.username,
            email: self.email,
            full_name: self.full_name,
            password,
        };
        match admin_client::administer(context, async |accounts| accounts.user_add(request).await) {
            Ok(added) => {
                let written = writeln!(context.out, "{}", added.id);
                context.shown(written)
            }
            Err(refused) => refused,
        }
    }
}

impl List {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let token_api = self.token_api.token_api;
        let users = match admin_client::administer(context, async |accounts| {
            accounts.users(token_api, self.limit).await
        }) {
            Ok(users) => users,
            Err(refused) => return refused,
        };
        let written = if self.json {
            table::write_json(context.out, &users)
        } else {
            let rows: Vec<_> = users
                .iter()
                .map(|user| {
                    [
                        user.id.to_string(),
                        table::text(&user.token_api),
                        table::text(&user.username),
                        table::text(&user.email),
                        table::text(&user.full_name),
                        table::time(Some(user.created_at), "-"),
                        if user.is_disabled { "disabled" } else { "active" }.to_owned(),
                    ]
                })
                .collect();
            let header =
                ["ID", "TOKEN API", "USERNAME", "EMAIL", "FULL NAME", "REGISTERED", "STATE"];
            table::write(context.out, header, &rows)
        };
        let shown = context.shown(written);
        note_limit(context, users.len(), self.limit);
        shown
    }
}

impl Which {
    /// Changes one account. If there is none with that name, the command fails.
    fn change(self, context: &mut Context<'_>, action: UserAction, done: &str) -> ExitCode {
        let Self { username, token_api } = self;
        let change =
            UserChange { token_api: token_api.token_api, username: username.clone(), action };
        match admin_client::administer(context, async |accounts| accounts.user_change(change).await)
        {
            Ok(UserOutcome::Done) => {
                let written = writeln!(context.out, "{done} {}", username.as_str());
                context.shown(written)
            }
            Ok(UserOutcome::NotFound) => {
                context.refuse(format_args!("there is no user {}", username.as_str()))
            }
            Err(refused) => refused,
        }
    }
}
