//! The thread of health checks: one for the process, whatever the number of workers. It has its own
//! runtime, because connections to upstreams stay on the thread on which they were made.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::gateway::Shared;
use crate::upstream::begin_checks;

/// How often it is looked for checks that are due.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a start or a hand-over waits for the first checks at most, and how often it looks. Most
/// endpoints answer or refuse at once; one that does neither is unwell when its check has ended.
const FIRST_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The health checks of all upstreams.
pub(super) struct HealthChecks {
    shared: Weak<Shared>,
    /// Whether the thread has been started.
    has_begun: AtomicBool,
}

impl HealthChecks {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::downgrade(shared), has_begun: AtomicBool::new(false) }
    }

    /// Starts the thread, once an upstream of the plan that is in force has checks. It ends when
    /// the gateway is gone.
    pub(super) fn begin(&self) {
        let are_configured =
            |shared: Arc<Shared>| shared.upstream_states().iter().any(|state| state.has_checks());
        if self.has_begun.load(Ordering::Relaxed)
            || !self.shared.upgrade().is_some_and(are_configured)
            || self.has_begun.swap(true, Ordering::Relaxed)
        {
            return;
        }
        if let Err(fault) = start(self.shared.clone()) {
            self.has_begun.store(false, Ordering::Relaxed);
            tracing::error!(%fault, "health checks cannot be started");
        }
    }

    /// Waits until each endpoint has been checked once, for as long as a check may take, and not
    /// for long in any case.
    pub(super) async fn first_round(&self) {
        self.begin();
        let left = || {
            let shared = self.shared.upgrade()?;
            let states = shared.upstream_states();
            states.iter().filter_map(|state| state.checked_within()).max()
        };
        let Some(longest) = left() else { return };
        // A check ends at its timeout, and is begun within one look.
        let bound = longest.saturating_add(2 * LOOK_EVERY).min(FIRST_WITHIN);
        let checked = async {
            while left().is_some() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(bound, checked).await;
    }
}

/// Starts the thread.
///
/// # Errors
///
/// When the system has no thread to give.
fn start(shared: Weak<Shared>) -> io::Result<()> {
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
