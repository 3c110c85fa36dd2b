//! `keyward store migrate`: both stores opened for this process alone, and everything copied from
//! one into the other.

use super::assemble;
use super::control::{now, runtime};
use super::open_store::{self, OpenStore};
use super::parts;
use crate::config::{Config, FleetSettings};
use crate::store::key_directory::KeyDirectory;
use crate::store::redis::presence::presence;
use crate::store::redis::settings::RedisSettings;
use crate::tokens::keyring::SecretBytes;
use crate::tokens::migration::{self, Migration, Ports, Side, Step};

/// Copies, and compares.
pub(super) fn migrate(
    from: &Config,
    to: &Config,
    step: &mut dyn FnMut(Step),
) -> Result<Migration, String> {
    let keys = same_keys(from, to)?;
    if is_same_place(from, to) {
        return Err("the two configurations name the same store".to_owned());
    }
    let runtime = runtime()?;
    runtime.block_on(at_rest(from, Side::Source))?;
    runtime.block_on(at_rest(to, Side::Target))?;
    let source = Opened::open(from, &keys).map_err(|words| format!("the source: {words}"))?;
    let target = Opened::open(to, &keys).map_err(|words| format!("the target: {words}"))?;
    let moved = runtime.block_on(migration::migrate(&source.ports(), &target.ports(), now(), step));
    // Out of both fleets first: an instance that is there then is another one.
    drop((source, target));
    let moved = moved.map_err(|fault| assemble::with_sources(&fault))?;
    runtime.block_on(async {
        at_rest(from, Side::Source).await?;
        at_rest(to, Side::Target).await
    })?;
    Ok(moved)
}

/// The keys, which must be the same: what one store holds is of no use under others.
fn same_keys(from: &Config, to: &Config) -> Result<KeyDirectory, String> {
    // Without algorithms, no signing key is made.
    let open = |config: &Config| {
        KeyDirectory::reopen(&config.keys.directory, &[], now())
            .map_err(|fault| format!("[keys] directory: {fault}"))
    };
    let (ours, theirs) = (open(from)?, open(to)?);
    if ours.store.fingerprint().expose() != theirs.store.fingerprint().expose() {
        return Err(
            "the two configurations have different [keys]: no token would be found in the target"
                .to_owned(),
        );
    }
    let has_all = |theirs: &[SecretBytes], ours: &[SecretBytes]| {
        ours.iter().all(|key| theirs.iter().any(|other| other.expose() == key.expose()))
    };
    for (sort, are_there, lost) in [
        ("pepper-….key", has_all(&theirs.peppers, &ours.peppers), "tokens that are known under it"),
        ("mac-….key", has_all(&theirs.macs, &ours.macs), "opaque tokens that were made with it"),
    ] {
        if !are_there {
            let target = to.keys.directory.display();
            return Err(format!(
                "{target}: a {sort} of the source is missing: {lost} would be refused"
            ));
        }
    }
    let is_there = |kid: &str, material: &[u8]| {
        theirs.signing.iter().any(|(other, _, theirs)| other == kid && theirs.expose() == material)
    };
    match ours.signing.iter().find(|(kid, _, material)| !is_there(kid, material.expose())) {
        Some((kid, ..)) => Err(format!(
            "{}: the signing key {kid} of the source is missing: tokens that it has signed would \
             be refused",
            to.keys.directory.display()
        )),
        None => Ok(ours),
    }
}

fn is_same_place(from: &Config, to: &Config) -> bool {
    match (&from.store.redis, &to.store.redis) {
        (None, None) => match (from.store.path.canonicalize(), to.store.path.canonicalize()) {
            (Ok(from), Ok(to)) => from == to,
            _ => from.store.path == to.store.path,
        },
        (Some(from), Some(to)) => {
            let place = |fleet: &FleetSettings| {
                let RedisSettings { servers, database, prefix, .. } = &fleet.options.settings;
                (servers.addresses().to_vec(), *database, prefix.clone())
            };
            place(from) == place(to)
        }
        _ => false,
    }
}

/// Checks that no keyward serves what is being copied: the embedded store has its lock for that,
/// and in Redis no instance may show that it is present. A source must be there.
async fn at_rest(config: &Config, side: Side) -> Result<(), String> {
    let is_source = side == Side::Source;
    let side = if is_source { "source" } else { "target" };
    if config.store.redis.is_none() {
        let path = &config.store.path;
        return match path.try_exists() {
            Ok(false) if is_source => {
                Err(format!("the source: there is no store at {}", path.display()))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the {side}: {}: {error}", path.display())),
        };
    }
    let settings = open_store::redis_settings(config)?;
    let prefix = &settings.prefix;
    let found = presence(settings).await.map_err(|fault| format!("the {side}: {fault}"))?;
    if found.is_served {
        return Err(format!(
            "the {side}: a keyward is running on the fleet {prefix:?} in Redis; stop all of its \
             instances, or what changes meanwhile is lost"
        ));
    }
    if is_source && !found.is_known {
        return Err(format!("the source: there is no store of the fleet {prefix:?} in Redis"));
    }
    Ok(())
}

/// A store that is closed when this is dropped.
struct Opened(OpenStore);

impl Opened {
    fn open(config: &Config, keys: &KeyDirectory) -> Result<Self, String> {
        let cache = parts::cache(config);
        Ok(Self(OpenStore::open(config, &keys.store, &cache, open_store::command(), None)?))
    }

    fn ports(&self) -> Ports {
        Ports { records: self.0.port(), accounts: self.0.accounts() }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}
