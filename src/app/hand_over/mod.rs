//! The hand-over: another process, of a new binary or the same one, takes the sockets over from
//! this one, and no request is lost.
//!
//! The new process asks on the admin socket, which only the same user can open, and the connection
//! is switched to the messages of [`frames`]: file descriptors travel in them (unix(7),
//! `SCM_RIGHTS`). The steps, each of which the old process can outlive the end of the new one at:
//!
//! ```text
//! new: hello ─────────→  old: the sockets, the lock of the store, as file descriptors
//! new: prepares, opens the store, starts its workers, and says every second that it does
//! new: ready ─────────→  old: remembers no token any more
//! new: accepts  ←─ go ─  old
//! new: serving ───────→  old: accepts nothing any more, and drains
//! new: ←────────── done  old
//! ```
//!
//! Up to `serving` the old one serves as before; when the connection ends before, it goes on as if
//! nothing had happened ([`give`]). For a moment both accept from the same queue of the system, so
//! no connection is refused and none waits.
//!
//! # What becomes of connections
//!
//! They stay with the process that accepted them. A response of the old one says `Connection:
//! close`, and HTTP/2 connections get GOAWAY, which is exact: what the client sends before it
//! arrives is served. A connection of HTTP/1.1 that is idle is *not* closed at once, as it is when
//! keyward stops: a client may be sending on it just now, and a POST is not sent again by clients.
//! It ends behind its next response, or when it has been idle for some seconds.
//!
//! # Revocation with two processes on one store
//!
//! With Redis, both are instances of the fleet, and nothing is special. A SQLite store belongs to
//! one process, which remembers tokens because it alone changes them. Two other ways were not
//! taken. To stop one process before the other opens the store: requests would wait for as long as
//! that takes (0.7 s for 100,000 records), and those in flight in the old one, tunnels among them,
//! would have no store to ask. To tell the other process of each change, as the fleet does: a
//! process that does not answer would hold up revocations, and with several hand-overs in a row
//! each would have to tell all. Instead, **while two processes have the store, neither remembers
//! anything**: each check reads the database (`TokenCache::read_anew`), in which a change is seen
//! by every read that begins after it. A revocation that either has answered is in the database, so
//! neither accepts the token any more, and no message between them can be late or lost. Open
//! WebSockets and event streams are checked in the same way, each within a second.
//!
//! It makes requests dearer for as long as the old process still has something to finish. The
//! new one knows that from the end of a connection that the system closes with the process
//! ([`Alive`]), so it holds however that ends.

pub(super) mod frames;
pub(super) mod give;
mod reporting;
mod sharing;
pub(super) mod spawn;
pub(super) mod take;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use sharing::{Alive, Sharing};

use crate::upstream::LeftOut;

/// The version of this protocol. Members may be added to a message without another version.
const PROTOCOL: u32 = 1;

/// What the two processes tell each other, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// From the new process.
    Hello {
        protocol: u32,
        /// Whether it says [`Preparing`](Self::Preparing), if it is asked to.
        #[serde(default)]
        reports: bool,
    },
    /// A socket, with its file descriptor and, where it has one, that of its lock.
    Socket(SocketNote),
    /// The admin socket, with its file descriptor and that of its lock.
    AdminSocket {},
    /// What the old process has its tokens in. With an embedded store, the file descriptor of its
    /// lock comes along.
    Store { name: String },
    /// Ends with the old process, or with one before it that still has something to finish.
    Alive {},
    /// Everything was offered.
    Offered(OfferNote),
    /// The old process does not hand over, and says why.
    Refused {
        why: String,
        /// As in [`OfferNote`].
        #[serde(default)]
        process: Option<u32>,
    },
    /// The new process is at work on what comes before [`Ready`](Self::Ready).
    Preparing {},
    /// The new process can serve, on the sockets with these numbers.
    Ready { taken: Vec<usize> },
    /// The old process remembers nothing any more: the new one may serve.
    Go {},
    /// The new process serves.
    Serving {},
    /// The old process accepts nothing any more.
    Done {},
}

/// What the old process says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct OfferNote {
    /// Its id. The system says whose the socket was first, and a socket that was handed over
    /// outlives that one.
    #[serde(default)]
    process: Option<u32>,
    /// Whether it wants to hear [`Message::Preparing`].
    #[serde(default)]
    wants_reports: bool,
    /// Names of endpoints of which it knows no address either.
    #[serde(default)]
    without_address: Vec<String>,
    /// Endpoints that it leaves out because they failed.
    #[serde(default)]
    left_out: Vec<LeftOutNote>,
}

/// What is said of an endpoint that is left out: see [`LeftOut`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeftOutNote {
    upstream: String,
    endpoint: String,
    left_ms: u64,
    span_ms: u64,
    times: u32,
}

impl From<LeftOut> for LeftOutNote {
    fn from(out: LeftOut) -> Self {
        let LeftOut { upstream, endpoint, left, span, times } = out;
        let in_ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { upstream, endpoint, left_ms: in_ms(left), span_ms: in_ms(span), times }
    }
}

impl LeftOutNote {
    /// As of now, so long after it was said.
    pub(super) fn after(&self, since: Duration) -> LeftOut {
        LeftOut {
            upstream: self.upstream.clone(),
            endpoint: self.endpoint.clone(),
            left: Duration::from_millis(self.left_ms).saturating_sub(since),
            span: Duration::from_millis(self.span_ms),
            times: self.times,
        }
    }
}

/// What is said of a socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SocketNote {
    /// As it is configured.
    configured: String,
    address: String,
    is_admin: bool,
    is_of_service_manager: bool,
}
