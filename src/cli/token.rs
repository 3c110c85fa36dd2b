//! `keyward token list | revoke`: the API keys of all users, for an administrator.

use std::process::ExitCode;

use clap::Subcommand;

use super::bootstrap::{note_limit, revoke, token_id};
use super::context::Context;
use super::{admin_client, table};
use crate::admin::{MAX_LISTED, TokenKind};
use crate::domain::{RecordSort, TokenId};
use crate::tokens::store::Filter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List API keys, oldest first.
    List(List),
    /// Revoke an API key. When this has succeeded, nothing accepts it any more.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this token API.
    #[arg(long, value_name = "NAME")]
    token_api: Option<String>,
    /// Only those of this subject.
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = limit)]
    limit: usize,
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The public id, as `token list` shows it.
    #[arg(value_parser = token_id)]
    id: TokenId,
}

pub(super) fn limit(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=MAX_LISTED).contains(number))
        .ok_or_else(|| format!("expected a whole number between 1 and {MAX_LISTED}"))
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match self {
            Self::List(arguments) => arguments.execute(context),
            Self::Revoke(arguments) => revoke(context, TokenKind::ApiKey, arguments.id),
        }
    }
}

impl List {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let filter = Filter {
            token_api: self.token_api,
            subject: self.sub,
            sort: Some(RecordSort::ApiKey),
            limit: self.limit,
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
                        table::maybe(listing.name.as_deref()),
                        table::time(Some(listing.issued_at), "-"),
                        table::time(listing.expires_at, "never"),
                        table::time(listing.last_used_at, "-"),
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
                "NAME",
                "ISSUED",
                "EXPIRES",
                "LAST USED",
            ];
            table::write(context.out, header, &rows)
        };
        let shown = context.shown(written);
        note_limit(context, listings.len(), self.limit);
        shown
    }
}
