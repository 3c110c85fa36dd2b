//! The fields that tell an upstream where a request came from, and the address that the client
//! asked.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::client_address::{ForwardedChain, scheme_of};
use super::connection::{
    ClientConnection, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP,
};
use crate::wire::authority::host_of;

/// The fields that say where a request came from. Those of an untrusted peer are replaced. Those of
/// a trusted one stay, and its own address is added. No alias of their names is read.
pub(super) struct Forwarding {
    /// The client's address, as keyward itself goes by it. None: it has none.
    client: Option<HeaderValue>,
    proto: HeaderValue,
    host: Option<HeaderValue>,
    /// Whether the request itself names a host. HTTP/1.0 may leave it out.
    names_host: bool,
    /// None: the client has no address, and nothing was said of another.
    forwarded_for: Option<HeaderValue>,
    forwarded: HeaderValue,
}

/// The address that the client asked, as keyward or a trusted proxy before it saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicAddress<'a> {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Nothing, where a client of HTTP/1.0 named none.
    pub(super) authority: Option<&'a str>,
}

impl Forwarding {
    /// `chain`: what trusted proxies say of the request's way, read from these `headers`.
    pub(super) fn of(
        client: &ClientConnection,
        chain: Option<&ForwardedChain>,
        headers: &HeaderMap,
    ) -> Self {
        let host = headers.get(header::HOST).filter(|host| !host.is_empty()).cloned();
        let ours = Self {
            client: client.forwarded_for.clone(),
            proto: client.origin.scheme.value(),
            forwarded: client.forwarded(host.as_ref()),
            names_host: host.is_some(),
            host,
            forwarded_for: client.forwarded_for.clone(),
        };
        if client.origin.trusted_proxies.is_some() { ours.behind(chain, headers) } else { ours }
    }

    /// Behind what a trusted proxy said.
    fn behind(self, chain: Option<&ForwardedChain>, headers: &HeaderMap) -> Self {
        let said =
            |name: &HeaderName, chain: Option<&HeaderValue>| last(headers, name).or(chain).cloned();
        let proto = said(&X_FORWARDED_PROTO, chain.and_then(|chain| chain.proto.as_ref()))
            .map_or(self.proto, of_http);
        let host =
            said(&X_FORWARDED_HOST, chain.and_then(|chain| chain.host.as_ref())).or(self.host);
        let Some(chain) = chain else { return Self { proto, host, ..self } };
        Self {
            client: chain.client.clone().or(self.client),
            forwarded_for: chain.forwarded_for(headers, self.forwarded_for.as_ref()),
            forwarded: chain.forwarded(headers, host.as_ref(), &proto, &self.forwarded),
            names_host: self.names_host,
            proto,
            host,
        }
    }

    /// The address that the client asked. Of a list, the last element counts: it is of the proxy
    /// that is connected to keyward, and what stands before it may be the client's.
    pub(super) fn public(&self) -> PublicAddress<'_> {
        PublicAddress {
            scheme: last_element(&self.proto).and_then(scheme_of).unwrap_or("http"),
            authority: self
                .host
                .as_ref()
                .and_then(last_element)
                .filter(|host| host_of(host.as_bytes()).is_some()),
        }
    }

    pub(super) const fn names_host(&self) -> bool {
        self.names_host
    }

    pub(super) fn each(&self, field: &mut dyn FnMut(&HeaderName, &HeaderValue)) {
        for (name, value) in [
            (&X_FORWARDED_FOR, &self.forwarded_for),
            (&X_REAL_IP, &self.client),
            (&X_FORWARDED_HOST, &self.host),
        ] {
            if let Some(value) = value {
                field(name, value);
            }
        }
        field(&header::FORWARDED, &self.forwarded);
        field(&X_FORWARDED_PROTO, &self.proto);
    }
}

/// The last value of a field: proxies add theirs behind what came.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.get_all(name).iter().next_back()
}

/// `X-Forwarded-Proto` with `http` or `https` in the place of `ws` and `wss`: upstreams know those
/// two.
fn of_http(proto: HeaderValue) -> HeaderValue {
    let is_of_websocket = |element: &str| {
        let element = element.trim();
        element.eq_ignore_ascii_case("ws") || element.eq_ignore_ascii_case("wss")
    };
    let Ok(text) = proto.to_str() else { return proto };
    if !text.split(',').any(is_of_websocket) {
        return proto;
    }
    let elements: Vec<_> = text
        .split(',')
        .map(|element| scheme_of(element.trim()).unwrap_or(element.trim()))
        .collect();
    HeaderValue::try_from(elements.join(", ")).unwrap_or(proto)
}

fn last_element(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()?.rsplit(',').next().map(str::trim)
}
