//! Where clients connect.

use std::net::SocketAddr;

use super::net::IpNet;
use crate::tls::{CertificateFiles, ClientAuth};

/// `[[listener]]`: a socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The certificates, chosen by the name that the client asks for, the first one otherwise; empty: plain HTTP.
    /// Default empty.
    pub tls: Vec<CertificateFiles>,
    /// Whether clients are asked for a certificate, and of which authorities; only with `tls`. Default: they are not.
    pub client_certificates: Option<ClientAuth>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are kept and added to, and who may speak the PROXY
    /// protocol; everybody else's are removed. Default empty.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections begin with a PROXY protocol header. Default off.
    pub proxy_protocol: ProxyProtocol,
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
    /// A plain listener that trusts nobody.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tls: Vec::new(),
            client_certificates: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
        }
    }
}
