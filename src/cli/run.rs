//! `keyward run`: the proxy itself.

use std::process::ExitCode;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn execute(self, context: &Context<'_>) -> ExitCode {
        context.runtime.run(context.config)
    }
}
