//! The plan: one configuration, compiled. Immutable, shared by all workers; a reload makes a new
//! one, and every request sees exactly one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Method};

use super::challenge::RouteChallenge;
use super::compression::CompressionRules;
use super::conditions::Conditions;
use super::connection::Scheme;
use super::cors_policy::{CorsPolicies, CorsSettings};
use super::credential::CredentialSource;
use super::credential_places::{CredentialPlaces, PlacesElsewhere, Reading};
use super::header_changes::{HeaderChanges, RouteHeaderChanges};
use super::identity_headers::{IdentityNames, IdentityRules};
use super::limit_plan::{KeyCounts, LimitOwner, PlanLimits};
use super::refusal::Refusal;
use super::requirement::Requirement;
use super::route_limits::RouteLimits;
use super::route_table::{HostRule, OwnPath, RouteTable, Specificity, TokenApiPath};
use super::route_target::RouteTarget;
use super::spelling::RawPaths;
use super::upgrades::Upgrades;
use super::upstream_path::PathRules;
use crate::api::openapi::{self, Mounted};
use crate::api::{Document, Face};
use crate::limits::{FleetCounters, LimitSettings};
use crate::telemetry::configured::PlanSeries;
use crate::tokens::accounts::AccountTerms;
use crate::tokens::clock;
use crate::tokens::command::Minting;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::opaque::{OpaqueApi, OpaqueApis};
use crate::tokens::verified::{Caller, Power};
use crate::upstream::{Answers, Endpoint, UpstreamSettings, UpstreamState};
use crate::wire::limits::Timeouts;

/// The path under which the public keys are served.
const PUBLIC_KEYS: &str = "/.well-known/jwks.json";

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
    /// How long an exchange may take that keyward answers itself.
    pub timeouts: Timeouts,
    /// The body of `/.well-known/jwks.json`.
    pub public_keys: serde_json::Value,
    /// The outside issuers.
    pub issuers: Arc<IssuerSet>,
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
    /// What pages of other origins may do with it; none: nothing is said to browsers.
    pub cors: Option<Arc<CorsSettings>>,
    /// How many requests may be made with its tokens and calls of it, if that is bounded.
    pub rate_limits: Option<Box<LimitSettings>>,
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
    /// Whether it is sent `Via`.
    pub via: bool,
    /// Whether addresses of it in its responses become those of keyward.
    pub rewrite_location: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Which scheme; `None`: both.
    pub scheme: Option<Scheme>,
    /// Which hosts.
    pub host: HostRule,
    /// Which paths.
    pub path: String,
    /// Which methods; empty: any.
    pub methods: Vec<Method>,
    /// What header fields and the query must have, if anything.
    pub when: Option<Box<Conditions>>,
    /// What answers its requests.
    pub target: RouteTarget,
    /// What it changes of header fields, if anything.
    pub headers: Option<Box<RouteHeaderChanges>>,
    /// The protocols that clients may switch to; none: WebSocket.
    pub upgrades: Option<Box<Upgrades>>,
    /// The token APIs and issuers whose tokens it opens for; empty: it is public.
    pub accept: Vec<Arc<str>>,
    /// What the upstream gets instead of the path's normal form, if anything.
    pub path_rules: Option<Box<PathRules>>,
    /// Where it takes credentials from besides `Authorization: Bearer`, if it does.
    pub credentials: Option<Box<CredentialPlaces>>,
    /// How it asks for a credential, where it does not do as usual.
    pub challenge: Option<Box<RouteChallenge>>,
    /// Whether the credential goes on to the upstream.
    pub forward_credential: bool,
    /// How long its exchanges may take, and how large their requests may be.
    pub limits: RouteLimits,
    /// How many requests may be made along it, if that is bounded.
    pub rate_limits: Option<Box<LimitSettings>>,
    /// What pages of other origins may do with it; none: that is the upstream's to say.
    pub cors: Option<Arc<CorsSettings>>,
    /// What of its responses is compressed, if anything.
    pub compression: Option<Box<CompressionRules>>,
    /// What the caller must be.
    pub require: Vec<Requirement>,
    /// What its path says of a tenant, if it does.
    pub tenant: Option<TenantRule>,
}

impl RouteSettings {
    /// The protocols that it names; none: WebSocket, where an upstream can take it.
    pub(super) fn upgrades_taken(&self) -> Option<&Upgrades> {
        static NONE: Upgrades = Upgrades { websocket: false, others: Vec::new() };
        match &self.target {
            RouteTarget::Upstream(_) => self.upgrades.as_deref(),
            RouteTarget::Redirect(_) | RouteTarget::Respond(_) => Some(&NONE),
        }
    }

    /// Whether it forwards paths as they came.
    pub(super) fn is_raw(&self) -> bool {
        self.path_rules.as_ref().is_some_and(|rules| rules.is_raw())
    }

    /// What it changes of requests, if it changes anything.
    pub(super) fn request_headers(&self) -> Option<&HeaderChanges> {
        self.headers.as_deref().map(|changes| &changes.request)
    }

    /// What it changes of answers, if it changes anything.
    pub(super) fn response_headers(&self) -> Option<&HeaderChanges> {
        self.headers.as_deref().map(|changes| &changes.response)
    }

    fn limit_owner(&self) -> LimitOwner<'_> {
        LimitOwner::Route {
            scheme: self.scheme,
            host: &self.host,
            path: &self.path,
            when: self.when.as_deref(),
        }
    }
}

/// A path that names a tenant: it is in force for the request, and a caller that does not belong to
/// it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRule {
    /// The parameter of the path, without braces.
    pub parameter: String,
    /// Whether the upstream sees the tenant's own name in its place.
    pub rewrites_path: bool,
}

/// A plan that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// The token APIs in the form from which the OpenAPI document is made.
#[must_use]
pub fn mounted(token_apis: &[TokenApiSettings]) -> Vec<Mounted<'_>> {
    token_apis
        .iter()
        .map(|api| Mounted { name: &api.name, mount: &api.mount, face: &*api.face })
        .collect()
}

/// A compiled configuration.
pub struct Plan {
    pub(super) table: RouteTable,
    pub(super) token_apis: Vec<TokenApiSettings>,
    pub(super) upstreams: Vec<UpstreamPlan>,
    /// What all workers know of each upstream, where its settings say that something is known.
    /// Another one takes its place when names have other addresses.
    pub(super) upstream_states: Vec<ArcSwapOption<UpstreamState>>,
    /// The `Host` of each upstream, for requests whose own is not kept or missing. Where there are
    /// several endpoints, that of the one which is asked takes its place.
    pub(super) upstream_hosts: Vec<HeaderValue>,
    pub(super) routes: Vec<RouteSettings>,
    /// None, where neither a route nor a token API has a policy.
    pub(super) cors: Option<Box<CorsPolicies>>,
    /// None, where neither a route nor a token API has a limit of requests.
    pub(super) limits: Option<Box<PlanLimits>>,
    /// What keys with limits of their own have used.
    pub(super) key_counts: KeyCounts,
    /// None, where no route names a place that others do not empty by themselves.
    pub(super) places_elsewhere: Option<Box<PlacesElsewhere>>,
    pub(super) raw_paths: RawPaths,
    pub(super) identity: IdentityRules,
    pub(super) token_limit: usize,
    pub(super) timeouts: Timeouts,
    pub(super) public_keys: Vec<u8>,
    pub(super) issuers: Arc<IssuerSet>,
    /// The prefixes of opaque keys.
    pub(super) opaque: OpaqueApis,
    /// Pages that need no credential.
    pub(super) documents: Vec<Document>,
    /// The routes that take a key from `X-API-Key`, by their place.
    takes_api_key_field: Vec<bool>,
    /// What is counted apart for each thing that it names; nothing yet, unless it is in force.
    pub(super) series: PlanSeries,
}

impl Plan {
    /// Compiles.
    ///
    /// # Errors
    ///
    /// When the name of an identity header is no header name.
    pub fn new(settings: PlanSettings) -> Result<Self, PlanError> {
        let mut table = RouteTable::default();
        *table.own.slot(PUBLIC_KEYS) = Some(OwnPath::PublicKeys);
        for (at, token_api) in settings.token_apis.iter().enumerate() {
            for (path, _) in token_api.face.paths() {
                let bare = path.strip_suffix('/').unwrap_or(path);
                // A slash more or less must not carry a revocation past keyward to an upstream
                // that answers it.
                for slash in ["", "/"] {
                    let pattern = format!("{}{bare}{slash}", token_api.mount);
                    let own = TokenApiPath { token_api: at, call: path, pattern: pattern.clone() };
                    *table.own.slot(&pattern) = Some(OwnPath::TokenApi(own));
                }
            }
        }
        let openapi = Bytes::from(openapi::document(&mounted(&settings.token_apis)).to_string());
        let mut documents: Vec<Document> = Vec::new();
        let mut document_owners = Vec::new();
        for (at, token_api) in settings.token_apis.iter().enumerate() {
            for document in token_api.face.documents(&token_api.mount, &openapi) {
                // Of two that want the same place, the first one in the configuration has it.
                if documents.iter().all(|known| known.path != document.path) {
                    *table.own.slot(&document.path) = Some(OwnPath::Document(documents.len()));
                    documents.push(document);
                    document_owners.push(at);
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
        let takes_field = |name: &Arc<str>| {
            settings.token_apis.iter().any(|api| api.takes_api_key_field && api.name == *name)
        };
        let takes_api_key_field =
            settings.routes.iter().map(|route| route.accept.iter().any(takes_field)).collect();
        for (at, route) in settings.routes.iter().enumerate() {
            let specificity = Specificity {
                methods: route.methods.clone(),
                conditions: route.when.as_ref().map_or(0, |conditions| conditions.count()),
            };
            table.add_route(route.scheme, &route.host, &route.path, specificity, at);
        }
        let cors = CorsPolicies::new(
            settings.routes.iter().map(|route| route.cors.as_deref()),
            settings.token_apis.iter().map(|token_api| token_api.cors.as_deref()),
            document_owners,
        );
        let limits = PlanLimits::new(
            settings
                .routes
                .iter()
                .map(|route| (route.limit_owner(), route.rate_limits.as_deref()))
                .chain(settings.token_apis.iter().map(|token_api| {
                    (LimitOwner::TokenApi(&token_api.name), token_api.rate_limits.as_deref())
                })),
        );
        let has_raw = settings.routes.iter().any(RouteSettings::is_raw);
        let raw_paths = if has_raw { RawPaths::Used } else { RawPaths::Unused };
        let host_of = |upstream: &UpstreamPlan| {
            let first = upstream.settings.endpoints.first();
            first.map_or_else(|| HeaderValue::from_static(""), Endpoint::host)
        };
        Ok(Self {
            table,
            upstream_states: settings
                .upstreams
                .iter()
                .map(|UpstreamPlan { name, settings, .. }| {
                    ArcSwapOption::new(UpstreamState::of(name, settings, None, &Answers::default()))
                })
                .collect(),
            upstream_hosts: settings.upstreams.iter().map(host_of).collect(),
            token_apis: settings.token_apis,
            upstreams: settings.upstreams,
            places_elsewhere: PlacesElsewhere::of(
                settings.routes.iter().filter_map(|route| route.credentials.as_deref()),
            ),
            routes: settings.routes,
            cors,
            limits,
            key_counts: KeyCounts::new(),
            raw_paths,
            identity: IdentityRules::new(&settings.identity_names).map_err(PlanError)?,
            token_limit: settings.token_limit,
            timeouts: settings.timeouts,
            public_keys: settings.public_keys.to_string().into_bytes(),
            issuers: settings.issuers,
            opaque,
            documents,
            takes_api_key_field,
            series: PlanSeries::default(),
        })
    }

    /// Lets the fleet count the limits that are shared.
    pub(super) fn share(&mut self, fleet: &Arc<FleetCounters>) {
        self.key_counts.share(fleet);
        if let Some(limits) = &mut self.limits {
            limits.share(fleet);
        }
    }

    /// Takes over what is known of upstreams and limits that were there before.
    pub(super) fn inherit(&mut self, before: &Self, answers: &Answers) {
        let known: Vec<_> =
            before.upstream_states.iter().filter_map(ArcSwapOption::load_full).collect();
        for (upstream, state) in self.upstreams.iter().zip(&self.upstream_states) {
            let known = known.iter().find(|known| *known.name() == *upstream.name);
            state.store(UpstreamState::of(&upstream.name, &upstream.settings, known, answers));
        }
        self.key_counts = before.key_counts.clone();
        if let (Some(own), Some(before)) = (&mut self.limits, &before.limits) {
            own.inherit(before, clock::uptime());
        }
    }

    /// Takes over what is known of names now; whether that changes anything.
    pub(super) fn resolve(&self, answers: &Answers) -> bool {
        let mut has_changed = false;
        for (upstream, state) in self.upstreams.iter().zip(&self.upstream_states) {
            let Some(before) = state.load_full() else { continue };
            let after =
                UpstreamState::of(&upstream.name, &upstream.settings, Some(&before), answers);
            if !after.as_ref().is_some_and(|after| Arc::ptr_eq(after, &before)) {
                state.store(after);
                has_changed = true;
            }
        }
        has_changed
    }

    /// The names of its endpoints.
    #[must_use]
    pub fn names(&self) -> BTreeSet<Arc<str>> {
        let endpoints = self.upstreams.iter().flat_map(|upstream| &upstream.settings.endpoints);
        endpoints.filter_map(Endpoint::name).map(Arc::from).collect()
    }

    /// The routes that no request can reach, by their place, as keyward answers their path itself;
    /// and what it answers there, in words.
    #[must_use]
    pub fn hidden_routes(&self) -> Vec<(usize, String)> {
        let words = |own: &OwnPath| match own {
            OwnPath::TokenApi(TokenApiPath { token_api, .. }) => {
                let name = self.token_apis.get(*token_api).map_or("", |api| &*api.name);
                format!("a call of the [[token_api]] {name:?}")
            }
            OwnPath::PublicKeys => "the address of keyward's public keys".to_owned(),
            OwnPath::Document(_) => "a page of keyward's own".to_owned(),
        };
        let hidden = |route: &RouteSettings| self.table.own.get(&route.path).map(words);
        let routes = self.routes.iter().enumerate();
        routes.filter_map(|(at, route)| Some((at, hidden(route)?))).collect()
    }

    pub(super) fn route(&self, at: usize) -> Result<&RouteSettings, Refusal> {
        self.routes.get(at).ok_or(Refusal::Internal("a route is not in its plan"))
    }

    /// The scheme and the host with which an upstream is asked for a request to this host.
    pub(super) fn asked_at<'a>(
        &'a self,
        at: usize,
        host: Option<&'a HeaderValue>,
    ) -> (&'static str, &'a str) {
        let upstream = self.upstreams.get(at);
        let is_tls = upstream
            .and_then(|upstream| upstream.settings.endpoints.first())
            .is_some_and(|endpoint| endpoint.is_tls);
        let keeps_host = upstream.is_some_and(|upstream| upstream.preserve_host);
        let host = host.filter(|host| keeps_host && !host.is_empty());
        let host = host.or_else(|| self.upstream_hosts.get(at));
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        (if is_tls { "https" } else { "http" }, host)
    }

    /// How credentials are read in the places that a route names.
    pub(super) fn reading(&self, source: CredentialSource, is_websocket: bool) -> Reading<'_> {
        Reading {
            opaque: &self.opaque,
            token_limit: self.token_limit,
            takes_account_keys: source == CredentialSource::BearerOrApiKey,
            is_websocket,
        }
    }

    /// Where the route takes credentials from, unless it names places itself.
    pub(super) fn credential_source(&self, at: usize) -> CredentialSource {
        CredentialSource::of(self.takes_api_key_field.get(at).copied().unwrap_or_default())
    }
}
