//! Outgoing HTTP: the servers behind keyward, by hyper's client, one pool per worker.
//!
//! ```text
//! send ─→ pool ─→ connect ─→ socket ─→ http1 ─┐
//!   └─→ balanced       └───────────→ http2 ───┴─→ reply
//! ```
//!
//! * `connect` makes the byte stream to an endpoint: addresses (`race`), TLS, ALPN, Unix sockets.
//! * `dns` resolves names, apart from all requests: an upstream has an endpoint for each address.
//! * `http1` is an HTTP/1.1 connection, which a request takes from the idle ones of its worker and
//!   gives back when the response's body has ended; `socket` tells what hyper does not. `upload`
//!   drives it when the request is still being sent.
//! * `http2` is a connection that many requests share.
//! * `pool` has the connections to one endpoint; `reply` is the response.
//! * `send` sends to the only endpoint, and `balanced` to one of several: `members` says which may
//!   be asked and `balance` chooses, `health` knows which endpoints fail, `retry` says what may be
//!   sent again, and `admission` and `queue` limit how many requests there are. What `health` and
//!   `queue` know is shared by all workers. `probing` says which requests try an endpoint that was
//!   out; `check` asks endpoints whether they are well, and `checks` has what it found.

mod admission;
mod balance;
mod balanced;
mod check;
mod checks;
pub mod connect;
mod dns;
pub mod document;
mod endpoint;
mod health;
mod http1;
mod http2;
mod members;
mod milliseconds;
mod pool;
mod probing;
mod queue;
mod race;
mod reply;
mod retry;
mod send;
mod sent_requests;
mod settings;
mod socket;
mod stream;
mod upload;

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use http1::finish_head;

use admission::Seat;
pub use admission::{ConnectionPlace, EndpointSlot};
pub use balance::key_of;
pub use check::begin_checks;
pub use dns::{Answers, DnsSettings, NameWatch};
pub use endpoint::{Endpoint, EndpointAddress, Protocol};
pub use health::{LeftOut, UpstreamState};
pub use reply::{Reply, ReplyBody};
pub use send::{Newest, SWEEP_EVERY, Upstream};
pub use settings::{
    Balancing, Ejection, EndpointShare, HashBy, HealthCheck, Policy, RequestLimits,
    ResponseHeadLimits, Retries, UpstreamSettings, UpstreamTls,
};
pub use stream::UpstreamStream;

/// What a request is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A response.
    Response,
    /// A switch to the protocol in `Upgrade`, or to WebSocket where there is none. It is sent on a
    /// new HTTP/1.1 connection, and never again; if the response is 101, the connection comes with
    /// it.
    Switch,
}

/// keyward's own fields of a request. The client's fields of these names have been removed. They
/// are set anew each time that the request is sent.
pub trait OwnFields {
    /// Gives each to `field`.
    fn each(&self, field: &mut dyn FnMut(&HeaderName, &HeaderValue));
}

/// For whom a request is sent.
pub trait Caller: OwnFields {
    /// The first endpoint of an upstream that [has a queue](Upstream::has_queue) is about to be
    /// asked: waiting is over.
    fn begin(&self);

    /// Whether the client has closed its sending side: then it does not wait in the queue. Whatever
    /// makes that so wakes the task that sends.
    fn has_finished(&self) -> bool;

    /// Says in a request which of several endpoints is asked. `host`: its name and port; `is_tls`:
    /// whether TLS is spoken with it.
    fn address(&self, host: &HeaderValue, is_tls: bool, headers: &mut HeaderMap);
}

/// How one request is sent.
pub struct Call<'a> {
    purpose: Purpose,
    own: &'a dyn OwnFields,
    caller: &'a dyn Caller,
    key: Option<u64>,
    /// The endpoint of several that was asked last.
    asked: Cell<Option<Rc<Seat>>>,
}

impl<'a> Call<'a> {
    /// `key`: what decides which endpoint is asked, where one does (see [`key_of`]).
    pub fn new(purpose: Purpose, caller: &'a impl Caller, key: Option<u64>) -> Self {
        Self { purpose, own: caller, caller, key, asked: Cell::new(None) }
    }

    /// The endpoint that was asked did not answer in time.
    pub fn note_silence(&self) {
        if let Some(seat) = self.asked.take() {
            seat.state.note_failure(seat.at, health::now_ms());
        }
    }
}

/// What a request carries.
#[derive(Default)]
pub enum RequestBody {
    /// Nothing.
    #[default]
    Empty,
    /// A body that comes in pieces.
    Streamed(StreamedBody),
}

/// A body that comes in pieces, and says when it has been sent or given up.
pub struct StreamedBody {
    body: Box<dyn Body<Data = Bytes, Error = BoxError> + Unpin>,
    is_over: Rc<Cell<bool>>,
    /// Whether it broke off, which is no fault of the server's.
    is_broken: Rc<Cell<bool>>,
}

impl StreamedBody {
    /// A body that has not been sent.
    pub fn new(body: impl Body<Data = Bytes, Error = BoxError> + Unpin + 'static) -> Self {
        Self { body: Box::new(body), is_over: Rc::default(), is_broken: Rc::default() }
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        self.is_over.set(true);
    }
}

/// Why a body that is sent breaks off.
pub type BoxError = Box<dyn Error + Send + Sync>;

impl RequestBody {
    /// What becomes true when the body has been sent or given up; nothing, if there is none.
    fn end(&self) -> Option<Rc<Cell<bool>>> {
        match self {
            Self::Empty => None,
            Self::Streamed(streamed) => Some(Rc::clone(&streamed.is_over)),
        }
    }

    /// What becomes true when the body breaks off; nothing, if there is none.
    fn broken(&self) -> Option<Rc<Cell<bool>>> {
        match self {
            Self::Empty => None,
            Self::Streamed(streamed) => Some(Rc::clone(&streamed.is_broken)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(streamed) => {
                let polled = Pin::new(&mut streamed.body).poll_frame(cx);
                if matches!(polled, Poll::Ready(Some(Err(_)))) {
                    streamed.is_broken.set(true);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(streamed) => streamed.body.size_hint(),
        }
    }
}

/// A connection whose server has switched protocols.
pub struct UpstreamTunnel {
    /// The connection.
    pub stream: UpstreamStream,
    /// What the server sent right behind its 101.
    pub early: Bytes,
    /// Its place at the endpoint, where places are counted.
    pub place: Option<EndpointSlot>,
    /// Its place among the connections to the endpoint, where those are counted.
    pub connection: Option<ConnectionPlace>,
}

/// Why a request got no response. Nothing of it is told to a client but that the upstream failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No endpoint took the connection: the request was not sent.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// No connection to this endpoint was made in time: the request was not sent.
    #[error("connecting to {0} took too long")]
    ConnectTimeout(String),
    /// The connection broke, or what came back is no HTTP. The request may have been acted on.
    #[error("the exchange with {endpoint} failed: {cause}")]
    Broken {
        /// Where to.
        endpoint: String,
        /// What broke it.
        #[source]
        cause: ExchangeFault,
    },
    /// The endpoints have as many requests as they may have: the request was not sent.
    #[error("the upstream {upstream:?} is busy: {reason}")]
    Busy {
        /// Its name.
        upstream: String,
        /// Which limit it is.
        reason: &'static str,
    },
    /// All endpoints are out because they failed: the request was not sent.
    #[error("the endpoints of the upstream {upstream:?} fail: its circuit is open")]
    CircuitOpen {
        /// Its name.
        upstream: String,
        /// When the first of them is tried again.
        retry_after: Duration,
    },
}

impl UpstreamError {
    /// There is no endpoint.
    fn nowhere() -> Self {
        Self::Connect { endpoint: "nowhere".into(), reason: "no endpoint".into() }
    }
}

/// What broke an exchange: the server's fault, unless the request's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeFault {
    /// The server closed the connection instead of answering.
    #[error("the connection was closed before a response came")]
    Closed,
    /// The response has more fields than are taken.
    #[error("the response has too many header fields")]
    TooManyFields,
    /// hyper could not carry it out.
    #[error("{}", with_cause(.0))]
    Failed(#[from] hyper::Error),
}

impl ExchangeFault {
    /// Whether the request's body broke off.
    fn is_bodys(&self) -> bool {
        matches!(self, Self::Failed(fault) if fault.is_user())
    }
}

/// hyper says what went wrong, and keeps how in its source.
#[must_use]
pub fn with_cause(fault: &hyper::Error) -> String {
    match Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}
