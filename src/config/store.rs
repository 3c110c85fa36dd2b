//! Where records live.

use std::path::PathBuf;
use std::time::Duration;

use super::tables::StoreKeys;
use crate::store::redis::RedisOptions;

/// `[store]`: where records live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The database file of the embedded store.
    pub path: PathBuf,
    /// How long one call to the store may take.
    pub timeout: Duration,
    /// The Redis of a fleet; none: the store is the embedded one.
    pub redis: Option<FleetSettings>,
}

/// What instances that share a Redis agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// The Redis, and how it is used.
    pub options: RedisOptions,
    /// How long an instance may use what it has cached without a sign of life from Redis.
    pub coherence_lease: Duration,
    /// How old cached answers may become while Redis is away; zero: requests are refused then.
    pub max_staleness: Duration,
}

impl Default for Store {
    fn default() -> Self {
        let StoreKeys { path, timeout, .. } = StoreKeys::default();
        Self { path, timeout, redis: None }
    }
}
