//! `keyward bootstrap create | list | revoke`: the credentials from which users make their API
//! keys.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::context::Context;
use super::{admin_client, span, table};
use crate::admin::{BootstrapRequest, MAX_LISTED, MAX_MINTS, Revocation, TokenKind, claim_text};
use crate::domain::{Identity, RecordSort, TokenId};
use crate::tokens::store::Filter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a bootstrap token and print it, once: it is stored nowhere.
    Create(Create),
    /// List bootstrap tokens, oldest first.
    List(List),
    /// Revoke a bootstrap token. The keys that were made with it stay.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The token API that it makes keys of.
    #[arg(long, value_name = "NAME", value_parser = claim_text)]
    token_api: String,
    /// The subject that the keys will speak for.
    #[arg(long, value_name = "SUBJECT", value_parser = claim_text)]
    sub: String,
    /// The username.
    #[arg(long, value_parser = claim_text)]
    username: String,
    /// The organization.
    #[arg(long, value_parser = claim_text)]
    organization: String,
    /// The role; `admin` may revoke the keys of others.
    #[arg(long, value_parser = claim_text)]
    role: String,
    /// The email address.
    #[arg(long, value_parser = claim_text)]
    email: Option<String>,
    /// How many keys it can make.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MINTS)))]
    mints: u32,
    /// How long it is good for, like 90s, 15m, 24h or 30d; without: until it is spent or revoked.
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    expires_in: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this token API.
    #[arg(long, value_name = "NAME")]
    token_api: Option<String>,
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The public id, as `bootstrap list` shows it.
    #[arg(value_parser = token_id)]
    id: TokenId,
}

/// Takes a public id as an argument.
pub(super) fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).ok_or_else(|| {
        "expected the id of a token: a UUID of 8-4-4-4-12 hexadecimal digits".to_owned()
    })
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match self {
            Self::Create(arguments) => arguments.execute(context),
            Self::List(arguments) => arguments.execute(context),
            Self::Revoke(arguments) => revoke(context, TokenKind::Bootstrap, arguments.id),
        }
    }
}

impl Create {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let request = BootstrapRequest {
            token_api: self.token_api,
            identity: Identity {
                subject: self.sub,
                username: Some(self.username),
                organization: Some(self.organization),
                role: Some(self.role),
                email: self.email,
            },
            mints: self.mints,
            expires_in: self.expires_in,
        };
        match admin_client::administer(context, async |tokens| {
            tokens.bootstrap_create(request).await
        }) {
            Ok(issued) => {
                let written = writeln!(context.out, "{}", issued.token.expose());
                let shown = context.shown(written);
                context.note(format_args!("made bootstrap token {}", issued.id));
                shown
            }
            Err(refused) => refused,
        }
    }
}

impl List {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let filter = Filter {
            token_api: self.token_api,
            subject: None,
            sort: Some(RecordSort::Bootstrap),
            limit: MAX_LISTED,
        };
        let listings =
            match admin_client::administer(context, async |tokens| tokens.list(filter).await) {
                Ok(listings) => listings,
                Err(refused) => return refused,
            };
        let written = if self.json {
            table::write_json(context.out, &listings)
        } else {
            let rows: Vec<_> = listings
                .iter()
                .map(|listing| {
                    [
                        listing.id.to_string(),
                        table::text(&listing.token_api),
                        table::text(&listing.subject),
                        table::maybe(listing.username.as_deref()),
                        table::maybe(listing.organization.as_deref()),
                        table::maybe(listing.role.as_deref()),
                        table::maybe(listing.email.as_deref()),
                        listing
                            .mints_left
                            .map_or_else(|| "-".to_owned(), |mints| mints.to_string()),
                        table::time(Some(listing.issued_at), "-"),
                        table::time(listing.expires_at, "never"),
                    ]
                })
                .collect();
            let header = [
                "ID",
                "TOKEN API",
                "SUBJECT",
                "USERNAME",
                "ORGANIZATION",
                "ROLE",
                "EMAIL",
                "MINTS LEFT",
                "ISSUED",
                "EXPIRES",
            ];
            table::write(context.out, header, &rows)
        };
        let shown = context.shown(written);
        note_limit(context, listings.len(), MAX_LISTED);
        shown
    }
}

/// Says that a list may not be the whole one.
pub(super) fn note_limit(context: &mut Context<'_>, shown: usize, limit: usize) {
    if shown >= limit {
        context.note(format_args!("only the first {limit} are shown"));
    }
}

/// Revokes one token. If there is none with that id and kind, the command fails.
pub(super) fn revoke(context: &mut Context<'_>, kind: TokenKind, id: TokenId) -> ExitCode {
    match admin_client::administer(context, async |tokens| tokens.revoke(kind, id).await) {
        Ok(Revocation::Revoked) => {
            let written = writeln!(context.out, "revoked {kind} {id}");
            context.shown(written)
        }
        Ok(Revocation::NotFound) => {
            context.refuse(format_args!("there is no {kind} with the id {id}"))
        }
        Err(refused) => refused,
    }
}
