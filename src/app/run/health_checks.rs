//! The thread of health checks: one for the process, whatever the number of workers. It has its own
//! runtime, because connections to upstreams stay on the thread on which they were made.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::gateway::Shared;
use crate::upstream::begin_checks;

/// How often it is looked for checks that are due.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether an upstream of the plan that is in force has checks.
pub(super) fn are_configured(shared: &Shared) -> bool {
    shared.upstream_states().iter().any(|state| state.has_checks())
}

/// Starts the thread. It ends when the gateway is gone.
///
/// # Errors
///
/// When the system has no thread to give.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let run = move || LocalSet::new().block_on(&runtime, look(&shared));
    thread::Builder::new().name("health-checks".to_owned()).spawn(run).map(drop)
}

async fn look(shared: &Weak<Shared>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        for state in shared.upstream_states() {
            begin_checks(&state);
        }
    }
}
