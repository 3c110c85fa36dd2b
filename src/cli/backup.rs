//! `keyward store backup` and `keyward store restore`.

use std::path::PathBuf;

use super::backup_report::Replace;
use super::context::Context;
use super::failure::Failure;

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
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { file, replace, json } = self;
        let replace = if replace { Replace::EarlierBackup } else { Replace::Nothing };
        let report = context.runtime.back_up_store(context.config, &file, replace)?;
        if json {
            context.print_json(&report)?;
        } else {
            context.print(format_args!("backed up to {}: {}", file.display(), report.words()))?;
        }
        context.note("the keys are not in it: it is of no use without a copy of [keys] directory");
        Ok(())
    }
}

impl Restore {
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Self { file, json } = self;
        let report = context.runtime.restore_store(context.config, &file)?;
        if json {
            context.print_json(&report)?;
        } else {
            let words = report.holds.words();
            context.print(format_args!("restored from {}: {words}", file.display()))?;
        }
        if let Some(before) = &report.before {
            context.note(format_args!("the store of before is kept at {}", before.display()));
        }
        context.note(
            "the records are as they were when the backup was made: tokens that were revoked since \
             are accepted again, so revoke those anew; tokens that were made since are refused",
        );
        Ok(())
    }
}
