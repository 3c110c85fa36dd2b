//! From an endpoint to a byte stream: its address connected to, or one of those of `localhost`, TLS
//! established, and the version of HTTP agreed on, all within one connect timeout.
//!
//! ```text
//! address → race (TCP, one of several addresses) → TLS, ALPN ─→ Connected
//! Unix socket ────────────────────────────────────────────────→
//! ```
//!
//! It keeps no connection and speaks no HTTP.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::race::{self, FailedAddresses, RaceError};
use super::{
    Endpoint, EndpointAddress, Protocol, UpstreamError, UpstreamSettings, UpstreamStream,
    UpstreamTls,
};

/// Makes connections to one endpoint, for one worker.
pub(super) struct Connector {
    endpoint: Endpoint,
    /// For resolving, connecting and the TLS handshake together.
    timeout: Duration,
    protocol: Protocol,
    tls: Option<UpstreamTls>,
    /// `None`: no TLS, or a host that no certificate can be for.
    server_name: Option<ServerName<'static>>,
    resolve: Resolve,
    failed: FailedAddresses,
}

/// Looks up the addresses of a host, with this port.
type Resolve = Box<dyn Fn(String, u16) -> Lookup>;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

/// A new connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: UpstreamStream,
    /// Whether HTTP/2 is to be spoken on it; otherwise HTTP/1.1.
    pub(super) is_http2: bool,
}

/// Why an endpoint could not be connected to; no request was sent. For the log: nothing of it goes
/// to a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the name cannot be resolved: {0}")]
    Resolve(#[source] io::Error),
    /// No address took the connection. This is the one that was tried first.
    #[error("{address}: {cause}")]
    Unreachable {
        address: String,
        #[source]
        cause: io::Error,
    },
    /// The connect timeout ended in this stage.
    #[error("{0} took too long")]
    TimedOut(ConnectStage),
    /// Whose certificate is refused and why, or what was wrong with the handshake.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server does not speak the protocol that is configured.
    #[error("TLS: the server does not speak {}", match .0 {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
        Protocol::Auto => "HTTP/1.1 nor HTTP/2",
    })]
    Alpn(Protocol),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectStage {
    Resolve,
    Connect,
    Tls,
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
        })
    }
}

impl ConnectError {
    /// The same as a failure of an upstream's endpoint.
    pub(super) fn of(self, endpoint: &Endpoint) -> UpstreamError {
        let endpoint = endpoint.to_string();
        match self {
            Self::TimedOut(_) => UpstreamError::ConnectTimeout(endpoint),
            fault => UpstreamError::Connect { endpoint, reason: fault.to_string() },
        }
    }
}

impl Connector {
    /// A connector that has not connected yet. Names are looked up as the system does it.
    pub(super) fn new(endpoint: Endpoint, settings: &UpstreamSettings) -> Self {
        let tls = settings.tls.clone();
        let configured = tls.as_ref().and_then(|tls| tls.server_name.clone());
        Self {
            timeout: settings.connect_timeout,
            protocol: settings.protocol,
            tls,
            server_name: configured.or_else(|| server_name(&endpoint)).filter(|_| endpoint.is_tls),
            endpoint,
            resolve: Box::new(resolve),
            failed: FailedAddresses::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects, with the protocol that is configured. Dropping it closes what it has begun.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        self.open(self.protocol).await
    }

    /// Connects for HTTP/1.1, whatever protocol is configured: a WebSocket needs a connection of
    /// its own.
    pub(super) async fn connect_http1(&self) -> Result<Connected, ConnectError> {
        self.open(Protocol::Http1).await
    }

    async fn open(&self, protocol: Protocol) -> Result<Connected, ConnectError> {
        let deadline = Instant::now() + self.timeout;
        let (host, port) = match &self.endpoint.address {
            EndpointAddress::Tcp { host, port } => (host, *port),
            EndpointAddress::Unix(_) if self.endpoint.is_tls => {
                return Err(ConnectError::Tls("it is not spoken on Unix sockets".to_owned()));
            }
            EndpointAddress::Unix(path) => {
                let stream = UpstreamStream::Unix(connect_unix(path, deadline).await?);
                return Ok(Connected { stream, is_http2: protocol == Protocol::Http2 });
            }
        };
        let addresses = self.addresses(host, port, deadline).await?;
        let unreachable = |address: SocketAddr, cause| ConnectError::Unreachable {
            address: address.to_string(),
            cause,
        };
        let raced = race::connect(addresses, &self.failed, deadline).await;
        let (address, stream) = raced.map_err(|fault| match fault {
            RaceError::NoAddress => ConnectError::Resolve(io::Error::other("it has no address")),
            RaceError::Refused(address, cause) => unreachable(address, cause),
            RaceError::TimedOut => ConnectError::TimedOut(ConnectStage::Connect),
        })?;
        stream.set_nodelay(true).map_err(|cause| unreachable(address, cause))?;
        if !self.endpoint.is_tls {
            let stream = UpstreamStream::Tcp(stream);
            return Ok(Connected { stream, is_http2: protocol == Protocol::Http2 });
        }
        let established = timeout_at(deadline, self.establish_tls(stream, protocol)).await;
        let established = established.unwrap_or(Err(ConnectError::TimedOut(ConnectStage::Tls)));
        if established.is_err() {
            // Another address of the name may do better.
            self.failed.note(address, Instant::now());
        }
        established
    }

    async fn addresses(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Some(ip) = self.endpoint.resolved.or_else(|| host.parse::<IpAddr>().ok()) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        timeout_at(deadline, (self.resolve)(host.to_owned(), port))
            .await
            .map_err(|_| ConnectError::TimedOut(ConnectStage::Resolve))?
            .map_err(ConnectError::Resolve)
    }

    async fn establish_tls(
        &self,
        stream: TcpStream,
        protocol: Protocol,
    ) -> Result<Connected, ConnectError> {
        let unprepared = || ConnectError::Tls(format!("it is not set up for {}", self.endpoint));
        let client = &self.tls.as_ref().ok_or_else(unprepared)?.client;
        let name = self.server_name.clone().ok_or_else(unprepared)?;
        let offered: &[&[u8]] = match protocol {
            Protocol::Http1 => &[HTTP1],
            Protocol::Http2 => &[HTTP2],
            Protocol::Auto => &[HTTP2, HTTP1],
        };
        let offered = offered.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(client.config());
        let stream = connector
            .with_alpn(offered)
            .connect(name, stream)
            .await
            .map_err(|fault| tls_fault(&fault, protocol))?;
        // A server that does not know ALPN speaks HTTP/1.1 (RFC 9113, section 3.2: HTTP/2 has to be
        // agreed on).
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        if protocol == Protocol::Http2 && !is_http2 {
            return Err(ConnectError::Alpn(protocol));
        }
        Ok(Connected { stream: UpstreamStream::Tls(Box::new(stream)), is_http2 })
    }
}

/// The ALPN identifiers (RFC 7301, section 6; RFC 9113, section 3.1).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

fn resolve(host: String, port: u16) -> Lookup {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// The name that the certificate of an endpoint must be for, unless another one is configured. A
/// dot at the end of a host name is no part of the certificate's (RFC 6066, section 3).
#[must_use]
pub fn server_name(endpoint: &Endpoint) -> Option<ServerName<'static>> {
    match &endpoint.address {
        EndpointAddress::Tcp { host, .. } => {
            ServerName::try_from(host.trim_end_matches('.').to_owned()).ok()
        }
        EndpointAddress::Unix(_) => None,
    }
}

async fn connect_unix(path: &Path, deadline: Instant) -> Result<UnixStream, ConnectError> {
    timeout_at(deadline, UnixStream::connect(path))
        .await
        .map_err(|_| ConnectError::TimedOut(ConnectStage::Connect))?
        .map_err(|cause| ConnectError::Unreachable {
            address: format!("unix:{}", path.display()),
            cause,
        })
}

/// So many of the names of a certificate that is for none of ours are shown.
const MOST_NAMES: usize = 4;

/// What a failed handshake means, without anything secret.
fn tls_fault(fault: &io::Error, protocol: Protocol) -> ConnectError {
    let reason = match fault.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => return ConnectError::Alpn(protocol),
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => {
                "the server's certificate is of no trusted authority".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet".to_owned()
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let others: Vec<_> = presented.iter().take(MOST_NAMES).collect();
                let asked = expected.to_str();
                format!("the server's certificate is not for {asked}, but for {others:?}")
            }
            CertificateError::NotValidForName => {
                "the server's certificate is for another name".to_owned()
            }
            other => format!("the server's certificate is refused: {other}"),
        },
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the server refused the handshake: {alert:?}")
        }
        Some(other) => other.to_string(),
        None if fault.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the handshake".to_owned()
        }
        None => fault.to_string(),
    };
    ConnectError::Tls(reason)
}

#[cfg(test)]
mod tests;
