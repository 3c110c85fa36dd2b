//! What is done at intervals while keyward runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::health_checks::HealthChecks;
use crate::app::status::OwnStatus;
use crate::domain::Timestamp;
use crate::tokens::store::Store;

/// How often expired records are removed, and how many in one step.
const PURGE_EVERY: Duration = Duration::from_secs(60);
const PURGE_AT_ONCE: usize = 1000;

/// How often readiness is determined, so that a fault of the store is in the log and in a metric
/// without a request for it.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// How often the memory of the process is looked at, where it is bounded: what comes within one
/// interval must fit into what is left above the bound.
const LOOK_AT_MEMORY_EVERY: Duration = Duration::from_millis(250);

/// Starts each in a task of its own. They end when the set is dropped; a change that the store was
/// asked for is carried out all the same.
pub(super) fn start(
    store: Arc<dyn Store>,
    status: Arc<OwnStatus>,
    health_checks: Arc<HealthChecks>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let memory = Arc::clone(&status);
    tasks.spawn(async move {
        let mut ticks = every(LOOK_AT_MEMORY_EVERY);
        loop {
            ticks.tick().await;
            memory.memory.look();
        }
    });
    tasks.spawn(async move {
        let mut ticks = every(PURGE_EVERY);
        loop {
            ticks.tick().await;
            purge(store.as_ref()).await;
        }
    });
    tasks.spawn(async move {
        let mut ticks = every(OBSERVE_EVERY);
        loop {
            ticks.tick().await;
            let reasons = status.observe().await;
            status.serving.note(&reasons);
        }
    });
    tasks.spawn(async move {
        let mut ticks = every(OBSERVE_EVERY);
        loop {
            ticks.tick().await;
            health_checks.begin();
        }
    });
    tasks
}

/// Ticks now, and then at this interval, which counts from a late tick, too.
fn every(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Removes all records that have expired.
async fn purge(store: &dyn Store) {
    loop {
        let now = Timestamp::from_system(SystemTime::now());
        match store.purge(now, PURGE_AT_ONCE).await {
            Ok(removed) if removed >= PURGE_AT_ONCE => {}
            Ok(_) => return,
            Err(fault) => {
                tracing::warn!(%fault, "expired records could not be removed");
                return;
            }
        }
    }
}
