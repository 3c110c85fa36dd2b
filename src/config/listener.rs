//! Where clients connect.

use std::net::IpAddr;
use std::str::FromStr;

use super::net::IpNet;
use crate::server::ListenAddress;
use crate::tls::{CertificateFiles, ClientAuth};

/// `[[listener]]`: a socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens: `IP:port` or `unix:/path`. Port 0 lets the system choose.
    pub address: ListenAddress,
    /// The permissions of the file of a Unix socket, 0 to `0o777`. Default
    /// [`Listener::SOCKET_MODE`].
    pub mode: u32,
    /// The certificates, chosen by the name that the client asks for, the first one otherwise;
    /// empty: plain HTTP. Default empty. Always empty on a Unix socket.
    pub tls: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate, and of which authorities; only with `tls`.
    /// Default: they are not.
    pub client_certificates: Option<ClientAuth>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are kept and added to, and who may speak
    /// the PROXY protocol; everybody else's are removed. Default empty.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether connections begin with a PROXY protocol header. Default off.
    pub proxy_protocol: ProxyProtocol,
}

/// A peer that is trusted to say whom it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// One with an address of this network.
    Network(IpNet),
    /// One that connects to the Unix socket of the listener, written `unix`.
    UnixPeer,
}

impl TrustedProxy {
    /// Whether a peer is meant; one of a Unix socket has no address.
    #[must_use]
    pub fn is(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Network(network), Some(address)) => network.contains(address),
            (Self::UnixPeer, None) => true,
            (Self::Network(_), None) | (Self::UnixPeer, Some(_)) => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    /// # Errors
    ///
    /// The reason, in words for the one who typed it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" { Ok(Self::UnixPeer) } else { text.parse().map(Self::Network) }
    }
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not (the default).
    #[default]
    Off,
    /// They must, and only trusted proxies may connect.
    Required,
}

impl Listener {
    /// The permissions of the file of a Unix socket where `mode` says nothing: its owner and its
    /// group may connect.
    pub const SOCKET_MODE: u32 = 0o660;

    /// A plain listener that trusts nobody.
    pub fn new(address: impl Into<ListenAddress>) -> Self {
        Self {
            address: address.into(),
            mode: Self::SOCKET_MODE,
            tls: Vec::new(),
            client_certificates: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
        }
    }
}
