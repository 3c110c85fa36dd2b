//! `keyward health`: is a running keyward ready? For container health checks and scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use super::context::Context;
use super::settings::Settings;
use crate::admin::{AdminError, SocketClient, probe_readiness};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let settings = match context.settings() {
            Ok(settings) => settings,
            Err(refused) => return refused,
        };
        match super::admin_client::block_on(reasons(&settings)) {
            Ok(Ok(reasons)) if reasons.is_empty() => {
                let written = writeln!(context.out, "ready");
                context.shown(written)
            }
            Ok(Ok(reasons)) => context.refuse(format_args!("not ready: {}", reasons.join(", "))),
            Ok(Err(error)) => context.refuse(error),
            Err(error) => context.refuse(error),
        }
    }
}

async fn reasons(settings: &Settings) -> Result<Vec<String>, AdminError> {
    if let Some(address) = settings.admin_address {
        return probe_readiness(reachable(address)).await;
    }
    let Some(socket) = &settings.admin_socket else {
        let words = "neither an admin address nor an admin socket is configured, so a running keyward cannot be asked";
        return Err(AdminError::Refused(words.to_owned()));
    };
    match SocketClient::find(socket).await? {
        Some(client) => client.status().await.map(|report| report.reasons),
        None => Err(AdminError::Unavailable(format!(
            "no keyward runs at the admin socket {}",
            socket.display()
        ))),
    }
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
