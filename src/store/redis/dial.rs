//! One connection: TCP, TLS and the greeting with user and password.
//!
//! TCP and TLS are not left to the client library: it builds a rustls configuration for each
//! connection, and cannot use that of [`crate::tls`] with its watched files and resumed sessions.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::discovery_error::DiscoveryError;
use super::node::{Nodes, Peer};
use super::settings::{NodeAddress, RedisSettings, Servers};

/// When the kernel begins to probe a silent peer, how often, and how many probes may fail.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEPALIVE_TRIES: u32 = 3;

/// How long what was sent may stay unacknowledged by the peer's kernel (tcp(7),
/// `TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Requests that may wait for a connection to write them; further ones wait their turn.
const QUEUE: usize = 1024;

impl Nodes {
    /// TCP, TLS, authentication. Without a deadline.
    pub(super) async fn open(
        &self,
        address: &NodeAddress,
        peer: Peer,
        push: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<Connection, DiscoveryError> {
        let reloadable = self.reloadable();
        let info = connection_info(&reloadable.settings, peer, self.settings.database);
        let timeouts = self.settings.timeouts;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            // A backstop: every caller has a shorter deadline of its own.
            .set_response_timeout(Some(timeouts.connect.max(timeouts.change) * 2))
            .set_pipeline_buffer_size(QUEUE);
        if let Some(push) = push {
            config = config.set_push_sender(push);
        }
        let stream = connect_tcp(address)
            .await
            .map_err(|error| DiscoveryError::Unreachable(address.clone(), error.to_string()))?;
        let Some(tls) = &reloadable.tls else { return greet(address, &info, stream, config).await };
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            let words = "the host is neither a name nor an IP address";
            DiscoveryError::Tls(address.clone(), words.to_owned())
        })?;
        let connecting = TlsConnector::from(tls.config()).connect(name, stream);
        let stream = connecting.await.map_err(|error| tls_error(address, &error))?;
        greet(address, &info, stream, config).await
    }
}

/// What the client library is told about a connection. It copies the password, and drops the copy
/// when the connection has been made.
fn connection_info(settings: &RedisSettings, peer: Peer, database: u32) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let (info, username, password) = match (peer, &settings.servers) {
        (Peer::Server, _) => (
            info.set_protocol(ProtocolVersion::RESP3).set_db(i64::from(database)),
            settings.username.as_ref(),
            settings.password.as_ref(),
        ),
        // Sentinels are asked in RESP2: those before 6.2 know no other.
        (Peer::Sentinel, servers) => {
            let (username, password) = match servers {
                Servers::Sentinel { username, password, .. } => {
                    (username.as_ref(), password.as_ref())
                }
                Servers::Single(_) | Servers::Cluster(_) => (None, None),
            };
            (info.set_protocol(ProtocolVersion::RESP2), username, password)
        }
    };
    let info = username.into_iter().fold(info, RedisConnectionInfo::set_username);
    password.into_iter().fold(info, |info, password| info.set_password(password.expose()))
}

/// A TCP connection to the first of the host's addresses that takes it. The kernel notices a peer
/// that has gone, even while nothing is asked.
async fn connect_tcp(address: &NodeAddress) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

/// Greets the server and starts the task that reads and writes the connection.
async fn greet<S>(
    address: &NodeAddress,
    info: &RedisConnectionInfo,
    stream: S,
    config: AsyncConnectionConfig,
) -> Result<Connection, DiscoveryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config)
        .await
        .map_err(|error| greeting_error(address, &error))?;
    Ok(Connection::start(connection, driver))
}

/// A server that expects TLS closes a connection without it: the error says so. With TLS 1.3, what
/// the server thinks of our certificate arrives only now, in place of the answer to the greeting.
fn greeting_error(address: &NodeAddress, error: &RedisError) -> DiscoveryError {
    let system =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    if let Some(system) = system.filter(|system| rustls_error(system).is_some()) {
        return tls_error(address, system);
    }
    match DiscoveryError::from_redis(address, "HELLO", error) {
        DiscoveryError::Unreachable(address, reason) if error.is_connection_dropped() => {
            let words = "(it hung up on the greeting: does it expect TLS?)";
            DiscoveryError::Unreachable(address, format!("{reason} {words}"))
        }
        error => error,
    }
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// A certificate stays wrong until an operator changes it; a connection that broke may work the
/// next time.
fn tls_error(address: &NodeAddress, error: &std::io::Error) -> DiscoveryError {
    let address = address.clone();
    match rustls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            DiscoveryError::Tls(address, "it does not speak TLS".to_owned())
        }
        Some(error) => DiscoveryError::Tls(address, error.to_string()),
        None => DiscoveryError::Unreachable(address, format!("TLS: {error}")),
    }
}
