//! Sending to one of several endpoints: which one is asked, which one next if that one fails, and
//! what is noted of how they did.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use tokio::task::AbortHandle;

use super::admission::{ConnectionPlace, EndpointSlot, Seat};
use super::balance::{Balancer, Candidate, Random, mixed, unit};
use super::dns::Unresolved;
use super::health::{EndpointState, UpstreamState, now_ms};
use super::pool::{Channel, NotOpened, Pool, Right};
use super::queue::NoPlace;
use super::retry::{MOST_ATTEMPTS, Repeat, RetryBudget};
use super::{Balancing, Call, Endpoint, Policy, Purpose, Reply, RequestBody, UpstreamError};
use crate::telemetry::counter::Counter;

/// The endpoints of one upstream, of one worker.
pub(super) struct Balanced {
    state: Arc<UpstreamState>,
    members: Vec<Member>,
    balancer: Balancer,
    budget: Rc<RetryBudget>,
    /// Used again by each request.
    candidates: RefCell<Vec<Candidate>>,
    /// Closes idle connections that others wait for, where there is a limit of connections.
    giving_up: RefCell<Option<EndedOnDrop>>,
}

/// A task that ends with its owner.
struct EndedOnDrop(AbortHandle);

impl Drop for EndedOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Closes an idle connection to an endpoint that has as many as it may have, if a request waits.
fn give_up_idle(state: &UpstreamState, endpoint: &EndpointState, pool: &Pool) {
    let most = state.balancing().limits.most_connections;
    if state.queue.waiting() > 0 && endpoint.connections.load(Ordering::SeqCst) >= most {
        pool.close_idle();
    }
}

struct Member {
    pool: Rc<Pool>,
    seat: Rc<Seat>,
    state: Arc<EndpointState>,
    /// At least 1.
    weight: u32,
    is_draining: bool,
    /// After a failed connection, others are asked first until then; 0: it does not rest.
    rests_until_ms: Cell<u64>,
    /// Requests that were sent to it by this worker.
    requests: Arc<Counter>,
}

/// How long an endpoint that refused a connection is asked last.
const REST_MS: u64 = 1000;

/// Which endpoints are considered, the best first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Those that are in; of those that return, as many requests as their share allows.
    In,
    /// Those that return, too, if there is no other.
    Returning,
    /// All that do not drain.
    Any,
}

/// Where a request may go.
enum Pick<'a> {
    There(Picked<'a>),
    /// The endpoints have as many requests or connections as they may have.
    Full,
    /// All endpoints are out, and none is asked.
    Closed,
    /// No endpoint is left.
    Nowhere,
}

/// An endpoint, and the way there.
struct Picked<'a> {
    place: EndpointSlot,
    member: &'a Member,
    way: Way,
}

enum Way {
    /// A connection that is open already.
    Warm(Channel),
    /// A connection that is to be made.
    New(Right),
}

impl Balanced {
    /// `before`: of the same upstream, whose connections to endpoints that stay are kept.
    pub(super) fn new(state: Arc<UpstreamState>, before: Option<&Self>) -> Self {
        let (settings, balancing) = (state.settings(), state.balancing());
        let predecessor = before;
        let before = before.filter(|before| before.state.settings().connects_like(settings));
        let endpoints = settings.endpoints.iter().zip(&state.endpoints).enumerate();
        let members: Vec<_> = endpoints
            .map(|(at, (endpoint, known))| {
                let share = balancing.shares.get(at);
                let kept = before.and_then(|before| before.member_of(endpoint));
                let counted = predecessor.and_then(|before| before.counted_in(known));
                Member {
                    pool: match kept {
                        Some(member) => Rc::clone(&member.pool),
                        None => Rc::new(Pool::new(endpoint, settings)),
                    },
                    seat: Rc::new(Seat { state: Arc::clone(&state), at }),
                    state: Arc::clone(known),
                    weight: share.map_or(1, |share| share.weight.max(1)),
                    is_draining: share.is_some_and(|share| share.is_draining),
                    rests_until_ms: Cell::new(kept.map_or(0, |kept| kept.rests_until_ms.get())),
                    requests: counted.map_or_else(|| known.requests.begin(), Arc::clone),
                }
            })
            .collect();
        let same_budget =
            before.filter(|before| before.state.balancing().retries == balancing.retries);
        Self {
            balancer: Balancer::new(balancing.policy.clone(), members.len(), Random::new()),
            budget: match same_budget {
                Some(before) => Rc::clone(&before.budget),
                None => Rc::new(RetryBudget::new(&balancing.retries)),
            },
            candidates: RefCell::new(Vec::with_capacity(members.len())),
            giving_up: RefCell::default(),
            members,
            state,
        }
    }

    pub(super) fn state(&self) -> &Arc<UpstreamState> {
        &self.state
    }

    fn member_of(&self, endpoint: &Endpoint) -> Option<&Member> {
        self.members.iter().find(|member| member.pool.endpoint() == endpoint)
    }

    /// Where requests to the endpoint of this state are counted.
    fn counted_in(&self, known: &Arc<EndpointState>) -> Option<&Arc<Counter>> {
        let member = self.members.iter().find(|member| Arc::ptr_eq(&member.state, known))?;
        Some(&member.requests)
    }

    pub(super) fn policy(&self) -> &Policy {
        self.balancer.policy()
    }

    /// See `Upstream::send`.
    pub(super) async fn send(
        &self,
        request: &mut Request<RequestBody>,
        call: &Call<'_>,
    ) -> Result<Reply, UpstreamError> {
        let balancing = self.state.balancing();
        let purpose = call.purpose;
        let mut is_fresh = purpose == Purpose::Switch;
        let (mut attempts, mut has_repeated) = (0, false);
        let mut tried = Vec::new();
        // What is returned if no other endpoint does better: a response, or the last failure.
        let mut fallback = None;
        let mut failure = None;
        let give_up = |fallback: Option<Reply>, failure| fallback.ok_or(failure);
        self.budget.note_request();
        loop {
            // None overtakes those that wait.
            let is_behind = tried.is_empty() && self.is_queued();
            let picked = if is_behind { Pick::Full } else { self.pick(call.key, &tried, is_fresh) };
            let Picked { place, member, way } = match picked {
                Pick::There(picked) => picked,
                // A request that has a response holds a place: it does not wait for a second one.
                Pick::Full if fallback.is_some() => {
                    return give_up(fallback, failure.unwrap_or_else(|| self.nowhere()));
                }
                Pick::Full => match self.wait(call, &tried, is_fresh).await {
                    Ok(found) => found,
                    Err(busy) => return give_up(fallback, failure.unwrap_or(busy)),
                },
                Pick::Closed => {
                    return give_up(fallback, failure.unwrap_or_else(|| self.closed()));
                }
                Pick::Nowhere => {
                    return give_up(fallback, failure.unwrap_or_else(|| self.nowhere()));
                }
            };
            let (at, pool) = (place.at(), &member.pool);
            if call.asked.replace(Some(at)).is_none() && self.has_queue() {
                (call.begin)();
            }
            let channel = match way {
                Way::Warm(channel) => channel,
                Way::New(right) => match pool.open(purpose, is_fresh, right).await {
                    Ok(channel) => channel,
                    Err(NotOpened::Unshared) => continue,
                    Err(NotOpened::Failed(fault)) => {
                        place.failed();
                        self.state.note_unreachable(at);
                        member.rests_until_ms.set(now_ms().saturating_add(REST_MS));
                        tried.push(at);
                        failure = Some(fault);
                        continue;
                    }
                },
            };
            attempts += 1;
            member.requests.add(1);
            let may_go_on = attempts < MOST_ATTEMPTS;
            let repeat = if may_go_on { Repeat::of(request, purpose) } else { None };
            let (was_idle, is_shared) = (channel.was_idle(), channel.is_shared());
            // Over HTTP/2 a body that breaks off looks like a reset.
            let broken = request.body().broken();
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
                        && self.may_ask_another(at, &tried)
                    {
                        tried.push(at);
                        fallback = Some(reply);
                        *request = repeat.into_request();
                        is_fresh = true;
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
                        tried.push(at);
                    }
                }
                Some(repeat) if !failed.is_unsent => {
                    if is_shared && failed.is_unanswered && !has_repeated {
                        has_repeated = true;
                        self.state.note_retry();
                    } else if self.may_ask_another(at, &tried) {
                        tried.push(at);
                    } else {
                        return give_up(fallback, pool.broken(failed.fault));
                    }
                    *request = repeat.into_request();
                }
                _ => return give_up(fallback, pool.broken(failed.fault)),
            }
            failure = Some(pool.broken(failed.fault));
            is_fresh = true;
        }
    }

    /// Whether a request that this endpoint failed may be sent again, to another one that is in.
    /// Then it is counted.
    fn may_ask_another(&self, at: usize, tried: &[usize]) -> bool {
        let mut now = None;
        let mut others = self.members.iter().enumerate().filter(|(other, member)| {
            *other != at && !tried.contains(other) && !member.is_draining
        });
        let may = others.any(|(_, member)| self.part(member, &mut now) > 0.0) && self.budget.take();
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

    /// Waits for its turn.
    async fn wait(
        &self,
        call: &Call<'_>,
        tried: &[usize],
        is_fresh: bool,
    ) -> Result<Picked<'_>, UpstreamError> {
        let limits = self.state.balancing().limits;
        let take = || match self.pick(call.key, tried, is_fresh) {
            Pick::There(picked) => Some(Ok(picked)),
            Pick::Closed => Some(Err(self.closed())),
            Pick::Nowhere => Some(Err(self.nowhere())),
            Pick::Full => {
                if limits.most_connections > 0 {
                    // Another worker may have one that is idle.
                    self.state.connection_wanted.notify_waiters();
                }
                None
            }
        };
        let queue = &self.state.queue;
        let waits = queue.wait(limits.queue, limits.queue_timeout, call.has_finished, take);
        waits.await.unwrap_or_else(|why| {
            Err(UpstreamError::Busy {
                upstream: self.state.name().to_owned(),
                reason: match (why, limits.most_connections) {
                    (NoPlace::Full, 0) => "its endpoints have max_requests, and its queue is full",
                    (NoPlace::Full, _) => {
                        "its endpoints have max_requests or max_connections, and its queue is full"
                    }
                    (NoPlace::TimedOut, 0) => "its endpoints had max_requests for queue_timeout",
                    (NoPlace::TimedOut, _) => {
                        "its endpoints had max_requests or max_connections for queue_timeout"
                    }
                    (NoPlace::Left, _) => {
                        "its endpoints are full, and the client has closed its sending side"
                    }
                },
            })
        })
    }

    /// An endpoint for a request, its place there and the way; `is_fresh`: on a new connection.
    fn pick(&self, key: Option<u64>, tried: &[usize], is_fresh: bool) -> Pick<'_> {
        let Balancing { limits, has_circuit, .. } = self.state.balancing();
        // Its end tells those that wait, also where a connection has become free.
        let counts = *self.policy() == Policy::LeastRequests || limits.most_connections > 0;
        let mut candidates = self.candidates.borrow_mut();
        let mut now = None;
        let mut is_any = false;
        for class in [Class::In, Class::Returning, Class::Any] {
            candidates.clear();
            for (at, member) in self.members.iter().enumerate() {
                if member.is_draining
                    || tried.contains(&at)
                    || !self.is_in(member, class, key, &mut now)
                {
                    continue;
                }
                is_any = true;
                let load = if counts || limits.most > 0 {
                    member.state.in_flight.load(Ordering::Relaxed)
                } else {
                    0
                };
                if limits.most == 0 || load < limits.most {
                    let seed = member.state.seed;
                    candidates.push(Candidate { at, weight: member.weight, load, seed });
                }
            }
            if is_any {
                break;
            }
        }
        if !is_any {
            let has_other =
                |(at, member): (usize, &Member)| !member.is_draining && !tried.contains(&at);
            let has_others = self.members.iter().enumerate().any(has_other);
            return if *has_circuit && has_others { Pick::Closed } else { Pick::Nowhere };
        }
        while let Some(at) = self.balancer.choose(&candidates, key) {
            if let Some(member) = self.members.get(at)
                && let Some(place) = EndpointSlot::take(&member.seat, limits.most, counts)
            {
                match self.way_to(member, is_fresh) {
                    Some(way) => return Pick::There(Picked { place, member, way }),
                    None => place.give_back(),
                }
            }
            candidates.retain(|candidate| candidate.at != at);
        }
        Pick::Full
    }

    /// The way to an endpoint; `None`: it has as many connections as it may have, and none of this
    /// worker's is free.
    fn way_to(&self, member: &Member, is_fresh: bool) -> Option<Way> {
        let warm = if is_fresh { None } else { member.pool.warm() };
        if let Some(channel) = warm {
            return Some(Way::Warm(channel));
        }
        let most = self.state.balancing().limits.most_connections;
        if most == 0 {
            return Some(Way::New(Right::Any));
        }
        self.begin_giving_up_idle();
        if !is_fresh && member.pool.is_connecting() {
            return Some(Way::New(Right::Shared));
        }
        let take = || ConnectionPlace::take(&member.seat, most);
        // One that serves no purpose for this request makes room.
        let place = take().or_else(|| member.pool.close_idle().then(take).flatten());
        place.map(|place| Way::New(Right::Place(place)))
    }

    /// From now on, connections of this worker that are idle are closed when a request of another
    /// one waits for a connection.
    fn begin_giving_up_idle(&self) {
        let mut giving_up = self.giving_up.borrow_mut();
        if giving_up.is_some() {
            return;
        }
        let state = Arc::clone(&self.state);
        let members: Vec<_> = self
            .members
            .iter()
            .map(|member| (Rc::downgrade(&member.pool), Arc::clone(&member.state)))
            .collect();
        let task = tokio::task::spawn_local(async move {
            loop {
                state.connection_wanted.notified().await;
                for (pool, endpoint) in &members {
                    if let Some(pool) = pool.upgrade() {
                        give_up_idle(&state, endpoint, &pool);
                    }
                }
            }
        });
        *giving_up = Some(EndedOnDrop(task.abort_handle()));
    }

    fn is_in(
        &self,
        member: &Member,
        class: Class,
        key: Option<u64>,
        now: &mut Option<u64>,
    ) -> bool {
        if class == Class::Any {
            let has_circuit = self.state.balancing().has_circuit;
            return !has_circuit
                || member.state.is_plain()
                || !member.state.is_closed(*now.get_or_insert_with(now_ms));
        }
        let part = self.part(member, now);
        if part == 0.0 || part >= 1.0 || class == Class::Returning {
            return part > 0.0;
        }
        // By the key, so that while an endpoint returns, each key moves back once.
        let bits = match key {
            Some(key) => mixed(key.rotate_left(32) ^ member.state.seed),
            None => self.balancer.random.next(),
        };
        unit(bits) < part
    }

    /// The part of its share that an endpoint gets, 0 to 1. Reads the clock only where something
    /// depends on it.
    fn part(&self, member: &Member, now: &mut Option<u64>) -> f64 {
        if member.rests_until_ms.get() == 0 && member.state.is_plain() {
            return 1.0;
        }
        let now = *now.get_or_insert_with(now_ms);
        if now < member.rests_until_ms.get() {
            return 0.0;
        }
        member.rests_until_ms.set(0);
        member.state.part(self.state.balancing().ejection.slow_return, now)
    }

    pub(super) fn note_silence(&self, at: usize) {
        self.state.note_failure(at, now_ms());
    }

    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.members.iter().for_each(|member| member.pool.sweep(idle_timeout));
        self.budget.tick();
        self.state.tidy(now_ms());
        if self.state.balancing().limits.most_connections > 0 {
            for member in &self.members {
                give_up_idle(&self.state, &member.state, &member.pool);
            }
        }
        // An endpoint may have returned: no place that is given up tells those that wait.
        self.state.queue.wake();
    }

    /// Closes what is idle, but for the connections that `successor` has taken over.
    pub(super) fn retire(&self, successor: Option<&Self>) {
        for Member { pool, .. } in &self.members {
            let is_kept = successor.is_some_and(|successor| {
                successor.members.iter().any(|member| Rc::ptr_eq(&member.pool, pool))
            });
            if !is_kept {
                pool.retire();
            }
        }
    }
}
