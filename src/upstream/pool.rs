//! The connections of one worker to one endpoint: which there are, and how a request goes over one
//! of them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, Uri};

use super::connect::{Connected, Connector};
use super::http1::{self, Failed, Http1, IdleConnections};
use super::http2::{self, Session, Sessions};
use super::{
    ConnectionPlace, Endpoint, ExchangeFault, OwnFields, Protocol, Purpose, Reply, ReplyBody,
    RequestBody, ResponseHeadLimits, UpstreamError, UpstreamSettings,
};

/// The connections to one endpoint.
pub(super) struct Pool {
    connector: Connector,
    limits: ResponseHeadLimits,
    connect_timeout: Duration,
    idle: Rc<IdleConnections>,
    sessions: Sessions,
    /// Whether new connections speak HTTP/2, as far as is known.
    speaks_http2: Cell<bool>,
}

/// A way to send one request.
pub(super) enum Channel {
    Http1(Box<Http1>),
    Http2(Session),
}

/// What permits to make a connection.
pub(super) enum Right {
    /// There may be any number.
    Any,
    Place(ConnectionPlace),
    /// Nothing: one that is being made may be shared.
    Shared,
}

/// Why there is no connection.
pub(super) enum NotOpened {
    Failed(UpstreamError),
    /// The one that was being made cannot be shared after all.
    Unshared,
}

impl From<UpstreamError> for NotOpened {
    fn from(fault: UpstreamError) -> Self {
        Self::Failed(fault)
    }
}

impl NotOpened {
    /// As a failure, for those that may make any connection.
    pub(super) fn fault(self) -> UpstreamError {
        match self {
            Self::Failed(fault) => fault,
            Self::Unshared => UpstreamError::nowhere(),
        }
    }
}

impl Channel {
    /// Whether a request that fails on it may have failed because of what became of others: the
    /// server closed the connection while it was idle, or ends it for all streams (GOAWAY).
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused(),
            Self::Http2(_) => true,
        }
    }

    /// Whether it is a connection of HTTP/1.1 that was idle: the server may have closed it
    /// meanwhile, which says nothing of how the server is.
    pub(super) fn was_idle(&self) -> bool {
        matches!(self, Self::Http1(connection) if connection.is_reused())
    }
}

impl Pool {
    pub(super) fn new(endpoint: &Endpoint, settings: &UpstreamSettings) -> Self {
        // With `auto`, ALPN says it when the first connection is made.
        let is_http2 = settings.protocol == Protocol::Http2;
        Self {
            connector: Connector::new(endpoint.clone(), settings),
            limits: settings.response_head,
            connect_timeout: settings.connect_timeout,
            idle: Rc::new(IdleConnections::new(settings.idle_connections, settings.idle_timeout)),
            sessions: Sessions::default(),
            speaks_http2: Cell::new(is_http2),
        }
    }

    /// A connection that is open already: of HTTP/1.1 the warmest that is still usable.
    pub(super) fn warm(&self) -> Option<Channel> {
        if self.speaks_http2.get() {
            return self.sessions.free().map(Channel::Http2);
        }
        self.idle.take().map(Channel::Http1)
    }

    /// Whether a connection is being made that a request may share.
    pub(super) fn is_connecting(&self) -> bool {
        self.speaks_http2.get() && self.sessions.are_connecting()
    }

    /// Closes one connection that carries nothing; whether there was one.
    pub(super) fn close_idle(&self) -> bool {
        self.idle.close_oldest() || self.sessions.close_idle()
    }

    /// A new connection, or one that was made for another request meanwhile.
    pub(super) async fn open(
        &self,
        purpose: Purpose,
        is_fresh: bool,
        right: Right,
    ) -> Result<Channel, NotOpened> {
        let is_shared = purpose == Purpose::Response && self.speaks_http2.get();
        let is_maker = is_shared && matches!(right, Right::Place(_));
        let _maker = is_maker.then(|| self.sessions.begin_making());
        let _connecting = if is_shared {
            let lock = self.sessions.connecting.lock().await;
            // Made by the holder of the lock before.
            if !is_fresh && let Some(session) = self.sessions.free() {
                return Ok(Channel::Http2(session));
            }
            Some(lock)
        } else {
            None
        };
        let place = match right {
            Right::Any => None,
            Right::Place(place) => Some(place),
            // The one that was being made has come to nothing, or is full already.
            Right::Shared => return Err(NotOpened::Unshared),
        };
        let connected = match purpose {
            Purpose::Switch => self.connector.connect_http1().await,
            Purpose::Response => self.connector.connect().await,
        };
        let Connected { stream, is_http2 } =
            connected.map_err(|fault| fault.of(self.connector.endpoint()))?;
        let begun = if is_http2 {
            self.speaks_http2.set(true);
            // A server that says nothing has not been connected to.
            let opening = self.sessions.open(stream, self.limits, place);
            let opened = tokio::time::timeout(self.connect_timeout, opening).await;
            let nothing_came = |_| UpstreamError::ConnectTimeout(self.name());
            opened.map_err(nothing_came)?.map(Channel::Http2)
        } else {
            Http1::open(stream, self.limits, place).await.map(Channel::Http1)
        };
        Ok(begun.map_err(|cause| self.broken(cause))?)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    pub(super) fn name(&self) -> String {
        self.endpoint().to_string()
    }

    pub(super) fn broken(&self, cause: ExchangeFault) -> UpstreamError {
        UpstreamError::Broken { endpoint: self.name(), cause }
    }

    pub(super) async fn exchange(
        &self,
        channel: Channel,
        request: &mut Request<RequestBody>,
        purpose: Purpose,
        own: &dyn OwnFields,
    ) -> Result<Reply, Failed> {
        match channel {
            Channel::Http1(mut connection) => {
                http1::finish_head(request, purpose);
                let upload_end = request.body().end();
                match connection.exchange(request, own).await {
                    Ok(response) => {
                        let (head, incoming) = response.into_parts();
                        let body = ReplyBody::of_http1(
                            incoming,
                            head.status,
                            connection,
                            upload_end,
                            Rc::clone(&self.idle),
                        );
                        Ok(Reply { head, body })
                    }
                    Err(failed) => Err(failed),
                }
            }
            Channel::Http2(mut session) => {
                let host = request.headers().get(header::HOST).cloned();
                let had_upload = request.body().end().is_some();
                let is_tls = self.connector.endpoint().is_tls;
                http2::finish_head(request, host.as_ref(), is_tls, own);
                match session.exchange(request).await {
                    Ok((response, _)) if response.headers().len() > self.limits.fields => {
                        let fault = ExchangeFault::TooManyFields;
                        Err(Failed { fault, is_unsent: false, is_unanswered: false })
                    }
                    Ok((response, stream)) => {
                        let (head, incoming) = response.into_parts();
                        Ok(Reply { head, body: ReplyBody::of_http2(incoming, stream, had_upload) })
                    }
                    Err(failed) => {
                        if failed.is_unsent {
                            undo(request, host, own);
                        }
                        Err(failed)
                    }
                }
            }
        }
    }

    /// Closes what has been idle too long.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.idle.sweep();
        self.sessions.sweep(idle_timeout);
    }

    /// Keeps no connection that is idle or becomes so: the endpoint gets no other request.
    pub(super) fn retire(&self) {
        self.idle.retire();
        self.sessions.sweep(Duration::ZERO);
    }
}

/// Brings a request that was made ready for HTTP/2 back into the form in which it came.
fn undo(request: &mut Request<RequestBody>, host: Option<HeaderValue>, own: &dyn OwnFields) {
    let headers = request.headers_mut();
    own.each(&mut |name, _| {
        headers.remove(name);
    });
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
}
