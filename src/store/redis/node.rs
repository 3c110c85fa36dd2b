//! One server: connecting to it, and what it says about itself before it is trusted.
//!
//! A connection is handed out only when it has been authenticated and the server has said that it
//! is a master. The TCP connection and TLS are made here and not by the client library, so that
//! there is one place with one deadline, and a peer that has gone is noticed by the kernel
//! (keepalive, `TCP_USER_TIMEOUT`) even where nothing is being asked.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::pace::Pace;
use super::settings::{NodeAddress, RedisSettings, Secret, Servers};
use super::site_fault::SiteFault;
use crate::tls;

#[cfg(test)]
mod tests;

/// The oldest Redis with RESP3 and client tracking.
const OLDEST: (u32, u32, u32) = (6, 0, 0);

/// The name under which connections show in `CLIENT LIST`.
const CLIENT_NAME: &str = "keyward";

/// When the kernel begins to ask a silent peer whether it is still there, how often, and how often
/// in vain.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEPALIVE_TRIES: u32 = 3;

/// How long what was sent may stay unacknowledged by the peer's kernel (tcp(7),
/// `TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Requests that may wait for a connection to write them; further ones wait their turn.
const QUEUE: usize = 1024;

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Random, new with each start of the server: the same address with another one is another
    /// server.
    pub run_id: String,
    /// Its version.
    pub version: (u32, u32, u32),
    /// `master` or `slave`, as `INFO` says it.
    pub role: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// How many replicas are connected.
    pub replicas: usize,
}

/// The way to the servers of a fleet.
pub struct Nodes {
    pub(super) settings: RedisSettings,
    means: ArcSwap<Means>,
    pace: Pace,
    /// What has been learned while looking for the master.
    pub(super) learned: std::sync::Mutex<super::discover::Learned>,
}

/// What a reload may change: users, passwords and certificates.
pub struct Means {
    tls: Option<Arc<tls::Client>>,
    username: Option<String>,
    password: Option<Secret>,
    sentinel_username: Option<String>,
    sentinel_password: Option<Secret>,
}

impl Means {
    /// Reads the files that `settings` name. Nothing else of `settings` counts: the rest takes a
    /// new start.
    ///
    /// # Errors
    ///
    /// [`SiteFault::Settings`] if a file of TLS cannot be used.
    pub fn of(settings: &RedisSettings) -> Result<Self, SiteFault> {
        let tls = settings.tls.clone().map(tls::Client::load).transpose();
        let tls = tls.map_err(|fault| SiteFault::Settings(fault.to_string()))?;
        let (sentinel_username, sentinel_password) = match &settings.servers {
            Servers::Sentinel { username, password, .. } => (username.clone(), password.clone()),
            Servers::Single(_) | Servers::Cluster(_) => (None, None),
        };
        Ok(Self {
            tls,
            username: settings.username.clone(),
            password: settings.password.clone(),
            sentinel_username,
            sentinel_password,
        })
    }
}

/// To whom a connection is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Server,
    Sentinel,
}

impl Nodes {
    /// Prepares; connects to nobody.
    ///
    /// # Errors
    ///
    /// [`SiteFault::Settings`] if a file of TLS cannot be used.
    pub fn new(settings: RedisSettings) -> Result<Self, SiteFault> {
        let means = ArcSwap::from_pointee(Means::of(&settings)?);
        Ok(Self { settings, means, pace: Pace::default(), learned: std::sync::Mutex::default() })
    }

    /// What it was made with.
    #[must_use]
    pub const fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Uses these users, passwords and certificates for connections that are made from now on.
    pub fn replace(&self, means: Means) {
        self.means.store(Arc::new(means));
    }

    /// The client side of TLS in force, whose files can be watched; none: in clear. A reload makes
    /// a new one.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<tls::Client>> {
        self.means.load().tls.clone()
    }

    /// Connects to a server that must be a master: RESP3, authenticated, named `keyward`, the
    /// configured database. Its pushes go to `push`, in order, from the task that reads the
    /// connection; it must not block. The connection belongs to the runtime that this is called on.
    ///
    /// Once an attempt has failed, further ones are spaced, at most ten a second in the whole
    /// process, until one succeeds: that waiting counts against the deadline (`timeouts.connect`),
    /// too.
    ///
    /// # Errors
    ///
    /// Any of [`SiteFault`]; none of them has let anything be trusted.
    pub async fn connect(
        &self,
        address: &NodeAddress,
        push: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(Connection, Facts), SiteFault> {
        self.within(address, async {
            let (mut connection, facts) = self.greet(address, push).await?;
            if facts.version < OLDEST {
                let (major, minor, patch) = facts.version;
                return Err(SiteFault::TooOld {
                    address: address.clone(),
                    version: format!("{major}.{minor}.{patch}"),
                });
            }
            self.check_mode(address, &facts.mode)?;
            if facts.role != "master" {
                let role = if facts.role == "slave" { "replica".to_owned() } else { facts.role };
                return Err(SiteFault::NotMaster { address: address.clone(), role });
            }
            // Only seen by operators: that it is not permitted is no reason not to work.
            let _ = redis::cmd("CLIENT")
                .arg("SETNAME")
                .arg(CLIENT_NAME)
                .exec_async(&mut connection)
                .await;
            Ok((connection, facts))
        })
        .await
    }

    /// A connection to a server in whatever role, with what it says about itself.
    async fn greet(
        &self,
        address: &NodeAddress,
        push: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(Connection, Facts), SiteFault> {
        let mut connection = self.open(address, Peer::Server, push).await?;
        let mut facts = String::new();
        // Together in one INFO only since 7.0.
        for section in ["server", "replication"] {
            let part: String = redis::cmd("INFO")
                .arg(section)
                .query_async(&mut connection)
                .await
                .map_err(|fault| SiteFault::from_redis(address, "INFO", &fault))?;
            facts.push_str(&part);
        }
        let facts = Facts::read(&facts).ok_or_else(|| SiteFault::Unsuitable {
            address: address.clone(),
            reason: "its INFO lacks run_id, version or role".to_owned(),
        })?;
        Ok((connection, facts))
    }

    fn check_mode(&self, address: &NodeAddress, mode: &str) -> Result<(), SiteFault> {
        let wrong = |reason: &str| {
            Err(SiteFault::Unsuitable { address: address.clone(), reason: reason.to_owned() })
        };
        match (&self.settings.servers, mode) {
            (_, "sentinel") => wrong("it is a sentinel, not a server: see \"topology\" in [store]"),
            (Servers::Single(_) | Servers::Sentinel { .. }, "cluster") => {
                wrong("it is a node of a Cluster: see \"topology\" in [store]")
            }
            (Servers::Cluster(_), "standalone") => {
                wrong("it is no node of a Cluster: see \"topology\" in [store]")
            }
            _ => Ok(()),
        }
    }

    /// Waits for a turn and then for `work`, both within the deadline of a connection.
    pub(super) async fn within<T>(
        &self,
        address: &NodeAddress,
        work: impl Future<Output = Result<T, SiteFault>>,
    ) -> Result<T, SiteFault> {
        let patience = self.settings.timeouts.connect;
        let wait = self.pace.turn(Instant::now(), patience).ok_or(SiteFault::Crowded)?;
        let paced = async {
            tokio::time::sleep(wait).await;
            work.await
        };
        timeout(patience, paced)
            .await
            .unwrap_or_else(|_| Err(SiteFault::TimedOut { address: address.clone() }))
    }

    /// TCP, TLS, authentication. Without a deadline.
    pub(super) async fn open(
        &self,
        address: &NodeAddress,
        peer: Peer,
        push: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<Connection, SiteFault> {
        let means = self.means.load_full();
        let info = connection_info(&means, peer, self.settings.database);
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            // A backstop: who asks has a shorter deadline of its own.
            .set_response_timeout(Some(
                self.settings.timeouts.connect.max(self.settings.timeouts.change) * 2,
            ))
            .set_pipeline_buffer_size(QUEUE);
        if let Some(push) = push {
            config = config.set_push_sender(push);
        }
        let stream = dial(address).await?;
        match &means.tls {
            None => start(address, &info, stream, config).await,
            Some(tls) => {
                let connector = TlsConnector::from(tls.config());
                let name =
                    ServerName::try_from(address.host.clone()).map_err(|_| SiteFault::Tls {
                        address: address.clone(),
                        reason: "the host is neither a name nor an IP address".to_owned(),
                    })?;
                let stream = connector
                    .connect(name, stream)
                    .await
                    .map_err(|fault| tls_fault(address, &fault))?;
                start(address, &info, stream, config).await
            }
        }
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Facts {
    /// From the lines of `INFO server` and `INFO replication`. Its role is what `ROLE` says, too;
    /// `INFO` needs one right less.
    fn read(info: &str) -> Option<Self> {
        let value = |name: &str| field(info, name);
        let mut parts =
            value("redis_version")?.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let mode = value("redis_mode").unwrap_or("standalone");
        Some(Self {
            run_id: value("run_id")?.to_owned(),
            version: (parts.next()?, parts.next().unwrap_or(0), parts.next().unwrap_or(0)),
            // A sentinel has none.
            role: value("role").or((mode == "sentinel").then_some(mode))?.to_owned(),
            mode: mode.to_owned(),
            replicas: value("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
        })
    }
}

/// A value in the answer of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What the client library is told about a connection. It copies the password, and drops the copy
/// when the connection has been made.
fn connection_info(means: &Means, peer: Peer, database: u32) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let (info, username, password) = match peer {
        Peer::Server => (
            info.set_protocol(ProtocolVersion::RESP3).set_db(i64::from(database)),
            &means.username,
            &means.password,
        ),
        // Sentinels are asked in RESP2: those before 6.2 know no other.
        Peer::Sentinel => (
            info.set_protocol(ProtocolVersion::RESP2),
            &means.sentinel_username,
            &means.sentinel_password,
        ),
    };
    let info = username.iter().fold(info, RedisConnectionInfo::set_username);
    password.iter().fold(info, |info, password| info.set_password(password.expose()))
}

/// A TCP connection to the first of the host's addresses that takes it.
async fn dial(address: &NodeAddress) -> Result<TcpStream, SiteFault> {
    let unreachable = |fault: std::io::Error| SiteFault::Unreachable {
        address: address.clone(),
        reason: fault.to_string(),
    };
    let stream =
        TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    socket.set_tcp_keepalive(&keepalive).map_err(unreachable)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)).map_err(unreachable)?;
    Ok(stream)
}

/// Greets the server and starts the task that reads and writes the connection.
async fn start<S>(
    address: &NodeAddress,
    info: &RedisConnectionInfo,
    stream: S,
    config: AsyncConnectionConfig,
) -> Result<Connection, SiteFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config)
        .await
        .map_err(|fault| greeting_fault(address, &fault))?;
    Ok(Connection::start(connection, driver))
}

/// A server that wants TLS hangs up on who does not speak it: say so. With TLS 1.3, what the server
/// thinks of our certificate arrives only now, in place of the answer to the greeting.
fn greeting_fault(address: &NodeAddress, fault: &redis::RedisError) -> SiteFault {
    let system =
        std::error::Error::source(fault).and_then(|source| source.downcast_ref::<std::io::Error>());
    if let Some(system) = system.filter(|system| rustls_fault(system).is_some()) {
        return tls_fault(address, system);
    }
    match SiteFault::from_redis(address, "HELLO", fault) {
        SiteFault::Unreachable { address, reason } if fault.is_connection_dropped() => {
            SiteFault::Unreachable {
                address,
                reason: format!("{reason} (it hung up on the greeting: does it expect TLS?)"),
            }
        }
        fault => fault,
    }
}

fn rustls_fault(fault: &std::io::Error) -> Option<&rustls::Error> {
    fault.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Certificates stay wrong until somebody changes them; a connection that broke may work the next
/// time.
fn tls_fault(address: &NodeAddress, fault: &std::io::Error) -> SiteFault {
    let address = address.clone();
    match rustls_fault(fault) {
        Some(rustls::Error::InvalidMessage(_)) => {
            SiteFault::Tls { address, reason: "it does not speak TLS".to_owned() }
        }
        Some(fault) => SiteFault::Tls { address, reason: fault.to_string() },
        None => SiteFault::Unreachable { address, reason: format!("TLS: {fault}") },
    }
}
