//! `keyward version`.

use std::process::ExitCode;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let version = env!("CARGO_PKG_VERSION");
        let written = if self.json {
            writeln!(context.out, "{}", serde_json::json!({"name": "keyward", "version": version}))
        } else {
            writeln!(context.out, "keyward {version}")
        };
        context.shown(written)
    }
}
