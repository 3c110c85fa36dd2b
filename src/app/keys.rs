//! The keys of the configured directory, and what is made of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::control::now;
use crate::config::Config;
use crate::store::key_directory::KeyDirectory;
use crate::tokens::keyring::{KeyIds, Peppers, StoreKey};
use crate::tokens::opaque::OpaqueTokens;
use crate::tokens::signed::{SignedTokens, SigningAlgorithm};

/// The keys as they were read.
pub(super) struct ReadKeys {
    pub(super) signed: SignedTokens,
    pub(super) opaque: OpaqueTokens,
    pub(super) peppers: Peppers,
    pub(super) store: StoreKey,
    /// All that make or verify tokens.
    pub(super) ids: KeyIds,
    /// What is allowed, but is probably a mistake: keys that every user can read.
    pub(super) warnings: Vec<String>,
}

/// What becomes of keys that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingKeys {
    /// They are made.
    Make,
    /// Signing keys are made; without a key of the store it is another directory, which is refused.
    MakeBesideOthers,
}

impl ReadKeys {
    /// Reads the key directory, and makes what is missing in it.
    pub(super) fn open(config: &Config, missing: MissingKeys) -> Result<Self, String> {
        let open = match missing {
            MissingKeys::Make => KeyDirectory::open,
            MissingKeys::MakeBesideOthers => KeyDirectory::reopen,
        };
        let keys = open(&config.keys.directory, &signing_algorithms(config), now())
            .map_err(|fault| words(&fault))?;
        Self::of(config, keys)
    }

    /// As [`open`](Self::open), without a trace. Returns the files, too, that it would make; while
    /// there are any, the keys are good for nothing but a check.
    pub(super) fn look(
        config: &Config,
        missing: MissingKeys,
    ) -> Result<(Self, Vec<PathBuf>), String> {
        let directory = &config.keys.directory;
        if missing == MissingKeys::MakeBesideOthers {
            KeyDirectory::require(directory).map_err(|fault| words(&fault))?;
        }
        let (keys, lacking) = KeyDirectory::look(directory, &signing_algorithms(config), now())
            .map_err(|fault| words(&fault))?;
        Ok((Self::of(config, keys)?, lacking))
    }

    fn of(config: &Config, keys: KeyDirectory) -> Result<Self, String> {
        let (first, others) =
            keys.peppers.split_first().ok_or("[keys] directory: it holds no pepper; restore it")?;
        let secrets = keys.peppers.iter().chain(&keys.macs).map(|key| &key.expose()[..]);
        let ids = KeyIds::of(secrets.chain(keys.signing.iter().map(|(_, _, key)| key.expose())));
        let signed =
            SignedTokens::new(config.keys.issuer.clone(), keys.signing).map_err(|fault| {
                format!("[keys] directory: {}: {fault}", config.keys.directory.display())
            })?;
        Ok(Self {
            signed,
            opaque: OpaqueTokens::new(&keys.macs),
            peppers: Peppers::new(first, others),
            store: keys.store,
            ids,
            warnings: keys.warnings,
        })
    }
}

/// The keys in use: shared by all that make tokens and know them.
pub(super) struct Keys {
    pub(super) signed: Arc<SignedTokens>,
    pub(super) opaque: Arc<OpaqueTokens>,
    pub(super) peppers: Arc<Peppers>,
    pub(super) store: Arc<StoreKey>,
    pub(super) ids: KeyIds,
}

impl From<ReadKeys> for Keys {
    fn from(read: ReadKeys) -> Self {
        Self {
            signed: Arc::new(read.signed),
            opaque: Arc::new(read.opaque),
            peppers: Arc::new(read.peppers),
            store: Arc::new(read.store),
            ids: read.ids,
        }
    }
}

/// What the token APIs sign with: a key of each must be there.
pub(super) fn signing_algorithms(config: &Config) -> Vec<SigningAlgorithm> {
    let signed = config.token_apis.iter().filter(|api| api.style.signs());
    let mut algorithms: Vec<_> = signed.map(|api| api.algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}

/// Whether some of the keys are there that were lacking: another process has made them meanwhile.
pub(super) fn have_come(config: &Config, lacking: &[PathBuf]) -> bool {
    ReadKeys::look(config, MissingKeys::Make)
        .is_ok_and(|(_, lacking_now)| lacking_now.len() < lacking.len())
}

fn words(fault: &dyn std::fmt::Display) -> String {
    format!("[keys] directory: {fault}")
}
