//! `keyward validate`: all faults of the configuration, or one line that says what it holds.

use std::process::ExitCode;

use super::context::Context;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let settings = context.runtime.validate(context.config);
        let settings = match context.or_refused(settings) {
            Ok(settings) => settings,
            Err(refused) => return refused,
        };
        for note in &settings.notes {
            context.note(note);
        }
        for warning in &settings.warnings {
            context.note(format_args!("warning: {warning}"));
        }
        let written =
            writeln!(context.out, "{} is valid: {}", context.config.display(), settings.summary);
        context.shown(written)
    }
}
