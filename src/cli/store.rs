//! `keyward store check`: is the configured store fit for its work? Leaves nothing in a Redis.
//! `keyward store migrate`: everything that one store holds, copied into another and compared.
//! `backup` and `restore` are in [`super::backup`].

#![expect(clippy::disallowed_methods, reason = "tells how far a migration is once in a while")]

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;

use super::backup::{Backup, Restore};
use super::context::{Context, DONE, REFUSED};
use super::table;
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::migration::{Side, Step};

/// How often it is said how much has been copied.
const NEWS: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at the store: what could lose records, what keyward lacks. Exit code 1 if there is a
    /// fault.
    Check(Check),
    /// Copy everything from the store of one configuration into that of another, and compare:
    /// SQLite to Redis or back.
    ///
    /// Nothing is changed at the source. The target must be empty, or hold nothing else than the
    /// source: a run that was broken off is completed by another. No keyward may run on either
    /// meanwhile. Exit code 1 if anything differs at the end.
    Migrate(Migrate),
    /// Copy the embedded store into one file and verify the copy. keyward may run meanwhile.
    Backup(Backup),
    /// Put a backup in the place of the embedded store, verified first. keyward must not run
    /// meanwhile.
    ///
    /// The store that was there is moved aside, and its name is said. Tokens that were revoked
    /// after the backup was made are accepted again; those that were made after it are refused.
    Restore(Restore),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Migrate {
    /// The configuration whose store is copied.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration whose store it is copied into; its [keys] must be the same.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The summary as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match self {
            Self::Check(arguments) => arguments.execute(context),
            Self::Migrate(arguments) => arguments.execute(context),
            Self::Backup(arguments) => arguments.execute(context),
            Self::Restore(arguments) => arguments.execute(context),
        }
    }
}

impl Check {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let findings = match context.runtime.check_store(context.config) {
            Ok(findings) => findings,
            Err(words) => return context.refuse(words),
        };
        let written = if self.json {
            serde_json::to_vec(&findings).map_err(io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                context.out.write_all(&line)
            })
        } else {
            let rows: Vec<_> = findings
                .iter()
                .map(|finding| {
                    let wanted =
                        if finding.severity == Severity::Fine { "-" } else { &finding.wanted };
                    [
                        finding.severity.word().to_owned(),
                        table::text(&finding.subject),
                        table::text(&finding.found),
                        table::text(wanted),
                    ]
                })
                .collect();
            table::write(context.out, ["SEVERITY", "WHAT", "FOUND", "WANTED"], &rows)
        };
        let shown = context.shown(written);
        if shown != DONE {
            return shown;
        }
        if !self.json {
            for finding in findings.iter().filter(|finding| !finding.words.is_empty()) {
                context.note(format_args!(
                    "{}: {}",
                    table::text(&finding.subject),
                    table::text(&finding.words)
                ));
            }
        }
        let is_faulty = |finding: &Finding| finding.severity == Severity::Fault;
        if findings.iter().any(is_faulty) { REFUSED } else { DONE }
    }
}

impl Migrate {
    fn execute(self, context: &mut Context<'_>) -> ExitCode {
        let mut told = Instant::now();
        let err = &mut *context.err;
        let mut say = |step: Step| {
            let words = match step {
                Step::Reading(Side::Source) => "reading the source".to_owned(),
                Step::Reading(Side::Target) => "reading the target".to_owned(),
                Step::Verifying => "reading everything back".to_owned(),
                Step::Copied(done, all) if done == all || told.elapsed() >= NEWS => {
                    told = Instant::now();
                    format!("copied {done} of {all}")
                }
                Step::Copied(..) => return,
            };
            // Only news: if it cannot be written, the work goes on.
            let _ = writeln!(err, "keyward: {words}");
        };
        let migration = match context.runtime.migrate_store(&self.from, &self.to, &mut say) {
            Ok(migration) => migration,
            Err(words) => return context.refuse(words),
        };
        let written = if self.json {
            serde_json::to_vec(&migration).map_err(io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                context.out.write_all(&line)
            })
        } else {
            let rows: Vec<_> = migration
                .counts
                .iter()
                .map(|count| {
                    let [found, expired, there, copied, verified] =
                        [count.found, count.expired, count.there, count.copied, count.verified]
                            .map(|number| number.to_string());
                    [count.sort.words().to_owned(), found, expired, there, copied, verified]
                })
                .collect();
            table::write(
                context.out,
                ["SORT", "FOUND", "EXPIRED", "THERE", "COPIED", "VERIFIED"],
                &rows,
            )
        };
        let shown = context.shown(written);
        if migration.differing == 0 {
            return shown;
        }
        for difference in &migration.differences {
            context.note(table::text(difference));
        }
        context.refuse(format_args!(
            "the two stores are not the same: {} differ{}",
            migration.differing,
            if migration.differing > migration.differences.len() {
                ", of which the first are named"
            } else {
                ""
            }
        ))
    }
}
