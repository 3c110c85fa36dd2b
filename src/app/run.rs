//! `keyward run`: start, serve, follow signals, stop.

mod bounds;
mod clashes;
mod drain;
mod health_checks;
mod listening;
pub(super) mod prepare;
mod process;
mod recurring;
mod reload;
mod running;
mod signals;
mod writable;

use std::path::Path;

pub(super) use process::Process;
pub(super) use signals::Signals;

use super::control::on_control_runtime;
use crate::cli::Failure;
use crate::config;
use crate::telemetry::log;

/// Runs until a signal ends it.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = config::load(path)?;
    let log = log::init(config.log.format, config.log.level).map_err(|fault| fault.to_string())?;
    on_control_runtime(async {
        // First of all: a signal that comes while the store is opened must be received.
        let mut signals = Signals::listen()?;
        let start = Process::start(config, Some(path.to_owned()), Some(log));
        let Some(started) = signals.unless_told_to_end(start).await else { return Ok(()) };
        let mut process = started?;
        process.follow(signals).await;
        Ok(process.stop().await?)
    })
}
