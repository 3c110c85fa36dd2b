//! What a process that takes over says while it prepares: that it is at work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Message;
use super::frames::Frames;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// A task on the control thread: when that hangs, nothing is said. It ends when this is dropped.
pub(super) struct Reporting {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Reporting {
    pub(super) fn begin(frames: Arc<Frames>) -> Self {
        let (end, mut is_over) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = &mut is_over => return,
                    _ = ticks.tick() => {}
                }
                // A message that has begun is finished, or the next one could not be read.
                if frames.send(&Message::Preparing {}, &[]).await.is_err() {
                    return;
                }
            }
        });
        Self { task, end }
    }

    /// Returns when nothing more is said.
    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
