//! The fields that tell an upstream where a request came from, and the address that the client
//! asked.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::client_address::ForwardedChain;
use super::connection::{
    ClientConnection, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP,
};

/// The fields that say where a request came from. Those of an untrusted peer are replaced. Those of
/// a trusted one stay, and its own address is added. No alias of their names is read.
pub(super) struct Forwarding {
    /// The client's address, as keyward itself goes by it. None: it has none.
    client: Option<HeaderValue>,
    proto: HeaderValue,
    host: Option<HeaderValue>,
    /// None: the client has no address, and nothing was said of another.
    forwarded_for: Option<HeaderValue>,
    forwarded: HeaderValue,
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
            host,
            forwarded_for: client.forwarded_for.clone(),
        };
        if client.origin.trusted_proxies.is_some() { ours.behind(chain, headers) } else { ours }
    }

    /// Behind what a trusted proxy said.
    fn behind(self, chain: Option<&ForwardedChain>, headers: &HeaderMap) -> Self {
        let said =
            |name: &HeaderName, chain: Option<&HeaderValue>| headers.get(name).or(chain).cloned();
        let proto = said(&X_FORWARDED_PROTO, chain.and_then(|chain| chain.proto.as_ref()))
            .unwrap_or(self.proto);
        let host =
            said(&X_FORWARDED_HOST, chain.and_then(|chain| chain.host.as_ref())).or(self.host);
        let Some(chain) = chain else { return Self { proto, host, ..self } };
        Self {
            client: chain.client.clone().or(self.client),
            forwarded_for: chain.forwarded_for(headers, self.forwarded_for.as_ref()),
            forwarded: chain.forwarded(headers, host.as_ref(), &proto, &self.forwarded),
            proto,
            host,
        }
    }

    /// The scheme and the host that the client used.
    pub(super) fn public(&self) -> (&HeaderValue, Option<&HeaderValue>) {
        (&self.proto, self.host.as_ref())
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
