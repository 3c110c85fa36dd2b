//! `keyward run`: start, serve, follow signals, stop.

mod admin_sockets;
mod bounds;
mod clashes;
mod drain;
mod hand_over;
mod health_checks;
mod listening;
pub(super) mod prepare;
mod process;
mod recurring;
mod reload;
mod running;
mod signals;
mod succession;
mod under_way;
mod writable;

use std::path::Path;

pub(super) use process::{Process, Surroundings};
pub(super) use signals::Signals;

use super::control::on_control_runtime;
use super::hand_over::spawn::Program;
use super::hand_over::take::Predecessor;
use super::service_manager;
use crate::cli::{Beginning, Failure};
use crate::config;
use crate::telemetry::log;

/// Runs until a signal ends it, or another process has taken over.
pub(super) fn run(path: &Path, beginning: Beginning) -> Result<(), Failure> {
    // Before there is another thread, which could read the environment.
    let sockets = service_manager::sockets()?;
    let program = Program::own().ok();
    let config = config::load(path)?;
    let log = log::init(config.log.format, config.log.level).map_err(|fault| fault.to_string())?;
    on_control_runtime(async {
        // First of all: a signal that comes while the store is opened must be received.
        let mut signals = Signals::listen()?;
        let start = async {
            let predecessor = match beginning {
                Beginning::Alone => None,
                Beginning::TakeOver => Predecessor::ask(&config.admin.socket).await?,
            };
            let surroundings = Surroundings { sockets, predecessor };
            Process::start(config, Some(path.to_owned()), Some(log), surroundings).await
        };
        let Some(started) = signals.unless_told_to_end(start).await else { return Ok(()) };
        let mut process = started?;
        process.follow(signals, program).await;
        Ok(process.stop().await?)
    })
}
