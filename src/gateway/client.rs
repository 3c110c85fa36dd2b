//! The client's connection, as far as the gateway has to know it: where from, and what its socket found out.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::authenticate::Admitted;
use super::identity_headers::line;
use crate::domain::TokenDigest;
use crate::tokens::cache::Fence;
use crate::tokens::keyring::CredentialSort;
use crate::upstream::Tunnel;
use crate::wire::deadline::Deadline;
use crate::wire::head::HeadFault;
use crate::wire::interim::Interim;

/// The scheme that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct ClientOrigin {
    /// The client's address: of the socket, or as a trusted PROXY header said.
    pub address: SocketAddr,
    /// How it speaks to us.
    pub scheme: Scheme,
    /// Whether its forwarding headers are believed.
    pub is_trusted_proxy: bool,
}

/// What a connection waits for: what its deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first byte that it ever sends.
    FirstByte,
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// The gateway: it judges its own deadlines.
    Exchange,
    /// A body, in either direction, after the response has begun.
    Streaming,
    /// The client is gone, as far as can be told; the exchange has a moment left.
    Leaving,
}

/// One client connection, shared between its driver, its socket and the exchange that is under way on it.
pub struct ClientConnection {
    /// Where it comes from.
    pub origin: ClientOrigin,
    /// When patience ends.
    pub deadline: Rc<Deadline>,
    /// What for.
    pub phase: Cell<Phase>,
    /// What is wrong with the head that comes next, if something is.
    pub head_fault: Cell<Option<HeadFault>>,
    /// Whether the framing of the body that is under way is broken.
    pub body_is_broken: Cell<bool>,
    /// Whether a body is being waited for.
    pub(super) awaits_body: Cell<bool>,
    /// Whether there is more of the request's body than has been read.
    pub(super) body_is_unread: Cell<bool>,
    /// Interim responses for the client.
    pub interim: Interim,
    /// Set by an exchange that ends in a switch of protocols.
    pub tunnel: RefCell<Option<Tunnel>>,
    /// Whose token the exchange that is under way was admitted by, and the fence that then stood.
    holder: RefCell<Option<(Rc<Admitted>, Fence)>>,
    /// Whether the connection is to be closed at once, in the middle of whatever it does.
    is_cut: Cell<bool>,
    /// The client's address: `X-Forwarded-For`.
    pub(super) forwarded_for: HeaderValue,
    /// The last host that was asked for, and the forwarding fields that go with it, as lines: clients seldom change it.
    forwarding: RefCell<Option<Forwarding>>,
    /// The last credential, and what it is known by: a client seldom changes that either.
    digest: RefCell<Option<Digested>>,
    /// The fields that are ours of the request that is being served, as lines: one buffer for all.
    pub(super) lines: RefCell<Vec<u8>>,
    /// The map that the last request's fields were in, for the next one's.
    pub headers: RefCell<HeaderMap>,
}

/// A credential, and what it is known by.
struct Digested {
    sort: CredentialSort,
    token: Zeroizing<Vec<u8>>,
    digest: TokenDigest,
    /// Of the peppers that were then in force.
    version: u64,
}

/// The forwarding fields of the requests to one host, as lines.
struct Forwarding {
    host: Box<[u8]>,
    lines: Box<[u8]>,
}

impl ClientConnection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(origin: ClientOrigin, deadline: Rc<Deadline>) -> Self {
        Self {
            origin,
            deadline,
            phase: Cell::new(Phase::FirstByte),
            head_fault: Cell::new(None),
            body_is_broken: Cell::new(false),
            awaits_body: Cell::new(false),
            body_is_unread: Cell::new(false),
            interim: Interim::default(),
            tunnel: RefCell::new(None),
            forwarded_for: value(&canonical(origin.address.ip()).to_string()),
            holder: RefCell::default(),
            is_cut: Cell::new(false),
            forwarding: RefCell::default(),
            digest: RefCell::default(),
            lines: RefCell::default(),
            headers: RefCell::default(),
        }
    }

    /// The exchange that is under way is this token's.
    pub(super) fn hold(&self, admitted: &Rc<Admitted>, fence: Fence) {
        *self.holder.borrow_mut() = Some((Rc::clone(admitted), fence));
    }

    /// The exchange that is under way is nobody's, so far.
    pub(super) fn release(&self) {
        self.holder.borrow_mut().take();
    }

    /// Whose response or tunnel is open, if it is anybody's.
    pub(super) fn open_for(&self) -> Option<(Rc<Admitted>, Fence)> {
        if self.phase.get() == Phase::Streaming { self.holder.borrow().clone() } else { None }
    }

    /// Closes the connection at once.
    pub(super) fn cut(&self) {
        self.is_cut.set(true);
        self.deadline.wake();
    }

    /// Whether it is to be closed at once. Whoever drives the connection asks at each turn, woken by its deadline.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// The client's address, as text.
    pub(super) fn address_text(&self) -> &str {
        self.forwarded_for.to_str().unwrap_or_default()
    }

    /// Gives the exchange so much time from now; a client that is leaving gets no more than it has.
    pub(super) fn allow(&self, span: std::time::Duration) {
        if self.phase.get() != Phase::Leaving {
            self.deadline.set(span);
        }
    }

    /// Goes on to `phase`, unless the client is leaving.
    pub(super) fn enter(&self, phase: Phase) {
        if self.phase.get() != Phase::Leaving {
            self.phase.set(phase);
        }
    }

    /// What `token` of this sort is known by: remembered from the request before, if the peppers have the same version, or told
    /// by `digest`.
    pub(super) fn digest_of(
        &self,
        sort: CredentialSort,
        token: &[u8],
        version: u64,
        digest: impl FnOnce(&[u8]) -> TokenDigest,
    ) -> TokenDigest {
        let mut memo = self.digest.borrow_mut();
        if let Some(known) = memo.as_ref()
            && known.sort == sort
            && known.version == version
            && is_same(&known.token, token)
        {
            return known.digest;
        }
        let digest = digest(token);
        *memo = Some(Digested { sort, token: Zeroizing::new(token.to_vec()), digest, version });
        digest
    }

    /// The credential that was last asked about turned out to be known by another digest.
    pub(super) fn correct_digest(&self, digest: TokenDigest) {
        if let Some(known) = self.digest.borrow_mut().as_mut() {
            known.digest = digest;
        }
    }

    /// The credential that was last asked about: that of the response or tunnel that is open, if one is. Empty if there was none.
    pub(super) fn credential(&self) -> Zeroizing<Vec<u8>> {
        self.digest.borrow().as_ref().map(|known| known.token.clone()).unwrap_or_default()
    }

    /// Adds the forwarding fields of a request to `host`, as lines.
    pub(super) fn add_forwarding(&self, host: &HeaderValue, lines: &mut Vec<u8>) {
        let mut memo = self.forwarding.borrow_mut();
        match memo.as_ref() {
            Some(memo) if *memo.host == *host.as_bytes() => lines.extend_from_slice(&memo.lines),
            _ => {
                let start = lines.len();
                line(lines, &X_FORWARDED_FOR, self.forwarded_for.as_bytes());
                line(lines, &X_FORWARDED_PROTO, self.origin.scheme.name().as_bytes());
                if !host.is_empty() {
                    line(lines, &X_FORWARDED_HOST, host.as_bytes());
                }
                line(lines, &header::FORWARDED, self.forwarded(host).as_bytes());
                // Copied: the value itself would keep the whole buffer alive that its request was read into.
                let made = lines.get(start..).unwrap_or_default().into();
                *memo = Some(Forwarding { host: host.as_bytes().into(), lines: made });
            }
        }
    }

    /// `Forwarded` (RFC 7239) for a request to `host`.
    pub(super) fn forwarded(&self, host: &HeaderValue) -> String {
        let node = match canonical(self.origin.address.ip()) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let scheme = self.origin.scheme.name();
        // A host was checked against a grammar that has no quote and no backslash.
        let host = host.to_str().unwrap_or_default();
        if host.is_empty() {
            format!("for={node};proto={scheme}")
        } else if host.contains([':', '[']) {
            format!("for={node};host=\"{host}\";proto={scheme}")
        } else {
            format!("for={node};host={host};proto={scheme}")
        }
    }
}

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Compares secrets: every byte is looked at, whatever the others are, so the time tells only the length.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
