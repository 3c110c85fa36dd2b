//! One listener as it is configured.

use std::sync::Arc;

use super::address::ListenAddress;
use crate::gateway::{PeerAddress, TrustedProxies};
use crate::tls;

/// One listening address.
#[derive(Clone)]
pub struct ListenerSettings {
    /// Where.
    pub address: ListenAddress,
    /// The permissions of the file of a Unix socket, 0 to `0o777`.
    pub socket_mode: u32,
    /// With TLS, or in the clear.
    pub tls: Option<Arc<tls::Server>>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whose forwarding headers and PROXY headers are believed.
    pub trusted_proxies: TrustedProxies,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Never: it would be a malformed request (the default).
    #[default]
    Off,
    /// Always, and only from trusted peers.
    Required,
}

impl ProxyProtocol {
    /// In the configuration.
    pub(crate) const WORDS: &[(&str, Self)] = &[("off", Self::Off), ("required", Self::Required)];
}

impl ListenerSettings {
    /// The trusted proxies of the listener, if `address` is one of them.
    pub(super) fn proxies_if_trusted(&self, address: &PeerAddress) -> Option<TrustedProxies> {
        let proxies = &self.trusted_proxies;
        proxies.trusts(address.ip()).then(|| proxies.clone())
    }

    pub(super) fn requires_proxy_header(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::Required
    }

    pub(super) fn has_handshake(&self) -> bool {
        self.tls.is_some() || self.requires_proxy_header()
    }
}
