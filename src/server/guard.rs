//! The guard stands between a client's socket and hyper: it judges each head before hyper sees it, and never lets hyper see a
//! byte beyond the message that is being served.
//!
//! * A head that is refused is replaced by a harmless one, and the refusal left in [`ClientConnection::head_fault`]: so every
//!   refusal is worded, logged and counted in one place, in its turn behind the answers before it.
//! * What a client sends ahead waits here. After an upgrade it belongs to the tunnel, after a refusal to nobody.
//! * While an exchange is under way, the guard notices that the client has gone.
//!
//! In the common case, one read brings one whole head and nothing else, and the bytes go straight into hyper's buffer.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::ClientStream;
use crate::gateway::{ClientConnection, Phase};
use crate::wire::chunks::{BrokenChunk, ChunkScanner, Progress};
use crate::wire::head::{Framing, HeadFault, HeadLimits, examine};
use crate::wire::small_writes;

/// How long a client may take between requests, within a head, and between two pieces of a response that it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
}

/// hyper's handle: the stream itself stays with the connection's driver, which needs it again when hyper is done.
pub(super) struct Guard(pub(super) Rc<RefCell<Guarded>>);

pub(super) struct Guarded {
    stream: ClientStream,
    client: Rc<ClientConnection>,
    limits: HeadLimits,
    patience: Patience,
    /// Received, and not handed to hyper yet.
    held: Vec<u8>,
    /// How much of `held`, from its start, hyper may have.
    vetted: usize,
    expects: Expects,
    /// The client has sent its last byte.
    is_over: bool,
    /// Interim responses that are being written.
    interim: Vec<u8>,
    /// hyper has nothing in its own buffer: an interim response can be written without cutting another message.
    is_clean: bool,
}

/// What comes next on the connection.
enum Expects {
    Head,
    /// So many more bytes of a body.
    Length(u64),
    Chunked(ChunkScanner),
    /// The rest of a body whose framing is broken: told to whoever reads it.
    Broken,
    /// Nothing that would be read: a head was refused.
    Nothing,
}

/// What hyper gets in place of a head that was refused. It asks for the connection to be closed behind the answer.
const HARMLESS: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How long an exchange goes on after its client has gone: long enough for an answer to a client that only closed its sending
/// side, and short enough that nobody works long for nothing.
const LEAVING: Duration = Duration::from_millis(700);

/// How much a client may send ahead before its next request is read.
const MOST_AHEAD: usize = 16 * 1024;

impl Guarded {
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
            vetted: 0,
            expects: Expects::Head,
            is_over: false,
            interim: Vec::new(),
            is_clean: true,
        }
    }

    /// The bare stream, and what the client sent ahead: for a tunnel.
    pub(super) fn tunnel(&mut self) -> (&mut ClientStream, Vec<u8>) {
        let early = std::mem::take(&mut self.held);
        (&mut self.stream, early)
    }

    pub(super) fn stream(&mut self) -> &mut ClientStream {
        &mut self.stream
    }

    /// Whether the client has sent its last byte.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.vetted > 0 {
                self.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            match self.expects {
                Expects::Nothing => return Poll::Ready(Ok(())),
                Expects::Broken => {
                    self.client.body_is_broken.set(true);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, BrokenChunk)));
                }
                Expects::Head | Expects::Length(_) | Expects::Chunked(_) => {}
            }
            if !self.held.is_empty() {
                self.vet_held();
                if self.vetted > 0 {
                    continue;
                }
            }
            if self.is_over {
                // A head or a body that broke off: hyper judges it as it judges any end of input.
                return Poll::Ready(Ok(()));
            }
            let read = if self.held.is_empty() { self.read_through(cx, buf) } else { self.read_more(cx) };
            match read {
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => {
                    if self.client.phase.get() == Phase::Head && self.client.deadline.is_over() {
                        self.refuse(HeadFault::TooSlow);
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads straight into hyper's buffer; true: what it has now is hyper's.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let start = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(true));
        }
        if matches!(self.expects, Expects::Head) && !matches!(self.client.phase.get(), Phase::Idle | Phase::FirstByte) {
            self.client.phase.set(Phase::Idle);
            self.client.deadline.set(self.patience.idle);
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(start..).unwrap_or_default();
        if new.is_empty() {
            self.is_over = true;
            return Poll::Ready(Ok(true));
        }
        let passes = self.vet(new);
        let ahead = new.get(passes..).unwrap_or_default();
        // Behind a head that was refused or a body that is broken, nothing is worth keeping.
        if !matches!(self.expects, Expects::Nothing | Expects::Broken) {
            self.held.extend_from_slice(ahead);
        }
        buf.set_filled(start + passes);
        Poll::Ready(Ok(passes > 0))
    }

    /// Reads behind what is held already.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut more = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut more))?;
        self.is_over = more.filled().is_empty();
        self.held.extend_from_slice(more.filled());
        Poll::Ready(Ok(false))
    }

    fn vet_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let vetted = self.vet(&held);
        // A refusal has put something else there.
        if self.held.is_empty() {
            self.held = held;
            self.vetted = vetted;
        }
    }

    /// How many bytes of `input`, from its start, hyper may have now; 0, if that cannot be told yet or there are none.
    fn vet(&mut self, input: &[u8]) -> usize {
        match &mut self.expects {
            Expects::Head => match examine(input, self.limits) {
                Ok(Some(head)) => {
                    self.client.phase.set(Phase::Exchange);
                    self.client.deadline.lift();
                    self.expects = match head.framing {
                        Framing::Length(0) => return head.length,
                        Framing::Length(length) => Expects::Length(length),
                        Framing::Chunked => Expects::Chunked(ChunkScanner::default()),
                    };
                    head.length + self.vet(input.get(head.length..).unwrap_or_default())
                }
                Ok(None) => {
                    if self.client.phase.get() != Phase::Head {
                        self.client.phase.set(Phase::Head);
                        self.client.deadline.set(self.patience.head);
                    }
                    0
                }
                Err(fault) => {
                    self.refuse(fault);
                    0
                }
            },
            Expects::Length(left) => {
                let passes = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= passes as u64;
                if *left == 0 {
                    self.expects = Expects::Head;
                }
                passes
            }
            Expects::Chunked(scanner) => match scanner.feed(input) {
                Ok(Progress::More) => input.len(),
                Ok(Progress::End(passes)) => {
                    self.expects = Expects::Head;
                    passes
                }
                Err(BrokenChunk) => {
                    self.expects = Expects::Broken;
                    0
                }
            },
            Expects::Broken | Expects::Nothing => 0,
        }
    }

    fn refuse(&mut self, fault: HeadFault) {
        self.client.head_fault.set(Some(fault));
        self.client.phase.set(Phase::Exchange);
        self.client.deadline.lift();
        self.expects = Expects::Nothing;
        self.held = HARMLESS.to_vec();
        self.vetted = HARMLESS.len();
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let passes = self.vetted.min(buf.remaining());
        buf.put_slice(self.held.get(..passes).unwrap_or_default());
        self.held.drain(..passes);
        self.vetted -= passes;
        if self.held.is_empty() && self.held.capacity() > MOST_AHEAD {
            self.held = Vec::new();
        }
    }

    /// Whether the client is still there, while it waits for an answer: if it sends ahead, that is kept.
    fn watch_client(&mut self, cx: &mut Context<'_>) {
        let is_waiting = matches!(self.client.phase.get(), Phase::Exchange | Phase::Streaming)
            && matches!(self.expects, Expects::Head);
        if !is_waiting {
            return;
        }
        // Until nothing more has come: only a read that waits is woken when the client goes.
        while !self.is_over && self.held.len() < MOST_AHEAD {
            match self.read_more(cx) {
                Poll::Ready(read) => self.is_over |= read.is_err(),
                Poll::Pending => return,
            }
        }
        // Also in the next exchange, if the client sent its request ahead and left.
        if self.is_over {
            self.client.phase.set(Phase::Leaving);
            self.client.deadline.set(LEAVING);
        }
    }

    /// The client has taken a piece of what it is sent: it reads, however slowly.
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            match self.client.phase.get() {
                Phase::Streaming => self.client.deadline.set(self.patience.body),
                // The rest of a response that hyper holds whole.
                Phase::Idle => self.client.deadline.set(self.patience.idle),
                Phase::FirstByte | Phase::Head | Phase::Exchange | Phase::Leaving => {}
            }
        }
    }

    fn write_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(more) = self.client.interim.take() {
            self.interim.extend_from_slice(&more);
        }
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Before hyper's own bytes: what waits goes first if it can, and is dropped if it would cut into a message.
    fn before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_clean || !self.interim.is_empty() {
            ready!(self.write_interim(cx))?;
        } else {
            drop(self.client.interim.take());
        }
        self.is_clean = false;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().read(cx, buf)
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut guarded = self.0.borrow_mut();
        ready!(guarded.before_write(cx))?;
        let written = Pin::new(&mut guarded.stream).poll_write(cx, buf);
        guarded.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut guarded = self.0.borrow_mut();
        ready!(guarded.before_write(cx))?;
        let written = small_writes::poll_write(Pin::new(&mut guarded.stream), cx, bufs);
        guarded.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().stream.is_write_vectored()
    }

    /// hyper flushes only when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut guarded = self.0.borrow_mut();
        guarded.is_clean = true;
        ready!(guarded.write_interim(cx))?;
        guarded.watch_client(cx);
        Pin::new(&mut guarded.stream).poll_flush(cx)
    }

    /// The driver closes, with the care that it takes.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
