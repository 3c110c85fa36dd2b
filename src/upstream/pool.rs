//! The endpoints of one upstream, as one worker sees them: which is next, and which connections to it are idle.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::connection::{Answer, Connection};
use super::ongoing::Ongoing;
use super::request;
use super::{Endpoint, ExchangeFault, Outgoing, Purpose, Reply, ReplyBody, RequestBody, UpstreamError};
use crate::wire::lines::FieldLines;
use crate::wire::sending::{Left, SpareBuffer};

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
pub struct Upstream {
    settings: UpstreamSettings,
    pools: Vec<Rc<Pool>>,
    next: Cell<usize>,
    spare: SpareBuffer,
}

/// The idle connections to one endpoint. Last in, first out: the warmest is used, and the coldest grow old and go.
pub(super) struct Pool {
    endpoint: Endpoint,
    idle: RefCell<Vec<(Box<Connection>, u32)>>,
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

impl Upstream {
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
        Self { settings, pools, next: Cell::new(0), spare: SpareBuffer::default() }
    }

    /// As configured.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// A request is sent a second time only if nobody can have acted on it: it never left, or it left on a connection that
    /// had served before, nothing at all came back, it is idempotent (RFC 9110, section 9.2.2) and has no body.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection, so the server may notice that nobody waits.
    pub async fn send<B: RequestBody>(&self, outgoing: Outgoing<'_>, body: B) -> Result<Reply, UpstreamError> {
        let for_switch = outgoing.purpose == Purpose::Switch;
        let is_repeatable = !for_switch && body.is_end_stream() && is_idempotent(outgoing.method);
        let mut sending = request::begin(&outgoing, body, self.spare.take());
        let mut fresh_only = for_switch;
        let mut lines = FieldLines::default();
        let (mut connection, pool, answer) = loop {
            let (mut connection, pool) = self.connection(fresh_only).await?;
            let fault = match connection.exchange(&mut sending, &outgoing, &self.spare, &mut lines).await {
                Ok(answer) => break (connection, pool, answer),
                Err(fault) => fault,
            };
            let is_unsent = !sending.has_begun();
            let may_repeat = is_unsent || is_repeatable && !connection.is_answered();
            if !may_repeat || !connection.is_reused() || matches!(fault, ExchangeFault::RequestBody) {
                return Err(UpstreamError::Broken { endpoint: pool.endpoint.to_string(), cause: fault });
            }
            if !is_unsent {
                // Only what has no body gets here.
                sending.renew(request::head(&outgoing, Left::Nothing, self.spare.take()));
            }
            fresh_only = true;
        };
        let upload =
            if answer.is_sent { None } else { connection.take_writer().map(|writer| Ongoing::begin(sending, writer)) };
        let Answer { head, behind, .. } = answer;
        let (body, tunnel) = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let too_early =
                || UpstreamError::Broken { endpoint: pool.endpoint.to_string(), cause: ExchangeFault::Switch };
            (ReplyBody::none(), Some(connection.into_tunnel(behind).ok_or_else(too_early)?))
        } else {
            (ReplyBody::new(&head, behind, connection, pool, upload), None)
        };
        Ok(Reply {
            status: head.status,
            version: head.version,
            lines,
            content_length: head.content_length,
            is_chunked: head.is_chunked,
            body,
            tunnel,
        })
    }

    /// An idle connection to the endpoint whose turn it is, or a new one; to another, if that one takes none.
    async fn connection(&self, fresh_only: bool) -> Result<(Box<Connection>, Rc<Pool>), UpstreamError> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        if !fresh_only
            && let Some(pool) = turn.checked_rem(self.pools.len()).and_then(|at| self.pools.get(at))
            && let Some(connection) = pool.warm()
        {
            return Ok((connection, Rc::clone(pool)));
        }
        // Boxed, as it is rare and large: every connection holds room for what its requests may await.
        Box::pin(self.another(turn, fresh_only)).await
    }

    async fn another(&self, turn: usize, fresh_only: bool) -> Result<(Box<Connection>, Rc<Pool>), UpstreamError> {
        let mut failure = None;
        for pool in self.in_turn(turn) {
            if !fresh_only && let Some(connection) = pool.warm() {
                return Ok((connection, pool));
            }
            match tokio::time::timeout(self.settings.connect_timeout, Connection::open(&pool.endpoint)).await {
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
    fn in_turn(&self, turn: usize) -> impl Iterator<Item = Rc<Pool>> {
        let start = turn.checked_rem(self.pools.len()).unwrap_or_default();
        let (before, after) = self.pools.split_at(start);
        let is_resting = |pool: &&Rc<Pool>| pool.is_resting();
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
                .retain(|(connection, since)| now.wrapping_sub(*since) <= most && connection.is_good());
        }
    }
}

impl Pool {
    /// The warmest idle connection that is still open.
    fn warm(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let (connection, _) = idle.pop()?;
            if connection.is_good() {
                return Some(connection);
            }
        }
    }

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
    pub(super) fn give_back(&self, connection: Box<Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.most {
            idle.push((connection, self.sweeps.get()));
        }
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}
