//! `keyward store check`: is the configured store fit for its work? Leaves nothing in a Redis.
//! `keyward store migrate`: everything that one store holds, copied into another and compared.
//! `backup` and `restore` are in [`super::backup`].

#![expect(clippy::disallowed_methods, reason = "tells how far a migration is once in a while")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;

use super::backup::{Backup, Restore};
use super::context::Context;
use super::failure::Failure;
use super::table::{self, Column};
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::migration::{Count, Side, Step};

/// How often it is said how much has been copied.
const NEWS: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at the store: what could lose records, and what keyward needs and does not find. Exit
    /// code 1 if there is a fault.
    Check {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
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
    pub(super) fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Check { json } => check(context, json),
            Self::Migrate(arguments) => arguments.execute(context),
            Self::Backup(arguments) => arguments.execute(context),
            Self::Restore(arguments) => arguments.execute(context),
        }
    }
}

fn check(context: &mut Context<'_>, as_json: bool) -> Result<(), Failure> {
    let findings = context.runtime.check_store(context.config)?;
    let columns: [Column<Finding>; 4] = [
        ("SEVERITY", |finding| finding.severity.word().to_owned()),
        ("WHAT", |finding| table::text(&finding.subject)),
        ("FOUND", |finding| table::text(&finding.found)),
        ("WANTED", |finding| match finding.severity {
            Severity::Fine => "-".to_owned(),
            _ => table::text(&finding.wanted),
        }),
    ];
    table::write(context, &findings, as_json, &columns)?;
    for finding in findings.iter().filter(|finding| !as_json && !finding.words.is_empty()) {
        let (subject, words) = (table::text(&finding.subject), table::text(&finding.words));
        context.note(format_args!("{subject}: {words}"));
    }
    let is_faulty = findings.iter().any(|finding| finding.severity == Severity::Fault);
    if is_faulty { Err(Failure::SHOWN) } else { Ok(()) }
}

impl Migrate {
    fn execute(self, context: &mut Context<'_>) -> Result<(), Failure> {
        let mut told = Instant::now();
        let runtime = context.runtime;
        let mut say = |step: Step| match step {
            Step::Reading(Side::Source) => context.note("reading the source"),
            Step::Reading(Side::Target) => context.note("reading the target"),
            Step::Verifying => context.note("reading everything back"),
            Step::Copied(done, all) if done == all || told.elapsed() >= NEWS => {
                told = Instant::now();
                context.note(format_args!("copied {done} of {all}"));
            }
            Step::Copied(..) => {}
        };
        let migration = runtime.migrate_store(&self.from, &self.to, &mut say)?;
        if self.json {
            context.print_json(&migration)?;
        } else {
            let columns: [Column<Count>; 6] = [
                ("SORT", |count| count.sort.words().to_owned()),
                ("FOUND", |count| count.found.to_string()),
                ("EXPIRED", |count| count.expired.to_string()),
                ("THERE", |count| count.there.to_string()),
                ("COPIED", |count| count.copied.to_string()),
                ("VERIFIED", |count| count.verified.to_string()),
            ];
            table::write(context, &migration.counts, false, &columns)?;
        }
        if migration.differing == 0 {
            return Ok(());
        }
        for difference in &migration.differences {
            context.note(table::text(difference));
        }
        let is_cut = migration.differing > migration.differences.len();
        Err(Failure::new(format_args!(
            "the two stores are not the same: {} differ{}",
            migration.differing,
            if is_cut { ", of which the first are named" } else { "" }
        )))
    }
}
