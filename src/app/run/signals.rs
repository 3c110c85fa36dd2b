//! The signals that a keyward follows.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What tells a keyward to end, to reload, or to start another process that takes over.
pub(in crate::app) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hang_up: Signal,
    pub(super) user2: Signal,
}

impl Signals {
    /// From now on they are received, and the system does not end the process for them.
    pub(in crate::app) fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|fault| format!("signals cannot be received: {fault}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            user2: listen(SignalKind::user_defined2())?,
        })
    }

    /// The outcome of `work`; `None`: a signal to end came first, and `work` was dropped where it
    /// stood.
    pub(in crate::app) async fn unless_told_to_end<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            outcome = work => return Some(outcome),
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping: told to before the start was over");
        None
    }
}
