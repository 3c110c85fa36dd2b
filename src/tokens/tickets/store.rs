//! The port to the open tickets of all instances.

use std::time::Duration;

use crate::domain::{Timestamp, TokenDigest};
use crate::tokens::store::StoreFuture;

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

/// By what open tickets are counted besides their token. It tells neither name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedBy {
    /// The subject that holds the token.
    pub subject: [u8; 16],
    /// The tenant of that subject; one without a tenant is a tenant of its own.
    pub tenant: [u8; 16],
}

/// How many tickets may be open at a time.
///
/// Of one token, one subject and one tenant, no more may be open than there are places left free.
/// So a subject or a tenant alone has half of the places at most, two have a third each, and some
/// are always free for others. It is the rule of [`Load`](crate::limits::Load), which says where it
/// comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one token.
    pub of_token: usize,
    /// Of one subject, with whatever tokens.
    pub of_subject: usize,
    /// In all. Each takes some 1,000 bytes in Redis, measured, and 500 in memory.
    pub in_all: usize,
}

/// The bounds of every keyward.
pub const BOUNDS: Bounds = Bounds { of_token: 32, of_subject: 1000, in_all: 50_000 };

/// The outcome of [`Tickets::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It can be redeemed.
    Opened,
    /// There are as many as may be, and nothing was changed.
    Full {
        /// When the oldest of those expires of which there are too many.
        retry_after: Duration,
    },
}

/// The open tickets. Every operation is atomic against every other.
///
/// A store may forget open tickets, as with a restart: they are refused then.
pub trait Tickets: Send + Sync + 'static {
    /// Opens a ticket that was just made, within these bounds. `digest`: its own.
    fn open(
        &self,
        digest: TokenDigest,
        ticket: OpenTicket,
        counted_by: CountedBy,
        bounds: Bounds,
        now: Timestamp,
    ) -> StoreFuture<Opening>;

    /// Takes an open ticket: of any number of calls for the same one, by whatever instances, one
    /// gets it. `None`: it is not open, or has expired at `now`.
    fn take(&self, digest: TokenDigest, now: Timestamp) -> StoreFuture<Option<OpenTicket>>;
}
