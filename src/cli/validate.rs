//! `keyward validate`: all faults of the configuration, or one line that says what it holds.

use super::context::Context;
use super::failure::Failure;

pub(super) fn execute(context: &mut Context<'_>) -> Result<(), Failure> {
    let settings = context.runtime.validate(context.config)?;
    for note in &settings.notes {
        context.note(note);
    }
    for warning in &settings.warnings {
        context.note(format_args!("warning: {warning}"));
    }
    let config = context.config.display();
    context.print(format_args!("{config} is valid: {}", settings.summary))
}
