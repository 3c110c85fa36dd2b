//! The workers: a thread, a current-thread runtime, and everything that a connection needs, for
//! each core.

#![expect(
    clippy::disallowed_methods,
    reason = "the worker has a coarse clock of its own for drain and upkeep"
)]

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::limit::SURPLUS_LIFE;
use super::listen::Arrival;
use super::serve;
use super::worker::{ConnectionSettings, Worker};
use crate::gateway::{Shared, WorkerGateway};
use crate::telemetry::metrics::WorkerCounters;
use crate::upstream::SWEEP_EVERY;
use crate::wire::deadline::TICK;

/// Where workers are, and what they serve by.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPoolSettings {
    /// Whether each stays on a core of its own.
    pub pin: bool,
    /// For each connection.
    pub connection: ConnectionSettings,
}

/// All workers, as the control thread sees them.
pub struct WorkerPool {
    handles: Arc<[WorkerHandle]>,
    threads: Vec<JoinHandle<()>>,
    connection: Arc<ArcSwap<ConnectionSettings>>,
}

/// The way to one worker.
pub(super) struct WorkerHandle {
    messages: UnboundedSender<Message>,
    /// Connections that it has, those on their way included.
    connections: Arc<AtomicUsize>,
    counters: Arc<WorkerCounters>,
}

enum Message {
    Arrival(Arrival),
    /// Tell clients that their connections end.
    EndSoon,
    /// Finish what is under way, for no longer than this; then end.
    Drain(Grace),
}

impl WorkerPool {
    /// Starts the workers: as many as `shared` is for.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no event queue.
    pub fn start(settings: WorkerPoolSettings, shared: &Arc<Shared>) -> io::Result<Self> {
        let cores = cores();
        let connection = Arc::new(ArcSwap::from_pointee(settings.connection));
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..shared.workers() {
            let (sender, messages) = unbounded_channel();
            let connections = Arc::<AtomicUsize>::default();
            let counters = Arc::<WorkerCounters>::default();
            handles.push(WorkerHandle {
                messages: sender,
                connections: Arc::clone(&connections),
                counters: Arc::clone(&counters),
            });
            let core = number.checked_rem(cores.len()).and_then(|at| cores.get(at).copied());
            let core = core.filter(|_| settings.pin);
            let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
            let run = move || {
                if let Some(core) = core {
                    pin_to(core);
                }
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(61)
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let gateway = WorkerGateway::new(shared, counters, Some(number));
                        let worker = Rc::new(Worker::new(gateway, connection));
                        runtime.block_on(work(worker, connections, messages));
                    }
                    Err(fault) => tracing::error!(%fault, "a worker got no runtime"),
                }
            };
            let name = format!("keyward-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        }
        Ok(Self { handles: handles.into(), threads, connection })
    }

    /// From now on, new connections are served by these settings.
    pub fn replace_settings(&self, settings: ConnectionSettings) {
        self.connection.store(Arc::new(settings));
    }

    pub(super) fn handles(&self) -> Arc<[WorkerHandle]> {
        Arc::clone(&self.handles)
    }

    /// The counters of each worker.
    #[must_use]
    pub fn counters(&self) -> Vec<Arc<WorkerCounters>> {
        self.handles.iter().map(|handle| Arc::clone(&handle.counters)).collect()
    }

    /// The way to tell the workers to end at once, while [`drain`](Self::drain) waits for them.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.handles())
    }

    /// From now on, clients are told with each response, or by GOAWAY, that their connections end.
    /// New ones are still served.
    pub fn end_soon(&self) {
        for handle in self.handles.iter() {
            let _ = handle.messages.send(Message::EndSoon);
        }
    }

    /// Lets the workers finish what is under way, for no longer than `grace`, and waits for their
    /// end. Blocks.
    pub fn drain(self, grace: Grace) {
        for handle in self.handles.iter() {
            let _ = handle.messages.send(Message::Drain(grace));
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

/// How long what is under way may go on when keyward stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// Requests.
    pub requests: Duration,
    /// Tunnels and event streams, which do not end by themselves.
    pub tunnels: Duration,
    /// Connections of HTTP/1.1 that are at no request. In this time, they end behind their next
    /// response: a client that sends one just now does not find its connection closed.
    pub idle: Duration,
}

impl Grace {
    const NONE: Self =
        Self { requests: Duration::ZERO, tunnels: Duration::ZERO, idle: Duration::ZERO };
}

/// Tells workers to end at once.
pub struct Stopper(Arc<[WorkerHandle]>);

impl Stopper {
    /// Tells them. What is under way is cut.
    pub fn stop_now(&self) {
        for handle in self.0.iter() {
            let _ = handle.messages.send(Message::Drain(Grace::NONE));
        }
    }
}

impl WorkerHandle {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn hand_over(&self, arrival: Arrival) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if self.messages.send(Message::Arrival(arrival)).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn work(
    worker: Rc<Worker>,
    connections: Arc<AtomicUsize>,
    mut messages: UnboundedReceiver<Message>,
) {
    let ticking = tokio::task::spawn_local(tick(Rc::clone(&worker)));
    let grace = loop {
        match messages.recv().await {
            Some(Message::Arrival(arrival)) => take(&worker, arrival, &connections),
            Some(Message::EndSoon) => worker.end_soon(),
            Some(Message::Drain(grace)) => break grace,
            None => break Grace::NONE,
        }
    };
    let begun = Instant::now();
    let (mut end, mut end_of_tunnels) = (begun + grace.requests, begun + grace.tunnels);
    let end_of_idle = begun + grace.idle;
    worker.begin_draining();
    while connections.load(Ordering::Relaxed) > 0 && Instant::now() < end {
        if Instant::now() >= end_of_tunnels {
            worker.gateway.end_endless();
        }
        if Instant::now() >= end_of_idle && !worker.closes_idle() {
            worker.close_idle();
        }
        // A connection that was on its way when the listener stopped is served like the others.
        match tokio::time::timeout(TICK, messages.recv()).await {
            Ok(Some(Message::Arrival(arrival))) => take(&worker, arrival, &connections),
            Ok(Some(Message::Drain(sooner))) => {
                end = end.min(Instant::now() + sooner.requests);
                end_of_tunnels = end_of_tunnels.min(Instant::now() + sooner.tunnels);
            }
            Err(_) | Ok(Some(Message::EndSoon)) => {}
            Ok(None) => tokio::time::sleep(TICK).await,
        }
    }
    let left = connections.load(Ordering::Relaxed);
    if left > 0 {
        tracing::warn!(connections = left, "the grace is over: connections are cut");
    }
    ticking.abort();
    worker.gateway.tidy();
}

/// Serves a connection in a task of its own.
fn take(worker: &Rc<Worker>, arrival: Arrival, connections: &Arc<AtomicUsize>) {
    let guard = Count { worker: Rc::clone(worker), connections: Arc::clone(connections) };
    tokio::task::spawn_local(async move {
        if arrival.surplus.is_some() {
            let served = Box::pin(serve::serve_arrival(&guard.worker, arrival));
            let _ = tokio::time::timeout(SURPLUS_LIFE, served).await;
        } else {
            serve::serve_arrival(&guard.worker, arrival).await;
        }
        drop(guard);
    });
}

/// Counts a connection for as long as it lives, however it ends.
struct Count {
    worker: Rc<Worker>,
    connections: Arc<AtomicUsize>,
}

impl Drop for Count {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.gateway.counters.connections_closed.add(1);
    }
}

/// How often a worker lets go of free memory while the process takes too much.
const TIDY_HEAP_EVERY: Duration = Duration::from_millis(250);

/// The worker's coarse clock.
async fn tick(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut tidied, mut heap_tidied) = (Instant::now(), Instant::now());
    loop {
        ticks.tick().await;
        worker.deadlines.tick();
        worker.gateway.end_revoked();
        if heap_tidied.elapsed() >= TIDY_HEAP_EVERY {
            heap_tidied = Instant::now();
            worker.gateway.tidy_heap();
        }
        if tidied.elapsed() >= SWEEP_EVERY {
            tidied = Instant::now();
            worker.gateway.tidy();
        }
    }
}

/// The cores that this process may use, as far as the system says.
fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect()
}

/// A worker that is not pinned works all the same.
fn pin_to(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(fault) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::debug!(core, %fault, "a worker could not be pinned");
    }
}
