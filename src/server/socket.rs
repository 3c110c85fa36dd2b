//! A client's socket: what comes from it is judged before anybody else sees it, and given out one message at a time.
//!
//! * A head is read once, and a refused one is told apart from all others: so every refusal is worded, logged and counted in one
//!   place, in its turn behind the answers before it.
//! * A body is given out when it is asked for, and never a byte beyond it. What a client sends ahead waits here. After an upgrade
//!   it belongs to the tunnel, after a refusal to nobody.
//! * While an exchange is under way, the socket notices that the client has gone.
//!
//! In the common case one read brings one whole head and nothing else, into room that all connections of a worker share: a
//! connection that waits holds none.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::ClientStream;
use crate::gateway::{BodyBroken, BodySource, ClientConnection, Phase};
use crate::wire::body::{Decoder, Framing};
use crate::wire::head::{FieldLine, Head, HeadFault, HeadLimits, examine};
use crate::wire::receiving::Received;

/// How long a client may take within a head, and between two pieces of a response that it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) body: Duration,
}

/// One client's socket.
pub(super) struct Socket {
    stream: ClientStream,
    client: Rc<ClientConnection>,
    limits: HeadLimits,
    patience: Patience,
    /// Received, and of no message yet.
    held: Vec<u8>,
    /// How much of it, from its start, has been looked at in vain.
    looked_at: usize,
    /// The body that is under way.
    body: Option<Upload>,
    /// The client has sent its last byte.
    is_over: bool,
    /// Interim responses that are being written.
    interim: Vec<u8>,
}

/// A request's body, not all of which has been given out.
struct Upload {
    decoder: Decoder,
    received: Received,
    /// The client waits to be told to send it.
    awaits_word: bool,
    /// Somebody may still ask for the rest.
    is_wanted: bool,
    /// Who has asked, and waits.
    reader: Option<Waker>,
    is_broken: bool,
}

/// The room that heads are read into: one for all connections of a worker.
pub(super) struct HeadRoom {
    bytes: Box<[u8]>,
    /// The fields of the head that was read last.
    pub(super) lines: Vec<FieldLine>,
}

/// What comes next from a client.
pub(super) enum Next {
    /// A head that passed, in bytes of its own; its fields are in the room's lines. Its body, if it has one, is there to be asked
    /// for.
    Head(Head, Bytes),
    /// A head that did not: nothing behind it will be read.
    Refused(HeadFault),
    /// Nothing: the client is done.
    End,
    /// Nothing: it broke off.
    Broken,
}

/// What is left of a body that nobody has read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    None,
    /// Somebody reads it still.
    Wanted,
    /// Nobody will read it: what comes is not another request.
    Unread,
}

/// What is read at once of heads, and of what is sent ahead.
const ROOM: usize = 16 * 1024;

/// How long an exchange goes on after its client has gone: long enough for an answer to a client that only closed its sending
/// side, and short enough that nobody works long for nothing.
const LEAVING: Duration = Duration::from_millis(700);

/// How much a client may send ahead before its next request is read.
const MOST_AHEAD: usize = 16 * 1024;

/// How much of a body is read for nobody, so that the connection can be kept.
const MOST_SKIPPED: usize = 64 * 1024;

/// More than a request line has beside its target.
const BESIDE_THE_TARGET: usize = 64;

impl Default for HeadRoom {
    fn default() -> Self {
        Self { bytes: vec![0; ROOM].into(), lines: Vec::new() }
    }
}

impl Socket {
    pub(super) fn new(
        stream: ClientStream,
        client: Rc<ClientConnection>,
        limits: HeadLimits,
        patience: Patience,
    ) -> Self {
        Self {
            stream,
            client,
            limits,
            patience,
            held: Vec::new(),
            looked_at: 0,
            body: None,
            is_over: false,
            interim: Vec::new(),
        }
    }

    pub(super) fn stream(&mut self) -> &mut ClientStream {
        &mut self.stream
    }

    /// The bare stream, and what the client sent ahead: for a tunnel.
    pub(super) fn tunnel(&mut self) -> (&mut ClientStream, Vec<u8>) {
        let early = std::mem::take(&mut self.held);
        (&mut self.stream, early)
    }

    /// Whether the client has sent its last byte.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Reads the next head. The body before it must have been read to its end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, room: &mut HeadRoom) -> Poll<Next> {
        loop {
            if self.has_news() {
                let held = std::mem::take(&mut self.held);
                if let Some(next) = self.look(&held, &mut room.lines) {
                    return Poll::Ready(next);
                }
                self.looked_at = held.len();
                self.held = held;
            }
            if self.is_over {
                return Poll::Ready(if self.held.is_empty() { Next::End } else { Next::Broken });
            }
            let mut buf = ReadBuf::new(&mut room.bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Broken),
                Poll::Pending if self.client.phase.get() == Phase::Head && self.client.deadline.is_over() => {
                    return Poll::Ready(self.refuse(HeadFault::TooSlow));
                }
                Poll::Pending => return Poll::Pending,
            }
            let new = buf.filled();
            self.is_over = new.is_empty();
            if self.held.is_empty() && !new.is_empty() {
                if let Some(next) = self.look(new, &mut room.lines) {
                    return Poll::Ready(next);
                }
                self.looked_at = new.len();
            }
            self.held.extend_from_slice(new);
        }
    }

    /// Whether what is held has to be looked at again. No head ends without a line feed, so a long line that comes in bits is
    /// looked at only when it has doubled or passed a limit, for what is wrong with it already.
    fn has_news(&self) -> bool {
        let HeadLimits { bytes, target, .. } = self.limits;
        let new = self.held.get(self.looked_at..).unwrap_or_default();
        let has_passed = |limit: usize| self.looked_at <= limit && limit < self.held.len();
        new.len() >= self.looked_at.max(1)
            || memchr::memchr(b'\n', new).is_some()
            || has_passed(bytes)
            || has_passed(target.saturating_add(BESIDE_THE_TARGET))
    }

    /// Looks whether `input` begins with a whole head. If so, what is behind it is kept; if not, nothing is.
    fn look(&mut self, input: &[u8], lines: &mut Vec<FieldLine>) -> Option<Next> {
        match examine(input, self.limits, lines) {
            Ok(Some(head)) => {
                self.looked_at = 0;
                self.client.phase.set(Phase::Exchange);
                self.client.deadline.lift();
                let (bytes, behind) = input.split_at_checked(head.length).unwrap_or((input, &[]));
                if head.framing == Framing::Length(0) {
                    self.held.extend_from_slice(behind);
                } else {
                    self.body = Some(Upload {
                        decoder: Decoder::new(head.framing, Bytes::copy_from_slice(behind)),
                        received: Received::default(),
                        awaits_word: head.expects_continue && behind.is_empty(),
                        is_wanted: true,
                        reader: None,
                        is_broken: false,
                    });
                }
                Some(Next::Head(head, Bytes::copy_from_slice(bytes)))
            }
            Ok(None) => {
                if self.client.phase.get() != Phase::Head {
                    self.client.phase.set(Phase::Head);
                    self.client.deadline.set(self.patience.head);
                }
                None
            }
            Err(fault) => Some(self.refuse(fault)),
        }
    }

    fn refuse(&mut self, fault: HeadFault) -> Next {
        self.client.phase.set(Phase::Exchange);
        self.client.deadline.lift();
        self.held = Vec::new();
        self.looked_at = 0;
        Next::Refused(fault)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyBroken>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        loop {
            if body.is_broken {
                self.client.body_is_broken.set(true);
                return Poll::Ready(Some(Err(BodyBroken)));
            }
            match body.decoder.take() {
                Ok(Some(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.settle();
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Ok(None) if body.decoder.is_over() => {
                    self.settle();
                    return Poll::Ready(None);
                }
                Ok(None) if self.is_over => body.is_broken = true,
                Ok(None) => {
                    if std::mem::take(&mut body.awaits_word) {
                        self.client.interim.go_on();
                    }
                    match body.received.poll_more(&mut self.stream, cx) {
                        Poll::Ready(Ok(0)) => self.is_over = true,
                        Poll::Ready(Ok(_)) => body.decoder.receive(body.received.take()),
                        Poll::Ready(Err(_)) => body.is_broken = true,
                        Poll::Pending => {
                            body.reader = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                    }
                }
                Err(_) => body.is_broken = true,
            }
        }
    }

    /// If the body has been given out, what is behind it is of the next message. Whoever drives the connection is to know.
    fn settle(&mut self) {
        if let Some(body) = self.body.take_if(|body| body.decoder.is_over()) {
            self.held.extend_from_slice(body.decoder.rest());
            self.client.deadline.wake();
        }
    }

    /// What there is left of the request's body. What has come of it already is read for nobody, if nobody wants it.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) -> Rest {
        let mut skipped = 0;
        while let Some(body) = &self.body {
            if body.is_wanted {
                return Rest::Wanted;
            }
            if body.is_broken || body.awaits_word || skipped > MOST_SKIPPED {
                return Rest::Unread;
            }
            match self.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => skipped += data.len(),
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(BodyBroken))) | Poll::Pending => return Rest::Unread,
            }
        }
        Rest::None
    }

    /// Whether the client is still there, while it waits for an answer: if it sends ahead, that is kept.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, room: &mut HeadRoom) {
        let is_waiting = matches!(self.client.phase.get(), Phase::Exchange | Phase::Streaming) && self.body.is_none();
        if !is_waiting {
            return;
        }
        // Until nothing more has come: only a read that waits is woken when the client goes.
        while !self.is_over && self.held.len() < MOST_AHEAD {
            let mut buf = ReadBuf::new(&mut room.bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(read) => {
                    self.is_over = read.is_err() || buf.filled().is_empty();
                    self.held.extend_from_slice(buf.filled());
                }
                Poll::Pending => return,
            }
        }
        // Also in the next exchange, if the client sent its request ahead and left.
        if self.is_over {
            self.client.phase.set(Phase::Leaving);
            self.client.deadline.set(LEAVING);
        }
    }

    /// Closes the connection, whoever else may hold on to it: an upload that outlasts its response has a task of its own, and is
    /// told that nothing more will come.
    pub(super) fn hang_up(&mut self) {
        self.stream = ClientStream::Closed;
        if let Some(body) = &mut self.body {
            body.is_broken = true;
            if let Some(reader) = body.reader.take() {
                reader.wake();
            }
        }
    }

    /// Writes the interim responses that wait; ready when none does.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(more) = self.client.interim.take() {
            self.interim.extend_from_slice(&more);
        }
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.drain(..written);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Puts what is left of the interim responses before what follows.
    pub(super) fn take_interim(&mut self, to: &mut Vec<u8>) {
        to.append(&mut self.interim);
        if let Some(mut more) = self.client.interim.take() {
            to.append(&mut more);
        }
    }

    /// The client has taken a piece of what it is sent: it reads, however slowly.
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) && self.client.phase.get() == Phase::Streaming {
            self.client.deadline.set(self.patience.body);
        }
    }
}

impl BodySource for RefCell<Socket> {
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyBroken>>> {
        self.borrow_mut().poll_data(cx)
    }

    fn left(&self) -> Option<u64> {
        self.borrow().body.as_ref().map_or(Some(0), |body| body.decoder.length())
    }

    fn let_go(&self) {
        let mut socket = self.borrow_mut();
        if let Some(body) = &mut socket.body {
            body.is_wanted = false;
            socket.client.deadline.wake();
        }
    }
}

/// The way back to the client, for a response: borrowed for the length of each write.
pub(super) struct Writer<'a>(pub(super) &'a RefCell<Socket>);

impl AsyncWrite for Writer<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.0.borrow_mut();
        let written = Pin::new(&mut socket.stream).poll_write(cx, buf);
        socket.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut socket = self.0.borrow_mut();
        let written = Pin::new(&mut socket.stream).poll_write_vectored(cx, bufs);
        socket.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_flush(cx)
    }

    /// The driver closes, with the care that it takes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
