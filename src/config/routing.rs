//! What is served: token APIs, upstreams, and the routes that join them.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rustls_pki_types::ServerName;

use super::pattern::{HostPattern, PathPattern};
use crate::domain::ClaimRule;
use crate::tls::{CertificateFiles, Trust};
use crate::upstream::{Endpoint, Protocol};

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
    /// What its tokens are signed with, where they are. Default HS256.
    pub algorithm: Algorithm,
    /// What its tokens begin with, where they are opaque; empty: they are signed.
    pub prefix: String,
    /// The names of the issuers whose JWTs its calls may be made with, each of which is there.
    /// Default none.
    pub issuers: Vec<Arc<str>>,
}

/// The contracts that a token API can speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `allowlist-jwt`: signed tokens that are good as long as their record stands.
    #[default]
    AllowlistJwt,
    /// `tenant-tokens`: opaque tokens for one tenant, until a stated date.
    TenantTokens,
    /// `agent-tokens`: one opaque token per user.
    AgentTokens,
    /// `accounts`: people who register, log in, and make API keys.
    Accounts(AccountsStyle),
}

/// What a token API of the style `accounts` says beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsStyle {
    /// How long a login lasts, 1m to 30d. Default 60m.
    pub session: Duration,
    /// Who makes accounts. Default open.
    pub registration: RegistrationMode,
}

impl Default for AccountsStyle {
    fn default() -> Self {
        Self { session: Duration::from_secs(3600), registration: RegistrationMode::default() }
    }
}

/// Who makes accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Whoever comes (the default).
    #[default]
    Open,
    /// An administrator, with `keyward user add`.
    Closed,
}

/// The algorithms that we sign with (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256, a secret of ours (the default).
    #[default]
    Hs256,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// `[[upstream]]`: a named group of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What routes, logs and metrics call it; unique among upstreams.
    pub name: Arc<str>,
    /// Its servers, at least one, each once.
    pub endpoints: Vec<Endpoint>,
    /// Which version of HTTP is spoken with them. Default HTTP/1.1.
    pub protocol: Protocol,
    /// TLS towards those of its servers that have it.
    pub tls: UpstreamTls,
    /// Whether the upstream sees the client's `Host`; otherwise it sees the endpoint's. Default
    /// true.
    pub preserve_host: bool,
    /// Idle connections kept per worker, 0 to 10000; 0: none is kept. Default 256.
    pub idle_connections: usize,
    /// How long a connection is kept idle, 10ms to 1h; less than the upstream's own patience, or
    /// requests run into connections that it is closing. Default 4s: Node, uvicorn and Apache close
    /// after 5s.
    pub idle_timeout: Duration,
}

/// `tls` of an upstream: for its endpoints with `https`, and allowed only where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Which authorities are trusted. Default those of the system.
    pub trust: Trust,
    /// The name that the servers' certificates must be for, and that is sent as SNI (RFC 6066,
    /// section 3). Default the host of the endpoint.
    pub server_name: Option<ServerName<'static>>,
    /// The certificate with which keyward authenticates. Default none.
    pub identity: Option<CertificateFiles>,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { trust: Trust::System, server_name: None, identity: None }
    }
}

/// `[[route]]`: host, path and method, what is required, and which upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The hosts. Default any.
    pub host: HostPattern,
    /// The paths.
    pub path: PathPattern,
    /// The methods, each once; empty: any. Default any.
    pub methods: Vec<Method>,
    /// The name of the upstream, which is there.
    pub upstream: Arc<str>,
    /// The names of the token APIs and issuers whose tokens open it, each of which is there; empty
    /// only where `public`.
    pub accept: Vec<Arc<str>>,
    /// Whether it is forwarded without a credential. Default false.
    pub public: bool,
    /// Whether the upstream sees the credential. Default false.
    pub forward_credential: bool,
    /// What the identity must be. Default: anybody.
    pub require: Require,
    /// The parameter of the path that names a tenant, which must be the caller's. Default
    /// `tenant_id`, where the path has it.
    pub tenant_param: Option<String>,
    /// Whether the upstream sees the tenant's own name where the client wrote `active`. Default
    /// false.
    pub resolve_tenant: bool,
}

/// `require` of a route: for each field that is not empty, the identity's value must be one of the
/// list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// Allowed roles; empty: any.
    pub role: Vec<String>,
    /// Allowed organizations; empty: any.
    pub organization: Vec<String>,
    /// Allowed user names; empty: any.
    pub username: Vec<String>,
    /// Allowed subjects; empty: any.
    pub subject: Vec<String>,
    /// Allowed email addresses; empty: any.
    pub email: Vec<String>,
    /// Allowed tenants; empty: any.
    pub tenant: Vec<String>,
    /// What an issuer's token must be good for, one of these; empty: anything. Each is a
    /// `scope-token` (RFC 6749, section 3.3).
    pub scope: Vec<String>,
    /// What the claims of an issuer's token must be; empty: anything.
    pub claims: Vec<ClaimRule>,
}

impl Style {
    /// The word in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AllowlistJwt => "allowlist-jwt",
            Self::TenantTokens => "tenant-tokens",
            Self::AgentTokens => "agent-tokens",
            Self::Accounts(_) => "accounts",
        }
    }

    /// Whether it has signed tokens.
    pub fn signs(&self) -> bool {
        match self {
            Self::AllowlistJwt | Self::Accounts(_) => true,
            Self::TenantTokens | Self::AgentTokens => false,
        }
    }

    /// Whether an administrator makes bootstrap tokens for it; to all others people come with a
    /// login of their own.
    pub fn takes_bootstrap(&self) -> bool {
        *self == Self::AllowlistJwt
    }

    /// What its tokens begin with, unless said otherwise; nothing: they are signed.
    pub fn default_prefix(&self) -> &'static str {
        match self {
            Self::AllowlistJwt => "",
            Self::TenantTokens => "sk-",
            Self::AgentTokens => "sk_agt_",
            Self::Accounts(_) => "rst_",
        }
    }
}

impl Algorithm {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::EdDsa, Self::Es256, Self::Rs256];

    /// The word in the configuration, which is that of the JOSE header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl TokenApi {
    /// A token API with the defaults.
    pub fn new(name: &str, style: Style, mount: PathPattern) -> Self {
        let prefix = style.default_prefix().to_owned();
        Self {
            name: name.into(),
            style,
            mount,
            algorithm: Algorithm::default(),
            prefix,
            issuers: Vec::new(),
        }
    }
}

impl Upstream {
    /// An upstream with the defaults.
    pub fn new(name: &str, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: name.into(),
            endpoints,
            protocol: Protocol::default(),
            tls: UpstreamTls::default(),
            preserve_host: true,
            idle_connections: 256,
            idle_timeout: Duration::from_secs(4),
        }
    }
}

impl Route {
    /// A route for any host and method, which nothing opens yet: `accept` has to be filled, or
    /// `public` set.
    pub fn new(path: PathPattern, upstream: &str) -> Self {
        Self {
            host: HostPattern::Any,
            path,
            methods: Vec::new(),
            upstream: upstream.into(),
            accept: Vec::new(),
            public: false,
            forward_credential: false,
            require: Require::default(),
            tenant_param: None,
            resolve_tenant: false,
        }
    }
}

impl Require {
    /// Whether anybody fits.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
            && [
                &self.role,
                &self.organization,
                &self.username,
                &self.subject,
                &self.email,
                &self.tenant,
                &self.scope,
            ]
            .into_iter()
            .all(|allowed| allowed.is_empty())
    }
}
