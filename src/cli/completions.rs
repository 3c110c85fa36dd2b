//! `keyward completions`: the completion script of a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

impl Arguments {
    pub(super) fn execute(
        self,
        context: &mut Context<'_>,
        command: &mut clap::Command,
    ) -> ExitCode {
        // Into memory first: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "keyward", &mut script);
        let written = context.out.write_all(&script);
        context.shown(written)
    }
}
