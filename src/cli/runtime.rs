//! What the command line needs of the rest of the program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::backup_report::{BackupReport, Replace, RestoreReport};
use super::settings::Settings;
use crate::admin::Administration;
use crate::tokens::finding::Finding;
use crate::tokens::migration::{Migration, Step};
use crate::tokens::signed::SigningAlgorithm;

/// The rest of the program, as the command line needs it: the parts are put together elsewhere.
pub trait Runtime {
    /// Runs keyward in the foreground until it is told to stop. All faults of the configuration,
    /// and whatever else keeps it from starting, have been written to standard error when this
    /// returns [`ExitCode::FAILURE`].
    fn run(&self, config: &Path) -> ExitCode;

    /// Runs the demonstration on `address` until it is told to stop: a temporary store, a built-in
    /// echo upstream, and the calls to try on standard output. Touches no file of the user's.
    fn demo(&self, address: SocketAddr) -> ExitCode;

    /// Loads the configuration as [`Runtime::run`] would, without starting anything.
    ///
    /// # Errors
    ///
    /// Every fault, one line each, in the order of the file: `keyward.toml:12:7: message`.
    fn settings(&self, config: &Path) -> Result<Settings, String> {
        crate::config::load(config)
            .map(|config| Settings::from(&config))
            .map_err(|faults| faults.to_string())
    }

    /// As [`settings`](Self::settings), with everything done that a start does before it takes
    /// effect.
    ///
    /// # Errors
    ///
    /// Every fault, a line each, in the words of a start.
    fn validate(&self, config: &Path) -> Result<Settings, String> {
        self.settings(config)
    }

    /// The OpenAPI document of the configured token APIs, as JSON to read.
    ///
    /// # Errors
    ///
    /// Every fault of the configuration, as [`Runtime::settings`] says it.
    fn openapi(&self, config: &Path) -> Result<String, String>;

    /// Looks at the configured store.
    ///
    /// # Errors
    ///
    /// Why that cannot be done, in words. A store that is not fit for its work is no error: the
    /// findings say so.
    fn check_store(&self, config: &Path) -> Result<Vec<Finding>, String>;

    /// Makes a directory with every key that a start would make, and names the files: a signing key
    /// for each of `algorithms`; where none is named, for each that the configuration's token APIs
    /// sign with, or, without a configuration, for HS256.
    ///
    /// # Errors
    ///
    /// Why it was not made, in words; among others, that there is something in it.
    fn create_keys(
        &self,
        config: &Path,
        directory: &Path,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Vec<PathBuf>, String>;

    /// Copies the configured store into a file that is whole in itself, while a keyward may run on
    /// it, and verifies the copy.
    ///
    /// # Errors
    ///
    /// Why it was not done, in words.
    fn back_up_store(
        &self,
        config: &Path,
        file: &Path,
        replace: Replace,
    ) -> Result<BackupReport, String>;

    /// Verifies a backup and puts it in the place of the configured store, on which no keyward may
    /// run. What was there is kept beside it.
    ///
    /// # Errors
    ///
    /// Why it was not done, in words.
    fn restore_store(&self, config: &Path, file: &Path) -> Result<RestoreReport, String>;

    /// Copies everything from the store of one configuration into that of another, and compares.
    /// `step` is called at each step.
    ///
    /// # Errors
    ///
    /// Why it could not be done, or was broken off, in words. That the stores differ is no error:
    /// the migration says so.
    fn migrate_store(
        &self,
        from: &Path,
        to: &Path,
        step: &mut dyn FnMut(Step),
    ) -> Result<Migration, String>;

    /// Opens the store for the command line alone, when no keyward runs. The answer's futures are
    /// awaited on a tokio runtime with time and I/O that was made after this call.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, in words; among others, that a running keyward has it open: what it
    /// remembers of verified tokens would not learn of a revocation made behind its back. Does not
    /// wait for it.
    fn open_administration(&self, config: &Path) -> Result<Box<dyn Administration>, OpenRefusal>;

    /// How long a command waits for a keyward that is starting or stopping, or for another command
    /// that has the store. A start takes well below a second, unless the machine is busy or the
    /// store is large.
    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Why the store was not opened for the command line, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenRefusal {
    /// Another process has it: a keyward that starts, or another command. It may be asked for again
    /// soon.
    InUse(String),
    /// Asking again will not help.
    Other(String),
}
