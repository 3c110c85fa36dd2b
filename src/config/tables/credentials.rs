//! The keys of a route's `credentials`.

use http::header::HeaderName;

use super::texts::{empty, refused};
use crate::config::identity_headers::{folded, parse_credential_name};
use crate::gateway::AllowedOrigin;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, boolean, text};
use crate::settings::list::filled;
use crate::settings::settings;

settings! {
    /// Where the route takes credentials from besides `Authorization: Bearer`. A request with two
    /// credentials is refused. What comes in one of these places is removed before the upstream.
    pub(crate) struct CredentialKeys {
        /// Headers whose value is a key or a JWT, as `"X-API-Key"`. With `"Authorization"`, that
        /// header may also hold it without a scheme.
        pub(crate) headers: Option<Vec<HeaderName>> = filled(HEADER).unique().optional(),
        /// `true`: `Authorization: Basic` with the key as the password and any username, or with
        /// the key as the username and nothing or `x-oauth-basic` as the password.
        pub(crate) basic: bool = boolean().or(false),
        /// `true`: `Sec-WebSocket-Protocol: bearer, <token>` of a WebSocket handshake, with other
        /// protocols beside it or without.
        pub(crate) websocket_protocol: bool = boolean().or(false),
        /// The name of a cookie. A request that may change something must then come from a page of
        /// the same origin, or of one of `origins`: so must a WebSocket, and a switch to another
        /// protocol in `upgrades`.
        pub(crate) cookie: Option<String> = COOKIE.optional(),
        /// The name of a parameter of the query (RFC 6750, section 2.3). It is in the histories of
        /// browsers and the logs of other proxies: for short-lived tokens, where nothing else is
        /// possible.
        pub(crate) query: Option<String> = PARAMETER.optional(),
        /// The name of a parameter of the query that holds a ticket (`POST /tickets` of a token
        /// API), which is good once and for 30 s: for a WebSocket, or for a GET whose `Accept`
        /// names `text/event-stream`.
        pub(crate) ticket: Option<String> = TICKET.optional(),
        /// The origins of pages that may make requests which change something with a cookie or with
        /// Basic, besides the pages of the address that they ask for: in the forms of `cors.origins`,
        /// without `*`.
        pub(crate) origins: Option<Vec<AllowedOrigin>> = filled(ORIGIN).unique().optional(),
    }
}

const HEADER: Text<HeaderName> = text("the name of a header as in \"X-API-Key\"", |text| {
    if text.is_empty() {
        return empty();
    }
    let is_ours = |prefix| folded(text).starts_with(prefix);
    if is_ours("x-keyward-") || is_ours("x-forwarded-") || folded(text) == "x-request-id" {
        return Err("keyward removes what clients send under that name".to_owned());
    }
    let name = parse_credential_name(text)?;
    HeaderName::try_from(name).or_else(|_| refused())
});

/// A token of RFC 9110, section 5.6.2.
const COOKIE: Text<String> = text("the name of a cookie as in \"__Host-token\"", |text| {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match text {
        "" => empty(),
        _ if text.len() <= 128 && text.chars().all(fits) => Ok(text.to_owned()),
        _ => refused(),
    }
});

const PARAMETER: Text<String> =
    text("the name of a parameter of the query as in \"access_token\"", parameter);

const TICKET: Text<String> =
    text("the name of a parameter of the query as in \"ticket\"", parameter);

/// The name of a parameter of a query, which needs no percent-encoding.
fn parameter(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    match text {
        "" => empty(),
        _ if text.len() <= 128 && text.chars().all(fits) => Ok(text.to_owned()),
        _ => refused(),
    }
}

const ORIGIN: Text<AllowedOrigin> =
    text("an origin as in \"https://app.example.com\" or \"https://*.example.com\"", |text| {
        match text.parse()? {
            AllowedOrigin::Any => {
                Err("every page could then act with the cookie of its visitors: name \
                                   the origins"
                    .to_owned())
            }
            origin => Ok(origin),
        }
    });

/// A `quoted-string` without escapes (RFC 9110, section 5.6.4).
pub(super) const REALM: Text<String> =
    text("1 to 128 visible ASCII characters and spaces, no quote and no backslash", |text| {
        let fits =
            |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'"' | b'\\');
        match text {
            "" => empty(),
            _ if text.len() <= 128 && text.bytes().all(fits) => Ok(text.to_owned()),
            _ => refused(),
        }
    });
