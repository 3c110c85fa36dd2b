//! `keyward store check`: is the configured store fit for its work? Changes nothing in a Redis.

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Context, DONE, REFUSED, table};
use crate::tokens::finding::{Finding, Severity};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at the store: what could lose records, what keyward lacks. Exit code 1 if there is a fault.
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn execute(self, context: &mut Context<'_>) -> ExitCode {
        match self {
            Self::Check(arguments) => arguments.execute(context),
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
                    let wanted = if finding.severity == Severity::Fine { "-" } else { &finding.wanted };
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
                context.note(format_args!("{}: {}", table::text(&finding.subject), table::text(&finding.words)));
            }
        }
        let is_faulty = |finding: &Finding| finding.severity == Severity::Fault;
        if findings.iter().any(is_faulty) { REFUSED } else { DONE }
    }
}
