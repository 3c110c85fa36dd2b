//! Fetching one document, such as the keys of an issuer, from an address that the configuration
//! names.
//!
//! One GET on a connection of its own, over HTTPS or plain HTTP/1.1, through a forward proxy if
//! there is one: by `CONNECT` for HTTPS (RFC 9110, section 9.3.6), so that TLS reaches to the
//! server, and otherwise in absolute form. Redirects are not followed, so only the configuration
//! decides where keyward connects (cf. CVE-2026-41413). The media type is not checked. The length
//! is bounded, and every step has a deadline.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::with_cause;
use crate::tls::{self, TlsError, Trust};

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentAddress {
    /// Whether over TLS.
    pub is_https: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, as they are sent.
    pub target: String,
}

impl DocumentAddress {
    /// Whether it never leaves this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// A forward proxy for HTTP, which is spoken to in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProxy {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `Proxy-Authorization`, where the proxy asks for one; marked as sensitive, so that `Debug`
    /// does not show it.
    pub authorization: Option<HeaderValue>,
}

/// How long the steps may take, and how much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Name look-up, connection and TLS handshake together.
    pub connect: Duration,
    /// From the request to the head of the response.
    pub head: Duration,
    /// Everything.
    pub whole: Duration,
    /// The largest body, in bytes.
    pub bytes: usize,
}

/// Nothing was fetched. For the log: nothing of it goes to a client.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Name look-up, connection or TLS failed.
    #[error("cannot connect to {address}{through}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// Through which proxy, in words; empty: through none.
        through: String,
        /// What the system, or the proxy, said.
        reason: String,
    },
    /// A step was not done in time.
    #[error("{0} took too long")]
    TimedOut(&'static str),
    /// Another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// A redirect.
    #[error(
        "the answer is {status}, a redirect{to}: redirects are not followed, so the address that \
         is configured must be the last one"
    )]
    Redirect {
        /// Which.
        status: StatusCode,
        /// Where to, in words; empty: it does not say.
        to: String,
    },
    /// It is compressed, which was not asked for.
    #[error("the answer is encoded, which was not asked for")]
    Encoded,
    /// More bytes than the limit.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or what came back is no HTTP.
    #[error("the exchange failed: {0}")]
    Broken(String),
}

/// Why a document can never be fetched: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum DocumentSetupError {
    /// The host cannot be written in a `Host` field.
    #[error("{0:?} is no host")]
    Host(String),
    /// The host is neither a DNS name nor an IP address, and no certificate is for anything else.
    #[error("{0:?} is no name that a certificate can be for")]
    ServerName(String),
    /// A document with TLS was asked for, and the client was made without certificates.
    #[error("it is https, and what names it came over http")]
    Scheme,
    /// The certificates of the authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One document that can be fetched again and again.
pub struct Document {
    address: DocumentAddress,
    limits: DocumentLimits,
    proxy: Option<HttpProxy>,
    /// Host, and the port where it is not the usual one.
    host: HeaderValue,
    tls: Option<(Arc<tls::Client>, ServerName<'static>)>,
}

/// In bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// In characters, of the place to which a redirect leads, as the log shows it.
const LONGEST_PLACE: usize = 200;

impl Document {
    /// Prepares the fetch, with the certificates read now. `trust` has no effect without HTTPS.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be used, or the host is no name.
    pub fn new(
        address: DocumentAddress,
        trust: Trust,
        proxy: Option<HttpProxy>,
        limits: DocumentLimits,
    ) -> Result<Self, DocumentSetupError> {
        let load = || {
            let alpn = vec![b"http/1.1".as_slice()];
            tls::Client::load(tls::ClientSettings { trust, identity: None, alpn })
        };
        let client = address.is_https.then(load).transpose()?;
        Self::with(address, client, proxy, limits)
    }

    /// A document elsewhere, with the same certificates and limits.
    ///
    /// # Errors
    ///
    /// When it is over HTTPS and this one is not, or the host is no name.
    pub fn elsewhere(
        &self,
        address: DocumentAddress,
        proxy: Option<HttpProxy>,
    ) -> Result<Self, DocumentSetupError> {
        Self::with(address, self.tls().cloned(), proxy, self.limits)
    }

    fn with(
        address: DocumentAddress,
        client: Option<Arc<tls::Client>>,
        proxy: Option<HttpProxy>,
        limits: DocumentLimits,
    ) -> Result<Self, DocumentSetupError> {
        let named = bracketed(&address.host);
        let is_usual = address.port == if address.is_https { 443 } else { 80 };
        let host = if is_usual { named } else { format!("{named}:{}", address.port) };
        let host = HeaderValue::try_from(host)
            .map_err(|_| DocumentSetupError::Host(address.host.clone()))?;
        let tls = if address.is_https {
            let name = ServerName::try_from(address.host.trim_end_matches('.').to_owned())
                .map_err(|_| DocumentSetupError::ServerName(address.host.clone()))?;
            Some((client.ok_or(DocumentSetupError::Scheme)?, name))
        } else {
            None
        };
        Ok(Self { address, limits, proxy, host, tls })
    }

    /// The client side of TLS, whose files can be watched; none without HTTPS.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<tls::Client>> {
        self.tls.as_ref().map(|(client, _)| client)
    }

    /// Whether it comes over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.address.is_https
    }

    /// Fetches it. Must run within a tokio runtime with time and I/O.
    ///
    /// # Errors
    ///
    /// When there is no whole document with status 200 in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub async fn fetch(&self) -> Result<Bytes, DocumentError> {
        let exchange = async {
            let stream = tokio::time::timeout(self.limits.connect, self.connect())
                .await
                .map_err(|_| DocumentError::TimedOut("connecting"))??;
            self.ask(stream).await
        };
        tokio::time::timeout(self.limits.whole, exchange)
            .await
            .unwrap_or(Err(DocumentError::TimedOut("the answer as a whole")))
    }

    async fn connect(&self) -> Result<Box<dyn Transport>, DocumentError> {
        let address = format!("{}:{}", bracketed(&self.address.host), self.address.port);
        let through = |proxy: &HttpProxy| {
            format!(" through the proxy {}:{}", bracketed(&proxy.host), proxy.port)
        };
        let failed = |reason: String| DocumentError::Connect {
            address: address.clone(),
            through: self.proxy.as_ref().map(through).unwrap_or_default(),
            reason,
        };
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (self.address.host.as_str(), self.address.port),
        };
        let stream =
            TcpStream::connect((host, port)).await.map_err(|fault| failed(fault.to_string()))?;
        stream.set_nodelay(true).map_err(|fault| failed(fault.to_string()))?;
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(stream)) };
        let stream: Box<dyn Transport> = match &self.proxy {
            None => Box::new(stream),
            Some(proxy) => {
                let tunnel = tunnel(proxy, &address, stream).await.map_err(&failed)?;
                Box::new(TokioIo::new(tunnel))
            }
        };
        let connected = TlsConnector::from(tls.config()).connect(name.clone(), stream).await;
        Ok(Box::new(connected.map_err(|fault| failed(fault.to_string()))?))
    }

    async fn ask(&self, stream: Box<dyn Transport>) -> Result<Bytes, DocumentError> {
        let broken = |fault: hyper::Error| DocumentError::Broken(with_cause(&fault));
        let (mut sender, _connection) = handshake(stream).await.map_err(broken)?;
        let (target, authorization) = match &self.proxy {
            // RFC 9112, section 3.2.2.
            Some(proxy) if self.tls.is_none() => {
                let host = self.host.to_str().unwrap_or_default();
                (format!("http://{host}{}", self.address.target), proxy.authorization.as_ref())
            }
            _ => (self.address.target.clone(), None),
        };
        let mut request = Request::get(target);
        if let Some(authorization) = authorization {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .header(header::HOST, &self.host)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|fault| DocumentError::Broken(fault.to_string()))?;
        let response = tokio::time::timeout(self.limits.head, sender.send_request(request))
            .await
            .map_err(|_| DocumentError::TimedOut("the head of the answer"))?
            .map_err(broken)?;
        if response.status().is_redirection() {
            let location = response.headers().get(header::LOCATION);
            let to = location.and_then(|location| location.to_str().ok()).map(|location| {
                // A query may hold a secret.
                let place = location.split(['?', '#']).next().unwrap_or_default();
                format!(" to {:?}", place.chars().take(LONGEST_PLACE).collect::<String>())
            });
            let to = to.unwrap_or_default();
            return Err(DocumentError::Redirect { status: response.status(), to });
        }
        if response.status() != StatusCode::OK {
            return Err(DocumentError::Status(response.status()));
        }
        let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !response.headers().get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
            return Err(DocumentError::Encoded);
        }
        let too_large = DocumentError::TooLarge(self.limits.bytes);
        if response.body().size_hint().lower() > self.limits.bytes as u64 {
            return Err(too_large);
        }
        let body = Limited::new(response.into_body(), self.limits.bytes).collect().await.map_err(
            |fault| {
                if fault.is::<LengthLimitError>() {
                    too_large
                } else {
                    DocumentError::Broken(fault.to_string())
                }
            },
        )?;
        Ok(body.to_bytes())
    }
}

/// Begins HTTP/1.1 over a stream. The connection is driven for as long as the task is there.
async fn handshake(
    stream: impl Transport + 'static,
) -> hyper::Result<(http1::SendRequest<Empty<Bytes>>, JoinSet<()>)> {
    let (sender, connection) =
        http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream)).await?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        // An error goes to the task that waits for the response, too.
        let _ = connection.with_upgrades().await;
    });
    Ok((sender, task))
}

/// Has a proxy connect to `address`.
async fn tunnel(proxy: &HttpProxy, address: &str, stream: TcpStream) -> Result<Upgraded, String> {
    let said = |fault: hyper::Error| with_cause(&fault);
    let (mut sender, _connection) = handshake(stream).await.map_err(said)?;
    let mut request = Request::connect(address).header(header::HOST, address);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|fault| fault.to_string())?;
    let response = sender.send_request(request).await.map_err(said)?;
    match response.status() {
        status if status.is_success() => hyper::upgrade::on(response).await.map_err(said),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.authorization.is_none() => {
            Err("it asks for a user and a password, which go into its address".to_owned())
        }
        status => Err(format!("it answers {status}")),
    }
}

/// A host as it is written in an address with a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What HTTP is spoken over: TCP, TLS, or TLS in a proxy's tunnel.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

#[cfg(test)]
mod tests;
