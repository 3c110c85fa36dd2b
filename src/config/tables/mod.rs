//! The tables of the configuration that are declared here: those whose keys depend on each other,
//! as they are typed. `resolve` makes of them what the parts take. The tables of which each key
//! stands for itself are declared by the parts.

mod claims;
mod compression;
mod conditions;
mod cors;
mod credentials;
mod files;
mod header_changes;
mod identity_headers;
mod issuer;
mod listener;
mod own_answers;
mod rate_limits;
mod route;
mod store;
mod texts;
mod token_api;
mod upstream;

pub(super) use compression::CompressionKeys;
pub(super) use cors::CorsKeys;
pub(super) use credentials::CredentialKeys;
pub(super) use identity_headers::IdentityHeaderKeys;
pub(super) use issuer::{ClaimKeys, IssuerTable};
pub(super) use listener::ListenerKeys;
pub use listener::TrustedProxy;
pub(super) use rate_limits::RateKeys;
pub(super) use route::{RequireKeys, RouteKeys, RouteTimeoutKeys, WEBSOCKET};
pub(super) use store::{OnOutage, StoreKeys, StoreKind, Topology};
pub(super) use texts::Name;
pub(super) use token_api::TokenApiKeys;
pub(super) use upstream::{Balance, EndpointKeys, HealthCheckKeys, UpstreamKeys, UpstreamTlsKeys};

use crate::admin::AdminSettings;
use crate::server::ProcessSettings;
use crate::settings::key::{table, tables};
use crate::settings::section::Row;
use crate::settings::settings;
use crate::store::KeySettings;
use crate::telemetry::LogSettings;
use crate::tokens::accounts::Logins;
use crate::upstream::DnsSettings;
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
        pub(super) dns: DnsSettings = table(),
        pub(super) identity_headers: IdentityHeaderKeys = table(),
        pub(super) issuer: Vec<Row<IssuerTable>> = tables(),
        pub(super) token_api: Vec<Row<TokenApiKeys>> = tables(),
        pub(super) upstream: Vec<Row<UpstreamKeys>> = tables(),
        pub(super) route: Vec<Row<RouteKeys>> = tables(),
    }
}
