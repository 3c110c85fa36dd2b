//! The port to the open tickets of all instances.

use std::time::Duration;

use crate::domain::{Timestamp, TokenDigest};
use crate::tokens::store::StoreFuture;

/// How many tickets of one token may be open at a time.
pub const MOST_OPEN_OF_TOKEN: usize = 32;

/// How many tickets may be open in all, some 300 bytes each in Redis and 200 in memory.
pub const MOST_OPEN: usize = 50_000;

/// What is kept of a ticket until it is redeemed or has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTicket {
    /// The digest of the token that asked for it.
    pub holder: TokenDigest,
    /// The first moment at which it is no longer accepted.
    pub ends_at: Timestamp,
    /// A MAC over the ticket and the above, under a key that is not in the store.
    pub seal: [u8; 16],
}

/// The outcome of [`Tickets::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It can be redeemed.
    Opened,
    /// There are as many as may be, of its token or in all, and nothing was changed.
    Full {
        /// When the oldest of them expires.
        retry_after: Duration,
    },
}

/// The open tickets. Every operation is atomic against every other.
///
/// A store may forget open tickets, as with a restart: they are refused then.
pub trait Tickets: Send + Sync + 'static {
    /// Opens a ticket that was just made. `digest`: its own.
    fn open(&self, digest: TokenDigest, ticket: OpenTicket, now: Timestamp)
    -> StoreFuture<Opening>;

    /// Takes an open ticket: of any number of calls for the same one, by whatever instances, one
    /// gets it. `None`: it is not open, or has expired at `now`.
    fn take(&self, digest: TokenDigest, now: Timestamp) -> StoreFuture<Option<OpenTicket>>;
}
