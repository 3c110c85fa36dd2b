//! What is served: token APIs, upstreams, and the routes that join them.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::net::Endpoint;
use super::pattern::{HostPattern, PathPattern};

/// `[[token_api]]`: a REST face that manages tokens, mounted at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenApi {
    /// What routes, logs and metrics call it; unique among token APIs.
    pub name: Arc<str>,
    /// Which contract it speaks.
    pub style: Style,
    /// The path in front of all its calls: no parameters but `{organization}` and `{username}`, no trailing slash.
    pub mount: PathPattern,
    /// What its tokens are signed with. Default HS256.
    pub algorithm: Algorithm,
}

/// The contracts that a token API can speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `allowlist-jwt`: signed tokens that are good as long as their record stands.
    #[default]
    AllowlistJwt,
    /// `accounts`: people who register, log in, and make API keys.
    Accounts(AccountsStyle),
}

/// What a token API of the style `accounts` says beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsStyle {
    /// What its API keys begin with, 1 to 16 letters, digits, "-" or "_". Default `rst_`.
    pub prefix: String,
    /// How long a login lasts, 1m to 30d. Default 60m.
    pub session: Duration,
    /// Who makes accounts. Default open.
    pub registration: RegistrationMode,
}

impl Default for AccountsStyle {
    fn default() -> Self {
        Self {
            prefix: "rst_".to_owned(),
            session: Duration::from_secs(3600),
            registration: RegistrationMode::default(),
        }
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
    /// Whether the upstream sees the client's `Host`; otherwise it sees the endpoint's. Default true.
    pub preserve_host: bool,
    /// Idle connections kept per worker, 0 to 10000; 0: none is kept. Default 256.
    pub idle_connections: usize,
    /// How long a connection is kept idle, 10ms to 1h; less than the upstream's own patience, or requests run into
    /// connections that it is closing. Default 55s, for the usual 60s.
    pub idle_timeout: Duration,
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
    /// The names of the token APIs whose tokens open it, each of which is there; empty only where `public`.
    pub accept: Vec<Arc<str>>,
    /// Whether it is forwarded without a credential. Default false.
    pub public: bool,
    /// Whether the upstream sees the credential. Default false.
    pub forward_credential: bool,
    /// What the identity must be. Default: anybody.
    pub require: Require,
}

/// `require` of a route: for each field that is not empty, the identity's value must be one of the list.
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
}

impl Style {
    /// The word in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::AllowlistJwt => "allowlist-jwt",
            Self::Accounts(_) => "accounts",
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
        Self { name: name.into(), style, mount, algorithm: Algorithm::default() }
    }
}

impl Upstream {
    /// An upstream with the defaults.
    pub fn new(name: &str, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name: name.into(),
            endpoints,
            preserve_host: true,
            idle_connections: 256,
            idle_timeout: Duration::from_secs(55),
        }
    }
}

impl Route {
    /// A route for any host and method, which nothing opens yet: `accept` has to be filled, or `public` set.
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
        }
    }
}

impl Require {
    /// Whether anybody fits.
    pub fn is_empty(&self) -> bool {
        [&self.role, &self.organization, &self.username, &self.subject, &self.email]
            .into_iter()
            .all(|allowed| allowed.is_empty())
    }
}
