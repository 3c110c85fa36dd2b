//! Where the servers of an upstream are, and which version of HTTP is spoken with them.

use std::fmt;
use std::path::PathBuf;

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Whether TLS is spoken with it. Only over TCP: a Unix socket with TLS is never connected to.
    pub is_tls: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// On TCP.
    Tcp {
        /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// On a Unix socket at this path.
    Unix(PathBuf),
}

impl Endpoint {
    /// The value of `Host` and `:authority` where the client's own is not kept: `app:3000`,
    /// `[::1]:3000`, with the port even where it is the scheme's default. A Unix socket has no
    /// authority: `localhost`.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.address {
            EndpointAddress::Tcp { .. } => self.to_string(),
            EndpointAddress::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    /// For logs: `app:3000`, `[::1]:3000`, `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            EndpointAddress::Tcp { host, port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            EndpointAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which version of HTTP is spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (the default).
    #[default]
    Http1,
    /// HTTP/2 and nothing else: by ALPN over TLS, by prior knowledge without (RFC 9113, section
    /// 3.3).
    Http2,
    /// Over TLS, what the server chooses by ALPN (RFC 7301), HTTP/2 preferred. Without TLS,
    /// HTTP/1.1.
    Auto,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_as_it_is_configured_and_a_socket_has_no_authority() {
        let tcp = |host: &str| Endpoint {
            address: EndpointAddress::Tcp { host: host.to_owned(), port: 443 },
            is_tls: true,
        };
        let unix =
            Endpoint { address: EndpointAddress::Unix("/run/app.sock".into()), is_tls: false };
        for (endpoint, shown, authority) in [
            (tcp("app"), "app:443", "app:443"),
            (tcp("::1"), "[::1]:443", "[::1]:443"),
            (unix, "unix:/run/app.sock", "localhost"),
        ] {
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.authority(), authority);
        }
    }
}
