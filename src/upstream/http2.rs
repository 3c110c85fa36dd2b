//! HTTP/2 connections to an endpoint, by hyper's client: one that carries many requests at a time,
//! and a second when its streams are used up.

#![expect(clippy::disallowed_methods, reason = "measures how long a connection has been idle")]

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::UpstreamStream;
use super::http1::Failed;
use super::socket::{Arrivals, Http2Socket};
use super::{ConnectionPlace, ExchangeFault, OwnFields, RequestBody, ResponseHeadLimits};
use crate::wire::local_exec::LocalExec;

/// The connections to one endpoint.
#[derive(Default)]
pub(super) struct Sessions {
    all: RefCell<Vec<Session>>,
    /// One connection is made at a time, and all requests that wait for it share it.
    pub(super) connecting: tokio::sync::Mutex<()>,
    /// How many requests have the right to make one, and have not made it yet.
    makers: Rc<Cell<usize>>,
}

/// A request that makes a connection, which others may share.
pub(super) struct Maker(Rc<Cell<usize>>);

impl Drop for Maker {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[derive(Clone)]
pub(super) struct Session {
    sender: SendRequest<RequestBody>,
    facts: Rc<Facts>,
}

struct Facts {
    open: Cell<usize>,
    /// How many the server allows at a time.
    limit: Cell<usize>,
    is_over: Cell<bool>,
    idle_since: Cell<Instant>,
}

/// One stream of a session: it counts as long as this lives.
pub(super) struct Stream(Rc<Facts>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        if self.0.open.get() == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// Flow control: what a server may send ahead of being read, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection with open streams is probed after so long without a byte, and given up after so
/// long without an answer.
const PROBE_AFTER: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

impl Sessions {
    /// A connection that takes another stream.
    pub(super) fn free(&self) -> Option<Session> {
        let mut all = self.all.borrow_mut();
        all.retain(|session| !session.facts.is_over.get() && !session.sender.is_closed());
        all.iter().find(|session| session.facts.open.get() < session.facts.limit.get()).cloned()
    }

    /// Adds a connection over `stream`, driven by a task of its own, once the server has said how
    /// many streams it allows: what is beyond that it refuses.
    pub(super) async fn open(
        &self,
        stream: UpstreamStream,
        limits: ResponseHeadLimits,
        place: Option<ConnectionPlace>,
    ) -> Result<Session, ExchangeFault> {
        let mut builder = Builder::new(LocalExec);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_TIMEOUT)
            .initial_max_send_streams(0)
            .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX));
        let (socket, arrivals) = Http2Socket::new(stream);
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
        let facts = Rc::new(Facts {
            open: Cell::new(0),
            limit: Cell::new(0),
            is_over: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
        });
        let (settled, has_settled) = oneshot::channel();
        tokio::task::spawn_local({
            let facts = Rc::clone(&facts);
            async move {
                drive(connection, arrivals, facts, settled).await;
                drop(place);
            }
        });
        has_settled.await.map_err(|_| ExchangeFault::Closed)??;
        let session = Session { sender, facts };
        self.all.borrow_mut().push(session.clone());
        Ok(session)
    }

    /// Whether a connection is being made that others may share.
    pub(super) fn are_connecting(&self) -> bool {
        self.makers.get() > 0
    }

    /// From now on, until this is dropped, a connection is being made. Those that only wait for the
    /// lock make none: they would wait for each other.
    pub(super) fn begin_making(&self) -> Maker {
        self.makers.set(self.makers.get() + 1);
        Maker(Rc::clone(&self.makers))
    }

    /// Closes one that carries nothing; whether there was one.
    pub(super) fn close_idle(&self) -> bool {
        let mut all = self.all.borrow_mut();
        let found = all.iter().position(|session| session.facts.open.get() == 0);
        let closed = found.map(|at| all.swap_remove(at));
        drop(all);
        closed.is_some()
    }

    /// Forgets the connections that are over, and closes those that have carried nothing for
    /// `idle_timeout`.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.all.borrow_mut().retain(|session| {
            let facts = &session.facts;
            !facts.is_over.get()
                && (facts.open.get() > 0 || facts.idle_since.get().elapsed() < idle_timeout)
        });
    }
}

/// Drives a connection to its end. `settled` is told when the server has allowed streams, or why it
/// never will.
async fn drive(
    mut connection: Connection<TokioIo<Http2Socket>, RequestBody, LocalExec>,
    arrivals: Rc<Arrivals>,
    facts: Rc<Facts>,
    settled: oneshot::Sender<Result<(), hyper::Error>>,
) {
    let mut settled = Some(settled);
    let ended = std::future::poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        facts.limit.set(connection.current_max_send_streams());
        if let Some(settled) = settled.take_if(|_| facts.limit.get() > 0) {
            let _ = settled.send(Ok(()));
        }
        if settled.is_some() {
            arrivals.wake(cx);
        }
        ended
    })
    .await;
    facts.is_over.set(true);
    let Err(fault) = ended else { return };
    tracing::debug!(%fault, "an HTTP/2 connection to an upstream broke");
    if let Some(settled) = settled {
        let _ = settled.send(Err(fault));
    }
}

impl Session {
    /// Opens a stream for a request, and waits for the head of its response. The request is taken; it
    /// comes back if nothing of it was sent. Dropping this resets the stream.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Stream), Failed> {
        self.facts.open.set(self.facts.open.get() + 1);
        let stream = Stream(Rc::clone(&self.facts));
        let (fault, is_unsent) = match self.sender.ready().await {
            Ok(()) => match self.sender.try_send_request(std::mem::take(request)).await {
                Ok(response) => return Ok((response, stream)),
                Err(mut failed) => {
                    let unsent = failed.take_message();
                    let is_unsent = unsent.is_some();
                    if let Some(unsent) = unsent {
                        *request = unsent;
                    }
                    (failed.into_error(), is_unsent)
                }
            },
            Err(fault) => (fault, true),
        };
        Err(Failed { fault: fault.into(), is_unsent, is_unanswered: true })
    }
}

/// So many of keyward's own fields there are most often.
const OWN_FIELDS: usize = 12;

/// Adds to a head what HTTP/2 needs at this hop, where `Host` is `:authority`, and keyward's own
/// fields.
pub(super) fn finish_head(
    request: &mut Request<RequestBody>,
    host: Option<&HeaderValue>,
    is_tls: bool,
    own: &dyn OwnFields,
) {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.reserve(OWN_FIELDS);
    own.each(&mut |name, value| {
        headers.insert(name.clone(), value.clone());
    });
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    parts.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
