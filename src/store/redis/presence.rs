//! Whether instances run on a store, for a command that does not join their fleet.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use redis::RedisError;

use super::failure::RedisFailure;
use super::layout::Layout;
use super::membership::Registered;
use super::node::Nodes;
use super::settings::RedisSettings;
use crate::tokens::store::StoreError;

/// How often the register is read.
const INTERVAL: Duration = Duration::from_millis(100);

/// For a heartbeat that is on its way.
const SLACK: Duration = Duration::from_millis(500);

/// What was seen of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whether there is anything at all: a keyward has used this store.
    pub is_known: bool,
    /// Whether an instance is running on it.
    pub is_served: bool,
}

/// Finds out whether an instance is registered and sends heartbeats. An instance that died stays in
/// the register: that it sends none is known when the time is over for which it could use what it
/// remembers.
///
/// # Errors
///
/// Why it cannot be told, in words: Redis cannot be used, or its answer is an error or cannot be
/// read.
pub async fn presence(settings: &RedisSettings) -> Result<Presence, String> {
    let nodes = Nodes::new(settings.clone()).map_err(words)?;
    let layout = Layout::new(&settings.prefix);
    let address = nodes.discover().await.map_err(words)?;
    let (mut connection, _) = nodes.connect(&address, None).await.map_err(words)?;
    let failed = |error: RedisError| words(StoreError::from(RedisFailure::from(error)));
    let mut meta = redis::cmd("HEXISTS");
    meta.arg(layout.meta()).arg("keys");
    let is_known = meta.query_async(&mut connection.inner).await.map_err(failed)?;
    let mut asked = redis::cmd("HGETALL");
    asked.arg(layout.instances());
    let mut register = async || -> Result<HashMap<String, String>, String> {
        asked.query_async(&mut connection.inner).await.map_err(failed)
    };
    let first = register().await?;
    let mut timeout = Duration::ZERO;
    for (instance, registered) in &first {
        let registered = Registered::read(instance.clone(), registered).map_err(words)?;
        timeout = timeout.max(registered.bound + SLACK);
    }
    let until = tokio::time::Instant::now() + timeout;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(INTERVAL).await;
        // Also one that was not there at first.
        let has_beaten = |(instance, beat): (String, String)| first.get(&instance) != Some(&beat);
        if register().await?.into_iter().any(has_beaten) {
            return Ok(Presence { is_known, is_served: true });
        }
    }
    Ok(Presence { is_known, is_served: false })
}

fn words(error: impl Display) -> String {
    error.to_string()
}
