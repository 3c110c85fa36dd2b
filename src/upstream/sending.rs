//! A request on its way out: its head, written by us to the last byte, and its body behind it as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::{Outgoing, RequestBody};

/// So much is gathered into one plain `send`; what is larger goes out from where it is (see
/// [`small_writes`](crate::wire::small_writes)).
const GATHERED: usize = 4096;

/// A request that is being sent.
pub(super) struct Sending<B> {
    /// The head, and what small pieces of body and framing are behind it.
    small: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// A piece of body that goes behind it as it is, and the framing behind that.
    large: Bytes,
    closing: &'static [u8],
    body: B,
    left: Left,
    /// Whether any byte has left.
    has_begun: bool,
}

/// What of the body has not been taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Length(u64),
    Chunks,
}

/// Why a request is not sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// Its body broke off, or is longer or shorter than announced: nobody may take it for whole.
    Body,
    /// The server takes no more. It may have answered all the same.
    Write(io::Error),
}

impl<B: RequestBody> Sending<B> {
    /// A request that is written into `buffer`. What frames the body is said here.
    pub(super) fn new(outgoing: &Outgoing<'_>, body: B, buffer: Vec<u8>) -> Self {
        let left = match body.size_hint().exact() {
            _ if body.is_end_stream() => Left::Nothing,
            Some(length) => Left::Length(length),
            None => Left::Chunks,
        };
        let mut sending =
            Self { small: Vec::new(), written: 0, large: Bytes::new(), closing: b"", body, left, has_begun: false };
        sending.write_head(outgoing, buffer);
        sending
    }

    /// Makes a request without a body, which has been sent, ready to be sent once more.
    pub(super) fn renew(&mut self, outgoing: &Outgoing<'_>, buffer: Vec<u8>) {
        self.write_head(outgoing, buffer);
        self.has_begun = false;
    }

    fn write_head(&mut self, outgoing: &Outgoing<'_>, mut buffer: Vec<u8>) {
        buffer.clear();
        let method = outgoing.method.as_str().as_bytes();
        for part in [method, b" ", outgoing.target.as_bytes(), b" HTTP/1.1\r\n", outgoing.fields] {
            buffer.extend_from_slice(part);
        }
        match self.left {
            Left::Nothing => {}
            Left::Length(length) => {
                let mut number = itoa::Buffer::new();
                for part in [b"content-length: ".as_slice(), number.format(length).as_bytes(), b"\r\n"] {
                    buffer.extend_from_slice(part);
                }
            }
            Left::Chunks => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        buffer.extend_from_slice(b"\r\n");
        self.small = buffer;
        self.written = 0;
    }

    /// Sends; ready when all of it has been written.
    pub(super) fn poll(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent>> {
        loop {
            let is_waiting = self.gather(cx)?.is_pending();
            ready!(self.poll_write(to, cx)).map_err(Unsent::Write)?;
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
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are not passed on.
                    self.stage(frame.into_data().unwrap_or_default())?;
                    if self.body.is_end_stream() {
                        self.finish()?;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Unsent::Body)),
                None => self.finish()?,
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
            Left::Chunks => {
                self.small.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                closing = b"\r\n";
            }
        }
        if self.small.len() + data.len() <= GATHERED {
            self.small.extend_from_slice(&data);
            self.small.extend_from_slice(closing);
        } else {
            self.large = data;
            self.closing = closing;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Unsent> {
        match self.left {
            Left::Nothing | Left::Length(0) => {}
            Left::Length(_) => return Err(Unsent::Body),
            Left::Chunks if self.large.is_empty() => self.small.extend_from_slice(b"0\r\n\r\n"),
            Left::Chunks => self.closing = b"\r\n0\r\n\r\n",
        }
        self.left = Left::Nothing;
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
                let parts = [IoSlice::new(small), IoSlice::new(&self.large), IoSlice::new(self.closing)];
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
            self.closing = self.closing.get(taken - of_small - of_large..).unwrap_or_default();
        }
        self.small.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<B> Sending<B> {
    /// Whether any byte of it has left.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The buffer of a request that has been sent, for the next one.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.small)
    }
}

#[cfg(test)]
mod tests;
