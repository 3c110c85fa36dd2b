//! `keyward schema`: what can stand in the configuration, for editors and for the documentation.

use std::process::ExitCode;

use super::Context;
use crate::config::reference;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print the reference in Markdown instead, which is docs/configuration.md.
    #[arg(long, hide = true)]
    markdown: bool,
}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let written = if self.markdown {
            write!(context.out, "{}", reference::markdown())
        } else {
            writeln!(context.out, "{}", reference::schema())
        };
        context.shown(written)
    }
}
