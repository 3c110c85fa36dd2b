//! Accept: from a listening socket to the worker with the fewest connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::limit::{ConnectionLimit, SurplusSlot};
use super::worker::{WorkerHandle, WorkerPool};
use crate::gateway::{PeerAddress, TrustedProxies};
use crate::tls;
use crate::wire::socket_file::{self, BoundSocketFile, SocketFile};

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket at this absolute path of at most 107 bytes (unix(7)).
    Unix(Arc<Path>),
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    /// As in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listening address.
#[derive(Clone)]
pub struct ListenerSettings {
    /// Where.
    pub address: ListenAddress,
    /// The permissions of the file of a Unix socket, 0 to `0o777`.
    pub socket_mode: u32,
    /// With TLS, or in the clear.
    pub tls: Option<Arc<tls::Server>>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whose forwarding headers and PROXY headers are believed.
    pub trusted_proxies: TrustedProxies,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Never: it would be a malformed request.
    Off,
    /// Always, and only from trusted peers.
    Required,
}

/// What a connection has to know of the listener that it came through.
pub(super) struct ListenerFacts(ListenerSettings);

impl ListenerFacts {
    /// The trusted proxies of the listener, if `address` is one of them.
    pub(super) fn proxies_if_trusted(&self, address: &PeerAddress) -> Option<TrustedProxies> {
        let proxies = &self.0.trusted_proxies;
        proxies.trusts(address.ip()).then(|| proxies.clone())
    }

    pub(super) fn requires_proxy_header(&self) -> bool {
        self.0.proxy_protocol == ProxyProtocol::Required
    }

    pub(super) fn tls(&self) -> Option<&tls::Server> {
        self.0.tls.as_deref()
    }

    pub(super) fn has_handshake(&self) -> bool {
        self.0.tls.is_some() || self.requires_proxy_header()
    }
}

/// A connection on its way to a worker.
pub(super) struct Arrival {
    pub(super) stream: AcceptedStream,
    pub(super) peer: PeerAddress,
    pub(super) listener: Arc<ListenerFacts>,
    /// Of a connection beyond the limit, which is only told so.
    pub(super) surplus: Option<SurplusSlot>,
}

/// A connection that belongs to no runtime.
pub(super) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// An address that is bound and not listened on yet: connections to it are still refused.
pub struct BoundAddress(Bound);

enum Bound {
    Tcp(socket2::Socket),
    Unix(Arc<Path>, BoundSocketFile),
}

/// A socket that is listened on, on the current runtime. Nothing is accepted from it yet.
pub struct ListeningSocket {
    address: ListenAddress,
    listener: Listener,
}

enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: Arc<Path>, file: SocketFile },
}

impl BoundAddress {
    /// Listens. Must be called on the runtime that is to accept.
    ///
    /// # Errors
    ///
    /// When another process has listened on the address since it was bound, or the runtime does not take the socket.
    pub fn listen(self) -> io::Result<ListeningSocket> {
        match self.0 {
            Bound::Tcp(socket) => {
                socket.listen(BACKLOG)?;
                let listener = TcpListener::from_std(socket.into())?;
                let address = ListenAddress::Tcp(listener.local_addr()?);
                Ok(ListeningSocket { address, listener: Listener::Tcp(listener) })
            }
            Bound::Unix(path, bound) => {
                let (listener, file) = bound.listen(BACKLOG).map_err(io::Error::other)?;
                let listener = UnixListener::from_std(listener)?;
                let address = ListenAddress::Unix(Arc::clone(&path));
                Ok(ListeningSocket { address, listener: Listener::Unix { listener, path, file } })
            }
        }
    }
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(AcceptedStream, PeerAddress)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map(|accepted| {
                let (stream, peer) = accepted?;
                Ok((AcceptedStream::Tcp(stream.into_std()?), PeerAddress::Ip(peer)))
            }),
            Self::Unix { listener, path, .. } => listener.poll_accept(cx).map(|accepted| {
                let (stream, _) = accepted?;
                Ok((AcceptedStream::Unix(stream.into_std()?), PeerAddress::Unix(Arc::clone(path))))
            }),
        }
    }

    /// From now on, a client that looks for the socket finds none.
    fn remove_file(&mut self) {
        match self {
            Self::Tcp(_) => {}
            Self::Unix { file, .. } => file.remove(),
        }
    }
}

/// One listening socket, being accepted from.
pub struct Acceptor {
    address: ListenAddress,
    facts: Arc<ArcSwap<ListenerFacts>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How many connections may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;
/// After an error of `accept` (no file descriptors left, say), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

impl Acceptor {
    /// Binds the address, without listening on it.
    ///
    /// # Errors
    ///
    /// When it cannot be bound, because another socket listens on it, say; the operator's to mend.
    pub fn bind(settings: &ListenerSettings) -> io::Result<BoundAddress> {
        let address = match &settings.address {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => {
                let bound = BoundSocketFile::bind(path, settings.socket_mode).map_err(io::Error::other)?;
                return Ok(BoundAddress(Bound::Unix(Arc::clone(path), bound)));
            }
        };
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // A restart must not wait for the connections of the process before.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(BoundAddress(Bound::Tcp(socket)))
    }

    /// Accepts on the current runtime, and hands over to the workers of `pool`, within `limit`. A connection beyond it is told
    /// 503: on a listener without TLS at once, on one with TLS by a worker, after the handshake.
    #[must_use]
    pub fn start(
        socket: ListeningSocket,
        settings: ListenerSettings,
        pool: &WorkerPool,
        limit: Arc<ConnectionLimit>,
    ) -> Self {
        let ListeningSocket { address, listener } = socket;
        let facts = Arc::new(ArcSwap::from_pointee(ListenerFacts(settings)));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept_all(listener, Arc::clone(&facts), pool.handles(), limit, stopped));
        Self { address, facts, stop, task }
    }

    /// The address that is listened on: with the port that the system chose, if it was to choose.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// From now on, connections are taken by these settings; the address stays.
    pub fn replace(&self, settings: ListenerSettings) {
        if let ListenAddress::Unix(path) = &self.address
            && self.facts.load().0.socket_mode != settings.socket_mode
            && let Err(fault) = socket_file::set_mode(path, settings.socket_mode)
        {
            tracing::error!(%fault, "a listener keeps the mode that its socket had");
        }
        self.facts.store(Arc::new(ListenerFacts(settings)));
    }

    /// Stops listening, once those who have connected already are taken in.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops listening, and returns when everybody who had connected is with a worker.
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
    mut stopped: watch::Receiver<bool>,
) {
    let mut left_to_take: Option<i32> = None;
    loop {
        let accepted = match &mut left_to_take {
            None => tokio::select! {
                accepted = std::future::poll_fn(|cx| socket.poll_accept(cx)) => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => {
                    socket.remove_file();
                    left_to_take = Some(BACKLOG);
                    continue;
                }
            },
            // Stopped: whoever has connected already would be cut off with the listener.
            Some(left) => match waiting(&socket).await {
                Some(accepted) if *left > 0 => {
                    *left -= 1;
                    Ok(accepted)
                }
                _ => return,
            },
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) if is_of_one_connection(&fault) => continue,
            Err(fault) => {
                tracing::error!(%fault, "connections cannot be accepted; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let total: usize = workers.iter().map(WorkerHandle::connections).sum();
        let surplus = if limit.is_reached(total) {
            limit.count_refused();
            // Without a slot, the connection is closed without a byte.
            let Some(slot) = limit.surplus_slot() else { continue };
            Some(slot)
        } else {
            None
        };
        let least = workers.iter().min_by_key(|worker| worker.connections());
        if let Some(worker) = least {
            worker.hand_over(Arrival { stream, peer, listener: facts.load_full(), surplus });
        }
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
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
