//! `keyward bootstrap create | list | revoke`: the credentials from which users make their API
//! keys.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Subcommand;

use super::context::Context;
use super::failure::Failure;
use super::table::Column;
use super::token::{LIMITS, list, revoke, token_id};
use super::{admin_client, span, table};
use crate::admin::{BootstrapRequest, Listing, MAX_LISTED, MAX_MINTS, TokenKind, claim_text};
use crate::domain::limits::MOST_AT_A_TIME;
use crate::domain::{Identity, KeyLimits, Rate, RecordSort, TokenId};
use crate::tokens::store::Filter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a bootstrap token and print it, once: it is stored nowhere.
    Create(Create),
    /// List bootstrap tokens, oldest first.
    List {
        /// Only those of this token API.
        #[arg(long, value_name = "NAME")]
        token_api: Option<String>,
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a bootstrap token. The keys that were made with it stay.
    Revoke {
        /// The public id, as `bootstrap list` shows it.
        #[arg(value_parser = token_id)]
        id: TokenId,
    },
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
    /// How often each key that it makes may be used, like 10/s or 300/m; without: as often as the
    /// token API and the routes allow.
    #[arg(long)]
    rate: Option<Rate>,
    /// How many requests of each key may come at once; without: what its rate gives in a second.
    #[arg(long, value_name = "N", requires = "rate", value_parser = at_a_time)]
    burst: Option<NonZeroU32>,
    /// How many requests of each key may run at a time.
    #[arg(long, value_name = "N", value_parser = at_a_time)]
    concurrent_requests: Option<NonZeroU32>,
}

fn at_a_time(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .ok()
        .filter(|number: &NonZeroU32| number.get() <= MOST_AT_A_TIME)
        .ok_or_else(|| format!("expected a whole number between 1 and {MOST_AT_A_TIME}"))
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.execute(context),
            Self::List { token_api, json } => {
                let sort = Some(RecordSort::Bootstrap);
                let filter = Filter { token_api, subject: None, sort, limit: MAX_LISTED };
                let columns: [Column<Listing>; 5] = [
                    ("EMAIL", |token| table::maybe(token.email.as_deref())),
                    ("MINTS LEFT", |token| {
                        token.mints_left.map_or_else(|| "-".to_owned(), |mints| mints.to_string())
                    }),
                    LIMITS,
                    ("ISSUED", |token| table::time(Some(token.issued_at), "-")),
                    ("EXPIRES", |token| table::time(token.expires_at, "never")),
                ];
                list(context, filter, json, &columns)
            }
            Self::Revoke { id } => revoke(context, TokenKind::Bootstrap, id),
        }
    }
}

impl Create {
    fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let limits = KeyLimits::new(self.rate, self.burst, self.concurrent_requests);
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
            limits: limits.map_err(Failure::new)?,
        };
        let issued = admin_client::administer(context, async |tokens| {
            tokens.bootstrap_create(request).await
        })?;
        let printed = context.print(issued.token.expose());
        // It is there even if it could not be printed: its id is needed to revoke it.
        context.note(format_args!("made bootstrap token {}", issued.id));
        printed
    }
}
