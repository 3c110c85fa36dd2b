//! The only place that knows every part: puts them together from a configuration, runs them, reloads and stops them.

mod administration;
mod assemble;
mod demo;
mod echo;
mod issuers;
mod run;
mod status;
mod store_check;
mod store_migrate;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use crate::admin::Administration;
use crate::api::openapi;
use crate::cli::{Runtime, Settings};
use crate::config;
use crate::gateway::mounted;
use crate::tokens::finding::Finding;
use crate::tokens::migration::{Migration, Step};

/// The program, as the command line sees it.
pub struct App;

impl Runtime for App {
    fn run(&self, config: &Path) -> ExitCode {
        run::run(config)
    }

    fn demo(&self, address: SocketAddr) -> ExitCode {
        demo::demo(address)
    }

    fn validate(&self, path: &Path) -> Result<Settings, String> {
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        let faults = issuers::file_faults(&config);
        if faults.is_empty() { Ok(Settings::from(&config)) } else { Err(faults.join("\n")) }
    }

    fn openapi(&self, path: &Path) -> Result<String, String> {
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        let document = openapi::document(&mounted(&assemble::token_apis(&config)));
        serde_json::to_string_pretty(&document).map_err(|fault| fault.to_string())
    }

    fn check_store(&self, path: &Path) -> Result<Vec<Finding>, String> {
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        store_check::check(&config)
    }

    fn migrate_store(&self, from: &Path, to: &Path, step: &mut dyn FnMut(Step)) -> Result<Migration, String> {
        let load = |path| config::load(path).map_err(|faults| faults.to_string());
        store_migrate::migrate(&load(from)?, &load(to)?, step)
    }

    fn open_administration(&self, path: &Path) -> Result<Box<dyn Administration>, String> {
        let config = config::load(path).map_err(|faults| faults.to_string())?;
        let is_new = config.store.redis.is_none() && !config.store.path.exists();
        let parts = assemble::Parts::open(&config)?;
        let made = if is_new { ", which was made just now" } else { "" };
        // Said so that nobody works on a store that they did not mean; if it cannot be said, the work is done all the same.
        let _ = writeln!(
            std::io::stderr(),
            "keyward: no keyward is running; using the store {}{made}",
            match &config.store.redis {
                None => config.store.path.display().to_string(),
                Some(redis) => format!("of the fleet {:?} in Redis", redis.prefix),
            }
        );
        Ok(Box::new(administration::OwnAdministration::new(parts, &config)))
    }
}
