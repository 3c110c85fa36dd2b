//! What a running keyward does until it is told to end, and how it ends then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::process::{LAST_LINES, Process};
use super::recurring;
use super::signals::Signals;
use crate::server::{Grace, WorkerPool};

/// A second signal within this time is the first one, sent twice: to the process and to its group.
const ONE_SIGNAL: Duration = Duration::from_millis(20);

impl Process {
    /// Serves until it is told to end.
    pub(in crate::app) async fn follow(&mut self, signals: Signals) {
        let Signals { mut terminate, mut interrupt, mut hang_up } = signals;
        let recurring = recurring::start(self.parts.store.port(), Arc::clone(&self.status));
        // No branch keeps from hearing a signal to end: what waits for the store does so in a task
        // of its own.
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => tokio::select! {
                    () = self.reload() => {}
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                },
            }
        }
        drop(recurring);
        self.drain(&mut terminate, &mut interrupt).await;
    }

    /// Not ready first, so that load balancers notice; then no new connections; then what is under
    /// way is finished.
    async fn drain(&mut self, terminate: &mut Signal, interrupt: &mut Signal) {
        tracing::info!("stopping: draining connections");
        self.status.is_draining.store(true, Ordering::Release);
        let server = &self.config.server;
        let delay = server.shutdown_delay;
        let grace = Grace { requests: server.shutdown_grace, tunnels: server.tunnel_grace };
        let acceptors = std::mem::take(&mut self.acceptors);
        let pool = self.pool.take();
        let stopper = pool.as_ref().map(WorkerPool::stopper);
        let drained = async move {
            tokio::time::sleep(delay).await;
            for acceptor in acceptors.into_values() {
                acceptor.finish().await;
            }
            if let Some(pool) = pool {
                let _ = tokio::task::spawn_blocking(move || pool.drain(grace)).await;
            }
        };
        let mut drained = std::pin::pin!(drained);
        let second_signal = async {
            let begun = tokio::time::Instant::now();
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if begun.elapsed() >= ONE_SIGNAL {
                    return;
                }
            }
        };
        tokio::select! {
            () = &mut drained => return,
            () = second_signal => tracing::warn!("stopping at once: told to a second time"),
        }
        // What was answered is in the log before the end.
        if let Some(stopper) = stopper {
            stopper.stop_now();
            let _ = tokio::time::timeout(LAST_LINES, drained).await;
        }
    }
}
