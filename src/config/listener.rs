//! Where clients connect.

use crate::server::{ListenAddress, ProxyProtocol};
use crate::tls::ServerSettings;

pub use super::tables::TrustedProxy;

/// `[[listener]]`: a socket that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens. Port 0 lets the system choose.
    pub address: ListenAddress,
    /// The permissions of the file of a Unix socket, 0 to `0o777`.
    pub mode: u32,
    /// TLS; none: plain HTTP, as always on a Unix socket.
    pub tls: Option<ServerSettings>,
    /// The peers that are trusted to say for which client they speak, and to send a PROXY protocol
    /// header.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
}
