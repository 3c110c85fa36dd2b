//! A connection after `101 Switching Protocols`: bytes both ways, and nobody who reads them.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::socket::Socket;
use super::stream::Shared;
use crate::gateway::ClientConnection;
use crate::upstream::Tunnel;

/// Carries until the tunnel's end, or its token's.
pub(super) async fn carry(client: &ClientConnection, socket: &RefCell<Socket>, upstream: Tunnel, patience: Duration) {
    let mut carried = pin!(both_ways(socket, upstream, patience));
    std::future::poll_fn(|cx| {
        client.deadline.wake_by(cx);
        if client.is_cut() { Poll::Ready(()) } else { carried.as_mut().poll(cx) }
    })
    .await;
}

/// Carries bytes both ways until both ends are closed or one breaks. When one has closed, the other has `patience` to say
/// what it still has to say: who never closes must not hold two connections for ever.
async fn both_ways(socket: &RefCell<Socket>, upstream: Tunnel, patience: Duration) {
    let Tunnel { io: upstream, early: from_upstream } = upstream;
    // Neither end need ever say anything, so the system is to notice when one is no longer there.
    if let Some(client) = socket.borrow_mut().stream().tcp() {
        keep_alive(client);
    }
    keep_alive(&upstream);
    let (_, from_client) = socket.borrow_mut().tunnel();
    let (upstream_reads, upstream_writes) = upstream.into_split();
    let mut up = pin!(pass_on(from_client, Shared(socket), upstream_writes));
    let mut down = pin!(pass_on(from_upstream.into(), upstream_reads, Shared(socket)));
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
async fn pass_on(early: Vec<u8>, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    to.write_all(&early).await?;
    drop(early);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
