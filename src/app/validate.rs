//! `keyward validate`: a start without serving.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::keys;
use super::neighbour::Neighbour;
use super::open_store::{OpenStore, command};
use super::run::prepare::{Occasion, PreparedKeys, prepare};
use crate::cli::{Failure, Settings};
use crate::config;
use crate::store::EmbeddedOptions;
use crate::telemetry::log;

/// Does everything that a start does up to the point at which it would take effect, and fails with
/// what a start says.
pub(super) fn validate(path: &Path) -> Result<Settings, Failure> {
    validate_since(path, Instant::now())
}

/// `began`: when it was first tried.
fn validate_since(path: &Path, began: Instant) -> Result<Settings, Failure> {
    let config = config::load(path)?;
    log::check().map_err(|fault| fault.to_string())?;
    let neighbour = Neighbour::find(&config);
    let prepared = match prepare(&config, Occasion::Validation(neighbour.as_ref())) {
        Ok(prepared) => prepared,
        // What is in use may be held by a keyward that has begun to start since it was looked for.
        Err(_)
            if neighbour.is_none()
                && began.elapsed() < Neighbour::STARTING
                && Neighbour::find(&config).is_some() =>
        {
            return validate_since(path, began);
        }
        Err(faults) => return Err(faults.into()),
    };
    let mut settings = Settings::from(&config);
    settings.notes.extend(prepared.notes);
    settings.warnings.extend(prepared.warnings);
    let PreparedKeys::First(store_keys) = prepared.keys else { return Ok(settings) };
    // A keyward that runs is not waited for; one that is stopping is, as by a start.
    let wait_for_server =
        if neighbour.is_some() { Duration::ZERO } else { command().wait_for_server };
    let options = EmbeddedOptions { wait_for_server, ..command() };
    match OpenStore::check(&config, &store_keys.store, options) {
        Ok(warnings) => settings.warnings.extend(warnings),
        Err(fault) => match (&neighbour, fault.holder()) {
            (Some(neighbour), Some(holder)) if neighbour.is(holder) => {
                settings.notes.push(neighbour.has(&config.store.path.display()));
            }
            // Another process has made the keys that the store is tied to.
            _ if keys::have_come(&config, &prepared.lacking) => return validate_since(path, began),
            // It is just starting, and will answer; or it is of another configuration.
            (None, Some(_)) if began.elapsed() < Neighbour::STARTING => {
                thread::sleep(Neighbour::EVERY);
                return validate_since(path, began);
            }
            _ => {
                return Err(config.places.one(OpenStore::key(&config), fault.to_string()).into());
            }
        },
    }
    Ok(settings)
}
