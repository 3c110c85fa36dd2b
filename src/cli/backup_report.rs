//! What a backup and a restored store hold.

use std::path::PathBuf;

use serde::Serialize;

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// API keys, sessions and bootstrap tokens, expired ones that are not yet removed included.
    pub tokens: u64,
    /// API keys that were revoked and are still listed.
    pub revoked: u64,
    /// Users of the token APIs of the style accounts.
    pub users: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// What a restored store holds, and what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// As the backup says.
    #[serde(flatten)]
    pub holds: BackupReport,
    /// Where the store is that was there before; `None`: there was none.
    pub before: Option<PathBuf>,
}

/// What may be at the place of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Nothing.
    Nothing,
    /// An earlier backup.
    EarlierBackup,
}

impl BackupReport {
    pub(super) fn words(&self) -> String {
        let Self { tokens, revoked, users, bytes } = self;
        format!(
            "{tokens} tokens, {revoked} revoked keys that are still listed, {users} users, {bytes} \
             bytes"
        )
    }
}
