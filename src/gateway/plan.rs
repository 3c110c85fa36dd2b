//! The plan: one configuration, compiled. Immutable, shared by all workers; a reload makes a new one, and every request sees
//! exactly one.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::identity_headers::{IdentityNames, IdentityRules};
use super::refusal::Refusal;
use super::route::{HostRule, RouteTable};
use crate::api::Face;
use crate::tokens::accounts::AccountTerms;
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::verified::Verified;
use crate::upstream::UpstreamSettings;

/// What a plan is made of.
pub struct PlanSettings {
    /// The token APIs.
    pub token_apis: Vec<TokenApiSettings>,
    /// The upstreams.
    pub upstreams: Vec<UpstreamPlan>,
    /// The routes.
    pub routes: Vec<RouteSettings>,
    /// What identity headers are called.
    pub identity_names: IdentityNames,
    /// The longest credential, in bytes.
    pub token_limit: usize,
    /// How long an exchange may take.
    pub timeouts: ExchangeTimeouts,
    /// The body of `/.well-known/jwks.json`.
    pub public_keys: serde_json::Value,
}

/// How long the parts of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeTimeouts {
    /// The time without a byte of a body, in either direction.
    pub body: Duration,
    /// From the end of the request to the head of the response.
    pub response_head: Duration,
}

/// One token API.
pub struct TokenApiSettings {
    /// Its name.
    pub name: Arc<str>,
    /// The contract that it speaks.
    pub face: Arc<dyn Face>,
    /// Where: a pattern, without a slash at its end.
    pub mount: String,
    /// How it signs.
    pub algorithm: SigningAlgorithm,
    /// Of one of the style `accounts`: what its accounts are like.
    pub accounts: Option<AccountTerms>,
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers.
    pub settings: UpstreamSettings,
    /// Whether the client's `Host` goes on, or the endpoint's own name takes its place.
    pub preserve_host: bool,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Which hosts.
    pub host: HostRule,
    /// Which paths.
    pub path: String,
    /// Which methods; empty: any.
    pub methods: Vec<Method>,
    /// To which upstream, by its place.
    pub upstream: usize,
    /// The token APIs whose tokens it opens for; empty: it is public.
    pub accept: Vec<Arc<str>>,
    /// Whether the credential goes on to the upstream.
    pub forward_credential: bool,
    /// What the caller must be.
    pub require: Vec<Requirement>,
}

/// A caller must have one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// In which field.
    pub field: RequirementField,
    /// Which values.
    pub one_of: Vec<String>,
}

/// The fields of an identity that a route can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequirementField {
    /// The subject.
    Subject,
    /// The username.
    Username,
    /// The organization.
    Organization,
    /// The role.
    Role,
    /// The email address.
    Email,
}

impl Requirement {
    /// Whether a caller meets it. A field that the caller has not meets nothing.
    #[must_use]
    pub fn is_met_by(&self, token: &Verified) -> bool {
        let value = match self.field {
            RequirementField::Subject => Some(token.subject()),
            RequirementField::Username => token.username(),
            RequirementField::Organization => token.organization(),
            RequirementField::Role => token.role(),
            RequirementField::Email => token.email(),
        };
        value.is_some_and(|value| self.one_of.iter().any(|allowed| allowed == value))
    }
}

/// A plan that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// A compiled configuration.
pub struct Plan {
    table: RouteTable,
    pub(super) token_apis: Vec<TokenApiSettings>,
    pub(super) upstreams: Vec<UpstreamPlan>,
    /// The `Host` of each upstream, for requests whose own is not kept or missing.
    pub(super) upstream_hosts: Vec<HeaderValue>,
    pub(super) routes: Vec<RouteSettings>,
    pub(super) identity: IdentityRules,
    pub(super) token_limit: usize,
    pub(super) timeouts: ExchangeTimeouts,
    pub(super) public_keys: Vec<u8>,
}

impl Plan {
    /// Compiles.
    ///
    /// # Errors
    ///
    /// When the name of an identity header is no header name.
    pub fn new(settings: PlanSettings) -> Result<Self, PlanError> {
        let mut table = RouteTable::default();
        table.add_public_keys();
        for (at, token_api) in settings.token_apis.iter().enumerate() {
            for path in token_api.face.paths() {
                table.add_token_api(format!("{}{path}", token_api.mount), at, path);
            }
        }
        for (at, route) in settings.routes.iter().enumerate() {
            table.add_route(&route.host, &route.path, route.methods.clone(), at);
        }
        let host_of = |upstream: &UpstreamPlan| {
            let endpoint = upstream.settings.endpoints.first().map(ToString::to_string).unwrap_or_default();
            HeaderValue::try_from(endpoint).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        Ok(Self {
            table,
            upstream_hosts: settings.upstreams.iter().map(host_of).collect(),
            token_apis: settings.token_apis,
            upstreams: settings.upstreams,
            routes: settings.routes,
            identity: IdentityRules::new(&settings.identity_names).map_err(PlanError)?,
            token_limit: settings.token_limit,
            timeouts: settings.timeouts,
            public_keys: settings.public_keys.to_string().into_bytes(),
        })
    }

    pub(super) fn table(&self) -> &RouteTable {
        &self.table
    }

    pub(super) fn route(&self, at: usize) -> Result<&RouteSettings, Refusal> {
        self.routes.get(at).ok_or(Refusal::Internal("a route is not in its plan"))
    }
}
