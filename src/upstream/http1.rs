//! HTTP/1.1 connections to an endpoint, by hyper's client, and those of them that are idle.
//!
//! A connection has no task of its own: the request that uses it polls it, within the task of the
//! client's connection or stream. What hyper's two halves tell each other would wake that same task
//! once more each time, so they are polled with a waker that does nothing wherever the task is
//! looking anyway.

#![expect(clippy::disallowed_methods, reason = "measures how long a connection has been idle")]

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::UpstreamStream;
use super::socket::{Shared, Socket};
use super::{
    ConnectionPlace, ExchangeFault, OwnFields, Purpose, RequestBody, ResponseHeadLimits,
    UpstreamTunnel,
};
use crate::wire::fields::HYPERS_LINES;

pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    wire: Wire,
    shared: Rc<Shared>,
    is_reused: bool,
    idle_since: Instant,
    /// Given back when the connection is closed.
    place: Option<ConnectionPlace>,
    /// How long it may be idle, if the server said so.
    idle_limit: Option<Duration>,
}

/// hyper's half that reads and writes.
struct Wire {
    connection: Connection<TokioIo<Socket>, RequestBody>,
    is_over: bool,
}

impl Wire {
    /// Moves the connection on, and says whether it is over.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_over = self.is_over || Pin::new(&mut self.connection).poll(cx).is_ready();
        self.is_over
    }
}

/// An exchange came to nothing.
pub(super) struct Failed {
    pub(super) fault: ExchangeFault,
    /// Whether nothing of the request was sent. Then it is where it was.
    pub(super) is_unsent: bool,
    /// Whether nothing at all has come back.
    pub(super) is_unanswered: bool,
}

impl Http1 {
    pub(super) async fn open(
        stream: UpstreamStream,
        limits: ResponseHeadLimits,
        place: Option<ConnectionPlace>,
    ) -> Result<Box<Self>, ExchangeFault> {
        let (socket, shared) = Socket::new(stream);
        let mut builder = Builder::new();
        builder.max_header_size(limits.bytes);
        if limits.fields != HYPERS_LINES {
            builder.max_headers(limits.fields);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
        Ok(Box::new(Self {
            sender,
            wire: Wire { connection, is_over: false },
            shared,
            is_reused: false,
            idle_since: Instant::now(),
            place,
            idle_limit: None,
        }))
    }

    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether it may carry another request: the server has not closed it, and it has not been idle
    /// for too long.
    fn is_usable(&mut self, idle_timeout: Duration) -> bool {
        let limit = self.idle_limit.map_or(idle_timeout, |limit| limit.min(idle_timeout));
        // Most often hyper was ready before, and nothing has come since: then it need not be asked.
        self.idle_since.elapsed() < limit
            && (self.sender.is_ready()
                && self.shared.is_between_requests()
                && !self.shared.has_news()
                || self.is_ready())
    }

    /// Looks whether it can take a request. Replaces the wakers of its last user.
    fn is_ready(&mut self) -> bool {
        !self.wire.drive(&mut Context::from_waker(Waker::noop()))
            && self.sender.is_ready()
            && self.shared.is_between_requests()
    }

    /// Sends a request with keyward's own fields and waits for the head of its response. The request
    /// is taken; it comes back if nothing of it was sent.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<RequestBody>,
        own: &dyn OwnFields,
    ) -> Result<Response<Incoming>, Failed> {
        self.shared.begin_request(|lines| {
            own.each(&mut |name, value| {
                lines.extend_from_slice(name.as_str().as_bytes());
                lines.extend_from_slice(b": ");
                lines.extend_from_slice(value.as_bytes());
                lines.extend_from_slice(b"\r\n");
            });
        });
        let mut sent = pin!(self.sender.try_send_request(std::mem::take(request)));
        let wire = &mut self.wire;
        let mut is_first = true;
        let outcome = std::future::poll_fn(|cx| {
            let mut quiet = Context::from_waker(Waker::noop());
            // The first time nothing can have come; later the response may be at hand, and then
            // nothing needs to be woken for more.
            let is_quiet = !std::mem::take(&mut is_first);
            let mut is_over = wire.drive(if is_quiet { &mut quiet } else { cx });
            let mut polled = sent.as_mut().poll(&mut quiet);
            if polled.is_pending() && is_quiet && !is_over {
                is_over = wire.drive(cx);
                polled = sent.as_mut().poll(&mut quiet);
            }
            match polled {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if is_over => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        let (fault, is_unsent) = match outcome {
            Some(Ok(response)) => {
                self.idle_limit = announced_limit(response.headers());
                return Ok(response);
            }
            Some(Err(mut failed)) => {
                let unsent = failed.take_message();
                let is_unsent = unsent.is_some();
                if let Some(unsent) = unsent {
                    *request = unsent;
                }
                (failed.into_error().into(), is_unsent)
            }
            None => (ExchangeFault::Closed, false),
        };
        Err(Failed { fault, is_unsent, is_unanswered: !self.shared.has_received.get() })
    }

    /// Polls a response's body, and the connection beneath it.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, hyper::Error>>> {
        let mut quiet = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut *body).poll_frame(&mut quiet);
        if polled.is_ready() {
            return polled;
        }
        self.wire.drive(cx);
        Pin::new(body).poll_frame(&mut quiet)
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.wire.drive(cx)
    }

    /// Its response has been read to its end. The connection becomes idle when the request has been
    /// sent to its end, too: at once, or later, if the server takes the rest. Whether it can carry
    /// another request is seen when it is taken.
    pub(super) fn finish(mut self: Box<Self>, has_upload: bool, idle: Rc<IdleConnections>) {
        let is_sent = !has_upload && !self.wire.is_over && !self.shared.has_failed.get();
        if is_sent || self.is_ready() {
            idle.keep(self);
            return;
        }
        if self.wire.is_over || self.sender.is_closed() || self.shared.has_failed.get() {
            return;
        }
        tokio::task::spawn_local(async move {
            let is_free = std::future::poll_fn(|cx| {
                if self.wire.drive(cx) {
                    return Poll::Ready(false);
                }
                Poll::Ready(ready!(self.sender.poll_ready(cx)).is_ok())
            });
            // The client's body has its own deadline, and ends with the client's connection.
            if is_free.await && self.is_ready() {
                idle.keep(self);
            }
        });
    }

    /// The bare connection, once the server has switched protocols; nothing, if the request was
    /// still being sent.
    pub(super) fn into_tunnel(mut self) -> Option<UpstreamTunnel> {
        if !self.wire.drive(&mut Context::from_waker(Waker::noop())) {
            return None;
        }
        let parts = self.wire.connection.into_parts();
        drop(parts.io);
        let stream = Rc::into_inner(self.shared)?.into_stream();
        Some(UpstreamTunnel { stream, early: parts.read_buf, place: None, connection: self.place })
    }
}

/// Connections that may take the next request. The one that was used last is used again first, so
/// that the others grow old and are closed.
pub(super) struct IdleConnections {
    #[expect(
        clippy::vec_box,
        reason = "connections are moved as boxes, into the list and out of it"
    )]
    connections: RefCell<Vec<Box<Http1>>>,
    most: Cell<usize>,
    timeout: Duration,
}

impl IdleConnections {
    /// Holds at most `most` connections; each is closed when it has been idle for `timeout`.
    pub(super) fn new(most: usize, timeout: Duration) -> Self {
        Self { connections: RefCell::default(), most: Cell::new(most), timeout }
    }

    /// The connection that was used last and is still usable. Those that are not are closed.
    pub(super) fn take(&self) -> Option<Box<Http1>> {
        loop {
            let mut connection = self.connections.borrow_mut().pop()?;
            if connection.is_usable(self.timeout) {
                return Some(connection);
            }
        }
    }

    fn keep(&self, mut connection: Box<Http1>) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() < self.most.get() {
            connection.is_reused = true;
            connection.idle_since = Instant::now();
            connections.push(connection);
        }
    }

    /// Closes all, and keeps none from now on.
    pub(super) fn retire(&self) {
        self.most.set(0);
        self.connections.borrow_mut().clear();
    }

    /// Closes the one that was used the longest ago; whether there was one.
    pub(super) fn close_oldest(&self) -> bool {
        let mut connections = self.connections.borrow_mut();
        let is_there = !connections.is_empty();
        let oldest = is_there.then(|| connections.remove(0));
        // Its place is another one's at once.
        drop(connections);
        drop(oldest);
        is_there
    }

    /// Closes what is no longer usable.
    pub(super) fn sweep(&self) {
        self.connections.borrow_mut().retain_mut(|connection| connection.is_usable(self.timeout));
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long the server says that it keeps an idle connection, less a second: what it closes
/// meanwhile would break a request that is on its way.
fn announced_limit(headers: &HeaderMap) -> Option<Duration> {
    // Few names are compared faster than one is hashed.
    let (_, value) = headers.iter().find(|(name, _)| *name == KEEP_ALIVE)?;
    let value = value.to_str().ok()?;
    let timeout = value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| seconds.trim().parse::<u64>().ok()).flatten()
    })?;
    Some(Duration::from_secs(timeout.saturating_sub(1)))
}

/// Adds to a head what HTTP/1.1 needs at this hop.
pub(crate) fn finish_head(request: &mut Request<RequestBody>, purpose: Purpose) {
    *request.version_mut() = Version::HTTP_11;
    let has_unknown_length =
        !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    if has_unknown_length {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if purpose == Purpose::Switch {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.entry(header::UPGRADE).or_insert(HeaderValue::from_static("websocket"));
    } else if headers.keys().any(|name| *name == header::TE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_for_less_than_the_server_announces() {
        let read = |text: &'static str| {
            announced_limit(&HeaderMap::from_iter([(KEEP_ALIVE, HeaderValue::from_static(text))]))
        };
        for (text, seconds) in [
            ("timeout=5", 4),
            ("timeout=5, max=100", 4),
            ("max=3, Timeout = 2", 1),
            ("timeout=1", 0),
            ("timeout=0", 0),
        ] {
            assert_eq!(read(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "max=3", "timeout", "timeout=x", "timeout=-1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
