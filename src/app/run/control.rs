//! The control thread, and what is said when it ends without success.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::Faults;

/// Why a keyward does not run, as it is said on standard error.
#[derive(Debug)]
pub(in crate::app) enum Failure {
    /// What is wrong with its configuration, a line each.
    Faults(Faults),
    /// Anything else, in words.
    Words(String),
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => write!(f, "{faults}"),
            Self::Words(words) => write!(f, "keyward: {words}"),
        }
    }
}

/// Runs on the control thread: everything that is not the data plane.
pub(in crate::app) fn on_control_runtime(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|fault| format!("the system has no resources to work with: {fault}"))?;
    let outcome = runtime.block_on(work);
    // Without waiting for what still blocks: told to stop at once, we do.
    runtime.shutdown_background();
    outcome
}

/// Says on standard error why it ends; if even that fails, the exit code says that it did.
pub(in crate::app) fn complain(words: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{words}");
    ExitCode::FAILURE
}
