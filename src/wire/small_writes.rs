//! Writing a head and a small body in one plain `send`: for a few hundred bytes, gathering them first costs less than having the
//! system gather them (`writev` takes a slower way through the kernel).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// What is gathered at most.
const SMALL: usize = 2048;

/// Writes `bufs` as one buffer if they are small, and as they are if not.
///
/// # Errors
///
/// The stream's.
pub fn poll_write(
    stream: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = bufs {
        return stream.poll_write(cx, only);
    }
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total > SMALL {
        return stream.poll_write_vectored(cx, bufs);
    }
    let mut gathered = [0; SMALL];
    let mut rest = gathered.as_mut_slice();
    for buf in bufs {
        let Some((to, after)) = rest.split_at_mut_checked(buf.len()) else { break };
        to.copy_from_slice(buf);
        rest = after;
    }
    stream.poll_write(cx, gathered.get(..total).unwrap_or_default())
}
