//! `keyward store check`: looks at the configured store without starting anything.

use std::fs;
use std::path::Path;

use super::assemble::with_sources;
use super::control::runtime;
use super::open_store::command;
use super::parts::Parts;
use super::store_backup::with_identity;
use crate::config::{Config, FleetSettings};
use crate::store::EmbeddedStore;
use crate::store::redis::discovery_error::DiscoveryError;
use crate::store::redis::inspect::{excess, inspect};
use crate::store::redis::node::Nodes;
use crate::tokens::finding::{Finding, Severity};

/// What is found; an error where it cannot be looked at.
pub(super) fn check(config: &Config) -> Result<Vec<Finding>, String> {
    match &config.store.redis {
        None => embedded(config),
        Some(redis) => runtime()?.block_on(fleet(redis)),
    }
}

async fn fleet(wanted: &FleetSettings) -> Result<Vec<Finding>, String> {
    let nodes = Nodes::new(wanted.options.settings.clone()).map_err(|fault| fault.to_string())?;
    let found = match nodes.discover().await {
        Ok(address) => nodes.connect(&address, None).await.map(|connected| (address, connected)),
        Err(fault) => Err(fault),
    };
    let (address, (mut connection, facts)) = match found {
        Ok(found) => found,
        Err(fault @ DiscoveryError::NotMaster { .. }) => {
            let words = format!(
                "{fault}: it refuses changes (READONLY), and where replica-serve-stale-data is no \
                 and its master is down, look-ups too (MASTERDOWN); name the master in \"url\", or \
                 make this one the master (replicaof no one)"
            );
            return Ok(vec![fault_of("master", "a replica", "the master", words)]);
        }
        Err(fault) => {
            return Ok(vec![fault_of("master", "not usable", "reachable", fault.to_string())]);
        }
    };
    let mut findings = vec![Finding::fine("master", address.to_string())];
    let (options, lease) = (&wanted.options, wanted.coherence_lease);
    findings.extend(inspect(&mut connection, &facts, &address, options, lease).await);
    findings.extend(excess(&mut connection).await);
    Ok(findings)
}

/// Opens it as a start would: the lock, the layout, the pages, and every record with its seal.
fn embedded(config: &Config) -> Result<Vec<Finding>, String> {
    let path = &config.store.path;
    let Some(size) = size(path) else {
        let words = "it is made when keyward starts for the first time";
        let found = format!("{} is not there", path.display());
        return Ok(vec![Finding::of(Severity::Warning, "file", found, "a database", words)]);
    };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let waiting = self::size(Path::new(&log)).unwrap_or(0);
    let mut findings = vec![
        Finding::fine("file", format!("{}, {size} bytes", path.display())),
        Finding::fine("write-ahead log", format!("{waiting} bytes before the check")),
    ];
    let checked = match Parts::reopen(config) {
        Ok(_) => Ok(()),
        // A server that runs is not in the way of a look.
        Err(fault) => match fault.holder() {
            Some(process) => check_in_use(config).map(|()| {
                findings.push(Finding::fine("in use", format!("by process {process}")));
            }),
            None => Err(String::from(fault)),
        },
    };
    match checked {
        Ok(()) => findings.extend(
            ["layout", "pages and indexes", "records"]
                .map(|subject| Finding::fine(subject, "checked: as written")),
        ),
        Err(words) => findings.push(fault_of("content", "not usable", "as written", words)),
    }
    Ok(findings)
}

/// Checks what a running keyward has in use: the state that was acknowledged last.
fn check_in_use(config: &Config) -> Result<(), String> {
    with_identity(config, |identity| {
        EmbeddedStore::check_in_use(&config.store.path, identity, command())
            .map_err(|fault| format!("[store] {}", with_sources(&fault)))
    })
}

fn fault_of(subject: &'static str, found: &str, wanted: &str, words: String) -> Finding {
    Finding::of(Severity::Fault, subject, found, wanted, words)
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.len())
}
