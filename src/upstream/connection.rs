//! One connection to an endpoint, and the tunnel that it may become.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Endpoint, RequestBody, UpstreamError};
use crate::wire::inject::Injector;
use crate::wire::interim::Watch;

/// A connection that may carry one request at a time.
pub(super) struct Connection<B> {
    pub(super) sender: SendRequest<B>,
    pub(super) state: Rc<State>,
    /// Whether it has carried a request before: only then may the server have closed it without our doing.
    pub(super) reused: bool,
}

/// What the connection's task and its user share.
#[derive(Default)]
pub(super) struct State {
    /// Bytes received so far: whether a request that failed was answered at all.
    pub(super) received: Cell<u64>,
    /// Adds the lines that each request has of its own.
    pub(super) injector: RefCell<Injector>,
    /// Looks for interim responses.
    pub(super) watch: Watch,
    /// Who waits for the bare connection, should the server switch protocols.
    pub(super) on_switch: RefCell<Option<oneshot::Sender<Tunnel>>>,
}

/// A connection after `101 Switching Protocols`.
pub struct Tunnel {
    /// The connection.
    pub io: TunnelIo,
    /// What the server sent behind its response already.
    pub early: Bytes,
}

/// The server's side of a tunnel.
pub struct TunnelIo(Counted);

impl<B> Connection<B>
where
    B: RequestBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects, and drives the connection in a task of its own on this worker.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, UpstreamError> {
        let failed = |reason: String| UpstreamError::Connect { endpoint: endpoint.to_string(), reason };
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(|fault| failed(fault.to_string()))?;
        stream.set_nodelay(true).map_err(|fault| failed(fault.to_string()))?;
        let state = Rc::<State>::default();
        let io = TokioIo::new(Counted { stream, state: Rc::clone(&state) });
        let (sender, mut connection) = Builder::new().handshake(io).await.map_err(|fault| failed(fault.to_string()))?;
        let shared = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            let waiting = shared.on_switch.borrow_mut().take();
            // An error has been told to whoever sent the request; a connection that ended while idle concerns nobody.
            if ended.is_ok()
                && let Some(waiting) = waiting
            {
                let parts = connection.into_parts();
                let _ = waiting.send(Tunnel { io: TunnelIo(parts.io.into_inner()), early: parts.read_buf });
            }
        });
        Ok(Self { sender, state, reused: false })
    }

    /// Whether it can take a request now, or after its task has had a turn.
    pub(super) async fn is_usable(&mut self) -> bool {
        if self.sender.is_ready() {
            return true;
        }
        if self.sender.is_closed() {
            return false;
        }
        tokio::task::yield_now().await;
        // Still busy: with the rest of an upload that was answered early, and is as slow as its client. Nobody waits for that.
        self.sender.is_ready()
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A stream that counts what it receives.
struct Counted {
    stream: TcpStream,
    state: Rc<State>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            self.state.received.set(self.state.received.get() + new.len() as u64);
            self.state.watch.look(new);
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, state } = &mut *self;
        state.injector.borrow_mut().poll_write(Pin::new(stream), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, state } = &mut *self;
        ready!(state.injector.borrow_mut().poll_drain(Pin::new(stream), cx))?;
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, state } = &mut *self;
        ready!(state.injector.borrow_mut().poll_drain(Pin::new(stream), cx))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}

impl TunnelIo {
    /// The connection beneath.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.0.stream
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.stream).poll_shutdown(cx)
    }
}
