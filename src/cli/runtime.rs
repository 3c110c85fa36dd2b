//! What the command line needs of the rest of the program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backup_report::{BackupReport, Replace, RestoreReport};
use super::failure::Failure;
use super::settings::Settings;
use crate::admin::Administration;
use crate::tokens::finding::Finding;
use crate::tokens::migration::{Migration, Step};
use crate::tokens::signed::SigningAlgorithm;

/// The rest of the program, which is put together elsewhere.
///
/// # Errors
///
/// Every method fails with all faults of the configuration, a line each in the order of the file
/// (`keyward.toml:12:7: message`), or with whatever else keeps it from its work.
pub trait Runtime {
    /// Runs keyward in the foreground until it is told to stop.
    fn run(&self, config: &Path, beginning: Beginning) -> Result<(), Failure>;

    /// Runs the demonstration on `address` until it is told to stop: a temporary store, a built-in
    /// echo upstream, and the calls to try on standard output. Touches no file of the user's.
    fn demo(&self, address: SocketAddr) -> Result<(), Failure>;

    /// Loads the configuration, and starts nothing.
    fn settings(&self, config: &Path) -> Result<Settings, Failure> {
        Ok(Settings::from(&crate::config::load(config)?))
    }

    /// As [`settings`](Self::settings), with everything done that a start does before it takes
    /// effect.
    fn validate(&self, config: &Path) -> Result<Settings, Failure> {
        self.settings(config)
    }

    /// The OpenAPI document of the configured token APIs, as JSON to read.
    fn openapi(&self, config: &Path) -> Result<String, Failure>;

    /// Looks at the configured store. A store that is not fit for its work is no failure: the
    /// findings say so.
    fn check_store(&self, config: &Path) -> Result<Vec<Finding>, Failure>;

    /// Makes a directory with every key that a start would make, and names the files: a signing key
    /// for each of `algorithms`; where none is named, for each that the configuration's token APIs
    /// sign with, or, without a configuration, for HS256. A directory with anything in it is
    /// refused.
    fn create_keys(
        &self,
        config: &Path,
        directory: &Path,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Vec<PathBuf>, Failure>;

    /// Copies the configured store into a file that is whole in itself, while a keyward may run on
    /// it, and verifies the copy.
    fn back_up_store(
        &self,
        config: &Path,
        file: &Path,
        replace: Replace,
    ) -> Result<BackupReport, Failure>;

    /// Verifies a backup and puts it in the place of the configured store, on which no keyward may
    /// run. What was there is kept beside it.
    fn restore_store(&self, config: &Path, file: &Path) -> Result<RestoreReport, Failure>;

    /// Copies everything from the store of one configuration into that of another, and compares.
    /// `step` is called at each step. That the stores differ is no failure: the migration says so.
    fn migrate_store(
        &self,
        from: &Path,
        to: &Path,
        step: &mut dyn FnMut(Step),
    ) -> Result<Migration, Failure>;

    /// Opens the store for the command line alone, when no keyward runs. The answer's futures are
    /// awaited on a tokio runtime with time and I/O that was made after this call.
    ///
    /// # Errors
    ///
    /// Among others, that a running keyward has it open: what it remembers of verified tokens would
    /// not learn of a revocation made behind its back. Does not wait for it.
    fn open_administration(&self, config: &Path) -> Result<Box<dyn Administration>, OpenRefusal>;

    /// How long a command waits for a keyward that is starting or stopping, or for another command
    /// that has the store. A start takes well below a second, unless the machine is busy or the
    /// store is large.
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// How a keyward begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It binds its addresses, and nothing else may have them.
    Alone,
    /// It takes over from the keyward that runs on the same configuration, if one does.
    TakeOver,
}

/// Why the store was not opened for the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenRefusal {
    /// Another process has it, in words: a keyward that starts, or another command. It may be asked
    /// for again soon.
    InUse(String),
    /// Asking again will not help.
    Other(Failure),
}
