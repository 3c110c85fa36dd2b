//! Accept: from a listening socket to the worker with the fewest connections.

use std::io;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::ListenAddress;
use super::arrival::{AcceptedStream, Arrival};
use super::limit::ConnectionLimit;
use super::listen::{BACKLOG, Listener, ListeningSocket};
use super::listener::{ListenerFacts, ListenerSettings};
use super::worker_pool::{WorkerHandle, WorkerPool};
use crate::gateway::PeerAddress;
use crate::wire::socket_file;

/// One listening socket, being accepted from.
pub struct Acceptor {
    address: ListenAddress,
    /// The socket, while it is listened on; none of a Unix socket.
    socket: Option<Weak<TcpListener>>,
    facts: Arc<ArcSwap<ListenerFacts>>,
    stop: watch::Sender<Option<Stop>>,
    task: JoinHandle<()>,
}

/// How a listener stops.
#[derive(Clone)]
struct Stop(Vec<Heir>);

/// A listener with a more specific address than one that stops. A client may have begun to connect
/// before it listened.
#[derive(Clone)]
struct Heir {
    address: ListenAddress,
    facts: Arc<ArcSwap<ListenerFacts>>,
}

/// After an error of `accept` (no file descriptors left, say), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the handshake of TCP may take that had begun when a more specific listener took over.
const HANDSHAKES: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Accepts on the current runtime, and hands over to the workers of `pool`, within `limit`. A
    /// connection beyond it is told 503: on a listener without TLS at once, on one with TLS by a
    /// worker, after the handshake.
    #[must_use]
    pub fn start(
        socket: ListeningSocket,
        settings: ListenerSettings,
        pool: &WorkerPool,
        limit: Arc<ConnectionLimit>,
    ) -> Self {
        let ListeningSocket { address, listener } = socket;
        let facts = Arc::new(ArcSwap::from_pointee(ListenerFacts::new(settings)));
        let (stop, stopped) = watch::channel(None);
        let socket = match &listener {
            Listener::Tcp(listener) => Some(Arc::downgrade(listener)),
            Listener::Unix { .. } => None,
        };
        let task =
            tokio::spawn(accept_all(listener, Arc::clone(&facts), pool.handles(), limit, stopped));
        Self { address, socket, facts, stop, task }
    }

    /// The address that is listened on: with the port that the system chose, if it was to choose.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// From now on, connections are taken by these settings; the address stays.
    pub fn replace(&self, settings: ListenerSettings) {
        if let ListenAddress::Unix(path) = &self.address
            && self.facts.load().socket_mode() != settings.socket_mode
            && let Err(fault) = socket_file::set_mode(path, settings.socket_mode)
        {
            tracing::error!(%fault, "a listener keeps the mode that its socket had");
        }
        self.facts.store(Arc::new(ListenerFacts::new(settings)));
    }

    /// From now on, connections are taken by the settings of `other`, which covers this address.
    ///
    /// The socket stays: were it closed, connections would be cut off that the system has taken in
    /// for it, and to a client it makes no difference which socket it comes through.
    pub fn serve_for(&self, other: &Self) {
        self.facts.store(other.facts.load_full());
    }

    /// The socket, while it is listened on.
    pub(super) fn tcp_listener(&self) -> Option<Arc<TcpListener>> {
        self.socket.as_ref().and_then(Weak::upgrade)
    }

    /// Stops listening, after accepting the connections that are already established.
    pub fn stop(&self) {
        self.stop.send_replace(Some(Stop(Vec::new())));
    }

    /// Stops listening, as `heirs` have taken over. For a second, a client that began to connect
    /// before is accepted for the heir of its address, and any other is refused.
    pub fn yield_to<'a>(&self, heirs: impl IntoIterator<Item = &'a Self>) {
        let heirs = heirs.into_iter().filter(|heir| self.address.covers(&heir.address));
        let heir =
            |heir: &Self| Heir { address: heir.address.clone(), facts: Arc::clone(&heir.facts) };
        self.stop.send_replace(Some(Stop(heirs.map(heir).collect())));
    }

    /// Goes on after all, by these settings: the reverse of [`stop`](Self::stop) and
    /// [`yield_to`](Self::yield_to), while [`is_listening`](Self::is_listening).
    pub fn resume(&self, settings: ListenerSettings) {
        self.replace(settings);
        self.stop.send_replace(None);
    }

    /// Whether the socket is still listened on, even if only for clients that had begun to connect.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        !self.task.is_finished()
            && self.socket.as_ref().is_some_and(|socket| socket.strong_count() > 0)
    }

    /// Stops listening, and returns when every established connection is with a worker.
    pub async fn finish(self) {
        self.stop();
        let _ = self.task.await;
    }
}

async fn accept_all(
    mut socket: Listener,
    facts: Arc<ArcSwap<ListenerFacts>>,
    workers: Arc<[WorkerHandle]>,
    limit: Arc<ConnectionLimit>,
    mut stopped: watch::Receiver<Option<Stop>>,
) {
    loop {
        let stop = loop {
            let accepted = tokio::select! {
                accepted = std::future::poll_fn(|cx| socket.poll_accept(cx)) => accepted,
                stop = stopped.wait_for(Option::is_some) => break stop.ok().and_then(|stop| stop.clone()),
            };
            match accepted {
                Ok((stream, peer)) => hand_over(stream, peer, facts.load_full(), &workers, &limit),
                Err(fault) => rest_after(&fault).await,
            }
        };
        socket.remove_file();
        // Closing the listener would cut off the connections that are already established.
        for _ in 0..BACKLOG {
            let Some((stream, peer)) = waiting(&socket).await else { break };
            hand_over(stream, peer, facts.load_full(), &workers, &limit);
        }
        let heirs = stop.map(|Stop(heirs)| heirs).unwrap_or_default();
        let end = Instant::now() + HANDSHAKES;
        while !heirs.is_empty() && Instant::now() < end {
            let accepted = tokio::select! {
                accepted = std::future::poll_fn(|cx| socket.poll_accept(cx)) => accepted,
                Ok(_) = stopped.wait_for(Option::is_none) => break,
                () = tokio::time::sleep_until(end) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let wanted = stream.local_address().map(ListenAddress::Tcp);
                    if let Some(heir) = wanted.and_then(|wanted| most_specific(&heirs, &wanted)) {
                        hand_over(stream, peer, heir.facts.load_full(), &workers, &limit);
                    }
                }
                Err(fault) => rest_after(&fault).await,
            }
        }
        if stopped.borrow().is_some() || stopped.has_changed().is_err() {
            return;
        }
    }
}

/// The heir that the system would give a connection to this address.
fn most_specific<'a>(heirs: &'a [Heir], wanted: &ListenAddress) -> Option<&'a Heir> {
    let fitting = heirs.iter().filter(|heir| heir.address.covers(wanted));
    fitting.reduce(|one, other| if one.address.covers(&other.address) { other } else { one })
}

/// Gives a connection to the worker with the fewest.
fn hand_over(
    stream: AcceptedStream,
    peer: PeerAddress,
    listener: Arc<ListenerFacts>,
    workers: &[WorkerHandle],
    limit: &ConnectionLimit,
) {
    let total: usize = workers.iter().map(WorkerHandle::connections).sum();
    let surplus = if limit.is_reached(total) {
        limit.count_refused();
        // Without a slot, the connection is closed without a byte.
        let Some(slot) = limit.surplus_slot() else { return };
        Some(slot)
    } else {
        None
    };
    let least = workers.iter().min_by_key(|worker| worker.connections());
    if let Some(worker) = least {
        worker.hand_over(Arrival { stream, peer, listener, surplus });
    }
}

/// After an error of `accept`: one of the listener is said, and waited for to pass.
async fn rest_after(fault: &io::Error) {
    if !is_of_one_connection(fault) {
        tracing::error!(%fault, "connections cannot be accepted; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection that waits to be accepted, if there is one now.
async fn waiting(listener: &Listener) -> Option<(AcceptedStream, PeerAddress)> {
    let now = std::future::poll_fn(|cx| Poll::Ready(listener.poll_accept(cx)));
    match tokio::task::unconstrained(now).await {
        Poll::Ready(accepted) => accepted.ok(),
        Poll::Pending => None,
    }
}

fn is_of_one_connection(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
