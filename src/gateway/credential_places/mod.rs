//! The places in which a route takes credentials besides `Authorization: Bearer`: for clients that
//! cannot set that field, or whose habits are older.
//!
//! The credential that is found is judged as any other. It is removed, wherever it may stand,
//! before the request is forwarded.

mod basic;
mod cookie;
mod elsewhere;
mod origin;
pub(in crate::gateway) mod query;
mod subprotocol;
mod ticket;

use std::ops::Deref;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};
use zeroize::Zeroizing;

use super::allowed_origin::AllowedOrigin;
use super::client_address::ForwardedChain;
use super::connection::ClientConnection;
use super::credential::{CredentialField, X_API_KEY, authorization, bearer, in_field, no_bearer};
use super::refusal::Refusal;
use crate::tokens::authenticator::Refused;
use crate::tokens::opaque::OpaqueApis;
use crate::wire::fields::are_alike;
use origin::Proof;

pub(super) use elsewhere::PlacesElsewhere;

/// Where a route takes credentials from, besides `Authorization: Bearer`. The default: nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialPlaces {
    /// Fields whose value is the token. `Authorization` among them: also without a scheme.
    pub headers: Vec<HeaderName>,
    /// `Authorization: Basic`, with the token for the password.
    pub basic: bool,
    /// `Sec-WebSocket-Protocol` of a WebSocket handshake: `bearer`, then the token.
    pub websocket_protocol: bool,
    /// The cookie of this name.
    pub cookie: Option<String>,
    /// The parameter of this name in the query.
    pub query: Option<String>,
    /// The parameter of this name in the query, which holds a ticket.
    pub ticket: Option<String>,
    /// The origins of pages that may make requests which change something with a credential that
    /// browsers send of their own accord, besides those of the address that they ask for.
    pub origins: Vec<AllowedOrigin>,
}

/// A credential as it was found.
pub(super) struct Presented<'a> {
    pub(super) token: PresentedToken<'a>,
    pub(super) field: CredentialField,
}

/// A token, in the request or decoded from it.
pub(super) enum PresentedToken<'a> {
    AsSent(&'a [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

/// What the reading of a request depends on besides its head.
pub(super) struct Reading<'a> {
    pub(super) opaque: &'a OpaqueApis,
    /// The longest token, in bytes.
    pub(super) token_limit: usize,
    /// The keys of `accounts` are also taken from `X-API-Key`.
    pub(super) takes_account_keys: bool,
    pub(super) is_websocket: bool,
}

/// A credential with where it was found, and how the log calls that.
struct Found<'a> {
    token: Result<PresentedToken<'a>, Refusal>,
    field: CredentialField,
    called: &'a str,
}

impl Deref for PresentedToken<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::AsSent(token) => token,
            Self::Decoded(token) => token,
        }
    }
}

impl CredentialPlaces {
    /// The one credential of a request. Two are refused, whatever they are: keyward and the
    /// upstream could each go by another one.
    pub(super) fn presented<'a>(
        &'a self,
        head: &'a Parts,
        reading: &Reading<'_>,
    ) -> Result<Presented<'a>, Refusal> {
        let headers = &head.headers;
        let (in_authorization, absent) = match self.in_authorization(headers, reading)? {
            Ok(found) => (Some(found), None),
            Err(absent) => (None, Some(absent)),
        };
        let mut found: Vec<Found<'a>> = in_authorization.into_iter().collect();
        self.in_headers(headers, reading, &mut found)?;
        self.in_protocols(headers, reading, &mut found);
        if let Some(name) = &self.cookie {
            found.extend(cookie::values(headers, name).map(|value| Found {
                token: as_sent(value, "its cookie is empty"),
                field: CredentialField::Cookie,
                called: "a cookie",
            }));
        }
        if let Some(query) = head.uri.query() {
            self.in_query(query, head, reading, &mut found)?;
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(Presented { token: one.token?, field: one.field }),
            (Some(one), Some(other)) => {
                let cause =
                    format!("it has a credential in {} and in {}", one.called, other.called);
                Err(Refusal::AmbiguousCredential { cause: cause.into() })
            }
            (None, _) => Err(absent.unwrap_or(Refusal::NoCredential { cause: None })),
        }
    }

    /// What `Authorization` holds, or the refusal of a request that has no other credential.
    fn in_authorization<'a>(
        &self,
        headers: &'a HeaderMap,
        reading: &Reading<'_>,
    ) -> Result<Result<Found<'a>, Refusal>, Refusal> {
        let field = match authorization(headers) {
            Ok(Some(field)) => field,
            Ok(None) => return Ok(Err(Refusal::NoCredential { cause: None })),
            Err(refusal) => return Err(refusal),
        };
        let (scheme, rest) = field.scheme();
        let found = |token, field, called| Ok(Ok(Found { token, field, called }));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = bearer(headers).map(PresentedToken::AsSent);
            return found(token, CredentialField::Authorization, "Authorization: Bearer");
        }
        if self.basic && scheme.eq_ignore_ascii_case(b"basic") {
            let is_token = |text: &[u8]| reading.opaque.is_like_token(text);
            let token = basic::token(rest, reading.token_limit, is_token);
            let token = token.map(PresentedToken::Decoded);
            return found(token, CredentialField::Basic, "Authorization: Basic");
        }
        if self.headers.contains(&header::AUTHORIZATION) && rest.is_empty() && !scheme.is_empty() {
            let token = Ok(PresentedToken::AsSent(scheme));
            return found(token, CredentialField::Header, "Authorization");
        }
        Ok(Err(no_bearer()))
    }

    fn in_headers<'a>(
        &'a self,
        headers: &'a HeaderMap,
        reading: &Reading<'_>,
        found: &mut Vec<Found<'a>>,
    ) -> Result<(), Refusal> {
        let is_listed = self.headers.contains(&X_API_KEY);
        let account_keys = (reading.takes_account_keys && !is_listed).then_some(&X_API_KEY);
        let listed = self.headers.iter().filter(|name| **name != header::AUTHORIZATION);
        for name in listed.chain(account_keys) {
            let Some(value) = in_field(headers, name)? else { continue };
            let is_account_key = account_keys.is_some_and(|account_keys| account_keys == name);
            let (token, field) = if is_account_key {
                (Ok(PresentedToken::AsSent(value)), CredentialField::ApiKey)
            } else {
                (as_sent(value, "its header is empty"), CredentialField::Header)
            };
            found.push(Found { token, field, called: name.as_str() });
        }
        Ok(())
    }

    fn in_protocols<'a>(
        &self,
        headers: &'a HeaderMap,
        reading: &Reading<'_>,
        found: &mut Vec<Found<'a>>,
    ) {
        if self.websocket_protocol
            && reading.is_websocket
            && let Some(token) = subprotocol::token(headers)
        {
            found.push(Found {
                token: token.map(PresentedToken::AsSent),
                field: CredentialField::WebSocketProtocol,
                called: "Sec-WebSocket-Protocol",
            });
        }
    }

    fn in_query<'a>(
        &'a self,
        query: &'a str,
        head: &Parts,
        reading: &Reading<'_>,
        found: &mut Vec<Found<'a>>,
    ) -> Result<(), Refusal> {
        let parameters = [
            (&self.query, CredentialField::Query, "a parameter of the query"),
            (&self.ticket, CredentialField::Ticket, "a ticket in the query"),
        ];
        for (name, field, called) in parameters {
            let Some(name) = name else { continue };
            if query::is_behind_semicolon(query, name) {
                let cause = "its query has the parameter behind a semicolon, which only some \
                             readers take for a separator";
                return Err(Refusal::AmbiguousCredential { cause: cause.into() });
            }
            found.extend(query::values(query, name).map(|value| Found {
                token: if value.is_empty() {
                    Err(malformed("the parameter of its query is empty"))
                } else if field == CredentialField::Ticket
                    && !ticket::is_taken(head, reading.is_websocket)
                {
                    Err(malformed(ticket::ELSEWHERE))
                } else {
                    Ok(PresentedToken::Decoded(value))
                },
                field,
                called,
            }));
        }
        Ok(())
    }

    /// Refuses a request that changes something with a credential that browsers send of their own
    /// accord, if it comes from a page that may not make it. A tunnel may change something, too,
    /// and no browser asks first whether a page may open it.
    pub(super) fn judge_page(
        &self,
        field: CredentialField,
        head: &Parts,
        opens_tunnel: bool,
        client: &ClientConnection,
        chain: Option<&ForwardedChain>,
    ) -> Result<(), Refusal> {
        let proof = match field {
            CredentialField::Cookie => Proof::Needed,
            // A browser repeats it once its user has typed it.
            CredentialField::Basic => Proof::FromBrowsers,
            // No browser adds it of its own accord. A page that has a ticket was given it.
            _ => return Ok(()),
        };
        if !opens_tunnel && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let own = origin::own(client, chain, &head.headers);
        origin::judge(&head.headers, proof, &own, &self.origins)
    }

    /// Removes every credential that could have come in one of these places.
    pub(super) fn remove(&self, headers: &mut HeaderMap, target: &mut Uri) {
        let is_listed = |name: &HeaderName| {
            self.headers.iter().any(|own| are_alike(own.as_str(), name.as_str()))
        };
        while let Some(name) = headers.keys().find(|name| is_listed(name)).cloned() {
            headers.remove(name);
        }
        if self.websocket_protocol {
            subprotocol::remove(headers);
        }
        if let Some(name) = &self.cookie {
            cookie::remove(headers, name);
        }
        if let Some(name) = &self.query {
            query::remove(target, name);
            query::remove_from_referer(headers, name, |_| true);
        }
        self.remove_ticket(target);
        if let Some(name) = &self.ticket {
            query::remove_from_referer(headers, name, |_| true);
        }
    }

    /// Removes the ticket alone. It is used up, so it is of no use to the upstream, whatever the
    /// route says.
    pub(super) fn remove_ticket(&self, target: &mut Uri) {
        if let Some(name) = &self.ticket {
            query::remove(target, name);
        }
    }

    /// The header that the credential came in, of those that are listed.
    pub(super) fn header_in(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        self.headers.iter().find(|name| headers.contains_key(*name))
    }
}

/// What a response says in addition because of where the credential was.
pub(super) fn complete(field: CredentialField, is_switched: bool, headers: &mut HeaderMap) {
    match field {
        CredentialField::WebSocketProtocol if is_switched => subprotocol::select(headers),
        CredentialField::Query | CredentialField::Ticket => {
            make_private(headers);
            // A page would tell its address, and so the token, to those that it leads to.
            headers
                .insert(header::REFERRER_POLICY, const { HeaderValue::from_static("no-referrer") });
        }
        CredentialField::Cookie | CredentialField::Header | CredentialField::ApiKey => {
            make_private(headers);
        }
        _ => {}
    }
}

/// Keeps a response out of shared caches, which know of no credential but that in `Authorization`
/// (RFC 9111, section 3.5; RFC 6750, section 2.3).
fn make_private(headers: &mut HeaderMap) {
    let name = |directive: &[u8]| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii().to_ascii_lowercase()
    };
    let lines: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().cloned().collect();
    let directives: Vec<&[u8]> = lines.iter().flat_map(crate::wire::fields::tokens).collect();
    let is_private = |directive: &&[u8]| {
        matches!(directive.to_ascii_lowercase().as_slice(), b"private" | b"no-store")
    };
    let opens = |directive: &&[u8]| matches!(name(directive).as_slice(), b"public" | b"s-maxage");
    let mut kept: Vec<&[u8]> = directives.iter().filter(|one| !opens(one)).copied().collect();
    if !kept.iter().any(is_private) {
        kept.push(b"private");
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..]));
    headers.insert(
        header::CACHE_CONTROL,
        value.unwrap_or(const { HeaderValue::from_static("private") }),
    );
}

fn as_sent<'a>(token: &'a [u8], if_empty: &'static str) -> Result<PresentedToken<'a>, Refusal> {
    if token.is_empty() { Err(malformed(if_empty)) } else { Ok(PresentedToken::AsSent(token)) }
}

const fn malformed(what: &'static str) -> Refusal {
    Refusal::BadCredential(Refused::Malformed(what))
}

#[cfg(test)]
mod tests;
