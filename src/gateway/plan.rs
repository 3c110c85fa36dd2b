//! The plan: one configuration, compiled. Immutable, shared by all workers; a reload makes a new
//! one, and every request sees exactly one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::credential::CredentialSource;
use super::identity_headers::{IdentityNames, IdentityRules};
use super::refusal::Refusal;
use super::route_table::{HostRule, Own, RouteTable};
use crate::api::openapi::{self, Mounted};
use crate::api::{Document, Face};
use crate::domain::ClaimRule;
use crate::tokens::accounts::AccountTerms;
use crate::tokens::command::Minting;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::opaque::{OpaqueApi, OpaqueApis};
use crate::tokens::verified::{ACTIVE_TENANT, Caller, Power};
use crate::upstream::{Endpoint, UpstreamSettings};
use crate::wire::limits::Timeouts;

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
    pub timeouts: Timeouts,
    /// The body of `/.well-known/jwks.json`.
    pub public_keys: serde_json::Value,
    /// The outside issuers.
    pub issuers: Arc<IssuerSet>,
}

/// How long the parts of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExchangeTimeouts {
    /// The time without a byte of a body, in either direction.
    pub(super) body: Duration,
    /// From the end of the request to the head of the response.
    pub(super) response_head: Duration,
}

/// One token API.
pub struct TokenApiSettings {
    /// Its name.
    pub name: Arc<str>,
    /// The contract that it speaks.
    pub face: Arc<dyn Face>,
    /// Where: a pattern, without a slash at its end.
    pub mount: String,
    /// How it makes its keys.
    pub minting: Minting,
    /// Of one of style `accounts`: what its accounts are like.
    pub accounts: Option<AccountTerms>,
    /// Whose calls it takes.
    pub callers: Callers,
    /// Whether its keys may come in `X-API-Key`, on routes that accept them.
    pub takes_api_key_field: bool,
}

/// Whose calls a token API takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    /// Those of its own keys.
    pub own_keys: bool,
    /// Those of its own bootstrap tokens.
    pub own_bootstrap: bool,
    /// Those of the login sessions of these token APIs.
    pub sessions_of: Vec<Arc<str>>,
    /// Those of these issuers' JWTs.
    pub issuers: Vec<Arc<str>>,
}

impl Callers {
    /// Whether the token API of this name takes the calls of this caller.
    #[must_use]
    pub fn take(&self, caller: &Caller, token_api: &str) -> bool {
        let of = caller.token.token_api();
        match caller.token.power() {
            Power::Full => self.own_keys && **of == *token_api,
            Power::Bootstrap | Power::Spent => self.own_bootstrap && **of == *token_api,
            Power::Session => self.sessions_of.contains(of),
            Power::Outside => self.issuers.contains(of),
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers.
    pub settings: UpstreamSettings,
    /// Whether the client's `Host` goes on, or the endpoint's own name takes its place.
    pub preserve_host: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Which hosts.
    pub host: HostRule,
    /// Which paths.
    pub path: String,
    /// Which methods; empty: any.
    pub methods: Vec<Method>,
    /// To which upstream, by its place.
    pub upstream: usize,
    /// The token APIs and issuers whose tokens it opens for; empty: it is public.
    pub accept: Vec<Arc<str>>,
    /// Whether the credential goes on to the upstream.
    pub forward_credential: bool,
    /// What the caller must be.
    pub require: Vec<Requirement>,
    /// What its path says of a tenant, if it does.
    pub tenant: Option<TenantRule>,
}

/// A path that names a tenant. A caller that does not belong to the tenant is refused, and the
/// tenant is in force for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRule {
    /// The parameter of the path, without braces.
    pub parameter: String,
    /// Whether the upstream sees the tenant's own name in its place.
    pub rewrites_path: bool,
}

/// What a caller must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It must have one of these values.
    Field {
        /// In which field.
        field: RequirementField,
        /// Which values.
        one_of: Vec<String>,
    },
    /// It must be of an outside issuer whose token says this.
    Claim(ClaimRule),
    /// It must be of an outside issuer whose token has one of these scopes; at least one, each a
    /// `scope-token` (RFC 6749, section 3.3).
    Scope(Vec<String>),
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
    /// The tenant in force: that of the path, or else the one that the caller acts for.
    Tenant,
}

impl Requirement {
    /// Whether a caller meets it, with the tenant that is in force. A field that the caller has not
    /// meets nothing.
    #[must_use]
    pub fn is_met_by(&self, caller: &Caller, tenant: Option<&str>) -> bool {
        let (field, one_of) = match self {
            Self::Field { field, one_of } => (field, one_of),
            Self::Claim(rule) => {
                return caller.outside.as_ref().is_some_and(|outside| outside.meets(rule));
            }
            Self::Scope(scopes) => {
                let mut own = caller.outside.iter().flat_map(|outside| outside.scopes());
                return own.any(|own| scopes.iter().any(|scope| scope == own));
            }
        };
        let allows = |value: &str| one_of.iter().any(|allowed| allowed == value);
        let token = &caller.token;
        match field {
            RequirementField::Subject => allows(token.subject()),
            RequirementField::Username => token.username().is_some_and(allows),
            RequirementField::Organization => token.organization().is_some_and(allows),
            RequirementField::Role => match &caller.outside {
                // An outside token may have many.
                Some(outside) => outside.roles().any(allows),
                None => token.role().is_some_and(allows),
            },
            RequirementField::Email => token.email().is_some_and(allows),
            RequirementField::Tenant => {
                tenant.or_else(|| caller.tenant(ACTIVE_TENANT)).is_some_and(allows)
            }
        }
    }
}

impl Requirement {
    /// What the caller has instead, each in quotes, for the log: of what is personal only that it
    /// is another. Nothing, where it has none.
    pub(super) fn found(&self, caller: &Caller) -> Vec<String> {
        let quoted = |value: &str| format!("{value:?}");
        let another = |_: &str| "another".to_owned();
        let (token, outside) = (&caller.token, &caller.outside);
        match self {
            Self::Scope(_) => {
                outside.iter().flat_map(|outside| outside.scopes()).map(quoted).collect()
            }
            Self::Claim(rule) => {
                outside.iter().filter_map(|outside| outside.shown(&rule.path)).collect()
            }
            Self::Field { field: RequirementField::Role, .. } => match outside {
                Some(outside) => outside.roles().map(quoted).collect(),
                None => token.role().map(quoted).into_iter().collect(),
            },
            Self::Field { field: RequirementField::Organization, .. } => {
                token.organization().map(quoted).into_iter().collect()
            }
            Self::Field { field: RequirementField::Tenant, .. } => {
                caller.tenant(ACTIVE_TENANT).map(quoted).into_iter().collect()
            }
            Self::Field { field: RequirementField::Username, .. } => {
                token.username().map(another).into_iter().collect()
            }
            Self::Field { field: RequirementField::Email, .. } => {
                token.email().map(another).into_iter().collect()
            }
            Self::Field { field: RequirementField::Subject, .. } => vec![another(token.subject())],
        }
    }
}

/// As the log says it: `role "admin" or "editor"`.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_of = |values: &[String]| {
            values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" or ")
        };
        match self {
            Self::Field { field, one_of: values } => {
                write!(f, "{} {}", field.name(), one_of(values))
            }
            Self::Claim(rule) => {
                let values: Vec<_> = rule.one_of.iter().map(ToString::to_string).collect();
                write!(f, "the claim \"{}\" with {}", rule.path, values.join(" or "))
            }
            Self::Scope(scopes) => write!(f, "scope {}", one_of(scopes)),
        }
    }
}

impl RequirementField {
    /// Its key in the configuration.
    const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Username => "username",
            Self::Organization => "organization",
            Self::Role => "role",
            Self::Email => "email",
            Self::Tenant => "tenant",
        }
    }
}

/// A plan that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// Token APIs, as the OpenAPI document tells of them.
#[must_use]
pub fn mounted(token_apis: &[TokenApiSettings]) -> Vec<Mounted<'_>> {
    token_apis
        .iter()
        .map(|api| Mounted { name: &api.name, mount: &api.mount, face: &*api.face })
        .collect()
}

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
    pub(super) issuers: Arc<IssuerSet>,
    /// The prefixes of opaque keys.
    pub(super) opaque: OpaqueApis,
    /// Pages that need no credential.
    pub(super) documents: Vec<Document>,
    /// The routes that take a key from `X-API-Key`, by their place.
    takes_api_key_field: Vec<bool>,
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
            for (path, _) in token_api.face.paths() {
                let bare = path.strip_suffix('/').unwrap_or(path);
                // A slash more or less shall not carry a revocation past us, to an upstream that
                // says yes to it.
                for slash in ["", "/"] {
                    table.add_token_api(format!("{}{bare}{slash}", token_api.mount), at, path);
                }
            }
        }
        let openapi = Bytes::from(openapi::document(&mounted(&settings.token_apis)).to_string());
        let mut documents: Vec<Document> = Vec::new();
        for token_api in &settings.token_apis {
            for document in token_api.face.documents(&token_api.mount, &openapi) {
                // Of two that want the same place, the first one in the configuration has it.
                if documents.iter().all(|known| known.path != document.path) {
                    table.add_document(&document.path, documents.len());
                    documents.push(document);
                }
            }
        }
        let opaque = settings.token_apis.iter().filter_map(|token_api| match &token_api.minting {
            Minting::Signed(_) => None,
            Minting::Opaque(format) => Some(OpaqueApi {
                token_api: Arc::clone(&token_api.name),
                format: format.clone(),
                takes_api_key_field: token_api.takes_api_key_field,
            }),
        });
        let opaque = OpaqueApis::new(opaque.collect());
        let with_field: Vec<_> = settings
            .token_apis
            .iter()
            .filter(|api| api.takes_api_key_field)
            .map(|api| &api.name)
            .collect();
        let takes_api_key_field = settings
            .routes
            .iter()
            .map(|route| route.accept.iter().any(|name| with_field.contains(&name)))
            .collect();
        for (at, route) in settings.routes.iter().enumerate() {
            table.add_route(&route.host, &route.path, route.methods.clone(), at);
        }
        let host_of = |upstream: &UpstreamPlan| {
            let endpoint =
                upstream.settings.endpoints.first().map(Endpoint::authority).unwrap_or_default();
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
            timeouts: ExchangeTimeouts {
                body: settings.timeouts.body,
                response_head: settings.timeouts.response_head,
            },
            public_keys: settings.public_keys.to_string().into_bytes(),
            issuers: settings.issuers,
            opaque,
            documents,
            takes_api_key_field,
        })
    }

    /// The routes that no request can reach, by their place, as keyward answers their path itself;
    /// and what it answers there, in words.
    #[must_use]
    pub fn hidden_routes(&self) -> Vec<(usize, String)> {
        let words = |own: &Own| match own {
            Own::TokenApi { token_api, .. } => {
                let name = self.token_apis.get(*token_api).map_or("", |api| &*api.name);
                format!("a call of the [[token_api]] {name:?}")
            }
            Own::PublicKeys => "the address of keyward's public keys".to_owned(),
            Own::Document(_) => "a page of keyward's own".to_owned(),
        };
        let routes = self.routes.iter().enumerate();
        routes.filter_map(|(at, route)| Some((at, words(self.table.own(&route.path)?)))).collect()
    }

    pub(super) fn table(&self) -> &RouteTable {
        &self.table
    }

    pub(super) fn route(&self, at: usize) -> Result<&RouteSettings, Refusal> {
        self.routes.get(at).ok_or(Refusal::Internal("a route is not in its plan"))
    }

    /// Where the route takes credentials from.
    pub(super) fn credential_source(&self, at: usize) -> CredentialSource {
        if self.takes_api_key_field.get(at).copied().unwrap_or_default() {
            CredentialSource::BearerOrApiKey
        } else {
            CredentialSource::Bearer
        }
    }
}
