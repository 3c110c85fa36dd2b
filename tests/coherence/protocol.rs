//! The protocol: which step is possible when, and what must never be.
//!
//! A step is atomic where the code is: a script in Redis, a push handled inline by the link's
//! reader, a look into the cache. Everything between two steps may take any time and any order that
//! the connections allow. That an instance is stopped for a while, or that an answer never comes,
//! needs no step of its own: the others simply go on.

use stateright::{Model, Property};

use crate::rules::{Faults, Rule, Setting, Target};
use crate::state::{
    Fleet, How, Isolated, Link, Phase, Push, Redis, Revocation, Revoker, Ticks, User,
};

/// The promise.
pub(crate) const PROMISE: &str = "B accepts K never after a revocation of K was answered";
/// The ordinary end of a revocation, in a round trip.
pub(crate) const CONFIRMED: &str =
    "a revocation is answered because B confirmed, before the wait is over";
/// The other end of one.
pub(crate) const WAITED_OUT: &str = "a revocation is answered because B's lease has run out";
/// The cache is of use.
pub(crate) const HIT: &str = "a token is accepted from the cache";
/// The fence is of use.
pub(crate) const FENCED: &str = "a read brings what was revoked meanwhile";
/// A late heartbeat costs nothing but time.
pub(crate) const RECOVERED: &str = "a lapsed lease is renewed and the cache is kept";
/// The registry drops instances that are gone, and takes those that come back.
pub(crate) const CAME_BACK: &str = "an instance was forgotten, and comes back with its cache";

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes, for all.
    Tick,

    /// Redis executes what comes next on B's link.
    RedisServesUser,
    /// Redis executes B's read.
    RedisReads,
    /// Redis executes a heartbeat from a link that is no more.
    RedisServesLate,
    /// The isolated master executes B's read: only where `ReadsBoundToLink` is left out.
    IsolatedReads,
    /// The turn of the event loop ends: invalidations are written, and with them everything is
    /// sent.
    RedisEndsTurn,
    /// Redis executes the revoke script.
    RedisRevokes(usize),
    /// Redis deletes B from the registry, for A's revocation with this index.
    RedisForgets(usize),

    /// B handles what comes next on its link.
    UserReceives,
    /// B sends a heartbeat.
    UserBeats,
    /// B looks at the registry in place of a heartbeat.
    UserLooks,
    /// B misses K and sends a read.
    UserReads,
    /// B gets the answer, uses it and remembers it, or throws it away.
    UserLands,
    /// B learns that its link is broken.
    UserNotices,
    /// B makes a new link, to the master.
    UserConnects,
    /// B makes a new link, to the isolated master.
    UserConnectsToIsolated,
    /// B drops what it has already confirmed: only where `DropBeforeConfirming` is left out.
    UserDropsLate,

    /// A sends the revoke script.
    RevokerRevokes(usize),
    /// A gets the script's answer.
    RevokerLearns(usize),
    /// A gets B's confirmation of the revocation with this number.
    RevokerHears(u8),
    /// A's heartbeat is answered: it learns of the generation.
    RevokerBeats,
    /// A learns that its link is broken.
    RevokerNotices,
    /// A makes a new link.
    RevokerConnects,

    /// See `Faults::user_cuts`.
    FaultCutsUser,
    /// See `Faults::revoker_cuts`.
    FaultCutsRevoker,
    /// See `Faults::restarts`.
    FaultRestarts(MissingState),
    /// See `Faults::flushes`.
    FaultFlushes,
    /// See `Faults::swaps`.
    FaultSwaps,
    /// See `Faults::imports` and `Faults::older_imports`.
    FaultImports(Dump),
    /// See `Faults::removals`.
    FaultRemoves,
    /// See `Faults::partitions`.
    FaultIsolates(MissingState),
}

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    /// All that was there, but for the count of revocations.
    Recent,
    /// The same without K.
    WithoutKey,
    /// The same without K and without B's registration.
    Older,
}

/// What the new state of Redis does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingState {
    /// B's registration.
    pub(crate) registration: bool,
    /// The removal of K: only as long as no revocation has its script's answer, for that is given
    /// after `WAIT`.
    pub(crate) removal: bool,
}

impl Setting {
    /// How long A waits, and how old something must be to be trusted.
    pub(crate) fn wait(&self) -> Ticks {
        if self.has(Rule::WaitAsLongAsUse) { self.longest_use } else { self.lease }
    }

    /// The age from which on a link is not young any more: an instance that still has a lease from
    /// before it has none by then.
    pub(crate) fn settled(&self) -> Ticks {
        if self.outwaits_lag { self.wait() + self.lag } else { self.wait() }
    }

    /// The bound of the promise when the network is cut.
    pub(crate) fn bound(&self) -> Ticks {
        self.lag + self.longest_use
    }

    /// Whether the read that is under way would be used if its answer came now.
    pub(crate) fn would_land(&self, user: &User) -> bool {
        user.flight.as_ref().is_some_and(|flight| {
            flight.found
                && (flight.shard_stands || !self.has(Rule::FenceOnFill))
                && (flight.epoch_stands || !self.has(Rule::EpochOnFill))
                && (user.lease_age < self.lease || !self.has(Rule::LeaseOnUse))
        })
    }

    /// Whether a request with K that begins now is accepted: from the cache, or because it joins a
    /// read that lands.
    pub(crate) fn would_accept(&self, user: &User) -> bool {
        let usable = user.lease_age < self.longest_use || !self.has(Rule::LeaseOnUse);
        (user.cached && usable) || self.would_land(user)
    }
}

impl Fleet {
    /// Every instance is there and has been for long, B's cache is empty and its first heartbeat is
    /// still to be sent.
    fn begin(setting: &Setting) -> Self {
        let long_ago = setting.longest_use;
        let revocations = setting
            .revocations
            .iter()
            .map(|&target| Revocation { target, phase: Phase::Idle })
            .collect();
        Self {
            redis: Redis {
                record: true,
                registered: None,
                announced: 0,
                generation: Some(0),
                owes_invalidation: false,
                tracks_user: true,
            },
            isolated: setting
                .beside_isolated
                .then(|| Isolated { record: true, age: setting.bound() }),
            revoker: Revoker {
                link: Link::Up,
                wire: true,
                stale: false,
                link_age: setting.settled(),
                generation: 0,
                generation_age: long_ago,
                announced: 0,
                confirmations: 0,
                revocations,
            },
            user: User {
                link: Link::Up,
                wire: true,
                stale: false,
                on_isolated: false,
                to_redis: [].into(),
                late_beat: None,
                to_user: [].into(),
                heartbeat: None,
                lease_age: long_ago,
                generation: 0,
                quiet: false,
                cached: false,
                flight: None,
                owes_drop: false,
            },
            faults: setting.faults,
        }
    }

    /// A state that the first one leads to: B has registered and has filled its cache, and was then
    /// stopped for long. To begin with it as well makes counterexamples short.
    fn after_a_pause(mut self, setting: &Setting) -> Self {
        self.redis.registered = Some(1);
        self.user.quiet = setting.looks;
        self.user.cached = true;
        self
    }

    /// Whether a revocation of K has been answered.
    fn revoked(&self) -> bool {
        self.revoker
            .key_revocations()
            .any(|revocation| matches!(revocation.phase, Phase::Answered { .. }))
    }

    fn answered(&self, sought: How) -> bool {
        self.revoker.key_revocations().any(
            |revocation| matches!(revocation.phase, Phase::Answered { how, .. } if how == sought),
        )
    }

    fn tick(&mut self, setting: &Setting) {
        let older = |age: &mut Ticks, end: Ticks| *age = end.min(*age + 1);
        if let Some(isolated) = &mut self.isolated {
            older(&mut isolated.age, setting.bound());
        }
        let user = &mut self.user;
        older(&mut user.lease_age, setting.longest_use);
        if let Some(heartbeat) = &mut user.heartbeat {
            older(&mut heartbeat.age, setting.longest_use);
        }
        self.revoker.tick(setting);
    }
}

impl Model for Setting {
    type State = Fleet;
    type Action = Step;

    fn init_states(&self) -> Vec<Fleet> {
        let mut begins = vec![Fleet::begin(self).after_a_pause(self)];
        if self.reads {
            begins.push(Fleet::begin(self));
        }
        begins
    }

    fn actions(&self, fleet: &Fleet, steps: &mut Vec<Step>) {
        let mut may = |step, allowed| {
            if allowed {
                steps.push(step);
            }
        };
        let Fleet { redis, isolated, revoker, user, faults } = fleet;
        may(Step::Tick, true);

        // In the middle of a turn nothing of it has been sent yet.
        let sent = !redis.owes_invalidation || user.on_isolated;
        may(Step::UserReceives, sent && !user.to_user.is_empty());
        may(Step::UserBeats, user.may_beat(self, redis));
        may(Step::UserLooks, user.may_look(self));
        may(Step::UserReads, user.may_read(self));
        may(Step::UserLands, user.flight.as_ref().is_some_and(|flight| flight.found));
        may(Step::UserNotices, user.link != Link::Down && !user.wire);
        may(Step::UserConnects, user.link == Link::Down);
        may(Step::UserConnectsToIsolated, user.link == Link::Down && isolated.is_some());
        may(Step::UserDropsLate, user.owes_drop);

        may(Step::RedisServesUser, !user.to_redis.is_empty());
        let unanswered = user.flight.as_ref().is_some_and(|flight| !flight.found);
        let bound = self.has(Rule::ReadsBoundToLink);
        may(Step::RedisServesLate, user.late_beat.is_some());
        may(Step::RedisReads, unanswered && (!bound || (!user.stale && !user.on_isolated)));
        may(Step::IsolatedReads, unanswered && isolated.is_some() && (!bound || user.on_isolated));
        may(Step::RedisEndsTurn, redis.owes_invalidation);

        for (index, revocation) in revoker.revocations.iter().enumerate() {
            match &revocation.phase {
                Phase::Idle => may(Step::RevokerRevokes(index), revoker.may_revoke(self, index)),
                Phase::Called { .. } => may(Step::RedisRevokes(index), true),
                Phase::Executed { .. } => may(Step::RevokerLearns(index), true),
                Phase::Waiting { .. } => {}
                Phase::Answered { forgetting, .. } => {
                    may(Step::RedisForgets(index), forgetting.is_some())
                }
            }
        }
        for number in 0..8 {
            may(Step::RevokerHears(number), revoker.confirmations & (1 << number) != 0);
        }
        let news = redis.generation != Some(revoker.generation);
        may(Step::RevokerBeats, news && revoker.link == Link::Up && revoker.wire);
        may(Step::RevokerNotices, revoker.link == Link::Up && !revoker.wire);
        may(Step::RevokerConnects, revoker.link == Link::Down);

        may(Step::FaultCutsUser, faults.user_cuts > 0 && user.wire);
        may(Step::FaultCutsRevoker, faults.revoker_cuts > 0 && revoker.wire);
        may(Step::FaultFlushes, faults.flushes > 0);
        may(Step::FaultSwaps, faults.swaps > 0);
        may(Step::FaultImports(Dump::Recent), faults.imports > 0);
        may(Step::FaultImports(Dump::WithoutKey), faults.imports > 0);
        may(Step::FaultImports(Dump::Older), faults.older_imports > 0);
        may(Step::FaultRemoves, faults.removals > 0 && redis.record);
        for registration in [false, true] {
            for removal in [false, true] {
                // Only what is there can be lost.
                let real = (!registration || redis.registered.is_some())
                    && (!removal || (!redis.record && !revoker.relies_on_removal()));
                let lost = MissingState { registration, removal };
                may(Step::FaultRestarts(lost), real && faults.restarts > 0);
                may(
                    Step::FaultIsolates(lost),
                    real && faults.partitions > 0 && !redis.owes_invalidation && user.wire,
                );
            }
        }
    }

    fn next_state(&self, last: &Fleet, step: Step) -> Option<Fleet> {
        let mut fleet = last.clone();
        match step {
            Step::Tick => fleet.tick(self),
            Step::RedisServesUser => fleet.serve_user(self),
            Step::RedisReads => {
                let found = fleet.redis.record;
                fleet.user.answer_read(found);
            }
            Step::IsolatedReads => {
                let found = fleet.isolated.as_ref().is_some_and(|isolated| isolated.record);
                fleet.user.answer_read(found);
            }
            Step::RedisEndsTurn => fleet.end_turn(),
            Step::RedisForgets(index) => fleet.forget(self, index),
            Step::UserReceives => fleet.user.receive(self)?,
            Step::UserBeats => fleet.user_beats(self),
            Step::UserLooks => fleet.user.look(),
            Step::UserReads => fleet.user.read(),
            Step::UserLands => fleet.user.land(self),
            Step::UserNotices => fleet.user.lose_link(self),
            Step::UserConnects => fleet.user_connects(false),
            Step::UserConnectsToIsolated => fleet.user_connects(true),
            Step::UserDropsLate => {
                fleet.user.owes_drop = false;
                fleet.user.drop_token();
            }
            Step::RedisServesLate => fleet.redis.registered = fleet.user.late_beat.take(),
            Step::RedisRevokes(index) => fleet.revoke(self, index),
            Step::RevokerRevokes(index) => {
                fleet.revoker.revocations[index].phase = Phase::Called { age: 0 }
            }
            Step::RevokerLearns(index) => fleet.revoker.learn(self, index),
            Step::RevokerHears(number) => fleet.revoker.note_acknowledgement(number),
            Step::RevokerBeats => {
                let generation = fleet.generation();
                fleet.revoker.learn_generation(generation);
            }
            Step::RevokerNotices => fleet.revoker.link = Link::Down,
            Step::RevokerConnects => fleet.revoker.connect(),
            Step::FaultCutsUser => fleet.cut_user(),
            Step::FaultCutsRevoker => fleet.cut_revoker(),
            Step::FaultRestarts(lost) => fleet.restart(lost),
            Step::FaultFlushes => fleet.flush(),
            Step::FaultSwaps => fleet.swap(),
            Step::FaultImports(dump) => fleet.import(dump),
            Step::FaultRemoves => fleet.remove(),
            Step::FaultIsolates(lost) => fleet.isolate(lost),
        }
        (fleet != *last).then_some(fleet)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(PROMISE, |setting: &Self, fleet: &Fleet| {
            // Where the network is cut, the promise is kept from the stated bound on: or at once,
            // if A waits for that.
            let within_bound =
                fleet.isolated.as_ref().is_some_and(|isolated| isolated.age < setting.bound());
            let excused = within_bound && !setting.outwaits_lag;
            excused || !fleet.revoked() || !setting.would_accept(&fleet.user)
        })];
        if self.without.is_empty() {
            properties.extend(self.witnesses());
        }
        properties
    }
}

impl Setting {
    /// What the model must be able to do, or the promise would be kept by doing nothing.
    fn witnesses(&self) -> Vec<Property<Self>> {
        let mut witnesses = vec![
            Property::sometimes(HIT, |setting: &Self, fleet: &Fleet| {
                fleet.user.cached && fleet.user.lease_age < setting.lease
            }),
            Property::sometimes(CONFIRMED, |_, fleet: &Fleet| fleet.answered(How::Confirmed)),
            Property::sometimes(WAITED_OUT, |_, fleet: &Fleet| fleet.answered(How::WaitedOut)),
            // The state before the last step of it: the proof is there, and will be accepted. The
            // cache could only be filled under an earlier lease.
            Property::sometimes(RECOVERED, |setting: &Self, fleet: &Fleet| {
                let user = &fleet.user;
                let renewed =
                    user.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.age < setting.lease);
                let lapsed = user.lease_age >= setting.lease;
                user.cached && lapsed && renewed && user.to_user.front() == Some(&Push::Proven)
            }),
        ];
        if self.reads {
            witnesses.push(Property::sometimes(FENCED, |_, fleet: &Fleet| {
                fleet
                    .user
                    .flight
                    .as_ref()
                    .is_some_and(|flight| flight.found && !flight.shard_stands)
            }));
        }
        let spares_registry = Faults { removals: 0, ..self.faults } == Faults::NONE;
        if self.revocations.contains(&Target::Other) && spares_registry {
            witnesses.push(Property::sometimes(CAME_BACK, |setting: &Self, fleet: &Fleet| {
                // Its cache was filled under a lease, so it was registered; nothing but A's
                // revocation could undo that.
                let user = &fleet.user;
                let lapsed = user.lease_age >= setting.longest_use;
                user.cached
                    && lapsed
                    && fleet.redis.registered.is_none()
                    && !user.to_redis.is_empty()
            }));
        }
        witnesses
    }
}
