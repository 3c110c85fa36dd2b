//! From a configuration to parts: every translation from what was configured to what a part takes
//! is here.

use std::sync::Arc;

use crate::api::Face;
use crate::api::accounts::Accounts;
use crate::api::agent_tokens::AgentTokens;
use crate::api::allowlist_jwt::AllowlistJwt;
use crate::api::tenant_tokens::TenantTokens;
use crate::config::{self, Config};
use crate::gateway::{
    Callers, ExchangeTimeouts, HeadLimits, HostRule, IdentityNames, Plan, PlanSettings,
    Requirement, RequirementField, RouteSettings, TenantRule, TokenApiSettings, TrustedProxies,
    UpstreamPlan,
};
use crate::server::{ConnectionSettings, ListenerSettings, ProxyProtocol};
use crate::telemetry::access_log::AccessLogTarget;
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::tls::{self, ServerSettings};
use crate::tokens::accounts::{AccountTerms, Enrolment};
use crate::tokens::command::Minting;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::opaque::{Alphabet, OpaqueFormat};
use crate::tokens::signed::{SignedTokens, SigningAlgorithm};
use crate::upstream::connect::UpstreamTls;
use crate::upstream::{ResponseHeadLimits, UpstreamSettings};

/// An error with all that lies behind it, on one line.
pub(super) fn with_sources(fault: &dyn std::error::Error) -> String {
    let mut words = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    words
}

pub(super) fn algorithm(configured: config::Algorithm) -> SigningAlgorithm {
    match configured {
        config::Algorithm::Hs256 => SigningAlgorithm::Hs256,
        config::Algorithm::EdDsa => SigningAlgorithm::EdDsa,
        config::Algorithm::Es256 => SigningAlgorithm::Es256,
        config::Algorithm::Rs256 => SigningAlgorithm::Rs256,
    }
}

/// The token APIs.
pub(super) fn token_apis(config: &Config) -> Vec<TokenApiSettings> {
    let accounts: Vec<_> = config
        .token_apis
        .iter()
        .filter(|api| matches!(api.style, config::Style::Accounts(_)))
        .map(|api| Arc::clone(&api.name))
        .collect();
    config.token_apis.iter().map(|api| token_api_settings(api, &accounts)).collect()
}

/// Compiles what a reload may change.
pub(super) fn plan(
    config: &Config,
    signed: &SignedTokens,
    issuers: Arc<IssuerSet>,
    upstreams: Vec<UpstreamPlan>,
) -> Result<Plan, String> {
    let routes = config
        .routes
        .iter()
        .map(|route| route_settings(config, route))
        .collect::<Result<_, _>>()?;
    let names = &config.identity_headers;
    Plan::new(PlanSettings {
        token_apis: token_apis(config),
        upstreams,
        routes,
        identity_names: IdentityNames {
            subject: names.subject.clone(),
            username: names.username.clone(),
            organization: names.organization.clone(),
            role: names.role.clone(),
            email: names.email.clone(),
            token_id: names.token_id.clone(),
            credential: names.credential.clone(),
            request_id: names.request_id.clone(),
            client_certificate_subject: names.client_certificate_subject.clone(),
            client_certificate_names: names.client_certificate_names.clone(),
        },
        token_limit: config.limits.token,
        timeouts: ExchangeTimeouts {
            body: config.timeouts.body,
            response_head: config.timeouts.response_head,
        },
        public_keys: signed.public_keys(),
        issuers,
    })
    .map_err(|fault| fault.to_string())
}

/// One upstream, with the files of its TLS loaded. They are watched by `watcher` from now on.
pub(super) fn upstream(
    config: &Config,
    upstream: &config::Upstream,
    watcher: &tls::Watcher,
) -> Result<UpstreamPlan, String> {
    let tls = if upstream.endpoints.iter().any(|endpoint| endpoint.is_tls) {
        let config::UpstreamTls { trust, server_name, identity } = upstream.tls.clone();
        // What is offered by ALPN depends on the connection, not on the files.
        let client = tls::Client::load(tls::ClientSettings { trust, identity, alpn: Vec::new() })
            .map_err(|fault| with_sources(&fault))?;
        watcher.register(&client);
        Some(UpstreamTls { client, server_name })
    } else {
        None
    };
    Ok(UpstreamPlan {
        name: Arc::clone(&upstream.name),
        settings: UpstreamSettings {
            endpoints: upstream.endpoints.clone(),
            protocol: upstream.protocol,
            tls,
            connect_timeout: config.timeouts.connect,
            idle_connections: upstream.idle_connections,
            idle_timeout: upstream.idle_timeout,
            response_head: ResponseHeadLimits {
                bytes: config.limits.response_head,
                fields: config.limits.response_headers,
            },
        },
        preserve_host: upstream.preserve_host,
    })
}

/// `accounts`: the token APIs with login sessions.
fn token_api_settings(api: &config::TokenApi, accounts: &[Arc<str>]) -> TokenApiSettings {
    let opaque = |alphabet| Minting::Opaque(OpaqueFormat { prefix: api.prefix.clone(), alphabet });
    let issuers = || api.issuers.clone();
    let (face, minting, callers): (Arc<dyn Face>, _, _) = match &api.style {
        config::Style::AllowlistJwt => (
            Arc::new(AllowlistJwt),
            Minting::Signed(algorithm(api.algorithm)),
            Callers { own_keys: true, own_bootstrap: true, ..Callers::default() },
        ),
        config::Style::TenantTokens => (
            Arc::new(TenantTokens),
            opaque(Alphabet::Base62),
            Callers { own_keys: true, issuers: issuers(), ..Callers::default() },
        ),
        config::Style::AgentTokens => (
            Arc::new(AgentTokens),
            opaque(Alphabet::Hex),
            Callers { issuers: issuers(), sessions_of: accounts.to_vec(), ..Callers::default() },
        ),
        config::Style::Accounts(_) => (
            Arc::new(Accounts),
            opaque(Alphabet::Base36),
            Callers { sessions_of: vec![Arc::clone(&api.name)], ..Callers::default() },
        ),
    };
    TokenApiSettings {
        name: Arc::clone(&api.name),
        face,
        mount: api.mount.as_str().to_owned(),
        minting,
        callers,
        accounts: account_terms(api),
        takes_api_key_field: matches!(api.style, config::Style::Accounts(_)),
    }
}

fn account_terms(api: &config::TokenApi) -> Option<AccountTerms> {
    let config::Style::Accounts(style) = &api.style else { return None };
    Some(AccountTerms {
        token_api: Arc::clone(&api.name),
        algorithm: algorithm(api.algorithm),
        session: style.session,
        enrolment: match style.registration {
            config::RegistrationMode::Open => Enrolment::Open,
            config::RegistrationMode::Closed => Enrolment::Closed,
        },
        format: OpaqueFormat { prefix: api.prefix.clone(), alphabet: Alphabet::Base36 },
    })
}

fn route_settings(config: &Config, route: &config::Route) -> Result<RouteSettings, String> {
    let upstream = config
        .upstreams
        .iter()
        .position(|upstream| upstream.name == route.upstream)
        .ok_or_else(|| format!("there is no upstream named {:?}", route.upstream))?;
    let require = &route.require;
    let fields = [
        (RequirementField::Subject, &require.subject),
        (RequirementField::Username, &require.username),
        (RequirementField::Organization, &require.organization),
        (RequirementField::Role, &require.role),
        (RequirementField::Email, &require.email),
        (RequirementField::Tenant, &require.tenant),
    ];
    let fields = fields
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(field, values)| Requirement::Field { field, one_of: values.clone() });
    let claims = require.claims.iter().cloned().map(Requirement::Claim);
    let scope = (!require.scope.is_empty()).then(|| Requirement::Scope(require.scope.clone()));
    // A route that is neither public nor open to anybody would be public by having nobody to
    // accept.
    if route.accept.is_empty() != route.public {
        return Err(format!("route {}: either public or with something to accept", route.path));
    }
    Ok(RouteSettings {
        host: match &route.host {
            config::HostPattern::Any => HostRule::Any,
            config::HostPattern::Exact(host) => HostRule::Exact(host.clone()),
            config::HostPattern::Suffix(suffix) => HostRule::Suffix(suffix.clone()),
        },
        path: route.path.as_str().to_owned(),
        methods: route.methods.clone(),
        upstream,
        accept: route.accept.clone(),
        forward_credential: route.forward_credential,
        require: fields.chain(claims).chain(scope).collect(),
        tenant: route
            .tenant_param
            .clone()
            .map(|parameter| TenantRule { parameter, rewrites_path: route.resolve_tenant }),
    })
}

/// What clients may choose by ALPN, best first; `http/1.0` is what some old clients offer alone.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The files of its certificates are watched by `watcher` from now on.
pub(super) fn listener(
    configured: &config::Listener,
    watcher: &tls::Watcher,
) -> Result<ListenerSettings, String> {
    let tls = if configured.tls.is_empty() {
        None
    } else {
        let settings = ServerSettings {
            certificates: configured.tls.clone(),
            client_auth: configured.client_certificates.clone(),
            alpn: ALPN.to_vec(),
        };
        let tls = tls::Server::load(settings).map_err(|fault| fault.to_string())?;
        watcher.register(&tls);
        Some(tls)
    };
    Ok(ListenerSettings {
        address: configured.address.clone(),
        socket_mode: configured.mode,
        tls,
        proxy_protocol: match configured.proxy_protocol {
            config::ProxyProtocol::Off => ProxyProtocol::Off,
            config::ProxyProtocol::Required => ProxyProtocol::Required,
        },
        trusted_proxies: trusted_proxies(configured),
    })
}

/// The peers of a listener that are believed whom they speak for.
pub(super) fn trusted_proxies(configured: &config::Listener) -> TrustedProxies {
    let trusted = configured.trusted_proxies.clone();
    TrustedProxies::new(move |peer| trusted.iter().any(|proxy| proxy.is(peer)))
}

pub(super) fn connection_settings(config: &Config) -> ConnectionSettings {
    ConnectionSettings {
        head_limits: HeadLimits {
            bytes: config.limits.head,
            target: config.limits.target,
            lines: config.limits.headers,
        },
        first_byte: config.timeouts.first_byte,
        head: config.timeouts.head,
        idle: config.timeouts.idle,
        body: config.timeouts.body,
        handshake: config.timeouts.tls_handshake,
        streams: u32::try_from(config.limits.streams).unwrap_or(u32::MAX),
    }
}

pub(super) fn log_format(configured: config::LogFormat) -> LogFormat {
    match configured {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Human => LogFormat::Human,
    }
}

pub(super) fn log_level(configured: config::LogLevel) -> LogLevel {
    match configured {
        config::LogLevel::Error => LogLevel::Error,
        config::LogLevel::Warn => LogLevel::Warn,
        config::LogLevel::Info => LogLevel::Info,
        config::LogLevel::Debug => LogLevel::Debug,
        config::LogLevel::Trace => LogLevel::Trace,
    }
}

/// Why the access log cannot be opened, in the operator's words.
pub(super) fn access_log_fault(config: &Config, fault: &dyn std::fmt::Display) -> String {
    match &config.log.access {
        config::AccessLog::File(path) => {
            format!("[log] access: {path:?} cannot be opened: {fault}")
        }
        other => format!("[log] access: {other:?} cannot be opened: {fault}"),
    }
}

pub(super) fn access_log_target(configured: &config::AccessLog) -> Option<AccessLogTarget> {
    match configured {
        config::AccessLog::Off => None,
        config::AccessLog::Stdout => Some(AccessLogTarget::Stdout),
        config::AccessLog::Stderr => Some(AccessLogTarget::Stderr),
        config::AccessLog::File(path) => Some(AccessLogTarget::File(path.clone())),
    }
}
