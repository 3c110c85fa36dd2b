//! A client's socket as hyper sees it. It changes no byte, and tells what hyper does not:
//!
//! * When a head begins, so that a head and the wait for one have timeouts of their own: hyper has
//!   one timer for both.
//! * What a parsed head does not show any more: see [`LineGuard`].
//! * That an answer is hyper's own: hyper answers what it cannot parse with an empty response. That
//!   one is dropped, and keyward's is sent instead, with an id and a line in the log.
//! * That the client has gone while its request is being worked on. hyper is told to allow
//!   half-closed connections, so it does not look for the end: it would do so by a read, for which
//!   it allocates each time.
//!
//! What the client sends ahead of its turn is held, so that each head is looked at from its start,
//! and the bytes behind an upgrade reach the tunnel.

#![expect(
    clippy::disallowed_methods,
    reason = "waits a stated time for the acknowledgement of a client"
)]

mod hyper_io;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::frames::Frames;
use super::lines::LineGuard;
use super::stream::ClientStream;
use crate::gateway::{Control, Ending, HeadFault, HeadLimits, Phase};

/// How long a client may take within a head, and between two pieces of a response that it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientTimeouts {
    pub(super) head: Duration,
    pub(super) body: Duration,
}

/// One client's socket, shared by hyper and by what drives the connection.
#[derive(Clone)]
pub(super) struct Socket(Rc<RefCell<Inner>>);

struct Inner {
    stream: ClientStream,
    control: Rc<Control>,
    mode: Mode,
    timeouts: ClientTimeouts,
    lines: LineGuard,
    /// The head that has begun has come to its end.
    head_is_over: bool,
    /// Received and not given out yet.
    held: BytesMut,
    /// The client has sent its last byte.
    has_ended: bool,
    /// hyper has a response of keyward's, and may not have written all of it.
    owes_response: bool,
    /// The client takes nothing of the end of a response.
    is_blocked: bool,
    /// What is written over HTTP/2.
    frames: Frames,
    /// Something of a response has been written since this was last asked.
    has_progress: bool,
    /// The end of the connection is the end of a response, which has not come to it.
    is_response_until_close: bool,
    /// What is wrong with the head that has begun.
    fault: Option<HeadFault>,
    /// The status of an answer of hyper's own, which was swallowed.
    swallowed: Option<u16>,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// HTTP/1, with everything that the head of this file describes.
    Http1,
    /// Frames, of which it is seen whether they are of a response.
    Http2,
    /// Bytes that are not looked at: a tunnel, a connection that is closed.
    Raw,
}

/// How much a client may send ahead before its next request is read.
const MOST_AHEAD: usize = 16 * 1024;

const LOOK_FOR_RESET_EVERY: Duration = Duration::from_millis(10);

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Socket {
    pub(super) fn new(
        stream: ClientStream,
        control: Rc<Control>,
        limits: HeadLimits,
        timeouts: ClientTimeouts,
    ) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            stream,
            control,
            mode: Mode::Http1,
            timeouts,
            lines: LineGuard::new(limits),
            head_is_over: false,
            held: BytesMut::new(),
            has_ended: false,
            owes_response: false,
            is_blocked: false,
            frames: Frames::default(),
            has_progress: false,
            is_response_until_close: false,
            fault: None,
            swallowed: None,
        })))
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.0.borrow_mut().mode = mode;
    }

    /// Puts bytes before those that come.
    pub(super) fn put_back(&self, bytes: &[u8]) {
        self.0.borrow_mut().put_back(bytes);
    }

    /// All that has been received and not given out.
    pub(super) fn take_held(&self) -> Bytes {
        std::mem::take(&mut self.0.borrow_mut().held).freeze()
    }

    pub(super) fn has_held(&self) -> bool {
        !self.0.borrow().held.is_empty()
    }

    pub(super) fn has_agreed_on_http2(&self) -> bool {
        self.0.borrow().stream.has_agreed_on_http2()
    }

    /// Whether the client speaks HTTP/2, as was agreed on or as its first bytes say (RFC 9113,
    /// section 3.3). Nothing, if it sent nothing at all.
    pub(super) fn poll_speaks_http2(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Option<bool>> {
        let mut inner = self.0.borrow_mut();
        if inner.stream.has_agreed_on_http2() {
            return Poll::Ready(Some(true));
        }
        loop {
            if inner.held.len() >= PREFACE.len() || !PREFACE.starts_with(&inner.held) {
                return Poll::Ready(Some(inner.held.starts_with(PREFACE)));
            }
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut inner.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    inner.has_ended = true;
                    return Poll::Ready(if inner.held.is_empty() { None } else { Some(false) });
                }
                Poll::Ready(Ok(())) => inner.held.extend_from_slice(buf.filled()),
            }
        }
    }

    /// Waits for the next byte; false: none comes.
    pub(super) fn poll_next_byte(&self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<bool> {
        let mut inner = self.0.borrow_mut();
        if !inner.held.is_empty() {
            return Poll::Ready(true);
        }
        let mut buf = ReadBuf::new(scratch);
        match ready!(Pin::new(&mut inner.stream).poll_read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => {
                inner.held.extend_from_slice(buf.filled());
                Poll::Ready(true)
            }
            Ok(()) | Err(_) => {
                inner.has_ended = true;
                Poll::Ready(false)
            }
        }
    }

    /// Whether the client is still there while it waits for an answer. If it sends ahead, that is
    /// kept.
    pub(super) fn watch(&self, cx: &mut Context<'_>, scratch: &mut [u8]) {
        let inner = &mut *self.0.borrow_mut();
        if !inner.waits_for_answer() && !inner.waits_for_place() {
            return;
        }
        if inner.has_ended {
            // It may only have closed its sending side. If it has gone altogether, it says so when
            // it is sent something, or by a reset.
            if inner.stream.take_error().is_some() {
                inner.control.cut(Ending::ClientGone);
            }
            return;
        }
        // Until nothing more has come: only a read that waits is woken when the client goes.
        while inner.held.len() < MOST_AHEAD {
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut inner.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return,
                Poll::Ready(Err(_)) => {
                    inner.has_ended = true;
                    inner.control.cut(Ending::ClientGone);
                    return;
                }
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    inner.has_ended = true;
                    inner.control.note_client_finished();
                    // What waits for a place at an upstream goes on waiting no longer.
                    inner.control.deadline.wake();
                    return;
                }
                Poll::Ready(Ok(())) => inner.held.extend_from_slice(buf.filled()),
            }
        }
        // What stands behind that is not seen, but for a reset.
        if inner.waits_for_place() && inner.stream.take_error().is_some() {
            inner.has_ended = true;
            inner.control.cut(Ending::ClientGone);
        }
    }

    /// hyper has been given a response.
    pub(super) fn owe_response(&self) {
        self.0.borrow_mut().owes_response = true;
    }

    /// Whether all that hyper had to write has been written.
    pub(super) fn is_flushed(&self) -> bool {
        !self.0.borrow().owes_response
    }

    /// Whether the client has taken anything of a response since this was last asked. Of HTTP/2.
    pub(super) fn take_progress(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().has_progress)
    }

    /// What is wrong with the head that ended the connection, as far as this socket saw it.
    pub(super) fn fault(&self) -> Option<HeadFault> {
        let inner = self.0.borrow();
        let of_hyper = |status| match status {
            414 => HeadFault::TargetTooLong,
            431 => HeadFault::TooLarge,
            505 => HeadFault::Version,
            _ => HeadFault::Malformed,
        };
        inner.fault.or(inner.swallowed.map(of_hyper))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }

    /// Whether the client has reset the connection after it had closed its sending side.
    pub(super) fn is_reset(&self) -> bool {
        self.0.borrow().stream.take_error().is_some()
    }

    /// Looks whether the client resets the connection within `span`, after it was sent something.
    pub(super) async fn is_reset_within(&self, span: Duration) -> bool {
        let until = Instant::now() + span;
        loop {
            if self.0.borrow().stream.take_error().is_some() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            // The system wakes no reader for the reset of a connection whose end has been read
            // already.
            tokio::time::sleep(LOOK_FOR_RESET_EVERY).await;
        }
    }

    /// The end of the connection is the end of the response that begins. Should it break off, for
    /// whatever reason, the connection is reset, so that the response does not look complete.
    pub(super) fn begin_response_until_close(&self) {
        self.0.borrow().stream.reset_on_drop(true);
        self.0.borrow_mut().is_response_until_close = true;
    }

    /// hyper has written the last byte of all responses.
    pub(super) fn end_response_until_close(&self) {
        if std::mem::take(&mut self.0.borrow_mut().is_response_until_close) {
            self.0.borrow().stream.reset_on_drop(false);
        }
    }

    pub(super) fn probe_when_silent(&self) {
        self.0.borrow().stream.probe_when_silent();
    }
}

impl Inner {
    /// Whether the request has been read, and its answer has not been handed over.
    fn waits_for_answer(&self) -> bool {
        self.mode == Mode::Http1
            && matches!(self.control.phase(), Phase::Exchange | Phase::Streaming)
            && self.control.request_is_over()
    }

    /// Whether the request waits for a place at an upstream, and nothing reads its body.
    fn waits_for_place(&self) -> bool {
        self.mode == Mode::Http1 && self.control.waits_for_place()
    }

    fn put_back(&mut self, bytes: &[u8]) {
        let mut held = BytesMut::from(bytes);
        held.extend_from_slice(&self.held);
        self.held = held;
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.waits_for_answer() {
            // What comes now is of the next request: the end of this one wakes the task.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if self.held.is_empty() {
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                self.has_ended = true;
                if self.mode == Mode::Raw {
                    // It may be sent more; from now on it is looked for in each round.
                    self.control.note_client_finished();
                }
                return Poll::Ready(Ok(()));
            }
        } else {
            let length = self.held.len().min(buf.remaining());
            buf.put_slice(self.held.get(..length).unwrap_or_default());
            self.held.advance(length);
            if self.held.is_empty() {
                // Its memory, too: a connection that waits holds none.
                self.held = BytesMut::new();
            }
        }
        if self.mode == Mode::Http1 {
            self.look(buf, before)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at a head on its way. What is behind it is held back.
    fn look(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        if matches!(self.control.phase(), Phase::FirstByte | Phase::Idle) {
            self.control.enter(Phase::Head, self.timeouts.head);
            self.lines.begin();
            self.head_is_over = false;
        }
        if self.control.phase() != Phase::Head || self.head_is_over {
            return Ok(());
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        match self.lines.look(new) {
            Ok(None) => Ok(()),
            Ok(Some(end)) => {
                self.head_is_over = true;
                let behind = new.get(end..).unwrap_or_default();
                if !behind.is_empty() {
                    self.put_back(behind);
                    buf.set_filled(before + end);
                }
                Ok(())
            }
            Err(fault) => {
                self.fault = Some(fault);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    /// Whether an answer is hyper's own: no request has been handed to keyward that it could
    /// answer.
    fn swallows(&mut self, buf: &[u8]) -> bool {
        let is_hypers = self.mode == Mode::Http1
            && !self.owes_response
            && matches!(self.control.phase(), Phase::FirstByte | Phase::Idle | Phase::Head);
        if is_hypers && self.swallowed.is_none() {
            let digits = buf.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
            self.swallowed =
                Some(digits.and_then(|digits| digits.parse().ok()).unwrap_or_default());
        }
        is_hypers
    }

    /// The client has taken a piece of what it is sent, or takes nothing at the moment. hyper may
    /// have the end of a response for longer than the exchange lasts: it is still being sent then,
    /// and the client has its time.
    fn note_written<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        written: &Poll<io::Result<usize>>,
    ) {
        match self.mode {
            Mode::Http1 => {}
            Mode::Http2 => {
                if let Poll::Ready(Ok(count)) = written {
                    self.has_progress |= self.frames.note(pieces, *count);
                }
                return;
            }
            Mode::Raw => return,
        }
        match (written, self.control.phase()) {
            (Poll::Ready(Ok(1..)), Phase::Streaming) => self.control.note_progress(),
            (Poll::Pending, Phase::Streaming) => {
                self.control.note_blocked_by_client(self.timeouts.body)
            }
            (Poll::Ready(Ok(1..)), Phase::Idle) => {
                self.is_blocked = false;
                self.control.deadline.set(self.timeouts.body);
            }
            (Poll::Pending, Phase::Idle) if !self.is_blocked => {
                self.is_blocked = true;
                self.control.deadline.set(self.timeouts.body);
            }
            _ => {}
        }
    }
}
