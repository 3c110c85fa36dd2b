//! `keyward user add | list | disable | enable | passwd`: the accounts of a token API of that
//! style. A password comes from a file or from standard input, and is never an argument.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;

use clap::Subcommand;
use zeroize::Zeroizing;

use super::context::Context;
use super::failure::Failure;
use super::table::Column;
use super::token::limit;
use super::{admin_client, table};
use crate::admin::{UserAction, UserChange, UserListing, UserOutcome, UserRequest, claim_text};
use crate::domain::{Email, FullName, NewPassword, Password, Username};
use crate::files::one_line;

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
    Passwd {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        secret: Secret,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What the user logs in with: 3 to 50 letters and digits.
    #[arg(long, value_parser = Username::new)]
    username: Username,
    /// The email address.
    #[arg(long, value_parser = Email::new)]
    email: Email,
    /// The name to display.
    #[arg(long, value_name = "NAME", value_parser = FullName::new)]
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
    #[arg(value_parser = Username::new)]
    username: Username,
    #[command(flatten)]
    token_api: Api,
}

#[derive(Debug, clap::Args)]
struct Api {
    /// The token API; may be left out where there is only one of the style accounts.
    #[arg(long, value_name = "NAME", value_parser = claim_text)]
    token_api: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Secret {
    /// The file that holds the password, on one line; without: standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Secret {
    fn read(&self) -> Result<NewPassword, String> {
        let bytes = match &self.password_file {
            Some(path) => File::open(path)
                .and_then(read_bytes)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
            None if io::stdin().is_terminal() => {
                let advice =
                    "pipe the password in, or name a file that holds it with --password-file";
                return Err(advice.to_owned());
            }
            None => read_bytes(io::stdin().lock())
                .map_err(|error| format!("standard input cannot be read: {error}"))?,
        };
        password(&bytes)
    }
}

fn read_bytes(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(NewPassword::MOST_BYTES + 64));
    source.take(PASSWORD_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One line, as editors and shells of other systems write it, too. The faults do not repeat it.
fn password(bytes: &[u8]) -> Result<NewPassword, String> {
    let line = match one_line(bytes) {
        Ok(line) => line,
        // A long one may have been cut within a character.
        Err(_) if bytes.len() as u64 > PASSWORD_BYTES => {
            let most = NewPassword::MOST;
            return Err(format!(
                "the password cannot be that: it must have at most {most} characters"
            ));
        }
        Err(fault) => return Err(format!("the password {fault}")),
    };
    NewPassword::new(Password::presented(line.to_string()))
        .map_err(|fault| format!("the password cannot be that: {fault}"))
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Add(arguments) => arguments.execute(context),
            Self::List(arguments) => arguments.execute(context),
            Self::Disable(which) => which.change(context, UserAction::Disable, "disabled user"),
            Self::Enable(which) => which.change(context, UserAction::Enable, "enabled user"),
            Self::Passwd { which, secret } => {
                let action = UserAction::SetPassword(secret.read()?);
                which.change(context, action, "set the password of user")
            }
        }
    }
}

impl Add {
    fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let request = UserRequest {
            token_api: self.token_api.token_api,
            username: self.username,
            email: self.email,
            full_name: self.full_name,
            password: self.secret.read()?,
        };
        let added = admin_client::administer(context, async |users| users.user_add(request).await)?;
        context.print(added.id)
    }
}

impl List {
    fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { token_api: Api { token_api }, limit, json } = self;
        let columns: [Column<UserListing>; 7] = [
            ("ID", |user| user.id.to_string()),
            ("TOKEN API", |user| table::text(&user.token_api)),
            ("USERNAME", |user| table::text(&user.username)),
            ("EMAIL", |user| table::text(&user.email)),
            ("FULL NAME", |user| table::text(&user.full_name)),
            ("REGISTERED", |user| table::time(Some(user.created_at), "-")),
            ("STATE", |user| if user.is_disabled { "disabled" } else { "active" }.to_owned()),
        ];
        let users =
            admin_client::administer(context, async |users| users.users(token_api, limit).await)?;
        table::write(context, &users, json, &columns)?;
        table::note_limit(context, users.len(), limit);
        Ok(())
    }
}

impl Which {
    /// Changes one account. If there is none with that name, the command fails.
    fn change(
        self,
        context: &mut Context<'_>,
        action: UserAction,
        done: &str,
    ) -> Result<(), Failure> {
        let name = self.username.as_str().to_owned();
        let change =
            UserChange { token_api: self.token_api.token_api, username: self.username, action };
        match admin_client::administer(context, async |users| users.user_change(change).await)? {
            UserOutcome::Done => context.print(format_args!("{done} {name}")),
            UserOutcome::NotFound => Err(Failure::new(format_args!("there is no user {name}"))),
        }
    }
}
