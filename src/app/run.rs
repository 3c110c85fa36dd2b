//! `keyward run`: start, serve, follow signals, stop.

mod bounds;
mod clashes;
mod control;
mod drain;
mod listening;
pub(super) mod prepare;
mod process;
mod recurring;
mod reload;
mod running;
mod signals;
mod writable;

use std::path::Path;
use std::process::ExitCode;

pub(super) use control::{complain, on_control_runtime};
pub(super) use process::Process;
pub(super) use signals::Signals;

use crate::config;
use crate::telemetry::log;

/// Runs until a signal ends it.
pub(super) fn run(path: &Path) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => return complain(&faults.to_string()),
    };
    let log = match log::init(config.log.format, config.log.level) {
        Ok(log) => log,
        Err(fault) => return complain(&format!("keyward: {fault}")),
    };
    match on_control_runtime(async {
        // First of all: a signal that comes while the store is opened must be received.
        let mut signals = Signals::listen()?;
        let start = Process::start(config, Some(path.to_owned()), Some(log));
        let Some(started) = signals.unless_told_to_end(start).await else { return Ok(()) };
        let mut process = started?;
        process.follow(signals).await;
        Ok(process.stop().await?)
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure.to_string()),
    }
}
