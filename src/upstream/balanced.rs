//! Sending to one of several endpoints: which one is asked, which one next if that one fails, and
//! what is noted of how they did.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;

use super::admission::{EndpointSlot, Seat};
use super::balance::{Balancer, Candidate, Random, mixed, unit};
use super::dns::Unresolved;
use super::health::{EndpointState, UpstreamState, now_ms};
use super::pool::Pool;
use super::queue::NoPlace;
use super::retry::{MOST_ATTEMPTS, Repeat, RetryBudget};
use super::{Call, Endpoint, Policy, Purpose, Reply, RequestBody, UpstreamError};

/// The endpoints of one upstream, of one worker.
pub(super) struct Balanced {
    state: Arc<UpstreamState>,
    members: Vec<Member>,
    balancer: Balancer,
    budget: Rc<RetryBudget>,
    /// Used again by each request.
    candidates: RefCell<Vec<Candidate>>,
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
    There(EndpointSlot, &'a Member),
    /// The endpoints have as many requests as they may have.
    Full,
    /// No endpoint is left.
    Nowhere,
}

impl Balanced {
    /// `before`: of the same upstream, whose connections to endpoints that stay are kept.
    pub(super) fn new(state: Arc<UpstreamState>, before: Option<&Self>) -> Self {
        let (settings, balancing) = (state.settings(), state.balancing());
        let before = before.filter(|before| before.state.settings().connects_like(settings));
        let endpoints = settings.endpoints.iter().zip(&state.endpoints).enumerate();
        let members: Vec<_> = endpoints
            .map(|(at, (endpoint, known))| {
                let share = balancing.shares.get(at);
                let kept = before.and_then(|before| before.member_of(endpoint));
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

    pub(super) fn policy(&self) -> &Policy {
        self.balancer.policy()
    }

    /// See `Upstream::send`.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
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
            let picked = if is_behind { Pick::Full } else { self.pick(call.key, &tried) };
            let (place, member) = match picked {
                Pick::There(place, member) => (place, member),
                // A request that was asked already holds a place: it does not wait for a second
                // one.
                Pick::Full if !tried.is_empty() => {
                    return give_up(fallback, failure.unwrap_or_else(|| self.nowhere()));
                }
                Pick::Full => match self.wait(call.key, &tried).await {
                    Ok(found) => found,
                    Err(busy) => return give_up(fallback, failure.unwrap_or(busy)),
                },
                Pick::Nowhere => {
                    return give_up(fallback, failure.unwrap_or_else(|| self.nowhere()));
                }
            };
            let (at, pool) = (place.at(), &member.pool);
            if call.asked.replace(Some(at)).is_none() && self.has_queue() {
                (call.begin)();
            }
            let warm = if is_fresh { None } else { pool.warm() };
            let channel = match warm {
                Some(channel) => channel,
                None => match pool.open(purpose, is_fresh).await {
                    Ok(channel) => channel,
                    Err(fault) => {
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
            let may_go_on = attempts < MOST_ATTEMPTS;
            let repeat = if may_go_on { Repeat::of(&request, purpose) } else { None };
            let (was_idle, is_shared) = (channel.was_idle(), channel.is_shared());
            // Over HTTP/2 a body that breaks off looks like a reset.
            let broken = request.body().broken();
            let failed = match pool.exchange(channel, request, purpose, call.own).await {
                Ok(mut reply) => {
                    let status = reply.head.status.as_u16();
                    if balancing.ejection.statuses.contains(&status) {
                        place.failed();
                    }
                    reply.body.hold(place);
                    if balancing.retries.statuses.contains(&status)
                        && let Some(repeat) = repeat
                        && self.may_ask_another(at, &tried)
                    {
                        tried.push(at);
                        fallback = Some(reply);
                        request = repeat.into_request();
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
                || if failed.unsent.is_some() {
                    is_shared
                } else {
                    was_idle && failed.is_unanswered
                };
            if !is_blameless {
                place.failed();
            }
            request = match (failed.unsent, repeat) {
                (Some(unsent), _) if may_go_on => {
                    if !is_shared {
                        tried.push(at);
                    }
                    unsent
                }
                (None, Some(repeat)) if is_shared && failed.is_unanswered && !has_repeated => {
                    has_repeated = true;
                    self.state.note_retry();
                    repeat.into_request()
                }
                (None, Some(repeat)) if self.may_ask_another(at, &tried) => {
                    tried.push(at);
                    repeat.into_request()
                }
                _ => return give_up(fallback, pool.broken(failed.fault)),
            };
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
        key: Option<u64>,
        tried: &[usize],
    ) -> Result<(EndpointSlot, &Member), UpstreamError> {
        let limits = self.state.balancing().limits;
        let take = || match self.pick(key, tried) {
            Pick::There(place, member) => Some((place, member)),
            Pick::Full | Pick::Nowhere => None,
        };
        let found = self.state.queue.wait(limits.queue, limits.queue_timeout, take).await;
        found.map_err(|why| UpstreamError::Busy {
            upstream: self.state.name().to_owned(),
            reason: match why {
                NoPlace::Full => "its endpoints have max_requests, and its queue is full",
                NoPlace::TimedOut => "its endpoints had max_requests for queue_timeout",
            },
        })
    }

    /// An endpoint for a request, and its place there.
    fn pick(&self, key: Option<u64>, tried: &[usize]) -> Pick<'_> {
        let limits = self.state.balancing().limits;
        let counts = *self.policy() == Policy::LeastRequests;
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
            return Pick::Nowhere;
        }
        while let Some(at) = self.balancer.choose(&candidates, key) {
            if let Some(member) = self.members.get(at)
                && let Some(place) = EndpointSlot::take(&member.seat, limits.most, counts)
            {
                return Pick::There(place, member);
            }
            candidates.retain(|candidate| candidate.at != at);
        }
        Pick::Full
    }

    fn is_in(
        &self,
        member: &Member,
        class: Class,
        key: Option<u64>,
        now: &mut Option<u64>,
    ) -> bool {
        if class == Class::Any {
            return true;
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
