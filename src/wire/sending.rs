//! A message on its way out: its head, written to the last byte by who sends it, and its body behind it as it comes, in its
//! framing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

/// So much is gathered into one plain `send`; what is larger goes out from where it is: for a few hundred bytes, gathering them
/// costs less than having the system gather them (`writev` takes a slower way through the kernel).
const GATHERED: usize = 4096;

/// A message that is being sent.
#[derive(Debug)]
pub struct Sending<B> {
    /// The head, and what small pieces of body and framing are behind it.
    small: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// A piece of body that goes behind it as it is, and the framing behind that.
    large: Bytes,
    closing: Bytes,
    /// Dropped as soon as all of it has been taken.
    body: Option<B>,
    left: Left,
    /// Whether any byte has left.
    has_begun: bool,
}

/// How a body is to be framed, and what of it is still to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is none, or no more.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks; trailers go with them, or end here.
    Chunks {
        /// Whether they go.
        with_trailers: bool,
    },
    /// Whatever comes until the connection is closed.
    UntilClose,
}

/// Why a message is not sent to its end.
#[derive(Debug)]
pub enum Unsent {
    /// Its body broke off, or is longer or shorter than announced: nobody may take it for whole.
    Body,
    /// The other side takes no more.
    Write(io::Error),
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// A message with this head, which says how its body is framed.
    #[must_use]
    pub fn new(head: Vec<u8>, body: B, left: Left) -> Self {
        let body = (left != Left::Nothing).then_some(body);
        Self { small: head, written: 0, large: Bytes::new(), closing: Bytes::new(), body, left, has_begun: false }
    }

    /// Sends; ready when all of it has been written and flushed.
    ///
    /// # Errors
    ///
    /// See [`Unsent`].
    pub fn poll(&mut self, to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            let is_waiting = self.gather(cx)?.is_pending();
            ready!(self.poll_write(to, cx)).map_err(Unsent::Write)?;
            if is_waiting || self.left == Left::Nothing {
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Unsent::Write)?;
            }
            if self.left == Left::Nothing {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
    }

    /// Takes from the body what is there, as long as it fits; pending, if the body has to be waited for.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        while self.left != Left::Nothing && !self.has_large() && self.small.len() < GATHERED {
            let Some(body) = &mut self.body else { return Poll::Ready(Err(Unsent::Body)) };
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let is_end = body.is_end_stream();
                    match frame.into_data() {
                        Ok(data) => self.stage(data)?,
                        Err(frame) => self.finish(frame.into_trailers().ok())?,
                    }
                    if is_end && self.left != Left::Nothing {
                        self.finish(None)?;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Unsent::Body)),
                None => self.finish(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn stage(&mut self, data: Bytes) -> Result<(), Unsent> {
        if data.is_empty() {
            return Ok(());
        }
        let mut closing = b"".as_slice();
        match &mut self.left {
            Left::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Body)?,
            Left::Nothing => return Err(Unsent::Body),
            Left::Chunks { .. } => {
                self.small.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                closing = b"\r\n";
            }
            Left::UntilClose => {}
        }
        if self.small.len() + data.len() <= GATHERED {
            self.small.extend_from_slice(&data);
            self.small.extend_from_slice(closing);
        } else {
            self.large = data;
            self.closing = Bytes::from_static(closing);
        }
        Ok(())
    }

    /// The body has ended, with these trailers.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unsent> {
        match self.left {
            Left::Nothing | Left::Length(0) | Left::UntilClose => {}
            Left::Length(_) => return Err(Unsent::Body),
            Left::Chunks { with_trailers } => {
                let trailers = trailers.filter(|trailers| with_trailers && !trailers.is_empty());
                if self.has_large() {
                    let mut closing = b"\r\n".to_vec();
                    end_chunks(trailers.as_ref(), &mut closing);
                    self.closing = closing.into();
                } else {
                    end_chunks(trailers.as_ref(), &mut self.small);
                }
            }
        }
        self.left = Left::Nothing;
        self.body = None;
        Ok(())
    }

    /// Whether a large piece, or the framing behind one, has not left yet: nothing may be put before it.
    fn has_large(&self) -> bool {
        !(self.large.is_empty() && self.closing.is_empty())
    }

    fn poll_write(&mut self, to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let small = self.small.get(self.written..).unwrap_or_default();
            let taken = if !self.has_large() {
                if small.is_empty() {
                    break;
                }
                ready!(Pin::new(&mut *to).poll_write(cx, small))?
            } else {
                let parts = [IoSlice::new(small), IoSlice::new(&self.large), IoSlice::new(&self.closing)];
                ready!(Pin::new(&mut *to).poll_write_vectored(cx, &parts))?
            };
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_begun = true;
            let of_small = taken.min(small.len());
            let of_large = (taken - of_small).min(self.large.len());
            self.written += of_small;
            self.large.advance(of_large);
            self.closing.advance((taken - of_small - of_large).min(self.closing.len()));
        }
        self.small.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// The last chunk, and the trailers behind it.
fn end_chunks(trailers: Option<&HeaderMap>, to: &mut Vec<u8>) {
    to.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    to.extend_from_slice(b"\r\n");
}

impl<B> Sending<B> {
    /// Makes a message whose body has been sent, or that has none, ready to be sent once more: with this head, and without a
    /// body.
    pub fn renew(&mut self, head: Vec<u8>) {
        self.small = head;
        self.written = 0;
        self.has_begun = false;
    }

    /// Whether any byte of it has left.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The buffer of a message that has been sent, for the next one.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.small)
    }
}

/// What the last head was written into: one buffer for all requests, as nearly every head is written and sent in one go.
#[derive(Default)]
pub struct SpareBuffer(Cell<Vec<u8>>);

impl SpareBuffer {
    /// The buffer, or a new one.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    /// Puts it back. A large one is not kept.
    pub fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() <= MOST_SPARE {
            self.0.set(buffer);
        }
    }
}

const MOST_SPARE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
