//! Addresses to listen on, and which of several takes a connection.
//!
//! Several listeners may share a port on different addresses. The system gives a connection to the
//! most specific one: an address before `0.0.0.0`, and `0.0.0.0` before `[::]`, which takes both
//! families.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 lets the system choose. `[::]` takes IPv4, too.
    Tcp(SocketAddr),
    /// A Unix socket at this absolute path of at most 107 bytes (unix(7)).
    Unix(Arc<Path>),
}

impl ListenAddress {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => Some(Self::Unix(Path::new(path).into())),
            None => text.parse().ok().map(Self::Tcp),
        }
    }

    /// Whether both are one address. Port 0 is a new port each time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                has_same_port(*one, *other)
                    && one.ip().to_canonical() == other.ip().to_canonical()
                    && scope(*one) == scope(*other)
            }
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }

    /// Whether a listener at this address takes the connections to `other` when no other listener
    /// does. An address covers itself.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (Self::Tcp(one), Self::Tcp(another)) = (self, other) else {
            return self.is_same(other);
        };
        let is_wild = match one.ip().to_canonical() {
            IpAddr::V4(ip) => ip.is_unspecified() && another.ip().to_canonical().is_ipv4(),
            IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
        };
        self.is_same(other) || (has_same_port(*one, *another) && is_wild)
    }

    /// Whether there are connections that both could take.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn has_same_port(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0 && one.port() == other.port()
}

/// The interface that a link-local address belongs to; 0: none.
fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    /// As in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        let address = ListenAddress::parse(text).expect("an address");
        assert_eq!(ListenAddress::parse(&address.to_string()), Some(address.clone()));
        address
    }

    #[test]
    fn an_address_covers_what_comes_to_it_when_nothing_more_specific_listens() {
        for (one, other, covers, is_covered) in [
            ("127.0.0.1:80", "127.0.0.1:80", true, true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true, true),
            ("127.0.0.1:80", "127.0.0.1:81", false, false),
            ("127.0.0.1:0", "127.0.0.1:0", false, false),
            ("127.0.0.1:80", "127.0.0.2:80", false, false),
            ("0.0.0.0:80", "127.0.0.1:80", true, false),
            ("0.0.0.0:80", "127.0.0.1:81", false, false),
            ("0.0.0.0:80", "[::1]:80", false, false),
            ("0.0.0.0:80", "[::ffff:10.0.0.1]:80", true, false),
            ("[::]:80", "0.0.0.0:80", true, false),
            ("[::]:80", "127.0.0.1:80", true, false),
            ("[::]:80", "[::1]:80", true, false),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", true, false),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false, false),
            ("unix:/a", "unix:/a", true, true),
            ("unix:/a", "unix:/b", false, false),
            ("unix:/a", "0.0.0.0:80", false, false),
        ] {
            let (first, second) = (address(one), address(other));
            assert_eq!(first.covers(&second), covers, "{one} covers {other}");
            assert_eq!(second.covers(&first), is_covered, "{other} covers {one}");
            assert_eq!(first.overlaps(&second), covers || is_covered, "{one} overlaps {other}");
            assert_eq!(first.is_same(&second), covers && is_covered, "{one} is {other}");
        }
    }
}
