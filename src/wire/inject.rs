//! Header lines that go onto the wire beside those that hyper writes: they are kept in wire form, per token and per connection,
//! and put behind the request line as it passes. So a dozen fields cost one copy, where in a header map each would be hashed,
//! probed, encoded and dropped with every request; and nothing that happens to the map can take them away.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Puts lines into the next head that is written, and gathers small writes on the way (see [`super::small_writes`]).
#[derive(Debug, Default)]
pub struct Injector {
    /// For the next head; empty: nothing.
    lines: Vec<u8>,
    /// Taken from the writer, and not written yet.
    out: Vec<u8>,
    written: usize,
}

/// So much of what follows the lines is gathered with them.
const MOST_GATHERED: usize = 4096;

impl Injector {
    /// The lines for the head that is written next: each `name: value` and its line ending, checked by who made them.
    pub fn set(&mut self, lines: &[u8]) {
        self.lines.clear();
        self.lines.extend_from_slice(lines);
    }

    /// As [`AsyncWrite::poll_write_vectored`] on `stream`.
    ///
    /// # Errors
    ///
    /// The stream's; and `InvalidData`, if what is written is no head although lines are due: they must go out with it or the
    /// request must not go out at all.
    pub fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(stream.as_mut(), cx))?;
        if self.lines.is_empty() {
            return super::small_writes::poll_write(stream, cx, bufs);
        }
        let mut bufs = bufs.iter().skip_while(|buf| buf.is_empty());
        let Some(head) = bufs.next() else { return Poll::Ready(Ok(0)) };
        let Some(line_feed) = memchr::memchr(b'\n', head) else {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no request line to put fields behind",
            )));
        };
        let (request_line, rest) = head.split_at(line_feed + 1);
        self.out.extend_from_slice(request_line);
        self.out.append(&mut self.lines);
        let mut taken = request_line.len();
        for part in std::iter::once(rest).chain(bufs.map(|buf| &**buf)) {
            let room = MOST_GATHERED.saturating_sub(self.out.len());
            let fits = part.get(..room.min(part.len())).unwrap_or_default();
            self.out.extend_from_slice(fits);
            taken += fits.len();
            if fits.len() < part.len() {
                break;
            }
        }
        // What has been taken is taken, whether it can be written now or later.
        match self.poll_drain(stream, cx) {
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    /// Writes what has been taken. To be called before the stream is flushed or closed.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn poll_drain(&mut self, mut stream: Pin<&mut impl AsyncWrite>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time, and every other time none.
    struct Slow {
        got: Vec<u8>,
        at_once: usize,
        refuses: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.refuses = !self.refuses;
            if self.refuses {
                return Poll::Pending;
            }
            let taken = self.at_once.min(buf.len());
            self.got.extend_from_slice(&buf[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn lines_go_behind_the_request_line_once_however_slowly_it_is_written() {
        let body = "x".repeat(6000);
        for at_once in [1, 7, 100, 10_000] {
            let mut slow = Slow { got: Vec::new(), at_once, refuses: false };
            let mut injector = Injector::default();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut expected = String::new();
            for lines in ["A: 1\r\nB: 2\r\n", "", "C: 3\r\n"] {
                injector.set(lines.as_bytes());
                let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
                expected.push_str(&format!("GET / HTTP/1.1\r\n{lines}Host: x\r\n\r\n{body}"));
                let (mut head, mut rest) = (head.as_bytes(), body.as_bytes());
                while !head.is_empty() || !rest.is_empty() {
                    let bufs = [IoSlice::new(head), IoSlice::new(rest)];
                    if let Poll::Ready(taken) = injector.poll_write(Pin::new(&mut slow), &mut cx, &bufs) {
                        let taken = taken.expect("taken");
                        let of_head = taken.min(head.len());
                        head = &head[of_head..];
                        rest = &rest[taken - of_head..];
                    }
                }
                while injector.poll_drain(Pin::new(&mut slow), &mut cx).is_pending() {}
            }
            assert!(slow.got == expected.as_bytes(), "{at_once} at once");
        }
    }

    #[test]
    fn without_a_request_line_nothing_goes_out() {
        let mut slow = Slow { got: Vec::new(), at_once: 100, refuses: false };
        let mut injector = Injector::default();
        injector.set(b"A: 1\r\n");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let polled = injector.poll_write(Pin::new(&mut slow), &mut cx, &[IoSlice::new(b"no line")]);
        assert!(matches!(polled, Poll::Ready(Err(_))) && slow.got.is_empty());
    }
}
