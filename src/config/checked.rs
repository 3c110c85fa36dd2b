//! A configuration that has passed every check.

use super::issuer::Issuer;
use super::listener::Listener;
use super::routing::{TokenApi, Upstream};
use super::store::Store;
use crate::admin::AdminSettings;
use crate::gateway::{IdentityNames, RouteSettings};
use crate::server::ProcessSettings;
use crate::settings::fault::Places;
use crate::store::KeySettings;
use crate::telemetry::LogSettings;
use crate::tokens::accounts::Logins;
use crate::upstream::DnsSettings;
use crate::wire::limits::{Limits, Timeouts};

/// A checked configuration.
///
/// Its `Debug` is safe to print: passwords do not show in it. Relative paths are relative to the
/// working directory of the process. The default has no listener and serves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[server]`: how the process runs and stops.
    pub server: ProcessSettings,
    /// `[[listener]]`: where clients connect; at least one after [`parse`](super::parse).
    pub listeners: Vec<Listener>,
    /// `[admin]`: what operators and probes talk to.
    pub admin: AdminSettings,
    /// `[store]`: where records live.
    pub store: Store,
    /// `[keys]`: what signs our tokens.
    pub keys: KeySettings,
    /// `[log]`: what is logged, and where.
    pub log: LogSettings,
    /// `[limits]`: how much memory clients can take.
    pub limits: Limits,
    /// `[logins]`: what the hashing of passwords may cost, and how often passwords may be tried.
    pub logins: Logins,
    /// `[timeouts]`: how long clients and upstreams are waited for.
    pub timeouts: Timeouts,
    /// `[dns]`: how names of endpoints are resolved.
    pub dns: DnsSettings,
    /// `[identity_headers]`: the names of the headers that tell upstreams the identity.
    pub identity_headers: IdentityNames,
    /// `[[issuer]]`: outside parties whose JWTs are accepted; no two with the same name or the same
    /// `iss`.
    pub issuers: Vec<Issuer>,
    /// `[[token_api]]`: the faces that manage tokens.
    pub token_apis: Vec<TokenApi>,
    /// `[[upstream]]`: the servers behind keyward.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`: what goes where; empty only where there is a token API.
    pub routes: Vec<RouteSettings>,
    /// What is allowed, but is probably a mistake, each with its place, for the log at start.
    pub warnings: Vec<String>,
    /// Where its keys stand in the file, for faults that show only when it is used.
    pub places: Places,
}
