//! What a running keyward does until it is told to end, and how it ends then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::process::{LAST_LINES, Process};
use super::recurring;
use super::signals::Signals;
use super::under_way::{HandOver, HandedOver};
use crate::app::hand_over::spawn::Program;
use crate::app::service_manager;
use crate::server::{Grace, WorkerPool};

/// A second signal within this time is the first one, sent twice: to the process and to its group.
const ONE_SIGNAL: Duration = Duration::from_millis(20);

/// How long an idle connection of HTTP/1.1 is kept after another process has taken over. A client
/// that has sent nothing for so long is not likely to do so just when its connection is closed.
const IDLE_AFTER_HAND_OVER: Duration = Duration::from_secs(5);

/// What ends the loop.
enum End {
    Told,
    HandedOver(HandedOver),
}

impl Process {
    /// Serves until it is told to end, or another process has taken over.
    pub(in crate::app) async fn follow(&mut self, signals: Signals, program: Option<Program>) {
        let Signals { mut terminate, mut interrupt, mut hang_up, mut user2 } = signals;
        self.announce().await;
        let recurring = recurring::start(
            self.parts.port(),
            Arc::clone(&self.status),
            Arc::clone(&self.health_checks),
        );
        let (steps, mut taken) = mpsc::channel(1);
        // While another process takes over, what it may have read already does not change.
        let mut is_reload_due = false;
        let mut is_told = false;
        // No branch keeps from hearing a signal to end: what waits for the store or for another
        // process does so in a task of its own.
        let end = loop {
            tokio::select! {
                _ = terminate.recv() => is_told = true,
                _ = interrupt.recv() => is_told = true,
                _ = hang_up.recv() => is_reload_due = true,
                _ = user2.recv() => start_to_take_over(program.as_ref()),
                Some(stream) = self.hand_overs.recv() => self.begin_hand_over(stream, &steps),
                Some(step) = taken.recv() => {
                    if let Some(handed_over) = self.take_step(step) {
                        break End::HandedOver(handed_over);
                    }
                }
            }
            // One that may serve already is waited for: it has the sockets, or soon has not.
            if is_told && !self.hand_over.as_ref().is_some_and(HandOver::may_serve) {
                break End::Told;
            }
            if self.hand_over.is_none() && std::mem::take(&mut is_reload_due) {
                tokio::select! {
                    () = self.reload() => {}
                    _ = terminate.recv() => break End::Told,
                    _ = interrupt.recv() => break End::Told,
                }
            }
        };
        self.hand_over = None;
        // A process that asks from now on is told so at once.
        self.hand_overs.close();
        drop(recurring);
        match end {
            End::Told => {
                service_manager::stopping();
                self.drain(None, &mut terminate, &mut interrupt).await;
            }
            End::HandedOver(handed_over) => {
                if is_reload_due {
                    hang_up_at(handed_over.process);
                }
                self.drain(Some(handed_over), &mut terminate, &mut interrupt).await;
            }
        }
    }

    /// Not ready first, so that load balancers notice; then no new connections; then what is under
    /// way is finished. Where another process has taken over, load balancers have nothing to
    /// notice.
    async fn drain(
        &mut self,
        handed_over: Option<HandedOver>,
        terminate: &mut Signal,
        interrupt: &mut Signal,
    ) {
        self.status.is_draining.store(true, Ordering::Release);
        let server = &self.config.server;
        let mut grace = Grace {
            requests: server.shutdown_grace,
            tunnels: server.tunnel_grace,
            idle: Duration::ZERO,
        };
        let mut delay = server.shutdown_delay;
        let (mut taken, mut done, mut kept) = (Vec::new(), None, None);
        if let Some(handed_over) = handed_over {
            let process = handed_over.process;
            tracing::info!(process, "another process has taken over: draining connections");
            (taken, done, kept) =
                (handed_over.taken, Some(handed_over.done), Some(handed_over.kept));
            delay = Duration::ZERO;
            grace.idle = IDLE_AFTER_HAND_OVER.min(server.shutdown_grace);
            service_manager::handed_over_to(process);
            self.admin_sockets.socket.1.leave();
            self.stop.send_replace(true);
        } else {
            tracing::info!("stopping: draining connections");
        }
        // While connections are still accepted, those that clients keep come to their end.
        if let Some(pool) = &self.pool {
            pool.end_soon();
        }
        let acceptors = std::mem::take(&mut self.acceptors);
        let pool = self.pool.take();
        let stopper = pool.as_ref().map(WorkerPool::stopper);
        let drained = async move {
            tokio::time::sleep(delay).await;
            let (left, finished): (Vec<_>, Vec<_>) =
                acceptors.into_iter().partition(|(key, _)| taken.contains(key));
            for (_, acceptor) in left {
                acceptor.leave().await;
            }
            match done {
                None => {
                    for (_, acceptor) in finished {
                        acceptor.finish().await;
                    }
                }
                Some(done) => {
                    let (said, is_said) = oneshot::channel();
                    let _ = done.send(said);
                    // Otherwise it may end before the new process has heard of it.
                    let _ = tokio::time::timeout(LAST_LINES, is_said).await;
                    let mut closing: JoinSet<()> = finished
                        .into_iter()
                        .map(|(_, acceptor)| acceptor.finish_after_handshakes())
                        .collect();
                    while closing.join_next().await.is_some() {}
                }
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
            () = &mut drained => {
                // To the end: see HandedOver.
                self.kept = kept;
                return;
            }
            () = second_signal => tracing::warn!("stopping at once: told to a second time"),
        }
        // What was answered is in the log before the end.
        if let Some(stopper) = stopper {
            stopper.stop_now();
            let _ = tokio::time::timeout(LAST_LINES, drained).await;
        }
        self.kept = kept;
    }
}

/// Starts the program anew. It asks on the admin socket like any other.
fn start_to_take_over(program: Option<&Program>) {
    let Some(program) = program else {
        tracing::error!("told to start a process that takes over; the program is not known");
        return;
    };
    let path = program.path().display();
    match program.start_to_take_over() {
        Ok(()) => tracing::info!(%path, "started to take over"),
        Err(fault) => {
            tracing::error!(%fault, %path, "no process could be started to take over");
        }
    }
}

/// Has the other process reload, because it may have read the configuration before it changed.
fn hang_up_at(process: u32) {
    let sent = i32::try_from(process)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .map(|process| rustix::process::kill_process(process, rustix::process::Signal::HUP));
    match sent {
        Some(Ok(())) => tracing::info!(process, "handed the signal to reload on"),
        _ => tracing::error!(process, "the signal to reload could not be handed on: repeat it"),
    }
}
