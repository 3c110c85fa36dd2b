//! `keyward health`: is a running keyward ready? For container health checks and scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::admin_client::block_on;
use super::context::Context;
use super::failure::Failure;
use crate::admin::{AdminError, SocketClient, probe_readiness};

pub(super) fn execute(context: &mut Context<'_>) -> Result<(), Failure> {
    let settings = context.runtime.settings(context.config)?;
    let reasons = match settings.admin_address {
        Some(address) => block_on(probe_readiness(reachable(address)))??,
        None => block_on(reasons_at(&settings.admin_socket))??,
    };
    if reasons.is_empty() {
        return context.print("ready");
    }
    Err(Failure::new(format_args!("not ready: {}", reasons.join(", "))))
}

async fn reasons_at(socket: &Path) -> Result<Vec<String>, AdminError> {
    let Some(client) = SocketClient::find(socket).await? else {
        let socket = socket.display();
        return Err(AdminError::Unavailable(format!(
            "no keyward runs at the admin socket {socket}"
        )));
    };
    client.status().await.map(|report| report.reasons)
}

/// Where a listener can be reached from the same machine: one on all addresses, at the loopback
/// address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
