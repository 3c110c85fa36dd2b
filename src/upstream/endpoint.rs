//! Where the servers of an upstream are, and which version of HTTP is spoken with them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::HeaderValue;

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Whether TLS is spoken with it. Only over TCP: a Unix socket with TLS is never connected to.
    pub is_tls: bool,
    /// Which of the addresses of its name it is; `None`: as configured.
    pub resolved: Option<IpAddr>,
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
            EndpointAddress::Tcp { .. } => self.address.to_string(),
            EndpointAddress::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The same, as a field.
    #[must_use]
    pub fn host(&self) -> HeaderValue {
        HeaderValue::try_from(self.authority()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The name whose addresses are to be found, if it is given by one. The addresses of
    /// `localhost` are those of one machine (RFC 6761, section 6.3), and known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.address {
            EndpointAddress::Tcp { host, .. } if self.resolved.is_none() => {
                let bare = host.trim_end_matches('.');
                let is_local = bare == "localhost" || bare.ends_with(".localhost");
                (!is_local && host.parse::<IpAddr>().is_err()).then_some(host.as_str())
            }
            EndpointAddress::Tcp { .. } | EndpointAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    /// For logs: `app:3000`, `app:3000 (10.0.0.1)`, `[::1]:3000`, `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resolved {
            Some(ip) => write!(f, "{} ({ip})", self.address),
            None => self.address.fmt(f),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
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
            resolved: None,
        };
        let unix = Endpoint {
            address: EndpointAddress::Unix("/run/app.sock".into()),
            is_tls: false,
            resolved: None,
        };
        let resolved = Endpoint { resolved: Some([10, 0, 0, 1].into()), ..tcp("app") };
        for (endpoint, shown, authority) in [
            (tcp("app"), "app:443", "app:443"),
            (resolved, "app:443 (10.0.0.1)", "app:443"),
            (tcp("::1"), "[::1]:443", "[::1]:443"),
            (unix, "unix:/run/app.sock", "localhost"),
        ] {
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.authority(), authority);
        }
    }

    #[test]
    fn only_names_that_are_not_this_machine_are_to_be_resolved() {
        for (host, is_name) in [
            ("app", true),
            ("app.example.com.", true),
            ("localhost.example", true),
            ("localhost", false),
            ("localhost.", false),
            ("a.localhost", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            let address = EndpointAddress::Tcp { host: host.to_owned(), port: 80 };
            let endpoint = Endpoint { address, is_tls: false, resolved: None };
            assert_eq!(endpoint.name(), is_name.then_some(host));
            let resolved = Endpoint { resolved: Some([10, 0, 0, 1].into()), ..endpoint };
            assert_eq!(resolved.name(), None);
        }
    }
}
