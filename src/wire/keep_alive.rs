//! Probes of the system's for connections that may be silent for ever.

use std::time::Duration;

/// After a minute of silence the system asks the other end whether it is there, and gives up two
/// minutes later.
const SILENCE: Duration = Duration::from_secs(60);
const BETWEEN_PROBES: Duration = Duration::from_secs(30);
const PROBES: u32 = 4;

/// Has the system probe a connection.
pub fn probe(stream: &tokio::net::TcpStream) {
    let probes = socket2::TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(BETWEEN_PROBES)
        .with_retries(PROBES);
    if let Err(fault) = socket2::SockRef::from(stream).set_tcp_keepalive(&probes) {
        tracing::debug!(%fault, "a tunnel is not probed by the system");
    }
}
