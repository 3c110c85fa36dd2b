//! `keyward demo`: everything in one process, nothing of the user's touched.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    address: SocketAddr,
}

impl Arguments {
    pub(super) fn execute(self, context: &Context<'_>) -> ExitCode {
        context.runtime.demo(self.address)
    }
}
