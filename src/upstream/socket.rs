//! An upstream's socket as hyper's client sees it. It changes no byte; it does two things that hyper does
//! not:
//!
//! * A server may answer before it has read the request, and close (RFC 9112, section 9.6). hyper gives the
//!   exchange up when writing fails, before it reads what has come. So a failed write is passed over here:
//!   reading tells whether there is an answer. Without this, 4 to 10 of 25 early answers were lost.
//! * It notes whether anything has come since a request was sent: only if nothing has may an idempotent
//!   request be sent again.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::UpstreamStream;

/// What is seen at the socket of an HTTP/1 connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Something has come since this was last cleared.
    pub(super) has_received: Cell<bool>,
    /// A write failed: the connection serves no other request.
    pub(super) has_failed: Cell<bool>,
}

/// See the module.
pub(super) struct Socket {
    stream: UpstreamStream,
    seen: Rc<Seen>,
}

impl Socket {
    pub(super) fn new(stream: UpstreamStream) -> (Self, Rc<Seen>) {
        let seen = Rc::<Seen>::default();
        (Self { stream, seen: Rc::clone(&seen) }, seen)
    }

    pub(super) fn into_stream(self) -> UpstreamStream {
        self.stream
    }

    fn pass_over(&self, written: io::Result<usize>, all: usize) -> io::Result<usize> {
        Ok(written.unwrap_or_else(|_| {
            self.seen.has_failed.set(true);
            all
        }))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.seen.has_received.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.seen.has_failed.get() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.pass_over(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.seen.has_failed.get() {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.pass_over(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.seen.has_failed.get() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.pass_over(flushed.map(|()| 0), 0).map(|_| ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
