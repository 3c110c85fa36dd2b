//! Messages with file descriptors on a Unix socket: a length of four bytes, and JSON.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Message;

/// The most bytes of a message.
const MOST_BYTES: usize = 64 * 1024;

/// The most file descriptors of a message: a socket and its lock.
const MOST_DESCRIPTORS: usize = 2;

/// How long the other process may take for a message that it has nothing to do for.
pub(in crate::app) const AT_ONCE: Duration = Duration::from_secs(10);

/// A connection between two processes of keyward.
pub(in crate::app) struct Frames(UnixStream);

impl Frames {
    pub(in crate::app) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// The process and the user at the other end, as the system knows them.
    pub(in crate::app) fn peer(&self) -> io::Result<(u32, u32)> {
        let peer = rustix::net::sockopt::socket_peercred(&self.0)?;
        Ok((peer.pid.as_raw_nonzero().get().cast_unsigned(), peer.uid.as_raw()))
    }

    /// Sends a message with these file descriptors, which stay open here.
    pub(in crate::app) async fn send(
        &self,
        message: &Message,
        descriptors: &[OwnedFd],
    ) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_be_bytes()[..], &body].concat();
        let mut sent = 0;
        let send = async {
            while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
                // They go with the first bytes.
                let descriptors = if sent == 0 { descriptors } else { &[] };
                sent += self.send_some(rest, descriptors).await?;
            }
            Ok(())
        };
        in_time(AT_ONCE, send).await
    }

    async fn send_some(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let send = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty()
                && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors))
            {
                return Err(io::Error::from(ErrorKind::InvalidInput));
            }
            let bytes = [IoSlice::new(bytes)];
            Ok(sendmsg(&self.0, &bytes, &mut ancillary, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// The next message, with its file descriptors.
    ///
    /// # Errors
    ///
    /// Also when it does not come within `timeout`, or the other process is gone
    /// ([`ErrorKind::UnexpectedEof`]).
    pub(in crate::app) async fn receive(
        &self,
        timeout: Duration,
    ) -> io::Result<(Message, Vec<OwnedFd>)> {
        in_time(timeout, self.receive_now()).await
    }

    async fn receive_now(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut descriptors = Vec::new();
        let mut length = [0; 4];
        self.fill(&mut length, &mut descriptors).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MOST_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message that is too long"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body, &mut descriptors).await?;
        Ok((serde_json::from_slice(&body)?, descriptors))
    }

    async fn fill(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let receive = || {
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let mut bytes = [IoSliceMut::new(rest)];
                let received =
                    recvmsg(&self.0, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                if received.flags.contains(ReturnFlags::CTRUNC) {
                    let words = "more file descriptors came than this process may have open";
                    return Err(io::Error::new(ErrorKind::InvalidData, words));
                }
                Ok(received.bytes)
            };
            match self.0.async_io(Interest::READABLE, receive).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                bytes => filled += bytes,
            }
        }
        Ok(())
    }
}

async fn in_time<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn descriptors_come_with_their_message_and_the_end_is_an_error() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (one, other) = (Frames::new(one), Frames::new(other));
        let (mut kept, given) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let hello = Message::Hello { protocol: 1, reports: true };
        one.send(&hello, &[]).await.expect("sent");
        one.send(&Message::Alive {}, &[given.into()]).await.expect("sent");
        drop(one);
        let (hello, none) = other.receive(AT_ONCE).await.expect("a message");
        let is_hello = matches!(hello, Message::Hello { protocol: 1, reports: true });
        assert!(is_hello && none.is_empty());
        let (alive, mut descriptors) = other.receive(AT_ONCE).await.expect("a message");
        assert!(matches!(alive, Message::Alive {}));
        let given = descriptors.pop().expect("a descriptor");
        assert!(descriptors.is_empty());
        kept.write_all(b"x").expect("it is open");
        let mut byte = [0];
        std::os::unix::net::UnixStream::from(given).read_exact(&mut byte).expect("the same");
        let end = other.receive(AT_ONCE).await.expect_err("the end");
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_length_that_is_too_long_and_a_body_that_is_no_message_are_errors() {
        for bytes in [&[0xff; 8][..], &[0, 0, 0, 2, b'{', b'}'], &[0, 0, 0, 1, b'x']] {
            let (one, mut other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            one.set_nonblocking(true).expect("set");
            let frames = Frames::new(UnixStream::from_std(one).expect("a socket"));
            other.write_all(bytes).expect("sent");
            let fault = frames.receive(AT_ONCE).await.expect_err("no message");
            assert_ne!(fault.kind(), ErrorKind::UnexpectedEof, "{bytes:?}: {fault}");
        }
    }
}
