//! The endpoints of one upstream, as one worker sees them: which is next, and which connections to
//! it there are.

#![expect(
    clippy::disallowed_methods,
    reason = "measures how long an endpoint rests after a failure"
)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};
use http_body::Body as _;

use super::connect::{Connected, Connector};
use super::http1::{self, Failed, Http1, IdleConnections};
use super::http2::{self, Session, Sessions};
use super::{
    Endpoint, ExchangeFault, OwnFields, Protocol, Purpose, Reply, ReplyBody, RequestBody,
    ResponseHeadLimits, UpstreamError, UpstreamSettings,
};

/// One upstream of one worker.
pub struct Upstream {
    settings: UpstreamSettings,
    pools: Vec<Rc<Pool>>,
    next: Cell<usize>,
}

/// The connections to one endpoint.
struct Pool {
    connector: Connector,
    limits: ResponseHeadLimits,
    connect_timeout: Duration,
    idle: Rc<IdleConnections>,
    sessions: Sessions,
    /// Whether new connections speak HTTP/2, as far as is known.
    speaks_http2: Cell<bool>,
    /// After a failed connection, others are asked first until then.
    resting_until: Cell<Option<Instant>>,
}

/// How long an endpoint that refused a connection is asked last.
const REST: Duration = Duration::from_secs(1);

/// How often a request is given to a connection, if none of it is sent.
const MOST_ATTEMPTS: u32 = 3;

/// How often [`Upstream::sweep`] is to be called.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A way to send one request.
enum Channel {
    Http1(Box<Http1>),
    Http2(Session),
}

impl Channel {
    /// Whether a request that fails on it may have failed because of what became of others: the
    /// server closed the connection while it was idle, or ends it for all streams (GOAWAY).
    fn is_shared(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused(),
            Self::Http2(_) => true,
        }
    }
}

/// A request that may be sent again, without what its first connection added to it.
struct Repeat {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Repeat {
    /// A request is sent a second time only if it cannot have been acted on, or may be acted on
    /// twice: it is idempotent (RFC 9110, section 9.2.2) and has no body.
    fn of(request: &Request<RequestBody>, purpose: Purpose) -> Option<Self> {
        let is_idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        let may_be_repeated =
            purpose == Purpose::Response && request.body().is_end_stream() && is_idempotent;
        may_be_repeated.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

impl Upstream {
    /// An upstream without a connection yet.
    #[must_use]
    pub fn new(settings: UpstreamSettings) -> Self {
        let pool = |endpoint| Rc::new(Pool::new(endpoint, &settings));
        let pools = settings.endpoints.iter().map(pool).collect();
        Self { settings, pools, next: Cell::new(0) }
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends a request, with `own` beside the client's fields, and waits for the head of its
    /// response.
    ///
    /// A request is sent a second time only if none of it was sent; or if it was sent on a
    /// connection that had served before or is shared, nothing at all came back, it is idempotent
    /// and has no body.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection or resets the stream, so the server may notice that the
    /// answer is no longer wanted.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        purpose: Purpose,
        own: &dyn OwnFields,
    ) -> Result<Reply, UpstreamError> {
        let mut is_fresh = purpose == Purpose::Switch;
        let (mut has_repeated, mut attempts) = (false, 0);
        loop {
            let (channel, pool) = self.channel(purpose, is_fresh).await?;
            let is_shared = channel.is_shared() && attempts < MOST_ATTEMPTS;
            attempts += 1;
            let repeat =
                if is_shared && !has_repeated { Repeat::of(&request, purpose) } else { None };
            let failed = match pool.exchange(channel, request, purpose, own).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            request = match (failed.unsent, repeat) {
                (Some(unsent), _) if is_shared => unsent,
                (None, Some(repeat)) if failed.is_unanswered => {
                    has_repeated = true;
                    repeat.into_request()
                }
                _ => return Err(pool.broken(failed.fault)),
            };
            is_fresh = true;
        }
    }

    /// A way to the endpoint whose turn it is; to another, if that one takes no connection.
    async fn channel(
        &self,
        purpose: Purpose,
        is_fresh: bool,
    ) -> Result<(Channel, Rc<Pool>), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        if !is_fresh
            && let Some(pool) = turn.checked_rem(self.pools.len()).and_then(|at| self.pools.get(at))
            && let Some(channel) = pool.warm()
        {
            return Ok((channel, Rc::clone(pool)));
        }
        // Boxed, as it is rare and large: every connection reserves memory for the futures of its
        // requests.
        Box::pin(self.another(turn, purpose, is_fresh)).await
    }

    async fn another(
        &self,
        turn: usize,
        purpose: Purpose,
        is_fresh: bool,
    ) -> Result<(Channel, Rc<Pool>), UpstreamError> {
        let mut failure = None;
        for pool in self.in_turn(turn) {
            if !is_fresh && let Some(channel) = pool.warm() {
                return Ok((channel, pool));
            }
            match pool.open(purpose, is_fresh).await {
                Ok(channel) => return Ok((channel, pool)),
                Err(fault) => failure = Some(fault),
            }
            pool.resting_until.set(Some(Instant::now() + REST));
        }
        let nowhere =
            || UpstreamError::Connect { endpoint: "nowhere".into(), reason: "no endpoint".into() };
        Err(failure.unwrap_or_else(nowhere))
    }

    /// The endpoints, beginning with the one whose turn it is; those that rest come last.
    fn in_turn(&self, turn: usize) -> Vec<Rc<Pool>> {
        let start = turn.checked_rem(self.pools.len()).unwrap_or_default();
        let (before, after) = self.pools.split_at(start);
        let mut pools: Vec<_> = after.iter().chain(before).cloned().collect();
        pools.sort_by_cached_key(|pool| pool.is_resting());
        pools
    }

    /// Closes what has been idle too long. To be called every [`SWEEP_EVERY`].
    pub fn sweep(&self) {
        for pool in &self.pools {
            pool.idle.sweep();
            pool.sessions.sweep(self.settings.idle_timeout);
        }
    }
}

impl Pool {
    fn new(endpoint: &Endpoint, settings: &UpstreamSettings) -> Self {
        // With `auto`, ALPN says it when the first connection is made.
        let is_http2 = settings.protocol == Protocol::Http2;
        Self {
            connector: Connector::new(endpoint.clone(), settings),
            limits: settings.response_head,
            connect_timeout: settings.connect_timeout,
            idle: Rc::new(IdleConnections::new(settings.idle_connections, settings.idle_timeout)),
            sessions: Sessions::default(),
            speaks_http2: Cell::new(is_http2),
            resting_until: Cell::new(None),
        }
    }

    /// A connection that is open already: of HTTP/1.1 the warmest that is still usable.
    fn warm(&self) -> Option<Channel> {
        if self.speaks_http2.get() {
            return self.sessions.free().map(Channel::Http2);
        }
        self.idle.take().map(Channel::Http1)
    }

    async fn open(&self, purpose: Purpose, is_fresh: bool) -> Result<Channel, UpstreamError> {
        let _connecting = if purpose == Purpose::Response && self.speaks_http2.get() {
            let lock = self.sessions.connecting.lock().await;
            // Made by the holder of the lock before.
            if !is_fresh && let Some(session) = self.sessions.free() {
                return Ok(Channel::Http2(session));
            }
            Some(lock)
        } else {
            None
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
            let opening = self.sessions.open(stream, self.limits);
            let opened = tokio::time::timeout(self.connect_timeout, opening).await;
            let nothing_came = |_| UpstreamError::ConnectTimeout(self.name());
            opened.map_err(nothing_came)?.map(Channel::Http2)
        } else {
            Http1::open(stream, self.limits).await.map(Channel::Http1)
        };
        begun.map_err(|cause| self.broken(cause))
    }

    fn name(&self) -> String {
        self.connector.endpoint().to_string()
    }

    fn broken(&self, cause: ExchangeFault) -> UpstreamError {
        UpstreamError::Broken { endpoint: self.name(), cause }
    }

    async fn exchange(
        &self,
        channel: Channel,
        mut request: Request<RequestBody>,
        purpose: Purpose,
        own: &dyn OwnFields,
    ) -> Result<Reply, Failed> {
        match channel {
            Channel::Http1(mut connection) => {
                http1::finish_head(&mut request, purpose);
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
                let is_tls = self.connector.endpoint().is_tls;
                http2::finish_head(&mut request, host.as_ref(), is_tls, own);
                match session.exchange(request).await {
                    Ok((response, _)) if response.headers().len() > self.limits.fields => {
                        let fault = ExchangeFault::TooManyFields;
                        Err(Failed { fault, unsent: None, is_unanswered: false })
                    }
                    Ok((response, stream)) => {
                        let (head, incoming) = response.into_parts();
                        Ok(Reply { head, body: ReplyBody::of_http2(incoming, stream) })
                    }
                    Err(mut failed) => {
                        failed.unsent = failed.unsent.map(|unsent| as_it_came(unsent, host, own));
                        Err(failed)
                    }
                }
            }
        }
    }

    fn is_resting(&self) -> bool {
        self.resting_until.get().is_some_and(|until| Instant::now() < until)
    }
}

/// A request that was made ready for HTTP/2, in the form in which it came.
fn as_it_came(
    mut request: Request<RequestBody>,
    host: Option<HeaderValue>,
    own: &dyn OwnFields,
) -> Request<RequestBody> {
    let headers = request.headers_mut();
    own.each(&mut |name, _| {
        headers.remove(name);
    });
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
    request
}
