//! What must be known to reach a fleet's Redis: addresses, secrets, bounds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use crate::settings::Secret;
use crate::tls::ClientSettings;

/// The port of a server, where an address names none.
pub const SERVER_PORT: u16 = 6379;

/// The port of a sentinel, where an address names none.
pub const SENTINEL_PORT: u16 = 26379;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl NodeAddress {
    /// Joins the two.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Whether what is sent there stays on this machine, as far as the address itself tells.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_end_matches('.');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for NodeAddress {
    type Err = ();

    /// Reads what [`fmt::Display`] writes, and an IPv6 address without brackets as Redis writes it
    /// (`::1:6379`).
    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self::new(host, port.parse().map_err(|_| ())?))
    }
}

/// The servers of a fleet, and what says which of them is the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// One server: always the master.
    Single(NodeAddress),
    /// Sentinels name the master.
    Sentinel {
        /// The sentinels, at least one.
        sentinels: Vec<NodeAddress>,
        /// The name under which they watch the master.
        master: String,
        /// The user at the sentinels; `None`: their default user.
        username: Option<String>,
        /// The password for the sentinels; `None`: they ask for none.
        password: Option<Secret>,
    },
    /// A Cluster: the master of the slot of the fleet's keys. At least one node; the others are
    /// learned.
    Cluster(Vec<NodeAddress>),
}

impl Servers {
    /// Those that are configured: the server, the sentinels, or nodes of the Cluster.
    #[must_use]
    pub fn addresses(&self) -> &[NodeAddress] {
        match self {
            Self::Single(server) => std::slice::from_ref(server),
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster(nodes) => nodes,
        }
    }
}

/// Everything that is needed to reach the fleet's Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where it is.
    pub servers: Servers,
    /// TLS to servers and sentinels; `None`: in clear.
    pub tls: Option<ClientSettings>,
    /// The ACL user; `None`: Redis's `default`.
    pub username: Option<String>,
    /// Its password; `None`: none is sent.
    pub password: Option<Secret>,
    /// The database, 0 to 15 by Redis's default; 0 with a Cluster, which has no other.
    pub database: u32,
    /// What the fleet's keys begin with, in braces: fleets with different ones share a server.
    /// Holds no brace.
    pub prefix: String,
    /// The bounds of waiting.
    pub timeouts: RedisTimeouts,
}

/// How a store in Redis is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// Where it is.
    pub settings: RedisSettings,
    /// For how many replicas each change of the allowlist waits, and how long; `None`: for none.
    pub acks: Option<Acks>,
    /// Whether records may be lost when Redis is restarted.
    pub allow_volatile: bool,
}

/// For how many replicas a change waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acks {
    /// How many must have it; at least 1.
    pub count: usize,
    /// How long to wait for them; less than the deadline of a change.
    pub timeout: Duration,
}

/// How long Redis may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisTimeouts {
    /// Establishing one connection: TCP, TLS, authentication and the first questions. Default 2 s.
    pub connect: Duration,
    /// One look-up of a record. Default 250 ms.
    pub read: Duration,
    /// One change, retries included. Default 2 s.
    pub change: Duration,
}

impl Default for RedisTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            read: Duration::from_millis(250),
            change: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_redis_writes_them() {
        let read =
            |text: &str| text.parse::<NodeAddress>().map(|address| (address.host, address.port));
        assert_eq!(read("127.0.0.1:6379"), Ok(("127.0.0.1".to_owned(), 6379)));
        assert_eq!(read("::1:6380"), Ok(("::1".to_owned(), 6380)));
        assert_eq!(read("[::1]:6380"), Ok(("::1".to_owned(), 6380)));
        assert_eq!(read(":6381"), Ok((String::new(), 6381)));
        assert_eq!(read("redis"), Err(()));
        assert_eq!(read("redis:port"), Err(()));
        assert_eq!(NodeAddress::new("::1", 6380).to_string(), "[::1]:6380");
    }

    #[test]
    fn a_password_shows_in_no_debug() {
        let mut settings = RedisSettings::single(NodeAddress::new("localhost", 1));
        settings.password = Some(Secret::new("hunter2".to_owned()));
        settings.servers = Servers::Sentinel {
            sentinels: Vec::new(),
            master: "m".to_owned(),
            username: None,
            password: Some(Secret::new("hunter3".to_owned())),
        };
        assert!(!format!("{settings:?}").contains("hunter"), "{settings:?}");
    }
}
