//! The room that is received into: it grows while it is filled, and is used again when what was in it has been let go.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What has been received and not taken yet, and room for more.
#[derive(Debug)]
pub struct Received {
    buffer: BytesMut,
    /// How much room the next read gets.
    room: usize,
}

/// The room that a read gets at first: enough for most messages, and all that is kept between them.
const FIRST_ROOM: usize = 8 * 1024;

/// The room that a read gets at most, when those before it were filled.
const MOST_ROOM: usize = 128 * 1024;

impl Default for Received {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), room: FIRST_ROOM }
    }
}

impl Received {
    /// Receives behind what is there: how many bytes; 0: the other side sends no more.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub fn poll_more(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let spare = self.buffer.capacity() - self.buffer.len();
        // The room that was used last is free again, as a rule: then it is used again.
        if spare < self.room && !self.buffer.try_reclaim(self.room) && spare < self.room / 2 {
            self.buffer.reserve(self.room);
        }
        let spare = self.buffer.capacity() - self.buffer.len();
        let received = ready!(pin!(reader.read_buf(&mut self.buffer)).poll(cx))?;
        if received == spare && self.room < MOST_ROOM {
            self.room *= 2;
        }
        Poll::Ready(Ok(received))
    }

    /// What is there.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes all that is there.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Puts back what was taken and not used: the next read goes on behind it.
    pub fn put_back(&mut self, rest: &[u8]) {
        self.buffer.reserve(self.room + rest.len());
        self.buffer.extend_from_slice(rest);
    }

    /// Whatever comes next is another message: room that grew is let go.
    pub fn shrink(&mut self) {
        if self.room > FIRST_ROOM {
            *self = Self { buffer: std::mem::take(&mut self.buffer), room: FIRST_ROOM };
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
        }
    }
}
