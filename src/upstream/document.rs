//! Fetching one document, such as the keys of an issuer, from an address that the configuration names.
//!
//! One GET on a connection of its own, over HTTPS or plain HTTP/1.1. A redirect is a failure and is not followed, so nobody but
//! the configuration says where we connect (cf. CVE-2026-41413); proxies of the environment are not used. The media type is not
//! looked at, the length is bounded, and every step has a deadline. It knows nothing of what it fetches, and unlike
//! [`Upstream`](super::Upstream) it keeps no connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

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
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// A step was not done in time.
    #[error("{0} took too long")]
    TimedOut(&'static str),
    /// Another status than 200.
    #[error("the answer is {0}{hint}", hint = if .0.is_redirection() { ": redirects are not followed" } else { "" })]
    Status(StatusCode),
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
    /// The host cannot stand in a `Host` field.
    #[error("{0:?} is no host")]
    Host(String),
    /// The host is neither a DNS name nor an IP address, and no certificate is for anything else.
    #[error("{0:?} is no name that a certificate can be for")]
    ServerName(String),
    /// The certificates of the authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// One document that can be fetched again and again.
pub struct Document {
    address: DocumentAddress,
    limits: DocumentLimits,
    host: HeaderValue,
    tls: Option<(Arc<tls::Client>, ServerName<'static>)>,
}

/// A response head of more is no answer to a question for keys.
const LONGEST_HEAD: usize = 64 * 1024;

impl Document {
    /// Prepares the fetch, with the certificates read now. `trust` has no effect without HTTPS.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be used, or the host is no name.
    pub fn new(address: DocumentAddress, trust: Trust, limits: DocumentLimits) -> Result<Self, DocumentSetupError> {
        let named = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        let is_usual = address.port == if address.is_https { 443 } else { 80 };
        let host = if is_usual { named } else { format!("{named}:{}", address.port) };
        let host = HeaderValue::try_from(host).map_err(|_| DocumentSetupError::Host(address.host.clone()))?;
        let tls = if address.is_https {
            let name = ServerName::try_from(address.host.trim_end_matches('.').to_owned())
                .map_err(|_| DocumentSetupError::ServerName(address.host.clone()))?;
            let settings = tls::ClientSettings { trust, identity: None, alpn: vec![b"http/1.1".as_slice()] };
            Some((tls::Client::load(settings)?, name))
        } else {
            None
        };
        Ok(Self { address, limits, host, tls })
    }

    /// The client side of TLS, whose files can be watched; none without HTTPS.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<tls::Client>> {
        self.tls.as_ref().map(|(client, _)| client)
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
        tokio::time::timeout(self.limits.whole, self.exchange())
            .await
            .unwrap_or(Err(DocumentError::TimedOut("the answer as a whole")))
    }

    async fn exchange(&self) -> Result<Bytes, DocumentError> {
        let connecting = async {
            let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
            stream.set_nodelay(true)?;
            Ok(match &self.tls {
                Some((tls, name)) => {
                    let connector = TlsConnector::from(tls.config());
                    Transport::Tls(Box::new(connector.connect(name.clone(), stream).await?))
                }
                None => Transport::Plain(stream),
            })
        };
        let connected = tokio::time::timeout(self.limits.connect, connecting)
            .await
            .map_err(|_| DocumentError::TimedOut("connecting"))?;
        let refused = |fault: std::io::Error| DocumentError::Connect {
            address: format!("{}:{}", self.address.host, self.address.port),
            reason: fault.to_string(),
        };
        match connected.map_err(refused)? {
            Transport::Plain(stream) => self.ask(stream).await,
            Transport::Tls(stream) => self.ask(stream).await,
        }
    }

    async fn ask<S>(&self, stream: S) -> Result<Bytes, DocumentError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |fault: hyper::Error| DocumentError::Broken(with_cause(&fault));
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let _driven = AbortOnDrop(tokio::spawn(async move {
            // An error of it is told to who waits for the response.
            let _ = connection.await;
        }));
        let request = Request::get(self.address.target.as_str())
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
        let body = Limited::new(response.into_body(), self.limits.bytes).collect().await.map_err(|fault| {
            if fault.is::<LengthLimitError>() { too_large } else { DocumentError::Broken(fault.to_string()) }
        })?;
        Ok(body.to_bytes())
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// A task that ends with who started it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// hyper says what went wrong, and keeps how in its source.
fn with_cause(fault: &hyper::Error) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

#[cfg(test)]
mod tests;
