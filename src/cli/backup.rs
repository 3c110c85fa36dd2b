//! `keyward store backup` and `keyward store restore`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::backup_report::Replace;
use super::context::{Context, DONE};

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The file to write: one file, of mode 600.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace an earlier backup of this name, once the new one is whole.
    #[arg(long)]
    replace: bool,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let replace = if self.replace { Replace::EarlierBackup } else { Replace::Nothing };
        let report = match context.runtime.back_up_store(context.config, &self.file, replace) {
            Ok(report) => report,
            Err(words) => return context.refuse(words),
        };
        let shown = if self.json {
            show_json(context, &report)
        } else {
            let written =
                writeln!(context.out, "backed up to {}: {}", self.file.display(), report.words());
            context.shown(written)
        };
        if shown == DONE {
            context
                .note("the keys are not in it: it is of no use without a copy of [keys] directory");
        }
        shown
    }
}

impl Restore {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let report = match context.runtime.restore_store(context.config, &self.file) {
            Ok(report) => report,
            Err(words) => return context.refuse(words),
        };
        let shown = if self.json {
            show_json(context, &report)
        } else {
            let written = writeln!(
                context.out,
                "restored from {}: {}",
                self.file.display(),
                report.holds.words()
            );
            context.shown(written)
        };
        if shown == DONE {
            if let Some(before) = &report.before {
                context.note(format_args!("the store of before is kept at {}", before.display()));
            }
            context.note(
                "the records are as they were when the backup was made: tokens that were revoked \
                 since are accepted again, \
                 so revoke those anew; tokens that were made since are refused",
            );
        }
        shown
    }
}

fn show_json(context: &mut Context<'_>, report: &impl Serialize) -> ExitCode {
    let written = serde_json::to_vec(report).map_err(io::Error::from).and_then(|mut line| {
        line.push(b'\n');
        context.out.write_all(&line)
    });
    context.shown(written)
}
