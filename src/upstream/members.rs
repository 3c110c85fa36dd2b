//! The endpoints of one upstream, of one worker: which of them a request may be sent to, and over
//! which connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderValue;
use tokio::task::AbortHandle;

use super::admission::{ConnectionPlace, EndpointSlot, Seat};
use super::balance::{Balancer, Candidate, Random, mixed, unit};
use super::health::{EndpointState, UpstreamState, now_ms};
use super::pool::{Channel, Pool, Right};
use super::probing::Extent;
use super::{Balancing, Endpoint, Policy};
use crate::telemetry::counter::Counter;

/// See the module.
pub(super) struct Members {
    state: Arc<UpstreamState>,
    all: Vec<Member>,
    balancer: Balancer,
    /// Used again by each request.
    candidates: RefCell<Vec<Candidate>>,
    /// Closes idle connections that others wait for, where there is a limit of connections.
    giving_up: RefCell<Option<EndedOnDrop>>,
}

/// One endpoint.
pub(super) struct Member {
    pub(super) pool: Rc<Pool>,
    pub(super) seat: Rc<Seat>,
    state: Arc<EndpointState>,
    /// What it is called where the client's own `Host` is not kept.
    pub(super) host: HeaderValue,
    /// At least 1.
    weight: u32,
    is_draining: bool,
    /// After a failed connection, others are asked first until then; 0: it does not rest.
    rests_until_ms: Cell<u64>,
    /// Requests that were sent to it by this worker.
    pub(super) requests: Arc<Counter>,
}

impl Member {
    /// It took no connection.
    pub(super) fn rest(&self) {
        self.rests_until_ms.set(now_ms().saturating_add(REST_MS));
    }
}

/// How long an endpoint that refused a connection is asked last.
const REST_MS: u64 = 1000;

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
pub(super) enum Pick<'a> {
    There(Picked<'a>),
    /// The endpoints have as many requests or connections as they may have.
    Full,
    /// All endpoints are out, and none is asked.
    Closed,
    /// No endpoint is left.
    Nowhere,
}

/// An endpoint, and the way there.
pub(super) struct Picked<'a> {
    pub(super) place: EndpointSlot,
    pub(super) member: &'a Member,
    pub(super) way: Way,
}

pub(super) enum Way {
    /// A connection that is open already.
    Warm(Channel),
    /// A connection that is to be made.
    New(Right),
}

/// What of a request says which endpoints and connections suit it.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What decides which endpoint is asked, where something does.
    pub(super) key: Option<u64>,
    /// The endpoints that are not asked again, by their places.
    pub(super) tried: &'a [usize],
    /// Whether it is sent on a new connection.
    pub(super) is_fresh: bool,
    pub(super) extent: Extent,
}

impl Members {
    /// `before`: of the same upstream; of its endpoints that stay, what is counted goes on.
    /// `connected`: the same, if connections are made and kept alike now: those are kept.
    pub(super) fn new(
        state: Arc<UpstreamState>,
        before: Option<&Self>,
        connected: Option<&Self>,
    ) -> Self {
        let (settings, balancing) = (state.settings(), state.balancing());
        let endpoints = settings.endpoints.iter().zip(&state.endpoints).enumerate();
        let all: Vec<_> = endpoints
            .map(|(at, (endpoint, known))| {
                let share = balancing.shares.get(at);
                let kept = connected.and_then(|before| before.member_of(endpoint));
                let counted = before.and_then(|before| before.counted_in(known));
                Member {
                    pool: match kept {
                        Some(member) => Rc::clone(&member.pool),
                        None => Rc::new(Pool::new(endpoint, settings)),
                    },
                    seat: Rc::new(Seat { state: Arc::clone(&state), at }),
                    state: Arc::clone(known),
                    host: endpoint.host(),
                    weight: share.map_or(1, |share| share.weight.max(1)),
                    is_draining: share.is_some_and(|share| share.is_draining),
                    rests_until_ms: Cell::new(kept.map_or(0, |kept| kept.rests_until_ms.get())),
                    requests: counted.map_or_else(|| known.requests.begin(), Arc::clone),
                }
            })
            .collect();
        Self {
            balancer: Balancer::new(balancing.policy.clone(), all.len(), Random::new()),
            candidates: RefCell::new(Vec::with_capacity(all.len())),
            giving_up: RefCell::default(),
            all,
            state,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        self.balancer.policy()
    }

    fn member_of(&self, endpoint: &Endpoint) -> Option<&Member> {
        self.all.iter().find(|member| member.pool.endpoint() == endpoint)
    }

    /// Where requests to the endpoint of this state are counted.
    fn counted_in(&self, known: &Arc<EndpointState>) -> Option<&Arc<Counter>> {
        let member = self.all.iter().find(|member| Arc::ptr_eq(&member.state, known))?;
        Some(&member.requests)
    }

    /// The places that these endpoints of `before` have here, of those that are still there.
    pub(super) fn places_of(&self, before: &Self, places: &[usize]) -> Vec<usize> {
        let known = places.iter().filter_map(|at| before.all.get(*at));
        let place = |known: &Member| {
            self.all.iter().position(|member| Arc::ptr_eq(&member.state, &known.state))
        };
        known.filter_map(place).collect()
    }

    /// Whether an endpoint other than this one and those that were tried is in.
    pub(super) fn has_other_in(&self, at: usize, tried: &[usize]) -> bool {
        let mut now = None;
        let mut others = self.all.iter().enumerate().filter(|(other, member)| {
            *other != at && !tried.contains(other) && !member.is_draining
        });
        // What is sent again has no body.
        others.any(|(_, member)| self.part(member, Extent::Whole, &mut now) > 0.0)
    }

    /// Whether any other request would find nothing, too, where this one has.
    pub(super) fn is_like_any(&self, wanted: Wanted<'_>) -> bool {
        let has_connections = self.state.balancing().limits.most_connections > 0;
        let is_settled =
            |member: &Member| member.rests_until_ms.get() == 0 && member.state.is_plain();
        wanted.tried.is_empty()
            && !(wanted.is_fresh && has_connections)
            && (wanted.key.is_none() && wanted.extent == Extent::Whole
                || self.all.iter().all(is_settled))
    }

    /// An endpoint for a request, its place there and the way.
    pub(super) fn pick(&self, wanted: Wanted<'_>) -> Pick<'_> {
        let Wanted { key, tried, is_fresh, extent } = wanted;
        let Balancing { limits, has_circuit, .. } = self.state.balancing();
        // Its end tells those that wait, also where a connection has become free.
        let counts = *self.policy() == Policy::LeastRequests || limits.most_connections > 0;
        let mut candidates = self.candidates.borrow_mut();
        let mut now = None;
        let mut is_any = false;
        for class in [Class::In, Class::Returning, Class::Any] {
            candidates.clear();
            for (at, member) in self.all.iter().enumerate() {
                if member.is_draining
                    || tried.contains(&at)
                    || !self.is_in(member, class, wanted, &mut now)
                {
                    continue;
                }
                is_any = true;
                let load = if counts || limits.most > 0 {
                    member.state.in_flight.load(Ordering::SeqCst)
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
            let has_others = self.all.iter().enumerate().any(has_other);
            return if *has_circuit && has_others { Pick::Closed } else { Pick::Nowhere };
        }
        while let Some(at) = self.balancer.choose(&candidates, key) {
            if let Some(member) = self.all.get(at)
                && let Some(place) = EndpointSlot::take(&member.seat, limits.most, counts, extent)
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
            .all
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
        wanted: Wanted<'_>,
        now: &mut Option<u64>,
    ) -> bool {
        if class == Class::Any {
            let has_circuit = self.state.balancing().has_circuit;
            return !has_circuit
                || member.state.is_plain()
                || !member.state.is_closed(wanted.extent, *now.get_or_insert_with(now_ms));
        }
        let part = self.part(member, wanted.extent, now);
        if part == 0.0 || part >= 1.0 || class == Class::Returning {
            return part > 0.0;
        }
        // By the key, so that while an endpoint returns, each key moves back once.
        let bits = match wanted.key {
            Some(key) => mixed(key.rotate_left(32) ^ member.state.seed),
            None => self.balancer.random.next(),
        };
        unit(bits) < part
    }

    /// The part of its share that an endpoint gets, 0 to 1. Reads the clock only where something
    /// depends on it.
    fn part(&self, member: &Member, extent: Extent, now: &mut Option<u64>) -> f64 {
        if member.rests_until_ms.get() == 0 && member.state.is_plain() {
            return 1.0;
        }
        let now = *now.get_or_insert_with(now_ms);
        if now < member.rests_until_ms.get() {
            return 0.0;
        }
        member.rests_until_ms.set(0);
        member.state.part(self.state.balancing().ejection.slow_return, extent, now)
    }

    /// Lets go of idle connections that others wait for, where there is a limit of connections.
    pub(super) fn give_up_idle(&self) {
        if self.state.balancing().limits.most_connections > 0 {
            for member in &self.all {
                give_up_idle(&self.state, &member.state, &member.pool);
            }
        }
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.all.iter().map(|member| &member.pool)
    }
}
