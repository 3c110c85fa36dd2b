//! What runs outside of the data plane: its runtime and its clock.

use std::time::SystemTime;

use tokio::runtime::{Builder, Runtime};

use crate::cli::Failure;
use crate::domain::Timestamp;

/// A runtime on this thread.
pub(super) fn runtime() -> Result<Runtime, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the system has no resources to work with: {error}"))
}

/// Runs a keyward on the control thread.
pub(super) fn on_control_runtime(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    // Without waiting for what still blocks: told to stop at once, we do.
    runtime.shutdown_background();
    outcome
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
