//! The workers: a thread, a current-thread runtime, and everything that a connection needs, for
//! each core.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::accept::{AcceptedStream, Arrival, ListenerFacts};
use super::connection;
use super::limit::SURPLUS_LIFE;
use super::proxy_protocol::{self, Source};
use super::stream::ClientStream;
use crate::gateway::{
    ClientCertificate, ClientOrigin, HeadLimits, PeerAddress, Scheme, Shared, WorkerGateway,
};
use crate::telemetry::metrics::WorkerCounters;
use crate::tls::PeerCertificate;
use crate::upstream::SWEEP_EVERY;
use crate::wire::deadline::{Deadlines, TICK};

/// How long a client's connection may take for what it has to do before and between requests.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The most that a head may hold.
    pub head_limits: HeadLimits,
    /// The first byte of a connection.
    pub first_byte: Duration,
    /// The whole head, from its first byte.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Between two pieces of a response that the client reads.
    pub body: Duration,
    /// The TLS handshake, and the PROXY header before it.
    pub handshake: Duration,
    /// How many streams an HTTP/2 connection may have open at a time.
    pub streams: u32,
}

/// What the workers are.
#[derive(Clone, Copy, Debug)]
pub struct WorkerPoolSettings {
    /// How many, at least 1.
    pub workers: usize,
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
    mailbox: UnboundedSender<Message>,
    /// Connections that it has, those on their way included.
    connections: Arc<AtomicUsize>,
    counters: Arc<WorkerCounters>,
}

enum Message {
    Arrival(Arrival),
    /// Finish what is under way, for no longer than this; then end.
    Drain(Grace),
}

/// A worker, on its own thread.
pub(super) struct Worker {
    pub(super) gateway: Rc<WorkerGateway>,
    pub(super) deadlines: Deadlines,
    /// Where bytes are read to that come ahead of their turn: one buffer for all connections.
    pub(super) scratch: RefCell<Box<[u8]>>,
    settings: Arc<ArcSwap<ConnectionSettings>>,
    draining: Cell<bool>,
}

impl WorkerPool {
    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no event queue.
    pub fn start(settings: WorkerPoolSettings, shared: &Arc<Shared>) -> io::Result<Self> {
        let cores = cores();
        let connection = Arc::new(ArcSwap::from_pointee(settings.connection));
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..settings.workers.max(1) {
            let (mailbox, letters) = unbounded_channel();
            let connections = Arc::<AtomicUsize>::default();
            let counters = Arc::<WorkerCounters>::default();
            handles.push(WorkerHandle {
                mailbox,
                connections: Arc::clone(&connections),
                counters: Arc::clone(&counters),
            });
            let shared = Arc::clone(shared);
            let connection = Arc::clone(&connection);
            let core = settings
                .pin
                .then(|| number.checked_rem(cores.len()).and_then(|at| cores.get(at).copied()));
            let runtime = Builder::new_current_thread();
            threads.push(std::thread::Builder::new().name(format!("keyward-{number}")).spawn(
                move || {
                    if let Some(core) = core.flatten() {
                        pin_to(core);
                    }
                    let mut runtime = runtime;
                    match runtime
                        .enable_all()
                        .event_interval(61)
                        .build_local(LocalOptions::default())
                    {
                        Ok(runtime) => {
                            runtime.block_on(work(
                                connection,
                                shared,
                                counters,
                                connections,
                                letters,
                            ));
                        }
                        Err(fault) => tracing::error!(%fault, "a worker got no runtime"),
                    }
                },
            )?);
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

    /// Lets the workers finish what is under way, for no longer than `grace`, and waits for their
    /// end. Blocks.
    pub fn drain(self, grace: Grace) {
        for handle in self.handles.iter() {
            let _ = handle.mailbox.send(Message::Drain(grace));
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
}

/// Tells workers to end at once.
pub struct Stopper(Arc<[WorkerHandle]>);

impl Stopper {
    /// Tells them. What is under way is cut.
    pub fn stop_now(&self) {
        for handle in self.0.iter() {
            let _ = handle
                .mailbox
                .send(Message::Drain(Grace { requests: Duration::ZERO, tunnels: Duration::ZERO }));
        }
    }
}

impl WorkerHandle {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn hand_over(&self, arrival: Arrival) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if self.mailbox.send(Message::Arrival(arrival)).is_err() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Worker {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// As they are in force now.
    pub(super) fn settings(&self) -> ConnectionSettings {
        **self.settings.load()
    }

    /// Serves a connection in a task of its own.
    fn take(self: &Rc<Self>, arrival: Arrival, connections: &Arc<AtomicUsize>) {
        let guard = Count { worker: Rc::clone(self), connections: Arc::clone(connections) };
        tokio::task::spawn_local(async move {
            if arrival.surplus.is_some() {
                let served = Box::pin(worker_serve(&guard.worker, arrival));
                let _ = tokio::time::timeout(SURPLUS_LIFE, served).await;
            } else {
                worker_serve(&guard.worker, arrival).await;
            }
            drop(guard);
        });
    }

    fn begin_draining(&self) {
        self.draining.set(true);
        self.gateway.begin_stopping();
        self.deadlines.wake_all();
    }
}

async fn work(
    settings: Arc<ArcSwap<ConnectionSettings>>,
    shared: Arc<Shared>,
    counters: Arc<WorkerCounters>,
    connections: Arc<AtomicUsize>,
    mut letters: UnboundedReceiver<Message>,
) {
    let worker = Rc::new(Worker {
        gateway: Rc::new(WorkerGateway::new(shared, counters)),
        deadlines: Deadlines::default(),
        scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
        settings,
        draining: Cell::new(false),
    });
    let clockwork = tokio::task::spawn_local(tick(Rc::clone(&worker)));
    let grace = loop {
        match letters.recv().await {
            Some(Message::Arrival(arrival)) => worker.take(arrival, &connections),
            Some(Message::Drain(grace)) => break grace,
            None => break Grace { requests: Duration::ZERO, tunnels: Duration::ZERO },
        }
    };
    let begun = Instant::now();
    let (mut end, mut end_of_tunnels) = (begun + grace.requests, begun + grace.tunnels);
    worker.begin_draining();
    while connections.load(Ordering::Relaxed) > 0 && Instant::now() < end {
        if Instant::now() >= end_of_tunnels {
            worker.gateway.end_endless();
        }
        // A connection that was on its way when the listener stopped is served like the others.
        match tokio::time::timeout(TICK, letters.recv()).await {
            Ok(Some(Message::Arrival(arrival))) => worker.take(arrival, &connections),
            Ok(Some(Message::Drain(sooner))) => {
                end = end.min(Instant::now() + sooner.requests);
                end_of_tunnels = end_of_tunnels.min(Instant::now() + sooner.tunnels);
            }
            Err(_) => {}
            Ok(None) => tokio::time::sleep(TICK).await,
        }
    }
    let left = connections.load(Ordering::Relaxed);
    if left > 0 {
        tracing::warn!(connections = left, "the grace is over: connections are cut");
    }
    clockwork.abort();
    worker.gateway.tidy();
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

const SCRATCH_BYTES: usize = 16 * 1024;

/// How often open exchanges are checked against their tokens: what is revoked ends within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The worker's coarse clock.
async fn tick(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut tidied, mut looked) = (Instant::now(), Instant::now());
    loop {
        ticks.tick().await;
        worker.deadlines.tick();
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            worker.gateway.end_revoked();
        }
        if tidied.elapsed() >= SWEEP_EVERY {
            tidied = Instant::now();
            worker.gateway.tidy();
        }
    }
}

/// From an accepted socket to a stream of HTTP.
async fn worker_serve(worker: &Rc<Worker>, arrival: Arrival) {
    worker.gateway.counters.connections_opened.add(1);
    let Arrival { stream, peer, listener, surplus } = arrival;
    let stream = match on_this_runtime(stream) {
        Ok(stream) => stream,
        Err(fault) => {
            tracing::debug!(%peer, %fault, "a connection was over before it began");
            return;
        }
    };
    let prepared = if listener.has_handshake() {
        // On the heap, and gone when it is over: it is larger than all that the connection needs
        // afterwards.
        Box::pin(tokio::time::timeout(
            worker.settings().handshake,
            shake_hands(stream, peer.clone(), &listener),
        ))
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
        })
    } else {
        let trusted_proxies = listener.proxies_if_trusted(&peer);
        let (address, scheme) = (peer.clone(), Scheme::Http);
        let origin = ClientOrigin { address, peer: peer.clone(), scheme, trusted_proxies };
        Ok((stream, origin, None))
    };
    match prepared {
        Ok((stream, origin, certificate)) => {
            connection::serve(worker, stream, (origin, certificate), surplus.is_some()).await;
        }
        Err(fault) => {
            tracing::debug!(%peer, %fault, "a connection was refused before its first request")
        }
    }
}

fn on_this_runtime(stream: AcceptedStream) -> io::Result<ClientStream> {
    Ok(match stream {
        AcceptedStream::Tcp(stream) => {
            stream.set_nodelay(true)?;
            ClientStream::Plain(TcpStream::from_std(stream)?)
        }
        AcceptedStream::Unix(stream) => ClientStream::Unix(UnixStream::from_std(stream)?),
    })
}

/// The PROXY header and the TLS handshake, where the listener has them.
async fn shake_hands(
    mut stream: ClientStream,
    peer: PeerAddress,
    listener: &ListenerFacts,
) -> io::Result<(ClientStream, ClientOrigin, Option<ClientCertificate>)> {
    let mut certificate = None;
    let by_itself = listener.proxies_if_trusted(&peer);
    // Whoever sends a PROXY header passes bytes on as they are: the fields are the word of the
    // client that it names, or of one that it does not know.
    let (address, trusted_proxies) = if !listener.requires_proxy_header() {
        (peer.clone(), by_itself)
    } else if by_itself.is_none() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a trusted proxy"));
    } else {
        match proxy_protocol::read(&mut stream).await? {
            Source::Address(named) => {
                let named = PeerAddress::Ip(named);
                let trusted_proxies = listener.proxies_if_trusted(&named);
                (named, trusted_proxies)
            }
            Source::Sender => (peer.clone(), by_itself),
            Source::Unknown => (peer.clone(), None),
        }
    };
    let (stream, scheme) = match (stream, listener.tls()) {
        (stream, None) => (stream, Scheme::Http),
        (ClientStream::Plain(stream), Some(tls)) => {
            let accepted = tokio_rustls::TlsAcceptor::from(tls.config()).accept(stream).await?;
            // A session that is resumed may have outlasted the certificate that it was begun with.
            let shown = PeerCertificate::of(accepted.get_ref().1, SystemTime::now())
                .map_err(io::Error::other)?;
            certificate = shown.map(|shown| ClientCertificate::new(&shown.subject, &shown.names));
            (ClientStream::Tls(Box::new(accepted)), Scheme::Https)
        }
        // The configuration has no TLS for Unix sockets.
        (_, Some(_)) => return Err(io::ErrorKind::Unsupported.into()),
    };
    Ok((stream, ClientOrigin { address, peer, scheme, trusted_proxies }, certificate))
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => Vec::new(),
    }
}

/// A worker that is not pinned works all the same.
fn pin_to(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(fault) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::debug!(core, %fault, "a worker could not be pinned");
    }
}
