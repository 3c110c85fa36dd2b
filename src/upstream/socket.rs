//! An upstream's socket as hyper's client sees it. Over HTTP/1.1 it does three things that hyper
//! does not:
//!
//! * A server may answer before it has read the request, and close (RFC 9112, section 9.6). hyper
//!   gives the exchange up when writing fails, before it reads what has come. So a failed write is
//!   hidden from it: reading tells whether there is an answer. Without this, 4 to 10 of 25 early
//!   answers were lost.
//! * It notes whether anything has come since a request was sent: only if nothing has may an
//!   idempotent request be sent again.
//! * It writes keyward's own fields, as lines behind the request line that hyper writes. In hyper's
//!   header map each of them costs a hash, an insertion, a copy and a release: together some 2,300
//!   of 43,900 instructions a request. Written as lines, they cannot meet a client's field in a map
//!   either.
//!
//! Over HTTP/2 it tells when something has come: hyper does not tell when a server has announced
//! how many streams it allows.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::UpstreamStream;
use crate::wire::gather::poll_write_gathered;

/// What an exchange and its socket have in common.
#[derive(Debug)]
pub(super) struct Shared {
    stream: RefCell<UpstreamStream>,
    /// Something has come since this was last cleared.
    pub(super) has_received: Cell<bool>,
    /// A write failed: the connection serves no other request.
    pub(super) has_failed: Cell<bool>,
    /// hyper has more to write of what it was given before: a new head would not be the next that
    /// it writes.
    is_writing: Cell<bool>,
    /// Lines that go behind the request line of the next head.
    own_lines: RefCell<Vec<u8>>,
}

impl Shared {
    pub(super) fn into_stream(self) -> UpstreamStream {
        self.stream.into_inner()
    }

    /// Whether there is something to read, as far as the system has told: on an idle connection,
    /// its end.
    pub(super) fn has_news(&self) -> bool {
        self.stream.borrow().poll_readable(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether the next that hyper writes would be a new head, from its start.
    pub(super) fn is_between_requests(&self) -> bool {
        !self.is_writing.get() && !self.has_failed.get()
    }

    /// A request is about to be given to hyper; `write` adds keyward's own lines, each with its
    /// end.
    pub(super) fn begin_request(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.has_received.set(false);
        let mut lines = self.own_lines.borrow_mut();
        lines.clear();
        write(&mut lines);
    }
}

/// The socket of a connection of HTTP/1.1.
pub(super) struct Socket {
    shared: Rc<Shared>,
    /// A head with keyward's lines in it, which hyper takes for written, and how much of it has
    /// been.
    head: Vec<u8>,
    written: usize,
}

/// What follows a head goes with it as long as it all has this size.
const MOST_WITH_HEAD: usize = 4096;

impl Socket {
    pub(super) fn new(stream: UpstreamStream) -> (Self, Rc<Shared>) {
        let shared = Rc::new(Shared {
            stream: RefCell::new(stream),
            has_received: Cell::new(false),
            has_failed: Cell::new(false),
            is_writing: Cell::new(false),
            own_lines: RefCell::default(),
        });
        (Self { shared: Rc::clone(&shared), head: Vec::new(), written: 0 }, shared)
    }

    /// Takes a head, and of what follows it what is small, and puts keyward's lines into it. Says
    /// how much of hyper's bytes that were; nothing, if there are no lines to be put anywhere.
    fn take_head(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let mut lines = self.shared.own_lines.borrow_mut();
        if lines.is_empty() {
            return Ok(None);
        }
        let (first, rest) = bufs.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let end = memchr::memchr(b'\n', first).map_or(0, |at| at + 1);
        let (request_line, fields) = first.split_at(end);
        if !request_line.ends_with(b" HTTP/1.1\r\n") {
            // hyper writes a head whole. Whatever this is, no request is made of it.
            return Err(io::ErrorKind::InvalidData.into());
        }
        std::mem::swap(&mut self.head, &mut lines);
        self.head.splice(..0, request_line.iter().copied());
        self.head.extend_from_slice(fields);
        let mut taken = first.len();
        for piece in rest {
            if self.head.len() + piece.len() > MOST_WITH_HEAD {
                break;
            }
            self.head.extend_from_slice(piece);
            taken += piece.len();
        }
        Ok(Some(taken))
    }

    /// Writes what is left of the head.
    fn poll_write_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.head.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *self.shared.stream.borrow_mut()).poll_write(cx, rest)) {
                Ok(written @ 1..) => self.written += written,
                Ok(0) | Err(_) => {
                    self.shared.has_failed.set(true);
                    break;
                }
            }
        }
        self.written = 0;
        self.head.clear();
        Poll::Ready(())
    }

    /// Writes what hyper gives; keyward's lines with it, if it is a head.
    fn poll_write_any(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shared.is_writing.set(true);
        ready!(self.poll_write_head(cx));
        if self.shared.has_failed.get() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if let Some(taken) = self.take_head(bufs)? {
            // What cannot be written now is written before anything else, and before hyper has it
            // flushed.
            let _ = self.poll_write_head(cx);
            return Poll::Ready(Ok(taken));
        }
        let written = ready!(poll_write_gathered(&mut *self.shared.stream.borrow_mut(), cx, bufs));
        Poll::Ready(Ok(written.unwrap_or_else(|_| {
            self.shared.has_failed.set(true);
            bufs.iter().map(|buf| buf.len()).sum()
        })))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut *self.shared.stream.borrow_mut()).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.shared.has_received.set(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_any(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_any(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.stream.borrow().is_write_vectored()
    }

    /// hyper flushes when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_head(cx));
        if !self.shared.has_failed.get()
            && ready!(Pin::new(&mut *self.shared.stream.borrow_mut()).poll_flush(cx)).is_err()
        {
            self.shared.has_failed.set(true);
        }
        self.shared.is_writing.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.shared.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// Notes and announces what has come over a connection of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Arrivals(RefCell<Option<Waker>>);

impl Arrivals {
    /// Has `cx` woken when something comes, once.
    pub(super) fn wake(&self, cx: &Context<'_>) {
        *self.0.borrow_mut() = Some(cx.waker().clone());
    }
}

/// The socket of a connection of HTTP/2.
pub(super) struct Http2Socket {
    stream: UpstreamStream,
    arrivals: Rc<Arrivals>,
}

impl Http2Socket {
    pub(super) fn new(stream: UpstreamStream) -> (Self, Rc<Arrivals>) {
        let arrivals = Rc::<Arrivals>::default();
        (Self { stream, arrivals: Rc::clone(&arrivals) }, arrivals)
    }
}

impl AsyncRead for Http2Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(waker) = self.arrivals.0.borrow_mut().take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_gathered(&mut self.stream, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    fn socket() -> (Socket, Rc<Shared>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let (socket, shared) = Socket::new(UpstreamStream::Unix(ours));
        (socket, shared, theirs)
    }

    /// What arrives until the socket is closed.
    async fn arrived(socket: Socket, shared: Rc<Shared>, mut server: UnixStream) -> String {
        drop((socket, shared));
        let mut all = String::new();
        server.read_to_string(&mut all).await.expect("to read");
        all
    }

    #[tokio::test]
    async fn own_lines_stand_behind_the_request_line_of_their_request_and_of_no_other() {
        let (mut socket, shared, server) = socket();
        shared.begin_request(|lines| lines.extend_from_slice(b"x-own: 1\r\nx-more: 2\r\n"));
        let pieces = [IoSlice::new(b"POST /a HTTP/1.1\r\nhost: b\r\n\r\n"), IoSlice::new(b"body")];
        let written = socket.write_vectored(&pieces).await.expect("to write");
        assert_eq!(written, pieces.iter().map(|piece| piece.len()).sum::<usize>());
        socket.write_all(b" and more").await.expect("to write");
        assert!(!shared.is_between_requests(), "it has not been flushed");
        socket.flush().await.expect("to flush");
        assert!(shared.is_between_requests());
        socket.write_all(b"GET /c HTTP/1.1\r\n\r\n").await.expect("to write");
        assert_eq!(
            arrived(socket, shared, server).await,
            "POST /a HTTP/1.1\r\nx-own: 1\r\nx-more: 2\r\nhost: b\r\n\r\n\
             body and moreGET /c HTTP/1.1\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn what_is_no_head_is_not_written_where_a_head_is_due() {
        for rest in
            ["0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", "GET / HTTP/1.0\r\n\r\n", "\r\n"]
        {
            let (mut socket, shared, server) = socket();
            shared.begin_request(|lines| lines.extend_from_slice(b"x-own: 1\r\n"));
            assert!(socket.write_all(rest.as_bytes()).await.is_err(), "{rest:?}");
            assert_eq!(arrived(socket, shared, server).await, "", "{rest:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_reads_slowly_gets_all_of_a_head_before_what_follows_it() {
        let (mut socket, shared, mut server) = socket();
        // More than a socket holds.
        let own = format!("x-own: {}\r\n", "a".repeat(1 << 20));
        shared.begin_request(|lines| lines.extend_from_slice(own.as_bytes()));
        let head = b"POST / HTTP/1.1\r\nhost: b\r\n\r\n";
        let write = async move {
            socket.write_all(head).await.expect("to write");
            socket.write_all(b"body").await.expect("to write");
            socket.flush().await.expect("to flush");
            drop((socket, shared));
        };
        let mut all = String::new();
        let (_, read) = tokio::join!(write, server.read_to_string(&mut all));
        read.expect("to read");
        assert_eq!(all, format!("POST / HTTP/1.1\r\n{own}host: b\r\n\r\nbody"));
    }

    #[tokio::test]
    async fn writing_to_a_server_that_reads_no_more_leaves_its_answer_to_be_read() {
        let (mut socket, shared, mut server) = socket();
        server.write_all(b"answer").await.expect("to write");
        drop(server);
        shared.begin_request(|lines| lines.extend_from_slice(b"x-own: 1\r\n"));
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("a failure is passed over");
        socket.flush().await.expect("a failure is passed over");
        assert!(!shared.is_between_requests(), "it serves no other request");
        let mut answer = [0; 6];
        socket.read_exact(&mut answer).await.expect("to read");
        assert_eq!(&answer, b"answer");
        assert!(shared.has_received.get());
    }
}
