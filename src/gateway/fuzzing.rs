//! The gateway's inner parts for the fuzz targets, as functions of plain HTTP types.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{self, HeaderName};
use http::request::Parts;

pub(crate) use super::allowed_origin::PageOrigin;
use super::client_address::ForwardedChain;
use super::conditions::{Conditions, Expected};
use super::connection::ClientConnection;
use super::credential_places::{CredentialPlaces, Reading};
use super::forward::request::{add_hop, clean};
use super::forwarding::Forwarding;
use super::gate::judge;
pub(crate) use super::gate::{HeadLimits, Passed, WebSocketForm};
use super::identity_headers::{IdentityNames, IdentityRules};
use super::redirect::Redirect;
use super::refusal::Refusal;
use super::spelling::RawPaths;
use super::trace_context;
use crate::tokens::opaque::OpaqueApis;
use crate::wire::fields::FoldedNames;

/// The inner parts, with identity headers of two kinds: of keyward's own prefix, and of another.
pub(crate) struct Gateway {
    rules: IdentityRules,
    /// Every place in which a route can take a credential.
    places: CredentialPlaces,
    opaque: OpaqueApis,
}

impl Gateway {
    pub(crate) fn new() -> Result<Self, String> {
        let names = IdentityNames {
            subject: Some("x-keyward-subject".to_owned()),
            username: Some("Remote-User".to_owned()),
            request_id: Some("x-request-id".to_owned()),
            ..IdentityNames::default()
        };
        let places = CredentialPlaces {
            headers: vec![
                HeaderName::from_static("x-api-key"),
                HeaderName::from_static("private-token"),
                header::AUTHORIZATION,
            ],
            basic: true,
            websocket_protocol: true,
            cookie: Some("token".to_owned()),
            query: Some("access_token".to_owned()),
            ticket: Some("ticket".to_owned()),
            origins: Vec::new(),
        };
        Ok(Self { rules: IdentityRules::new(&names)?, places, opaque: OpaqueApis::default() })
    }

    /// The token of a WebSocket handshake with this head, or the reason of its refusal.
    pub(crate) fn credential(&self, head: &Parts) -> Result<Vec<u8>, &'static str> {
        let reading = Reading {
            opaque: &self.opaque,
            token_limit: 4096,
            takes_account_keys: true,
            is_websocket: true,
        };
        let presented = self.places.presented(head, &reading);
        presented.map(|found| found.token.to_vec()).map_err(|fault| fault.reason().as_str())
    }

    pub(crate) fn remove_credentials(&self, head: &mut Parts) {
        self.places.remove(&mut head.headers, &mut head.uri);
    }

    pub(crate) fn judged(&self) -> &FoldedNames {
        &self.rules.judged
    }

    pub(crate) fn judge(
        &self,
        head: &mut Parts,
        has_body: bool,
        limits: HeadLimits,
    ) -> Result<Passed, Refusal> {
        judge(head, has_body, limits, &self.rules.judged, RawPaths::Unused)
    }

    /// The same, with a route that forwards paths as they came.
    pub(crate) fn judge_for_raw_paths(
        &self,
        head: &mut Parts,
        has_body: bool,
        limits: HeadLimits,
    ) -> Result<Passed, Refusal> {
        judge(head, has_body, limits, &self.rules.judged, RawPaths::Used)
    }

    /// What `forward` does to a head that passed, on a public route to an upstream that keeps the
    /// host.
    pub(crate) fn prepare(
        &self,
        passed: Passed,
        client: &ClientConnection,
        head: &mut Parts,
        length: Option<u64>,
    ) {
        let chain = ForwardedChain::read(client, &head.headers);
        let forwarding = Forwarding::of(client, chain.as_ref(), &head.headers);
        let accepts_trailers = clean(&self.rules, client, passed, &mut head.headers, length);
        set(&forwarding, &mut head.headers);
        add_hop(&mut head.headers, head.version, accepts_trailers);
        head.extensions.clear();
    }

    /// What `forward` does to the fields that say where a request came from.
    pub(crate) fn set_forwarding(&self, client: &ClientConnection, headers: &mut HeaderMap) {
        let chain = ForwardedChain::read(client, headers);
        let forwarding = Forwarding::of(client, chain.as_ref(), headers);
        self.rules.strip(client, headers);
        set(&forwarding, headers);
    }

    /// Whose request this is, for the access log and the limits.
    pub(crate) fn client_address(
        &self,
        client: &ClientConnection,
        headers: &HeaderMap,
    ) -> Option<IpAddr> {
        let said = ForwardedChain::read(client, headers).and_then(|chain| chain.client_address());
        said.or(client.origin.address.ip())
    }
}

/// The trace of a request, as members of a JSON log line.
pub(crate) fn trace_members(headers: &HeaderMap) -> Option<Box<str>> {
    trace_context::log_members(headers)
}

/// Whether a route that asks for this value of a parameter is meant by a request with this query;
/// `None`: the request is refused.
pub(crate) fn query_is(name: &str, value: &str, query: &str) -> Option<bool> {
    let expected = Expected::OneOf(vec![value.to_owned()]);
    let conditions = Conditions { headers: Vec::new(), query: vec![(name.to_owned(), expected)] };
    conditions.hold(&HeaderMap::new(), Some(query)).ok()
}

/// Where a redirect leads a request to this host; `None`: the request is refused.
pub(crate) fn location(
    redirect: &Redirect,
    pattern: &str,
    path: &str,
    query: &str,
    host: &str,
) -> Option<String> {
    let location = redirect.location(pattern, path, Some(query), Some(host)).ok()?;
    location.to_str().ok().map(ToOwned::to_owned)
}

/// As `upstream` does it for HTTP/2; for HTTP/1.1 they are lines.
fn set(forwarding: &Forwarding, headers: &mut HeaderMap) {
    forwarding.each(&mut |name, value| {
        headers.insert(name.clone(), value.clone());
    });
}
