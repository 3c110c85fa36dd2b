//! `keyward token list | revoke`: the API keys of all users, for an administrator.

use clap::Subcommand;

use super::context::Context;
use super::failure::Failure;
use super::table::Column;
use super::{admin_client, table};
use crate::admin::{Listing, MAX_LISTED, Revocation, TokenKind};
use crate::domain::{RecordSort, TokenId};
use crate::tokens::store::Filter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List API keys, oldest first.
    List(List),
    /// Revoke an API key. When this has succeeded, nothing accepts it any more.
    Revoke {
        /// The public id, as `token list` shows it.
        #[arg(value_parser = token_id)]
        id: TokenId,
    },
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

pub(super) fn limit(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=MAX_LISTED).contains(number))
        .ok_or_else(|| format!("expected a whole number between 1 and {MAX_LISTED}"))
}

pub(super) fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).ok_or_else(|| {
        "expected the id of a token: a UUID of 8-4-4-4-12 hexadecimal digits".to_owned()
    })
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::List(List { token_api, sub, limit, json }) => {
                let sort = Some(RecordSort::ApiKey);
                let filter = Filter { token_api, subject: sub, sort, limit };
                let columns: [Column<Listing>; 5] = [
                    ("NAME", |token| table::maybe(token.name.as_deref())),
                    ("ISSUED", |token| table::time(Some(token.issued_at), "-")),
                    ("EXPIRES", |token| table::time(token.expires_at, "never")),
                    LIMITS,
                    ("LAST USED", |token| table::time(token.last_used_at, "-")),
                ];
                list(context, filter, json, &columns)
            }
            Self::Revoke { id } => revoke(context, TokenKind::ApiKey, id),
        }
    }
}

/// The column of a token's own limits.
pub(super) const LIMITS: Column<Listing> =
    ("LIMITS", |token| token.limits.map_or_else(|| "-".to_owned(), |limits| limits.to_string()));

/// Lists the tokens that match. `columns`: those behind the ones that all kinds have.
pub(super) fn list(
    context: &mut Context<'_>,
    filter: Filter,
    as_json: bool,
    columns: &[Column<Listing>],
) -> Result<(), Failure> {
    let common: [Column<Listing>; 6] = [
        ("ID", |token| token.id.to_string()),
        ("TOKEN API", |token| table::text(&token.token_api)),
        ("SUBJECT", |token| table::text(&token.subject)),
        ("USERNAME", |token| table::maybe(token.username.as_deref())),
        ("ORGANIZATION", |token| table::maybe(token.organization.as_deref())),
        ("ROLE", |token| table::maybe(token.role.as_deref())),
    ];
    let limit = filter.limit;
    let tokens = admin_client::administer(context, async |tokens| tokens.list(filter).await)?;
    table::write(context, &tokens, as_json, &[&common, columns].concat())?;
    table::note_limit(context, tokens.len(), limit);
    Ok(())
}

/// Revokes one token. If there is none with that id and kind, the command fails.
pub(super) fn revoke(
    context: &mut Context<'_>,
    kind: TokenKind,
    id: TokenId,
) -> Result<(), Failure> {
    match admin_client::administer(context, async |tokens| tokens.revoke(kind, id).await)? {
        Revocation::Revoked => context.print(format_args!("revoked {kind} {id}")),
        Revocation::NotFound => {
            Err(Failure::new(format_args!("there is no {kind} with the id {id}")))
        }
    }
}
