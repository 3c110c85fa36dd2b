//! The endpoints of one upstream, as one worker sees them: which is next, and which connections to it are idle.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::connection::{Connection, Tunnel};
use super::reply::Lease;
use super::{Endpoint, Reply, RequestBody, UpstreamError};
use crate::wire::interim::Interim;

/// One upstream, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its servers, at least one.
    pub endpoints: Vec<Endpoint>,
    /// How long connecting may take, per endpoint.
    pub connect_timeout: Duration,
    /// How many idle connections each worker keeps to each endpoint.
    pub idle_connections: usize,
    /// How long a connection is kept idle: less than the server keeps it.
    pub idle_timeout: Duration,
}

/// One upstream of one worker.
pub struct Upstream<B> {
    settings: UpstreamSettings,
    pools: Vec<Rc<Pool<B>>>,
    next: Cell<usize>,
}

/// The idle connections to one endpoint. Last in, first out: the warmest is used, and the coldest grow old and go.
pub(super) struct Pool<B> {
    endpoint: Endpoint,
    idle: RefCell<Vec<(Connection<B>, u32)>>,
    most: usize,
    /// Counts the sweeps, about one a second: the age of an idle connection without reading a clock.
    sweeps: Cell<u32>,
    /// After a refused connection, others are asked first until then.
    resting_until: Cell<Option<Instant>>,
}

/// How long an endpoint that refused a connection is asked last.
const REST: Duration = Duration::from_secs(1);

/// How often [`Upstream::sweep`] is to be called.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<B> Upstream<B>
where
    B: RequestBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An upstream without a connection yet.
    #[must_use]
    pub fn new(settings: UpstreamSettings) -> Self {
        let pool = |endpoint: &Endpoint| {
            Rc::new(Pool {
                endpoint: endpoint.clone(),
                idle: RefCell::default(),
                most: settings.idle_connections,
                sweeps: Cell::new(0),
                resting_until: Cell::new(None),
            })
        };
        let pools = settings.endpoints.iter().map(pool).collect();
        Self { settings, pools, next: Cell::new(0) }
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends a request, with `lines` as its first header fields, and waits for the head of its response. Interim responses go
    /// to `interim`.
    ///
    /// A request is sent a second time only if nobody can have acted on it: it never left, or it left on a connection that
    /// had served before, nothing at all came back, it is idempotent (RFC 9110, section 9.2.2) and has no body. `again` makes it
    /// anew for that.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection, so the server may notice that nobody waits.
    pub async fn send(
        &self,
        request: Request<B>,
        lines: &[u8],
        again: &dyn Fn() -> Option<Request<B>>,
        interim: Option<Rc<Interim>>,
    ) -> Result<Reply<B>, UpstreamError> {
        self.exchange(request, lines, again, interim, None).await
    }

    /// As [`send`](Self::send), for a request that asks to switch protocols: if the response is 101, the tunnel comes
    /// through the second part. It is sent on a new connection, and never again.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send_upgrade(
        &self,
        request: Request<B>,
        lines: &[u8],
        interim: Option<Rc<Interim>>,
    ) -> Result<(Reply<B>, oneshot::Receiver<Tunnel>), UpstreamError> {
        let (on_switch, switched) = oneshot::channel();
        Ok((self.exchange(request, lines, &|| None, interim, Some(on_switch)).await?, switched))
    }

    async fn exchange(
        &self,
        mut request: Request<B>,
        lines: &[u8],
        again: &dyn Fn() -> Option<Request<B>>,
        interim: Option<Rc<Interim>>,
        mut on_switch: Option<oneshot::Sender<Tunnel>>,
    ) -> Result<Reply<B>, UpstreamError> {
        let is_repeatable = is_repeatable(&request);
        let mut fresh_only = on_switch.is_some();
        loop {
            let (mut connection, pool) = self.connection(fresh_only).await?;
            if on_switch.is_some() {
                *connection.state.on_switch.borrow_mut() = on_switch.take();
            }
            connection.state.watch.begin(interim.clone());
            connection.state.injector.borrow_mut().set(lines);
            let received = connection.state.received.get();
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(reply(response, connection, pool)),
                Err(mut fault) => {
                    let nothing_came = connection.state.received.get() == received;
                    let may_repeat = is_repeatable && connection.reused && nothing_came;
                    request = match fault.take_message() {
                        Some(unsent) if connection.reused => unsent,
                        None if may_repeat && let Some(anew) = again() => anew,
                        _ => {
                            let endpoint = pool.endpoint.to_string();
                            return Err(UpstreamError::Broken { endpoint, cause: fault.into_error() });
                        }
                    };
                    fresh_only = true;
                }
            }
        }
    }

    /// An idle connection to the endpoint whose turn it is, or a new one; to another, if that one takes none.
    async fn connection(&self, fresh_only: bool) -> Result<(Connection<B>, Rc<Pool<B>>), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        if !fresh_only
            && let Some(pool) = turn.checked_rem(self.pools.len()).and_then(|at| self.pools.get(at))
            && let Some(connection) = pool.warm().await
        {
            return Ok((connection, Rc::clone(pool)));
        }
        let mut failure = None;
        for pool in self.in_turn(turn) {
            if !fresh_only && let Some(connection) = pool.warm().await {
                return Ok((connection, pool));
            }
            let opened =
                tokio::time::timeout(self.settings.connect_timeout, Box::pin(Connection::open(&pool.endpoint))).await;
            match opened {
                Ok(Ok(connection)) => return Ok((connection, pool)),
                Ok(Err(fault)) => failure = Some(fault),
                Err(_) => failure = Some(UpstreamError::ConnectTimeout { endpoint: pool.endpoint.to_string() }),
            }
            pool.resting_until.set(Some(Instant::now() + REST));
        }
        let nowhere = || UpstreamError::Connect { endpoint: "nowhere".into(), reason: "no endpoint".into() };
        Err(failure.unwrap_or_else(nowhere))
    }

    /// The endpoints, beginning with the one whose turn it is; those that rest come last.
    fn in_turn(&self, turn: usize) -> impl Iterator<Item = Rc<Pool<B>>> {
        let start = turn.checked_rem(self.pools.len()).unwrap_or_default();
        let (before, after) = self.pools.split_at(start);
        let is_resting = |pool: &&Rc<Pool<B>>| pool.is_resting();
        let ready = after.iter().chain(before).filter(move |pool| !is_resting(pool));
        let resting = after.iter().chain(before).filter(is_resting);
        ready.chain(resting).map(Rc::clone).collect::<Vec<_>>().into_iter()
    }

    /// Closes what has been idle too long. To be called every [`SWEEP_EVERY`].
    pub fn sweep(&self) {
        for pool in &self.pools {
            let now = pool.sweeps.get().wrapping_add(1);
            pool.sweeps.set(now);
            let most = u32::try_from(self.settings.idle_timeout.as_secs()).unwrap_or(u32::MAX);
            pool.idle
                .borrow_mut()
                .retain(|(connection, since)| now.wrapping_sub(*since) <= most && !connection.sender.is_closed());
        }
    }
}

impl<B> Pool<B>
where
    B: RequestBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The warmest idle connection that is still open.
    async fn warm(&self) -> Option<Connection<B>> {
        loop {
            let (mut connection, _) = self.idle.borrow_mut().pop()?;
            if connection.is_usable().await {
                return Some(connection);
            }
        }
    }
}

impl<B> Pool<B> {
    fn is_resting(&self) -> bool {
        match self.resting_until.get() {
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                self.resting_until.set(None);
                false
            }
            None => false,
        }
    }

    /// Takes a connection back whose response has been read to its end.
    pub(super) fn give_back(&self, mut connection: Connection<B>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.most && !connection.sender.is_closed() {
            connection.reused = true;
            connection.state.on_switch.borrow_mut().take();
            idle.push((connection, self.sweeps.get()));
        }
    }
}

fn reply<B>(response: http::Response<Incoming>, connection: Connection<B>, pool: Rc<Pool<B>>) -> Reply<B> {
    let (head, body) = response.into_parts();
    Reply { head, body: super::ReplyBody::new(body, Lease::new(connection, pool)) }
}

fn is_repeatable<B: http_body::Body>(request: &Request<B>) -> bool {
    request.body().is_end_stream()
        && matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}
