//! Token APIs and upstreams: what routes name.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::pattern::PathPattern;
use crate::gateway::{CorsSettings, UpstreamPlan};
use crate::limits::LimitSettings;
use crate::tls::{CertificateFiles, Trust};
use crate::tokens::accounts::Enrolment;
use crate::tokens::signed::SigningAlgorithm;

/// `[[token_api]]`: a REST face that manages tokens, mounted at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenApi {
    /// What routes, logs and metrics call it; unique among token APIs and issuers.
    pub name: Arc<str>,
    /// Which contract it speaks.
    pub style: Style,
    /// The path in front of all its calls: no parameters but `{organization}` and `{username}`, no
    /// trailing slash.
    pub mount: PathPattern,
    /// What its tokens or, with the style `accounts`, its sessions are signed with.
    pub algorithm: SigningAlgorithm,
    /// What its tokens begin with, where they are opaque; empty: they are signed.
    pub prefix: String,
    /// The names of the issuers whose JWTs its calls may be made with, each of which is there.
    pub issuers: Vec<Arc<str>>,
    /// How many requests may be made with its tokens and calls of it, if that is bounded.
    pub rate_limits: Option<Box<LimitSettings>>,
    /// What pages of other origins may do with it.
    pub cors: Option<Arc<CorsSettings>>,
    /// How long a login lasts, with the style `accounts`.
    pub session: Duration,
    /// Whether users or an administrator make accounts, with the style `accounts`.
    pub registration: Enrolment,
}

/// The contracts that a token API can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `allowlist-jwt`: signed tokens that are good as long as their record stands.
    AllowlistJwt,
    /// `tenant-tokens`: opaque tokens for one tenant, until a stated date.
    TenantTokens,
    /// `agent-tokens`: one opaque token per user.
    AgentTokens,
    /// `accounts`: users register, log in, and make API keys.
    Accounts,
}

/// `[[upstream]]`: a named group of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What the gateway takes; the files of its TLS are not loaded yet.
    pub plan: UpstreamPlan,
    /// TLS towards those of its servers that have it.
    pub tls: UpstreamTls,
}

/// `tls` of an upstream: for its endpoints with `https`, and allowed only where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Which authorities are trusted.
    pub trust: Trust,
    /// The name that the servers' certificates must be for, and that is sent as SNI (RFC 6066,
    /// section 3); none: the host of the endpoint.
    pub server_name: Option<ServerName<'static>>,
    /// The certificate with which keyward authenticates.
    pub identity: Option<CertificateFiles>,
}

impl Style {
    /// All of them, each as the configuration names it.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("allowlist-jwt", Self::AllowlistJwt),
        ("tenant-tokens", Self::TenantTokens),
        ("agent-tokens", Self::AgentTokens),
        ("accounts", Self::Accounts),
    ];

    /// As the configuration names it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, style)| *style == self).map_or("", |(word, _)| word)
    }

    /// Whether it has signed tokens or sessions.
    pub fn signs(self) -> bool {
        matches!(self, Self::AllowlistJwt | Self::Accounts)
    }

    /// Whether an administrator makes bootstrap tokens for it. Callers of all others have a login.
    pub fn takes_bootstrap(self) -> bool {
        self == Self::AllowlistJwt
    }

    /// What its tokens begin with by default; empty: they are signed.
    pub fn default_prefix(self) -> &'static str {
        match self {
            Self::AllowlistJwt => "",
            Self::TenantTokens => "sk-",
            Self::AgentTokens => "sk_agt_",
            Self::Accounts => "rst_",
        }
    }
}
