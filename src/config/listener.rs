//! Where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::net::IpNet;

/// `[[listener]]`: a socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The certificates, chosen by the name that the client asks for, the first one otherwise; empty: plain HTTP.
    /// Default empty.
    pub tls: Vec<CertificateFiles>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are kept and added to, and who may speak the PROXY
    /// protocol; everybody else's are removed. Default empty.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections begin with a PROXY protocol header. Default off.
    pub proxy_protocol: ProxyProtocol,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
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
        Self { address, tls: Vec::new(), trusted_proxies: Vec::new(), proxy_protocol: ProxyProtocol::Off }
    }
}
