//! The client's connection: what all its exchanges share. HTTP/2 has many exchanges at a time, so
//! the state of a single request is in [`Control`](super::control::Control).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::domain::TokenDigest;
use crate::tokens::keyring::CredentialSort;
use crate::wire::fields::visible;

/// The scheme that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// As a header field's value.
    pub(super) const fn value(self) -> HeaderValue {
        match self {
            Self::Http => const { HeaderValue::from_static("http") },
            Self::Https => const { HeaderValue::from_static("https") },
        }
    }
}

/// The other end of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// An IP address with its port.
    Ip(SocketAddr),
    /// A process of the same machine, which has no address; the path is the listener's.
    Unix(Arc<Path>),
}

impl PeerAddress {
    /// The IP address, if there is one: an IPv4 address also where it came over an IPv6 socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(_) => f.write_str(UNIX_PEER),
        }
    }
}

/// What a peer without an address is called in the logs.
const UNIX_PEER: &str = "unix";

/// The peers of a listener whose forwarding headers are believed.
#[derive(Clone)]
pub struct TrustedProxies(Arc<dyn Fn(Option<IpAddr>) -> bool + Send + Sync>);

impl TrustedProxies {
    /// Trusts the addresses for which `trusts` returns true. It gets an address in its canonical
    /// form (IPv4, where it is IPv4-mapped), or `None` for a peer on a Unix socket.
    #[must_use]
    pub fn new(trusts: impl Fn(Option<IpAddr>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(trusts))
    }

    /// Whether a peer with this address is trusted; none: one on a Unix socket.
    #[must_use]
    pub fn trusts(&self, address: Option<IpAddr>) -> bool {
        (self.0)(address)
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedProxies")
    }
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub struct ClientOrigin {
    /// The client's address: of the socket, or as a trusted PROXY header said.
    pub address: PeerAddress,
    /// The socket's own address.
    pub peer: PeerAddress,
    /// How it speaks to us.
    pub scheme: Scheme,
    /// The proxies of the listener, if this client is one. None: its forwarding fields are ignored.
    pub trusted_proxies: Option<TrustedProxies>,
}

/// What an upstream is told of a client's certificate, which was verified in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject; nothing, if it is empty.
    pub(super) subject: Option<HeaderValue>,
    /// Its names as a list; nothing, if there is none.
    pub(super) names: Option<HeaderValue>,
}

impl ClientCertificate {
    /// Of a certificate with this subject (RFC 4514) and these subject alternative names.
    #[must_use]
    pub fn new(subject: &str, names: &[String]) -> Self {
        // A comma within a name is encoded: it separates names.
        let names: Vec<_> = names
            .iter()
            .map(|name| visible(name).to_str().unwrap_or_default().replace(',', "%2C"))
            .collect();
        Self {
            subject: Some(visible(subject)).filter(|value| !value.is_empty()),
            names: HeaderValue::try_from(names.join(", ")).ok().filter(|value| !value.is_empty()),
        }
    }
}

/// One client connection.
pub struct ClientConnection {
    /// Where it comes from.
    pub origin: ClientOrigin,
    /// The certificate that the client showed, if it did.
    pub(super) certificate: Option<ClientCertificate>,
    /// The client's address: `X-Forwarded-For`. None: it has no address.
    pub(super) forwarded_for: Option<HeaderValue>,
    /// The socket's address, as text; `unix` for one that has none.
    pub(super) peer: Box<str>,
    /// The last host that was asked for, with its `Forwarded`: clients seldom change it.
    forwarded: RefCell<Option<(Option<HeaderValue>, HeaderValue)>>,
    /// The last credential: clients seldom change that either.
    credential: RefCell<Option<Rc<Credential>>>,
}

/// A credential that a client presented, and what it is known by.
pub(super) struct Credential {
    sort: CredentialSort,
    pub(super) token: Zeroizing<Vec<u8>>,
    /// Corrected, if the token turns out to be made under another pepper.
    pub(super) digest: Cell<TokenDigest>,
    /// Of the peppers when the digest was made.
    version: u64,
}

impl ClientConnection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(origin: ClientOrigin, certificate: Option<ClientCertificate>) -> Self {
        let forwarded_for =
            origin.address.ip().and_then(|ip| HeaderValue::try_from(ip.to_string()).ok());
        let peer = origin.peer.ip().map_or_else(|| UNIX_PEER.into(), |ip| ip.to_string().into());
        Self {
            origin,
            certificate,
            forwarded_for,
            peer,
            forwarded: RefCell::default(),
            credential: RefCell::default(),
        }
    }

    /// The client's address, as text; `unix` for one that has none.
    pub(super) fn address_text(&self) -> &str {
        self.forwarded_for.as_ref().and_then(|address| address.to_str().ok()).unwrap_or(UNIX_PEER)
    }

    /// `token` with its digest: that of the request before, if it had the same token and peppers,
    /// or made by `digest`.
    pub(super) fn credential(
        &self,
        sort: CredentialSort,
        token: &[u8],
        version: u64,
        digest: impl FnOnce(&[u8]) -> TokenDigest,
    ) -> Rc<Credential> {
        let mut last = self.credential.borrow_mut();
        if let Some(known) = last.as_ref()
            && known.sort == sort
            && known.version == version
            && verify_slices_are_equal(&known.token, token).is_ok()
        {
            return Rc::clone(known);
        }
        let digest = Cell::new(digest(token));
        let credential =
            Rc::new(Credential { sort, token: Zeroizing::new(token.to_vec()), digest, version });
        *last = Some(Rc::clone(&credential));
        credential
    }

    /// `Forwarded` (RFC 7239) for a request to `host`.
    pub(super) fn forwarded(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let mut last = self.forwarded.borrow_mut();
        if let Some((known, forwarded)) = last.as_ref()
            && known.as_ref() == host
        {
            return forwarded.clone();
        }
        // A host was checked against a grammar that has no quote and no backslash.
        let name = host.and_then(|host| host.to_str().ok());
        let rest = host_and_proto(name, Some(self.origin.scheme.name()));
        let forwarded = format!("for={}{rest}", node(self.origin.address.ip()));
        let forwarded = HeaderValue::try_from(forwarded)
            .unwrap_or_else(|_| HeaderValue::from_static("for=unknown"));
        // Copied: the value itself would keep the buffer alive that its request was read into.
        if let Ok(host) = host.map(|host| HeaderValue::from_bytes(host.as_bytes())).transpose() {
            *last = Some((host, forwarded.clone()));
        }
        forwarded
    }
}

/// `for=` of an element of `Forwarded` (RFC 7239, section 6).
pub(super) fn node(address: Option<IpAddr>) -> Cow<'static, str> {
    match address {
        Some(IpAddr::V4(address)) => address.to_string().into(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\"").into(),
        None => "unknown".into(),
    }
}

/// The other parameters of an element of `Forwarded`. `host` has no quote and no backslash.
pub(super) fn host_and_proto(host: Option<&str>, proto: Option<&str>) -> String {
    let host = match host {
        Some(host) if host.contains([':', '[']) => format!(";host=\"{host}\""),
        Some(host) => format!(";host={host}"),
        None => String::new(),
    };
    let proto = proto.map(|proto| format!(";proto={proto}")).unwrap_or_default();
    host + &proto
}

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
