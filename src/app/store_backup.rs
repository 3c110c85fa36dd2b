//! `keyward store backup` and `keyward store restore`: the embedded store as a file, and from a
//! file.

use std::path::Path;

use super::assemble;
use super::control::now;
use super::open_store::command;
use crate::cli::{BackupReport, RestoreReport};
use crate::config::Config;
use crate::store::embedded::backup::{self, Copied, Existing};
use crate::store::key_directory::KeyDirectory;
use crate::store::{RecordKey, StoreIdentity};

/// Copies the store into a file.
pub(super) fn back_up(
    config: &Config,
    file: &Path,
    existing: Existing,
) -> Result<BackupReport, String> {
    is_embedded(config, "backed up")?;
    let copied = with_identity(config, |identity| {
        backup::back_up(&config.store.path, identity, file, existing, command())
            .map_err(|fault| assemble::with_sources(&fault))
    })?;
    Ok(report(&copied))
}

/// Makes the store from a file.
pub(super) fn restore(config: &Config, file: &Path) -> Result<RestoreReport, String> {
    is_embedded(config, "restored")?;
    let restored = with_identity(config, |identity| {
        backup::restore(file, identity, &config.store.path, now(), command())
            .map_err(|fault| assemble::with_sources(&fault))
    })?;
    Ok(RestoreReport { holds: report(&restored.copied), before: restored.before })
}

/// The keys must be there: what is sealed with others is of no use.
pub(super) fn with_identity<T>(
    config: &Config,
    work: impl FnOnce(&StoreIdentity<'_>) -> Result<T, String>,
) -> Result<T, String> {
    // Without algorithms, no signing key is made.
    let keys = KeyDirectory::reopen(&config.keys.directory, &[], now())
        .map_err(|fault| format!("[keys] directory: {fault}"))?;
    let key = RecordKey::new(keys.store.record_key().expose());
    let fingerprint = keys.store.fingerprint();
    work(&StoreIdentity { key: &key, fingerprint: fingerprint.expose() })
}

fn is_embedded(config: &Config, done: &str) -> Result<(), String> {
    match &config.store.redis {
        None => Ok(()),
        Some(redis) => Err(format!(
            "the store is the fleet {:?} in Redis, which is not {done} by keyward: use Redis's own \
             means, a snapshot (\"redis-cli --rdb FILE\", or BGSAVE) or its append-only files, with \
             all instances stopped while one is put back. \"keyward store migrate\" copies the \
             fleet's records into an embedded store and back",
            redis.options.settings.prefix
        )),
    }
}

fn report(copied: &Copied) -> BackupReport {
    BackupReport {
        tokens: copied.records,
        revoked: copied.retired,
        users: copied.accounts,
        bytes: copied.bytes,
    }
}
