//! `keyward openapi`: the OpenAPI document of the token APIs that the configuration mounts.

use std::process::ExitCode;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match context.runtime.openapi(context.config) {
            Ok(document) => {
                let written = writeln!(context.out, "{document}");
                context.shown(written)
            }
            Err(faults) => {
                // If even that cannot be written, the exit code still says it.
                let _ = writeln!(context.err, "{faults}");
                super::context::REFUSED
            }
        }
    }
}
