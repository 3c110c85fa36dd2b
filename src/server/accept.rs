//! Accept: from a listening socket to the worker with the fewest connections.

use std::io;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::ListenAddress;
use super::bind::OpenSocket;
use super::inherit::InheritedSocket;
use super::limit::ConnectionLimit;
use super::listen::{AcceptedStream, Arrival, BACKLOG, Listener, ListeningSocket, SocketOrigin};
use super::listener::ListenerSettings;
use super::worker_pool::{WorkerHandle, WorkerPool};
use crate::gateway::PeerAddress;
use crate::wire::socket_file::{self, SocketFile, SocketFileHandle};

/// One listening socket, being accepted from.
pub struct Acceptor {
    address: ListenAddress,
    /// The socket, while it is listened on.
    socket: WeakSocket,
    /// Of a Unix socket whose file is keyward's.
    file: Option<SocketFileHandle>,
    origin: SocketOrigin,
    settings: CurrentSettings,
    /// `Some`: it is to stop.
    stop: watch::Sender<Option<Stop>>,
    task: JoinHandle<()>,
}

enum WeakSocket {
    Tcp(Weak<TcpListener>),
    Unix(Weak<UnixListener>),
}

/// How an acceptor stops.
#[derive(Clone)]
enum Stop {
    /// After accepting what is established, and, for a moment, for those that have taken over.
    Close(Vec<Successor>),
    /// At once: another process accepts from the socket.
    Leave,
}

type CurrentSettings = Arc<ArcSwap<ListenerSettings>>;

/// A listener with a more specific address than one that stops. A client may have begun to connect
/// before it listened.
#[derive(Clone)]
struct Successor {
    address: ListenAddress,
    settings: CurrentSettings,
}

/// After an error of `accept` (no file descriptors left, say).
const PAUSE: Duration = Duration::from_millis(50);
/// How long the handshake of TCP may take that had begun when another listener took over.
const HANDSHAKES: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Accepts on the current runtime, and hands over to the workers of `pool`. A connection beyond
    /// `limit` is answered 503, after the handshake where there is one.
    #[must_use]
    pub fn start(
        socket: ListeningSocket,
        settings: ListenerSettings,
        pool: &WorkerPool,
        limit: Arc<ConnectionLimit>,
    ) -> Self {
        let ListeningSocket { address, listener, origin } = socket;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (stop, stopped) = watch::channel(None);
        let (socket, file) = match &listener {
            Listener::Tcp(listener) => (WeakSocket::Tcp(Arc::downgrade(listener)), None),
            Listener::Unix { listener, file, .. } => {
                (WeakSocket::Unix(Arc::downgrade(listener)), file.as_ref().map(SocketFile::handle))
            }
        };
        let accepting = Accepting {
            socket: listener,
            settings: Arc::clone(&settings),
            workers: pool.handles(),
            limit,
            stopped,
        };
        let task = tokio::spawn(accepting.run());
        Self { address, socket, file, origin, settings, stop, task }
    }

    /// Accepts from another socket by the present settings of this one, which covers its address.
    #[must_use]
    pub fn start_beside(
        &self,
        socket: ListeningSocket,
        pool: &WorkerPool,
        limit: Arc<ConnectionLimit>,
    ) -> Self {
        Self::start(socket, ListenerSettings::clone(&self.settings.load()), pool, limit)
    }

    /// The address that is listened on, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// From now on, connections are taken by these settings; the address stays.
    pub fn replace(&self, settings: ListenerSettings) {
        if self.settings.load().socket_mode != settings.socket_mode {
            self.set_mode(settings.socket_mode);
        }
        self.settings.store(Arc::new(settings));
    }

    fn set_mode(&self, mode: u32) {
        if let ListenAddress::Unix(path) = &self.address
            && self.origin == SocketOrigin::Keyward
            && let Err(fault) = socket_file::set_mode(path, mode)
        {
            tracing::error!(%fault, "a listener keeps the mode that its socket had");
        }
    }

    /// From now on, connections are taken by the settings of `other`, which covers this address.
    ///
    /// The socket stays: closing it would cut off connections that the system has taken in for it.
    pub fn serve_for(&self, other: &Self) {
        self.settings.store(other.settings.load_full());
    }

    /// The socket, while it is listened on, as one that another may share its port with; none of a
    /// Unix socket.
    #[must_use]
    pub fn open_socket(&self) -> Option<OpenSocket> {
        let WeakSocket::Tcp(listener) = &self.socket else { return None };
        let socket = SockRef::from(&*listener.upgrade()?).try_clone().ok()?;
        Some(OpenSocket { address: self.address.clone(), socket: Arc::new(socket) })
    }

    /// The socket, for a process that is to take over; none: it is not listened on any more.
    /// `configured`: its address in the configuration.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub fn share(&self, configured: &ListenAddress) -> io::Result<Option<InheritedSocket>> {
        let shared = match &self.socket {
            WeakSocket::Tcp(listener) => {
                let Some(listener) = listener.upgrade() else { return Ok(None) };
                let socket = SockRef::from(&*listener).try_clone()?;
                InheritedSocket::tcp(socket.into(), self.origin)?
            }
            WeakSocket::Unix(listener) => {
                let Some(listener) = listener.upgrade() else { return Ok(None) };
                let socket = SockRef::from(&*listener).try_clone()?;
                let lock = self.file.as_ref().map(SocketFileHandle::lock).transpose()?;
                // A socket that was put in its place after it was bound says where it was bound.
                let address = self.address.clone();
                InheritedSocket::unix_at(address, socket.into(), self.origin)?.with_lock(lock)
            }
        };
        Ok(Some(shared.configured_as(configured.clone(), false)))
    }

    /// The file of a socket that was handed over is this process's from now on: the process before
    /// has left it.
    pub fn take_file(&self) {
        if let Some(file) = &self.file {
            file.take();
            self.set_mode(self.settings.load().socket_mode);
        }
    }

    /// Leaves the socket at once to the process that it was handed over to.
    pub async fn leave(self) {
        if let Some(file) = &self.file {
            file.leave();
        }
        self.stop.send_replace(Some(Stop::Leave));
        let _ = self.task.await;
    }

    /// Stops listening, after accepting the connections that are already established.
    pub fn stop(&self) {
        self.stop.send_replace(Some(Stop::Close(Vec::new())));
    }

    /// Stops listening, as `successors` have taken over. For a second, a client that began to
    /// connect before is accepted for the successor of its address. Without one, it is refused.
    pub fn yield_to<'a>(&self, successors: impl IntoIterator<Item = &'a Self>) {
        let successors =
            successors.into_iter().filter(|successor| self.address.covers(&successor.address));
        let successor = |successor: &Self| Successor {
            address: successor.address.clone(),
            settings: Arc::clone(&successor.settings),
        };
        self.stop.send_replace(Some(Stop::Close(successors.map(successor).collect())));
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
        let is_open = match &self.socket {
            WeakSocket::Tcp(socket) => socket.strong_count() > 0,
            // Its file is gone.
            WeakSocket::Unix(_) => false,
        };
        is_open && !self.task.is_finished()
    }

    /// As [`finish`](Self::finish), after clients that have begun to connect have had time to: the
    /// address is another listener's, in another process.
    pub async fn finish_after_handshakes(self) {
        tokio::time::sleep(HANDSHAKES).await;
        self.finish().await;
    }

    /// Stops listening, and returns when every established connection is with a worker.
    pub async fn finish(self) {
        self.stop();
        let _ = self.task.await;
    }
}

/// What the task of an [`Acceptor`] has.
struct Accepting {
    socket: Listener,
    settings: CurrentSettings,
    workers: Arc<[WorkerHandle]>,
    limit: Arc<ConnectionLimit>,
    stopped: watch::Receiver<Option<Stop>>,
}

impl Accepting {
    async fn run(mut self) {
        loop {
            let Stop::Close(successors) = self.until_stopped().await else { return };
            self.socket.remove_file();
            // Closing the listener would cut off the connections that are already established.
            for _ in 0..BACKLOG {
                let Some((stream, peer)) = waiting(&self.socket).await else { break };
                self.hand_over(stream, peer, self.settings.load_full());
            }
            if !successors.is_empty() {
                self.accept_for(&successors).await;
            }
            if self.stopped.borrow().is_some() || self.stopped.has_changed().is_err() {
                return;
            }
        }
    }

    /// Accepts until the listener is to stop. Returns how.
    async fn until_stopped(&mut self) -> Stop {
        loop {
            let accepted = tokio::select! {
                accepted = std::future::poll_fn(|cx| self.socket.poll_accept(cx)) => accepted,
                stop = self.stopped.wait_for(Option::is_some) => {
                    let stop = stop.ok().and_then(|stop| stop.clone());
                    return stop.unwrap_or(Stop::Close(Vec::new()));
                }
            };
            match accepted {
                Ok((stream, peer)) => self.hand_over(stream, peer, self.settings.load_full()),
                Err(fault) => pause_after(&fault).await,
            }
        }
    }

    /// Accepts for the successors what began to connect before, for [`HANDSHAKES`].
    async fn accept_for(&mut self, successors: &[Successor]) {
        let end = Instant::now() + HANDSHAKES;
        while Instant::now() < end {
            let accepted = tokio::select! {
                accepted = std::future::poll_fn(|cx| self.socket.poll_accept(cx)) => accepted,
                Ok(_) = self.stopped.wait_for(Option::is_none) => return,
                () = tokio::time::sleep_until(end) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let wanted = stream.local_address().map(ListenAddress::Tcp);
                    if let Some(successor) =
                        wanted.and_then(|wanted| most_specific(successors, &wanted))
                    {
                        self.hand_over(stream, peer, successor.settings.load_full());
                    }
                }
                Err(fault) => pause_after(&fault).await,
            }
        }
    }

    /// Gives a connection to the worker with the fewest.
    fn hand_over(
        &self,
        stream: AcceptedStream,
        peer: PeerAddress,
        listener: Arc<ListenerSettings>,
    ) {
        let total: usize = self.workers.iter().map(WorkerHandle::connections).sum();
        let mut surplus = None;
        if self.limit.is_reached(total) {
            self.limit.count_refused();
            // Without a slot, the connection is closed without a byte.
            let Some(slot) = self.limit.surplus_slot() else { return };
            surplus = Some(slot);
        }
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.connections()) {
            worker.hand_over(Arrival { stream, peer, listener, surplus });
        }
    }
}

/// The successor that the system would give a connection to this address.
fn most_specific<'a>(successors: &'a [Successor], wanted: &ListenAddress) -> Option<&'a Successor> {
    let fitting = successors.iter().filter(|successor| successor.address.covers(wanted));
    fitting.reduce(|one, other| if one.address.covers(&other.address) { other } else { one })
}

/// After an error of `accept`: one of the listener is said, and waited for to pass.
async fn pause_after(fault: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let is_of_one_connection =
        matches!(fault.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset);
    if !is_of_one_connection {
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
