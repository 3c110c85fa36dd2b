//! From a configuration to the settings of parts, with the files of TLS loaded.

use std::sync::Arc;

use crate::api::Face;
use crate::api::accounts::Accounts;
use crate::api::agent_tokens::AgentTokens;
use crate::api::allowlist_jwt::AllowlistJwt;
use crate::api::tenant_tokens::TenantTokens;
use crate::config::{self, Config};
use crate::gateway::{Callers, Plan, PlanSettings, TokenApiSettings, TrustedProxies, UpstreamPlan};
use crate::server::{ConnectionSettings, ListenerSettings};
use crate::telemetry::access_log::AccessLogTarget;
use crate::tls;
use crate::tokens::accounts::AccountTerms;
use crate::tokens::command::Minting;
use crate::tokens::issuer::IssuerSet;
use crate::tokens::opaque::{Alphabet, OpaqueFormat};
use crate::tokens::signed::SignedTokens;
use crate::upstream::UpstreamTls;

/// An error with its sources, on one line.
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

pub(super) fn token_apis(config: &Config) -> Vec<TokenApiSettings> {
    let accounts = config.token_apis.iter().filter(|api| api.style == config::Style::Accounts);
    let accounts: Vec<_> = accounts.map(|api| Arc::clone(&api.name)).collect();
    config.token_apis.iter().map(|api| token_api_settings(api, &accounts)).collect()
}

/// Compiles what a reload may change.
pub(super) fn plan(
    config: &Config,
    signed: &SignedTokens,
    issuers: Arc<IssuerSet>,
    upstreams: Vec<UpstreamPlan>,
) -> Result<Plan, String> {
    Plan::new(PlanSettings {
        token_apis: token_apis(config),
        upstreams,
        routes: config.routes.clone(),
        identity_names: config.identity_headers.clone(),
        token_limit: config.limits.token,
        timeouts: config.timeouts,
        public_keys: signed.public_keys(),
        issuers,
    })
    .map_err(|fault| fault.to_string())
}

/// One upstream, with the files of its TLS loaded. They are watched by `watcher` from now on.
pub(super) fn upstream(
    upstream: &config::Upstream,
    watcher: &tls::Watcher,
) -> Result<UpstreamPlan, String> {
    let mut plan = upstream.plan.clone();
    if plan.settings.endpoints.iter().any(|endpoint| endpoint.is_tls) {
        let config::UpstreamTls { trust, server_name, identity } = upstream.tls.clone();
        // What is offered by ALPN depends on the connection, not on the files.
        let client = tls::Client::load(tls::ClientSettings { trust, identity, alpn: Vec::new() })
            .map_err(|fault| with_sources(&fault))?;
        watcher.register(&client);
        plan.settings.tls = Some(UpstreamTls { client, server_name });
    }
    Ok(plan)
}

/// `accounts`: the token APIs with login sessions.
fn token_api_settings(api: &config::TokenApi, accounts: &[Arc<str>]) -> TokenApiSettings {
    let opaque = |alphabet| Minting::Opaque(OpaqueFormat { prefix: api.prefix.clone(), alphabet });
    let issuers = || api.issuers.clone();
    let (face, minting, callers): (Arc<dyn Face>, _, _) = match &api.style {
        config::Style::AllowlistJwt => (
            Arc::new(AllowlistJwt),
            Minting::Signed(api.algorithm),
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
        config::Style::Accounts => (
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
        cors: api.cors.clone(),
        rate_limits: api.rate_limits.clone(),
        accounts: account_terms(api),
        takes_api_key_field: api.style == config::Style::Accounts,
    }
}

fn account_terms(api: &config::TokenApi) -> Option<AccountTerms> {
    (api.style == config::Style::Accounts).then(|| AccountTerms {
        token_api: Arc::clone(&api.name),
        algorithm: api.algorithm,
        session: api.session,
        enrolment: api.registration,
        format: OpaqueFormat { prefix: api.prefix.clone(), alphabet: Alphabet::Base36 },
    })
}

/// The files of its certificates are watched by `watcher` from now on.
pub(super) fn listener(
    configured: &config::Listener,
    watcher: &tls::Watcher,
) -> Result<ListenerSettings, String> {
    let tls = configured.tls.clone().map(tls::Server::load);
    let tls = tls.transpose().map_err(|fault| fault.to_string())?;
    if let Some(tls) = &tls {
        watcher.register(tls);
    }
    Ok(ListenerSettings {
        address: configured.address.clone(),
        socket_mode: configured.mode,
        tls,
        proxy_protocol: configured.proxy_protocol,
        trusted_proxies: trusted_proxies(configured),
    })
}

/// The peers of a listener that are trusted to name the client that they forward for.
pub(super) fn trusted_proxies(configured: &config::Listener) -> TrustedProxies {
    let trusted = configured.trusted_proxies.clone();
    TrustedProxies::new(move |peer| trusted.iter().any(|proxy| proxy.is(peer)))
}

pub(super) fn connection_settings(config: &Config) -> ConnectionSettings {
    ConnectionSettings { limits: config.limits, timeouts: config.timeouts }
}

/// Why the access log cannot be opened, in the operator's words.
pub(super) fn access_log_fault(config: &Config, fault: &dyn std::fmt::Display) -> String {
    let target: &dyn std::fmt::Debug = match &config.log.access {
        Some(AccessLogTarget::File(path)) => path,
        other => other,
    };
    format!("[log] access: {target:?} cannot be opened: {fault}")
}
