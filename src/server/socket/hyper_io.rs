//! The socket as a stream that hyper reads and writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Mode, Socket};
use crate::gateway::Phase;
use crate::wire::gather::poll_write_gathered;

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.swallows(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut inner.stream).poll_write(cx, buf);
        inner.note_written([buf], &written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.swallows(bufs.first().map(|buf| &**buf).unwrap_or_default()) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = poll_write_gathered(&mut inner.stream, cx, bufs);
        inner.note_written(bufs.iter().map(|buf| &**buf), &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(Pin::new(&mut inner.stream).poll_flush(cx))?;
        if inner.control.phase() == Phase::Idle && inner.owes_response {
            (inner.owes_response, inner.is_blocked) = (false, false);
            // The wait for the next request begins now.
            inner.control.enter_idle();
        }
        Poll::Ready(Ok(()))
    }

    /// An HTTP/1 connection is closed by what drives it, with the care that it takes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        match inner.mode {
            Mode::Http1 => Poll::Ready(Ok(())),
            Mode::Http2 | Mode::Raw => Pin::new(&mut inner.stream).poll_shutdown(cx),
        }
    }
}
