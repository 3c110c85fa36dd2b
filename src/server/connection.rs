//! One client connection from its first byte to its last: hyper's server in the middle, the guard before it, and around both a
//! driver that keeps the deadlines, drains and closes.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::guard::{Guard, Guarded, Patience};
use super::stream::ClientStream;
use super::worker::Worker;
use crate::gateway::{self, ClientConnection, ClientOrigin, Phase};

/// Serves a connection until it ends.
pub(super) async fn serve(worker: &Rc<Worker>, stream: ClientStream, origin: ClientOrigin) {
    let settings = worker.settings();
    let client = Rc::new(ClientConnection::new(origin, worker.deadlines.register()));
    client.deadline.set(settings.first_byte);
    worker.gateway.look_after(&client);
    let patience = Patience { idle: settings.idle, head: settings.head, body: settings.body };
    let guarded = Rc::new(RefCell::new(Guarded::new(stream, Rc::clone(&client), settings.head_limits, patience)));

    let ending = exchange_all(worker, &client, &guarded).await;

    let tunnel = client.tunnel.borrow_mut().take();
    match (ending, tunnel) {
        (Ending::Done, Some(tunnel)) => unless_cut(&client, carry(&guarded, tunnel, settings.body)).await,
        (Ending::Done, None) => close(&guarded).await,
        // Without a farewell: the client is gone, or has used up its patience.
        (Ending::Broken, _) => {}
    }
}

enum Ending {
    Done,
    Broken,
}

/// Lets hyper serve requests until there are no more.
async fn exchange_all(worker: &Rc<Worker>, client: &Rc<ClientConnection>, guarded: &Rc<RefCell<Guarded>>) -> Ending {
    let settings = worker.settings();
    let mut builder = http1::Builder::new();
    // The guard notices clients that go away, so hyper need not read ahead for it.
    builder.half_close(true);
    // A head is held by the guard until it is whole; hyper's own bounds need only be wide enough for it.
    builder.max_buf_size(settings.head_limits.bytes.max(64 * 1024));
    if settings.head_limits.lines > 100 {
        builder.max_headers(settings.head_limits.lines);
    }
    let service = service_fn(|request| gateway::run(Rc::clone(&worker.gateway), Rc::clone(client), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Guard(Rc::clone(guarded))), service));
    let (mut is_draining, mut is_last_call) = (false, false);
    std::future::poll_fn(|cx| {
        client.deadline.wake_by(cx);
        if client.is_cut() {
            return Poll::Ready(Ending::Broken);
        }
        if client.deadline.is_over() {
            match client.phase.get() {
                Phase::FirstByte | Phase::Idle | Phase::Streaming | Phase::Leaving => {
                    return Poll::Ready(Ending::Broken);
                }
                // Theirs to judge, when they are polled.
                Phase::Head | Phase::Exchange => {}
            }
        }
        let mut polled = connection.as_mut().poll(cx);
        // Only after hyper has read what has come: a request that was sent before the end is answered.
        if worker.is_draining() && !is_draining && polled.is_pending() {
            match client.phase.get() {
                // Whoever has just connected is about to say why.
                Phase::FirstByte if !is_last_call => {
                    is_last_call = true;
                    client.deadline.set(settings.first_byte.min(LAST_CALL));
                }
                // A head that has begun is a request that has begun, and has its own time.
                Phase::FirstByte | Phase::Head => {}
                _ => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                    polled = connection.as_mut().poll(cx);
                }
            }
        }
        if client.phase.get() == Phase::Exchange {
            client.interim.wake_by(cx);
        }
        polled.map(|ended| match ended {
            Ok(()) => Ending::Done,
            Err(fault) => {
                tracing::debug!(client = %client.origin.address, %fault, "a client's connection broke");
                Ending::Broken
            }
        })
    })
    .await
}

/// How long a connection without a first request is kept while keyward stops.
const LAST_CALL: Duration = Duration::from_millis(500);

/// How long a closed connection is still read from, and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Closes so that the client gets the last answer whole: closing with bytes unread would reset the connection under it (RFC
/// 9112, section 9.6).
async fn close(guarded: &RefCell<Guarded>) {
    let is_over = guarded.borrow().is_over();
    let mut stream = Shared(guarded);
    let drain = async {
        // Over TLS there is a farewell to write, and the client may not be reading.
        if stream.shutdown().await.is_err() || is_over {
            return;
        }
        // Not in the future, whose room each connection has from its beginning.
        let mut sink = vec![0; 4096];
        let mut drained = 0;
        while drained < LINGER_BYTES {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return,
                Ok(read) => drained += read,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Waits for a tunnel's end, or for its token's.
async fn unless_cut(client: &ClientConnection, carried: impl Future<Output = ()>) {
    let mut carried = pin!(carried);
    std::future::poll_fn(|cx| {
        client.deadline.wake_by(cx);
        if client.is_cut() { Poll::Ready(()) } else { carried.as_mut().poll(cx) }
    })
    .await;
}

/// Carries bytes both ways until both ends are closed or one breaks. When one has closed, the other has `patience` to say
/// what it still has to say: who never closes must not hold two connections for ever.
async fn carry(guarded: &RefCell<Guarded>, upstream: crate::upstream::Tunnel, patience: Duration) {
    let crate::upstream::Tunnel { io: upstream, early: from_upstream } = upstream;
    // Neither end need ever say anything, so the system is to notice when one is no longer there.
    keep_alive(guarded.borrow_mut().stream().tcp());
    keep_alive(&upstream);
    let (_, from_client) = guarded.borrow_mut().tunnel();
    let (upstream_reads, upstream_writes) = upstream.into_split();
    let mut up = pin!(pass_on(from_client, Shared(guarded), upstream_writes));
    let mut down = pin!(pass_on(from_upstream.into(), upstream_reads, Shared(guarded)));
    let (first, is_down_left) = tokio::select! {
        ended = &mut up => (ended, true),
        ended = &mut down => (ended, false),
    };
    let carried = match first {
        Ok(()) if is_down_left => tokio::time::timeout(patience, down).await,
        Ok(()) => tokio::time::timeout(patience, up).await,
        broken => Ok(broken),
    };
    match carried {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(%fault, "a tunnel broke"),
        Err(_) => tracing::debug!("a tunnel was cut: one end had closed, and the other did not"),
    }
}

/// After a minute of silence the system asks the other end whether it is there, and gives up two minutes later.
const SILENCE: Duration = Duration::from_secs(60);
const BETWEEN_PROBES: Duration = Duration::from_secs(30);

fn keep_alive(stream: &tokio::net::TcpStream) {
    let probes = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(BETWEEN_PROBES).with_retries(4);
    if let Err(fault) = socket2::SockRef::from(stream).set_tcp_keepalive(&probes) {
        tracing::debug!(%fault, "a tunnel is not watched by the system");
    }
}

/// One direction of a tunnel, to its end.
async fn pass_on(
    early: Vec<u8>,
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) -> io::Result<()> {
    to.write_all(&early).await?;
    drop(early);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// The client's stream, borrowed for the length of each poll.
struct Shared<'a>(&'a RefCell<Guarded>);

impl tokio::io::AsyncRead for Shared<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.0.borrow_mut().stream()).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Shared<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.borrow_mut().stream()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.borrow_mut().stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.borrow_mut().stream()).poll_shutdown(cx)
    }
}
