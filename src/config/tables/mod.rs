//! The tables of the configuration that are declared here: those whose keys depend on each other,
//! as they are typed. `resolve` makes of them what the parts take. The tables of which each key
//! stands for itself are declared by the parts.

mod claims;
mod files;
mod identity_headers;
mod issuer;
mod listener;
mod route;
mod store;
mod token_api;
mod upstream;

use std::sync::Arc;

pub(super) use identity_headers::IdentityHeaderKeys;
pub(super) use issuer::{ClaimKeys, IssuerTable};
pub(super) use listener::ListenerKeys;
pub use listener::TrustedProxy;
pub(super) use route::{RequireKeys, RouteKeys};
pub(super) use store::{OnOutage, StoreKeys, StoreKind, Topology};
pub(super) use token_api::TokenApiKeys;
pub(super) use upstream::{UpstreamKeys, UpstreamTlsKeys};

use crate::admin::AdminSettings;
use crate::server::ProcessSettings;
use crate::settings::key::{table, tables};
use crate::settings::kind::{Text, text};
use crate::settings::list::{At, Placed, at};
use crate::settings::section::Row;
use crate::settings::settings;
use crate::store::KeySettings;
use crate::telemetry::LogSettings;
use crate::tokens::accounts::Logins;
use crate::wire::limits::{Limits, Timeouts};

settings! {
    /// The configuration of keyward.
    pub(super) struct Root {
        pub(super) server: ProcessSettings = table(),
        pub(super) listener: Vec<Row<ListenerKeys>> = tables(),
        pub(super) admin: AdminSettings = table(),
        pub(super) store: StoreKeys = table(),
        pub(super) keys: KeySettings = table(),
        pub(super) log: LogSettings = table(),
        pub(super) limits: Limits = table(),
        pub(super) logins: Logins = table(),
        pub(super) timeouts: Timeouts = table(),
        pub(super) identity_headers: IdentityHeaderKeys = table(),
        pub(super) issuer: Vec<Row<IssuerTable>> = tables(),
        pub(super) token_api: Vec<Row<TokenApiKeys>> = tables(),
        pub(super) upstream: Vec<Row<UpstreamKeys>> = tables(),
        pub(super) route: Vec<Row<RouteKeys>> = tables(),
    }
}

/// A name that is taken once, and where it stands.
pub(super) type Name = Placed<Arc<str>>;

/// A name that logs, metrics and headers can carry as it is.
const NAME: At<Text<Arc<str>>> =
    at(text("a name of 1 to 64 letters, digits, \"-\", \"_\" or \".\"", |text| {
        if (1..=64).contains(&text.len()) && is_word(text) { Ok(text.into()) } else { refused() }
    }));

/// The name of something else, which is checked against what there is; `what` says of what.
const fn reference(what: &'static str) -> At<Text<Arc<str>>> {
    at(text(what, |text| if text.is_empty() { empty() } else { Ok(text.into()) }))
}

/// Letters, digits, `-`, `_` and `.`: nothing that would have to be escaped anywhere.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A name of 1 to 255 visible characters.
fn visible(text: &str) -> Result<String, String> {
    visible_up_to(text, 255)
}

fn visible_up_to(text: &str, most: usize) -> Result<String, String> {
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    if (1..=most).contains(&text.len()) && text.chars().all(is_visible) {
        Ok(text.to_owned())
    } else {
        refused()
    }
}

/// What the kind says is all there is to say.
fn refused<T>() -> Result<T, String> {
    Err(String::new())
}

fn empty<T>() -> Result<T, String> {
    Err("it is empty".to_owned())
}
