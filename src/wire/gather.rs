//! Writing several pieces at once: the head of a message and its body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Up to so many bytes are copied into one piece: a head and a small body.
const SMALL: usize = 1024;

/// Writes pieces to a socket as `poll_write_vectored` does. Few bytes go as one piece: `send` costs
/// the system less than `writev`, and more than the copy (0.96 of the processor time of a request,
/// five alternating rounds).
pub fn poll_write_gathered<W: AsyncWrite + Unpin>(
    socket: &mut W,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let socket = Pin::new(socket);
    if let [piece] = pieces {
        return socket.poll_write(cx, piece);
    }
    let mut gathered = [0; SMALL];
    match gather(pieces, &mut gathered) {
        Some(bytes) => socket.poll_write(cx, bytes),
        None => socket.poll_write_vectored(cx, pieces),
    }
}

/// All pieces as one, if they fit into `buffer`.
fn gather<'a>(pieces: &[IoSlice<'_>], buffer: &'a mut [u8; SMALL]) -> Option<&'a [u8]> {
    let mut length = 0;
    for piece in pieces {
        let end = length + piece.len();
        buffer.get_mut(length..end)?.copy_from_slice(piece);
        length = end;
    }
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        gather(&pieces, &mut [0; SMALL]).map(<[u8]>::to_vec)
    }

    #[test]
    fn pieces_are_gathered_in_their_order_as_far_as_there_is_room() {
        assert_eq!(gathered(&[]), Some(Vec::new()));
        assert_eq!(gathered(&[b"ab", b"", b"c"]), Some(b"abc".to_vec()));
        assert_eq!(gathered(&[&[1; SMALL - 1], &[2]]).map(|all| all.len()), Some(SMALL));
        assert_eq!(gathered(&[&[1; SMALL], &[2]]), None);
        assert_eq!(gathered(&[&[1; SMALL + 1]]), None);
    }
}
