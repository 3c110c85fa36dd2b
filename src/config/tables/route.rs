//! The keys of `[[route]]`.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::claims::Claims;
use super::compression::CompressionKeys;
use super::conditions::WhenKeys;
use super::cors::CorsKeys;
use super::credentials::{CredentialKeys, REALM};
use super::header_changes::{RequestHeaderKeys, ResponseHeaderKeys};
use super::own_answers::{RedirectKeys, RespondKeys};
use super::rate_limits::{CONCURRENT, RateKeys};
use super::texts::{Name, empty, method, reference, refused};
use crate::config::pattern::{PathPattern, Segment};
use crate::domain::ClaimRule;
use crate::gateway::{ChallengeScheme, DEFAULT_REALM, ForwardPath, HostRule, Scheme};
use crate::settings::key::{KindExt as _, table, tables};
use crate::settings::kind::{OrOff, Span, Text, boolean, duration, or_off, size, text, words};
use crate::settings::list::{At, filled, list, one_or_list};
use crate::settings::section::Row;
use crate::settings::settings;
use crate::wire::limits::{BODY_SIZE, EXCHANGE_WAIT};

settings! {
    /// What goes where: none or more, if there is a `[[token_api]]`. The most specific route wins:
    /// scheme, then host, then path, then method, then the number of conditions in `when`. A token
    /// opens only routes that accept its token API: nothing is open by default.
    ///
    /// A path may name a tenant: it must be the caller's, or `active`, which is the tenant that the
    /// caller acts for, or the only one. Upstreams are told the tenant as the organization.
    pub(crate) struct RouteKeys {
        /// The name of an `[[upstream]]`. Required, unless there is `redirect` or `respond`.
        pub(crate) upstream: Option<Name> = UPSTREAM.optional(),
        /// Another address to which clients are sent, in the place of `upstream`.
        pub(crate) redirect: RedirectKeys = table(),
        /// The same answer to every request, in the place of `upstream`.
        pub(crate) respond: RespondKeys = table(),
        /// Only requests in the clear, `"http"`, or over TLS, `"https"`, as keyward or a trusted
        /// proxy sees it. Such routes come before those for both, whatever host and path. Absent:
        /// both.
        pub(crate) scheme: Option<Scheme> = words(SCHEMES).optional(),
        /// Only this host, or all names that end in it: `"*.example.com"`. Absent: any.
        pub(crate) host: Option<HostRule> = HOST.optional(),
        /// Literal segments, `{name}` for one segment, `{*name}` for all that is left.
        pub(crate) path: Option<PathPattern> = PATH.required(),
        /// How the path is forwarded: `"normal"`, in the normal form by which the route is chosen,
        /// or `"raw"`, with what stands for `{*rest}` as it came, `%2F` and `//` too. A path that
        /// an upstream could then read as one of another route is refused, and so are dot segments.
        pub(crate) forward_path: ForwardPath = words(SPELLINGS).or(ForwardPath::Normal),
        /// Taken away from the beginning of the path, which must begin with it; the upstream is
        /// told it in `X-Forwarded-Prefix`.
        pub(crate) strip_prefix: Option<PathPattern> = PREFIX.optional(),
        /// Put before the path, after `strip_prefix`.
        pub(crate) add_prefix: Option<PathPattern> = PREFIX.optional(),
        /// The whole path for the upstream, by the parameters of `path`: `"/v2/{rest}"`. Without
        /// `strip_prefix` and `add_prefix`.
        pub(crate) rewrite: Option<PathPattern> = TEMPLATE.optional(),
        /// Only these methods. Absent: any.
        pub(crate) methods: Option<Vec<Method>> = filled(METHOD).unique().optional(),
        /// What a request must have besides. Absent: nothing.
        pub(crate) when: WhenKeys = table(),
        /// `true`: forwarded without a credential, and without `accept` and `require`.
        pub(crate) public: bool = boolean().or(false),
        /// The names of the token APIs and issuers whose tokens open it; required, unless `public`.
        pub(crate) accept: Option<Vec<Name>> = filled(GRANTOR).unique().optional(),
        /// Where credentials come from besides `Authorization: Bearer`. Absent: from nowhere else.
        pub(crate) credentials: CredentialKeys = table(),
        /// How a client without a good credential is asked for one: `"bearer"` (RFC 6750), or
        /// `"basic"` for git, pip, wget, docker and browsers, which then ask their user; with
        /// `credentials.basic`.
        pub(crate) challenge: ChallengeScheme =
            words(ChallengeScheme::WORDS).or(ChallengeScheme::Bearer),
        /// What clients are told that the credential is for.
        pub(crate) realm: String = REALM.or(DEFAULT_REALM.to_owned()),
        /// `true`: the upstream sees the credential, and those that other routes would take.
        pub(crate) forward_credential: bool = boolean().or(false),
        /// How long its requests may take, where that is not what `[timeouts]` says.
        pub(crate) timeouts: RouteTimeoutKeys = table(),
        /// The body of a request, where that is not what `body` in `[limits]` says. A larger one is
        /// answered with 413, or broken off where its length was not stated.
        pub(crate) max_body: Option<Option<usize>> = or_off(size(BODY_SIZE)).optional(),
        /// Whether responses of the upstream are compressed for clients that accept it.
        pub(crate) compression: CompressionKeys = table(),
        /// What it changes in the headers of requests.
        pub(crate) request_headers: RequestHeaderKeys = table(),
        /// What it changes in the headers of its answers.
        pub(crate) response_headers: ResponseHeaderKeys = table(),
        /// The protocols to which clients may switch by `Upgrade`, as in `["websocket", "tcp"]`;
        /// `[]`: none. Of others than `"websocket"`, which alone goes over HTTP/2, keyward passes
        /// the bytes on. What is not listed is left out, and the request is served without it.
        pub(crate) upgrades: Vec<String> =
            list(UPGRADE).unique().or(vec![WEBSOCKET.to_owned()]),
        /// How many requests may be made along it: none or more limits, all of which hold. Absent:
        /// any number.
        pub(crate) rate_limits: Vec<Row<RateKeys>> = tables(),
        /// How many requests of one token may be under way along it at the same time, on this
        /// instance: the next one is answered with 429. Absent: any number.
        pub(crate) concurrent_requests: Option<u32> = CONCURRENT.optional(),
        /// What pages of other origins may do with it. Absent: that is the upstream's to say, and
        /// an `OPTIONS` goes on to it like any other request.
        pub(crate) cors: CorsKeys = table(),
        /// What the identity must be: for each key one of the list. Absent: any identity passes.
        pub(crate) require: RequireKeys = table(),
        /// The parameter of the path that names the tenant; `""`: none does. Absent: `"tenant_id"`,
        /// where the path has it.
        pub(crate) tenant_param: Option<String> = PARAMETER.optional(),
        /// `true`: the upstream sees the tenant's own name in the path, not `active`.
        pub(crate) resolve_tenant: bool = boolean().or(false),
    }
}

settings! {
    /// How long the requests of a route may take. What is absent is as in `[timeouts]`. What is
    /// there holds for gRPC, event streams and WebSocket, too, which otherwise have no such limits.
    pub(crate) struct RouteTimeoutKeys {
        /// From the end of a request to the headers of the response.
        pub(crate) response_head: Option<Option<Duration>> = TIME.optional(),
        /// Between two pieces of the request's body, or of what a client sends over WebSocket.
        pub(crate) request_body: Option<Option<Duration>> = TIME.optional(),
        /// Between two pieces of the response's body, or of what an upstream sends over WebSocket.
        pub(crate) response_body: Option<Option<Duration>> = TIME.optional(),
        /// As a whole: from the end of the request's headers to the end of the response.
        pub(crate) request: Option<Option<Duration>> = TIME.optional(),
    }
}

settings! {
    /// What the identity must be. Each key that is there must be met.
    pub(crate) struct RequireKeys {
        /// What an issuer's token must be good for: one scope, or one of a list, from `scope` or
        /// `scp`. Our own tokens have none. Otherwise the answer is 403 with the list in
        /// `WWW-Authenticate` (RFC 6750).
        pub(crate) scope: Option<Vec<String>> = one_or_list(SCOPE).unique().optional(),
        /// Allowed roles.
        pub(crate) role: Option<Vec<String>> = filled(VALUE).optional(),
        /// Allowed organizations.
        pub(crate) organization: Option<Vec<String>> = filled(VALUE).optional(),
        /// Allowed usernames.
        pub(crate) username: Option<Vec<String>> = filled(VALUE).optional(),
        /// Allowed subjects.
        pub(crate) subject: Option<Vec<String>> = filled(VALUE).optional(),
        /// Allowed email addresses.
        pub(crate) email: Option<Vec<String>> = filled(VALUE).optional(),
        /// Allowed tenants: the one in the path, or else the active one.
        pub(crate) tenant: Option<Vec<String>> = filled(VALUE).optional(),
        /// What the claims of an issuer's token must be, as in `required_claims`. Our own tokens
        /// have no claims.
        pub(crate) claims: Option<Vec<ClaimRule>> = Claims.optional(),
    }
}

const TIME: OrOff<Span> = or_off(duration(EXCHANGE_WAIT));

const UPSTREAM: At<Text<Arc<str>>> = reference("the name of an [[upstream]]");

const GRANTOR: At<Text<Arc<str>>> = reference("the name of a [[token_api]] or an [[issuer]]");

const HOST: Text<HostRule> = text(
    "a host name as in \"app.example.com\" or \"*.example.com\" (left out for any)",
    str::parse,
);

const PATH: Text<PathPattern> = text("a path as in \"/api/{name}/{*rest}\"", str::parse);

const METHOD: Text<Method> = text("an HTTP method as in \"GET\" (left out for any)", method);
const SPELLINGS: &[(&str, ForwardPath)] =
    &[("normal", ForwardPath::Normal), ("raw", ForwardPath::Raw)];

const SCHEMES: &[(&str, Scheme)] = &[("http", Scheme::Http), ("https", Scheme::Https)];

/// The protocol of which keyward reads the handshake.
pub(crate) const WEBSOCKET: &str = "websocket";

/// A name with or without a version (RFC 9110, section 7.8), but of no protocol whose requests
/// would pass by keyward unseen (cf. CVE-2022-41721).
const UPGRADE: Text<String> = text("the name of a protocol as in \"tcp\"", |text| {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut parts = text.split('/');
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_name = |part: &str| !part.is_empty() && part.chars().all(fits);
    let is_known = is_name(&name) && parts.next().is_none_or(is_name) && parts.next().is_none();
    match name.as_str() {
        "" => empty(),
        "h2c" | "h2" | "h3" | "http" | "tls" => {
            Err("requests in it would pass keyward unseen: clients speak HTTP/2 without".to_owned())
        }
        WEBSOCKET => Ok(WEBSOCKET.to_owned()),
        _ if is_known && text.len() <= 64 => Ok(text.to_owned()),
        _ => refused(),
    }
});

const PREFIX: Text<PathPattern> = text("the beginning of a path, as in \"/api\"", |text| {
    let prefix: PathPattern = text.parse()?;
    match prefix.segments() {
        [.., Segment::Literal(last)] if last.is_empty() => {
            Err("a prefix has no slash at its end".to_owned())
        }
        segments if segments.iter().all(|segment| matches!(segment, Segment::Literal(_))) => {
            Ok(prefix)
        }
        _ => Err("a prefix has no parameters: see \"rewrite\"".to_owned()),
    }
});

const TEMPLATE: Text<PathPattern> =
    text("a path with parameters of this route, as in \"/v2/{rest}\"", str::parse);

const VALUE: Text<String> = text("a value that the identity may have", |text| match text {
    "" => empty(),
    _ => Ok(text.to_owned()),
});

/// A `scope-token` (RFC 6749, section 3.3): it can stand in a challenge as it is.
const SCOPE: Text<String> = text("a scope as in \"read:reports\"", |text| match text {
    "" => empty(),
    _ if text.contains(' ') => Err("a scope holds no space: list each by itself".to_owned()),
    _ if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\')) => {
        Err("a scope holds visible ASCII characters other than \" and \\".to_owned())
    }
    _ => Ok(text.to_owned()),
});

const PARAMETER: Text<String> = text("the name of a parameter of the path, or \"\"", |text| {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.bytes().all(fits) { Ok(text.to_owned()) } else { refused() }
});
