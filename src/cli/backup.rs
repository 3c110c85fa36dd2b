//! `keyward store backup` and `keyward store restore`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Context, DONE};

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// API keys, sessions and bootstrap tokens, expired ones that are not yet removed included.
    pub tokens: u64,
    /// API keys that were revoked and are still listed.
    pub revoked: u64,
    /// Users of the token APIs of the style accounts.
    pub users: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// What a restored store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// What it holds.
    #[serde(flatten)]
    pub holds: BackupReport,
    /// Where the store is that was there before; `None`: there was none.
    pub before: Option<PathBuf>,
}

/// What may be at the place of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Nothing.
    Nothing,
    /// An earlier backup.
    EarlierBackup,
}

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

impl BackupReport {
    fn words(&self) -> String {
        let Self { tokens, revoked, users, bytes } = self;
        format!(
            "{tokens} tokens, {revoked} revoked keys that are still listed, {users} users, {bytes} \
             bytes"
        )
    }
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
