//! Sending to one of several endpoints: which one is asked next if one fails, how a request waits
//! for its turn, and what is noted of how they did.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use super::dns::Unresolved;
use super::health::{UpstreamState, now_ms};
use super::members::{Members, Pick, Picked, Wanted, Way};
use super::pool::NotOpened;
use super::probing::Extent;
use super::queue::{Found, NoPlace, Queue, Ticket};
use super::retry::{MOST_ATTEMPTS, Repeat, RetryBudget};
use super::{Call, Policy, Purpose, Reply, RequestBody, UpstreamError};

/// The endpoints of one upstream, of one worker.
pub(super) struct Balanced {
    state: Arc<UpstreamState>,
    members: Members,
    budget: Rc<RetryBudget>,
}

/// How far a request has come, also where another upstream takes the place of the one that it was
/// to be sent to.
pub(super) struct Progress {
    extent: Extent,
    is_fresh: bool,
    attempts: u32,
    has_repeated: bool,
    /// The endpoints that are not asked again, by their places.
    tried: Vec<usize>,
    /// What is returned if no other endpoint does better: a response, or the last failure.
    fallback: Option<Reply>,
    failure: Option<UpstreamError>,
    /// Its place in the queue, while it waits.
    ticket: Option<Ticket>,
    /// Whether its time begins only when an endpoint is asked.
    begins_later: bool,
}

impl Progress {
    /// Of a request that begins with this upstream.
    pub(super) fn begin(first: &Balanced, call: &Call<'_>, request: &Request<RequestBody>) -> Self {
        first.budget.note_request();
        Self {
            extent: Extent::of(request.body()),
            is_fresh: call.purpose == Purpose::Switch,
            attempts: 0,
            has_repeated: false,
            tried: Vec::new(),
            fallback: None,
            failure: None,
            ticket: None,
            begins_later: first.has_queue(),
        }
    }

    /// An endpoint is about to be asked.
    pub(super) fn note_asked(&mut self, call: &Call<'_>) {
        // Leaves the queue.
        self.ticket = None;
        if std::mem::take(&mut self.begins_later) {
            call.caller.begin();
        }
    }

    /// Another upstream has taken the place of the one that was to be asked.
    pub(super) fn goes_over(&mut self, before: &Balanced, after: &Balanced) {
        self.tried = after.members.places_of(&before.members, &self.tried);
    }

    /// Whether it waits in this queue.
    fn is_in(&self, queue: &Arc<Queue>) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.is_of(queue))
    }

    fn wanted(&self, call: &Call<'_>) -> Wanted<'_> {
        let Self { tried, is_fresh, extent, .. } = self;
        Wanted { key: call.key, tried, is_fresh: *is_fresh, extent: *extent }
    }

    /// It is given up with a response or an earlier failure, or else with this one.
    fn give_up(&mut self, fault: UpstreamError) -> Result<Reply, Stopped> {
        let fault = self.failure.take().unwrap_or(fault);
        self.give_up_after(fault)
    }

    /// It is given up with a response, or else with this failure.
    fn give_up_after(&mut self, fault: UpstreamError) -> Result<Reply, Stopped> {
        self.fallback.take().ok_or(Stopped::Failed(fault))
    }
}

/// Why there is no response.
pub(super) enum Stopped {
    Failed(UpstreamError),
    /// Another upstream has taken the place of this one while the request waited.
    Replaced,
}

impl From<UpstreamError> for Stopped {
    fn from(fault: UpstreamError) -> Self {
        Self::Failed(fault)
    }
}

/// What a request that waits has found.
enum Turn<'a> {
    There(Picked<'a>),
    Failed(UpstreamError),
    Replaced,
}

impl Balanced {
    /// `before`: of the same upstream, whose connections to endpoints that stay are kept.
    pub(super) fn new(state: Arc<UpstreamState>, before: Option<&Self>) -> Self {
        let (settings, balancing) = (state.settings(), state.balancing());
        let connected = before.filter(|before| before.state.settings().connects_like(settings));
        let same_budget =
            connected.filter(|before| before.state.balancing().retries == balancing.retries);
        let budget = match same_budget {
            Some(before) => Rc::clone(&before.budget),
            None => Rc::new(RetryBudget::new(&balancing.retries)),
        };
        let members = Members::new(
            Arc::clone(&state),
            before.map(|b| &b.members),
            connected.map(|b| &b.members),
        );
        Self { state, members, budget }
    }

    pub(super) fn state(&self) -> &Arc<UpstreamState> {
        &self.state
    }

    pub(super) fn policy(&self) -> &Policy {
        self.members.policy()
    }

    /// See `Upstream::send`. `is_replaced`: whether another upstream has taken the place of this
    /// one by now.
    pub(super) async fn send(
        &self,
        request: &mut Request<RequestBody>,
        call: &Call<'_>,
        progress: &mut Progress,
        is_replaced: &dyn Fn() -> bool,
    ) -> Result<Reply, Stopped> {
        let balancing = self.state.balancing();
        let purpose = call.purpose;
        loop {
            // None overtakes those that wait.
            let is_behind =
                progress.tried.is_empty() && self.is_queued() && !progress.is_in(&self.state.queue);
            let picked =
                if is_behind { Pick::Full } else { self.members.pick(progress.wanted(call)) };
            let Picked { place, member, way } = match picked {
                Pick::There(picked) => picked,
                // A request that has a response holds a place: it does not wait for a second one.
                Pick::Full if progress.fallback.is_some() => {
                    return progress.give_up(self.nowhere());
                }
                Pick::Full => match self.wait(call, progress, is_replaced).await {
                    Turn::There(found) => found,
                    Turn::Failed(fault) => return progress.give_up(fault),
                    Turn::Replaced => return Err(Stopped::Replaced),
                },
                Pick::Closed => return progress.give_up(self.closed()),
                Pick::Nowhere => return progress.give_up(self.nowhere()),
            };
            let (at, pool) = (place.at(), &member.pool);
            call.asked.set(Some(Rc::clone(&member.seat)));
            progress.note_asked(call);
            let channel = match way {
                Way::Warm(channel) => channel,
                Way::New(right) => match pool.open(purpose, progress.is_fresh, right).await {
                    Ok(channel) => channel,
                    Err(NotOpened::Unshared) => continue,
                    Err(NotOpened::Failed(fault)) => {
                        place.failed();
                        self.state.note_unreachable(at);
                        member.rest();
                        progress.tried.push(at);
                        progress.failure = Some(fault);
                        continue;
                    }
                },
            };
            progress.attempts += 1;
            member.requests.add(1);
            let may_go_on = progress.attempts < MOST_ATTEMPTS;
            let repeat = if may_go_on { Repeat::of(request, purpose) } else { None };
            let (was_idle, is_shared) = (channel.was_idle(), channel.is_shared());
            // Over HTTP/2 a body that breaks off looks like a reset.
            let broken = request.body().broken();
            let is_tls = pool.endpoint().is_tls;
            call.caller.address(&member.host, is_tls, request.headers_mut());
            let failed = match pool.exchange(channel, request, purpose, call.own).await {
                Ok(mut reply) => {
                    let status = reply.head.status.as_u16();
                    if balancing.ejection.statuses.contains(&status) {
                        place.failed();
                    } else {
                        place.is_answered();
                    }
                    reply.body.hold(place);
                    if balancing.retries.statuses.contains(&status)
                        && let Some(repeat) = repeat
                        && self.may_ask_another(at, &progress.tried)
                    {
                        progress.tried.push(at);
                        progress.fallback = Some(reply);
                        *request = repeat.into_request();
                        progress.is_fresh = true;
                        continue;
                    }
                    return Ok(reply);
                }
                Err(failed) => failed,
            };
            // An idle connection that the server closes says nothing of the server, and neither
            // does a shared one that takes no more requests, nor a body that breaks off.
            let is_blameless = failed.fault.is_bodys()
                || broken.is_some_and(|broken| broken.get())
                || if failed.is_unsent { is_shared } else { was_idle && failed.is_unanswered };
            if !is_blameless {
                place.failed();
            }
            match repeat {
                _ if failed.is_unsent && may_go_on => {
                    if !is_shared {
                        progress.tried.push(at);
                    }
                }
                Some(repeat) if !failed.is_unsent => {
                    if is_shared && failed.is_unanswered && !progress.has_repeated {
                        progress.has_repeated = true;
                        self.state.note_retry();
                    } else if self.may_ask_another(at, &progress.tried) {
                        progress.tried.push(at);
                    } else {
                        return progress.give_up_after(pool.broken(failed.fault));
                    }
                    *request = repeat.into_request();
                }
                _ => return progress.give_up_after(pool.broken(failed.fault)),
            }
            progress.failure = Some(pool.broken(failed.fault));
            progress.is_fresh = true;
        }
    }

    /// Whether a request that this endpoint failed may be sent again, to another one that is in.
    /// Then it is counted.
    fn may_ask_another(&self, at: usize, tried: &[usize]) -> bool {
        let may = self.members.has_other_in(at, tried) && self.budget.take();
        if may {
            self.state.note_retry();
        }
        may
    }

    /// No endpoint could be asked.
    fn nowhere(&self) -> UpstreamError {
        match self.state.unresolved() {
            Some(Unresolved { endpoint, reason }) => UpstreamError::Connect {
                endpoint: endpoint.clone(),
                reason: format!("the name cannot be resolved: {reason}"),
            },
            None => UpstreamError::nowhere(),
        }
    }

    /// All endpoints are out, and none is asked.
    fn closed(&self) -> UpstreamError {
        UpstreamError::CircuitOpen {
            upstream: self.state.name().to_owned(),
            retry_after: self.state.returns_in(now_ms()),
        }
    }

    /// Whether requests may have to wait before an endpoint is asked.
    pub(super) fn has_queue(&self) -> bool {
        self.state.balancing().limits.queue > 0
    }

    /// Whether there are requests that wait for a place.
    fn is_queued(&self) -> bool {
        self.has_queue() && self.state.queue.waiting() > 0
    }

    /// Waits for its turn, in the order in which requests came to all upstreams of this name.
    async fn wait<'s>(
        &'s self,
        call: &Call<'_>,
        progress: &mut Progress,
        is_replaced: &dyn Fn() -> bool,
    ) -> Turn<'s> {
        let limits = self.state.balancing().limits;
        let before = progress.ticket.take();
        let until = before
            .as_ref()
            .map_or_else(|| Instant::now() + limits.queue_timeout, |before| before.until());
        let same = before.filter(|before| before.is_of(&self.state.queue));
        let joined = match same {
            Some(ticket) => Ok(ticket),
            None => self.state.queue.join(limits.queue, until),
        };
        let ticket = match joined {
            Ok(ticket) => progress.ticket.insert(ticket),
            Err(why) => return Turn::Failed(self.busy(why)),
        };
        let (tried, is_fresh, extent) = (&progress.tried, progress.is_fresh, progress.extent);
        let wanted = Wanted { key: call.key, tried, is_fresh, extent };
        let take = || {
            if is_replaced() {
                return Found::This(Turn::Replaced);
            }
            match self.members.pick(wanted) {
                Pick::There(picked) => Found::This(Turn::There(picked)),
                Pick::Closed => Found::This(Turn::Failed(self.closed())),
                Pick::Nowhere => Found::This(Turn::Failed(self.nowhere())),
                Pick::Full => {
                    if limits.most_connections > 0 {
                        // Another worker may have one that is idle.
                        self.state.connection_wanted.notify_waiters();
                    }
                    if self.members.is_like_any(wanted) {
                        Found::Nothing
                    } else {
                        Found::NothingSuitable
                    }
                }
            }
        };
        let has_left = || call.caller.has_finished();
        let waited = ticket.wait(&has_left, take).await;
        waited.unwrap_or_else(|why| Turn::Failed(self.busy(why)))
    }

    fn busy(&self, why: NoPlace) -> UpstreamError {
        let has_connections = self.state.balancing().limits.most_connections > 0;
        UpstreamError::Busy {
            upstream: self.state.name().to_owned(),
            reason: match (why, has_connections) {
                (NoPlace::Full, false) => "its endpoints have max_requests, and its queue is full",
                (NoPlace::Full, true) => {
                    "its endpoints have max_requests or max_connections, and its queue is full"
                }
                (NoPlace::TimedOut, false) => "its endpoints had max_requests for queue_timeout",
                (NoPlace::TimedOut, true) => {
                    "its endpoints had max_requests or max_connections for queue_timeout"
                }
                (NoPlace::Left, _) => {
                    "its endpoints are full, and the client has closed its sending side"
                }
            },
        }
    }

    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.members.pools().for_each(|pool| pool.sweep(idle_timeout));
        self.budget.tick();
        self.state.tidy(now_ms());
        self.members.give_up_idle();
        // An endpoint may have returned: no place that is given up tells those that wait.
        self.state.queue.wake();
    }

    /// Closes what is idle, but for the connections that `successor` has taken over.
    pub(super) fn retire(&self, successor: Option<&Self>) {
        for pool in self.members.pools() {
            let is_kept = successor.is_some_and(|successor| {
                successor.members.pools().any(|kept| Rc::ptr_eq(kept, pool))
            });
            if !is_kept {
                pool.retire();
            }
        }
    }
}
