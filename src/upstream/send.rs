//! One upstream, as one worker sends to it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;

use super::balanced::{Balanced, Progress, Stopped};
use super::health::UpstreamState;
use super::pool::{NotOpened, Pool, Right};
use super::retry::{MOST_ATTEMPTS, Repeat};
use super::{Call, HashBy, Policy, Purpose, Reply, RequestBody, UpstreamError, UpstreamSettings};

/// One upstream of one worker.
pub struct Upstream {
    settings: UpstreamSettings,
    way: Way,
}

/// How its endpoints are reached.
enum Way {
    /// There is one, and nothing to decide.
    Single(Option<Rc<Pool>>),
    Balanced(Box<Balanced>),
}

/// Knows which upstream is in force.
pub trait Newest {
    /// The one of the same name; nothing, if there is none any more.
    fn upstream(&self) -> Option<Rc<Upstream>>;
}

/// How often [`Upstream::sweep`] is to be called.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Upstream {
    /// An upstream without a connection yet, but for those to endpoints that one of `before` had,
    /// too. `state`: what all workers know of it, where its settings say how requests are shared
    /// out.
    #[must_use]
    pub fn new(
        settings: UpstreamSettings,
        state: Option<Arc<UpstreamState>>,
        before: &[Rc<Self>],
    ) -> Self {
        let way = match state {
            Some(state) => {
                let before = before.iter().find_map(|before| before.balanced_of(state.name()));
                Way::Balanced(Box::new(Balanced::new(state, before)))
            }
            None => {
                let pool = |endpoint| Rc::new(Pool::new(endpoint, &settings));
                Way::Single(settings.endpoints.first().map(pool))
            }
        };
        Self { settings, way }
    }

    /// Whether it is as configured there, with this state.
    #[must_use]
    pub fn is(&self, settings: &UpstreamSettings, state: Option<&Arc<UpstreamState>>) -> bool {
        let has_state = match (&self.way, state) {
            (Way::Single(_), None) => true,
            (Way::Balanced(balanced), Some(state)) => Arc::ptr_eq(balanced.state(), state),
            _ => false,
        };
        has_state && self.settings == *settings
    }

    /// Its endpoints, if it is the upstream of this name, and has several.
    fn balanced_of(&self, name: &str) -> Option<&Balanced> {
        match &self.way {
            Way::Balanced(balanced) if balanced.state().name() == name => Some(balanced),
            Way::Balanced(_) | Way::Single(_) => None,
        }
    }

    /// Whether requests may have to wait before an endpoint is asked.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        matches!(&self.way, Way::Balanced(balanced) if balanced.has_queue())
    }

    /// What of a request decides which endpoint is asked, if anything does.
    #[must_use]
    pub fn hash_by(&self) -> Option<&HashBy> {
        match &self.way {
            Way::Single(_) => None,
            Way::Balanced(balanced) => match balanced.policy() {
                Policy::Hash(by) => Some(by),
                Policy::RoundRobin | Policy::LeastRequests => None,
            },
        }
    }

    /// Sends a request, with keyward's own fields beside the client's, and waits for the head of
    /// its response. The request is taken. `newest`: the upstream of this name that is in force.
    ///
    /// A request is sent a second time only if none of it was sent; or if it was sent on a
    /// connection that had served before or is shared, nothing at all came back, it is idempotent
    /// and has no body. Where there is another endpoint, such a request is sent to that one when
    /// this one breaks the exchange, as far as the budget of retries allows.
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
        request: &mut Request<RequestBody>,
        call: &Call<'_>,
        newest: &dyn Newest,
    ) -> Result<Reply, UpstreamError> {
        match &self.way {
            Way::Single(Some(pool)) => send_to(pool, request, call).await,
            // Boxed, as it is large: every connection reserves memory for the futures of its
            // requests.
            Way::Balanced(balanced) => {
                Box::pin(self.send_balanced(balanced, request, call, newest)).await
            }
            Way::Single(None) => Err(UpstreamError::nowhere()),
        }
    }

    /// A request that waits for its turn goes by the upstream that is in force when that comes, or
    /// by this one if there is none any more.
    async fn send_balanced(
        &self,
        first: &Balanced,
        request: &mut Request<RequestBody>,
        call: &Call<'_>,
        newest: &dyn Newest,
    ) -> Result<Reply, UpstreamError> {
        let mut progress = Progress::begin(first, call, request);
        let mut replacement: Option<Rc<Self>> = None;
        loop {
            let upstream = replacement.as_deref().unwrap_or(self);
            let balanced = match &upstream.way {
                Way::Balanced(balanced) => balanced,
                Way::Single(pool) => {
                    progress.note_asked(call);
                    let pool = pool.as_ref().ok_or_else(UpstreamError::nowhere)?;
                    let endpoint = pool.endpoint();
                    call.caller.address(&endpoint.host(), endpoint.is_tls, request.headers_mut());
                    return send_to(pool, request, call).await;
                }
            };
            let other = || newest.upstream().filter(|newest| !std::ptr::eq(&**newest, upstream));
            let is_replaced = || other().is_some();
            match balanced.send(request, call, &mut progress, &is_replaced).await {
                Ok(reply) => return Ok(reply),
                Err(Stopped::Failed(fault)) => return Err(fault),
                Err(Stopped::Replaced) => {}
            }
            let Some(other) = other() else { continue };
            if let Way::Balanced(after) = &other.way {
                progress.goes_over(balanced, after);
            }
            replacement = Some(other);
        }
    }

    /// Closes what has been idle too long. To be called every [`SWEEP_EVERY`].
    pub fn sweep(&self) {
        match &self.way {
            Way::Single(pool) => {
                pool.iter().for_each(|pool| pool.sweep(self.settings.idle_timeout))
            }
            Way::Balanced(balanced) => balanced.sweep(self.settings.idle_timeout),
        }
    }

    /// It gets no other request: what is idle is closed, unless one of `successors` has taken it
    /// over, and what is under way goes on.
    pub fn retire(&self, successors: &[Rc<Self>]) {
        match &self.way {
            Way::Single(pool) => pool.iter().for_each(|pool| pool.retire()),
            Way::Balanced(balanced) => {
                let name = balanced.state().name();
                balanced.retire(successors.iter().find_map(|after| after.balanced_of(name)));
            }
        }
    }
}

async fn send_to(
    pool: &Pool,
    request: &mut Request<RequestBody>,
    call: &Call<'_>,
) -> Result<Reply, UpstreamError> {
    let purpose = call.purpose;
    let mut is_fresh = purpose == Purpose::Switch;
    let (mut has_repeated, mut attempts) = (false, 0);
    loop {
        let warm = if is_fresh { None } else { pool.warm() };
        let channel = match warm {
            Some(channel) => channel,
            // Boxed, as it is rare and large.
            None => {
                let opened = Box::pin(pool.open(purpose, is_fresh, Right::Any)).await;
                opened.map_err(NotOpened::fault)?
            }
        };
        let is_shared = channel.is_shared() && attempts < MOST_ATTEMPTS;
        attempts += 1;
        let repeat = if is_shared && !has_repeated { Repeat::of(request, purpose) } else { None };
        let failed = match pool.exchange(channel, request, purpose, call.own).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        match repeat {
            _ if failed.is_unsent && is_shared => {}
            Some(repeat) if !failed.is_unsent && failed.is_unanswered => {
                has_repeated = true;
                *request = repeat.into_request();
            }
            _ => return Err(pool.broken(failed.fault)),
        }
        is_fresh = true;
    }
}
