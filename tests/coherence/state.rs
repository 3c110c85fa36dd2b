//! What there is: one Redis, an instance A that revokes, an instance B that uses, and what is under
//! way between them.
//!
//! There is no clock in it, only ages, which stop counting where they no longer matter: so the
//! states are finite although time is not. A tick makes all of them older at once: all clocks run
//! at the same rate, and no two clocks are compared.

use std::collections::VecDeque;

use crate::rules::{Faults, Target};

/// A length of time.
pub(crate) type Ticks = u8;
/// What a heartbeat writes into the registry.
pub(crate) type Beat = u8;
/// The number of a revocation, counted by the instance that makes it.
pub(crate) type Number = u8;
/// The id of the store's content; a lost content gets another one.
pub(crate) type Generation = u8;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fleet {
    /// The master.
    pub(crate) redis: Redis,
    /// A former master that has been cut off from all but B.
    pub(crate) isolated: Option<Isolated>,
    /// A, which revokes.
    pub(crate) revoker: Revoker,
    /// B, which uses.
    pub(crate) user: User,
    /// What may still go wrong.
    pub(crate) faults: Faults,
}

/// The master. One command or script is one step of it; one turn of its event loop is several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    /// Whether K has a record.
    pub(crate) record: bool,
    /// B's entry in the registry.
    pub(crate) registered: Option<Beat>,
    /// The number of the latest revocation (counted only where `NumberNeverRepeats` is left out).
    pub(crate) announced: Number,
    /// The generation, once an instance has written one.
    pub(crate) generation: Option<Generation>,
    /// The turn has removed K's record and is not over: the invalidation is written at its end,
    /// after the turn's answers.
    pub(crate) owes_invalidation: bool,
    /// B's link is subscribed and tracked here.
    pub(crate) tracks_user: bool,
}

/// A master that goes on answering, without knowing that there is another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Isolated {
    /// Whether K has a record here; it never changes any more.
    pub(crate) record: bool,
    /// Ticks since the cut, up to the stated bound.
    pub(crate) age: Ticks,
}

/// What an instance believes of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// There is none.
    Down,
    /// Tracking and subscriptions have been sent for.
    Opening,
    /// It stands: a term.
    Up,
}

/// Instance A.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revoker {
    /// What it believes of its link (never `Opening`: that would only delay it).
    pub(crate) link: Link,
    /// The link works.
    pub(crate) wire: bool,
    /// The link was made to a server that is no longer the one at this address.
    pub(crate) stale: bool,
    /// Ticks since the link was made, up to the longest use.
    pub(crate) link_age: Ticks,
    /// The generation that it knows.
    pub(crate) generation: Generation,
    /// Ticks since it learned of it, up to the longest use.
    pub(crate) generation_age: Ticks,
    /// The number of its latest revocation.
    pub(crate) announced: Number,
    /// Confirmations under way on its link, a bit for each number.
    pub(crate) confirmations: u8,
    /// Its revocations.
    pub(crate) revocations: Vec<Revocation>,
}

/// One revoke call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revocation {
    /// What is revoked.
    pub(crate) target: Target,
    /// How far it is.
    pub(crate) phase: Phase,
}

/// How far a revoke call is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Not called yet, or it was lost and may be repeated.
    Idle,
    /// The script is under way to Redis.
    Called {
        /// Ticks since it was sent (counted only where `WaitFromReceipt` is left out).
        age: Ticks,
    },
    /// The script was executed; its answer is under way.
    Executed {
        /// What the script says.
        answer: ScriptAnswer,
        /// Ticks since it was sent (counted only where `WaitFromReceipt` is left out).
        age: Ticks,
    },
    /// A waits for confirmations or for time to pass.
    Waiting {
        /// What the script said.
        answer: ScriptAnswer,
        /// The registry is not trusted: confirmations do not shorten the wait.
        for_all: bool,
        /// How much longer.
        left: Ticks,
    },
    /// Answered 200.
    Answered {
        /// What made A answer.
        how: How,
        /// The beat with which B is to be forgotten: the compare-and-delete is under way.
        forgetting: Option<Beat>,
    },
}

/// What the revoke script answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScriptAnswer {
    /// The number of the announcement.
    pub(crate) number: Number,
    /// B's entry in the registry when the script was executed.
    pub(crate) registered: Option<Beat>,
    /// The generation when the script was executed.
    pub(crate) generation: Generation,
    /// There was no record.
    pub(crate) absent: bool,
}

/// What made A answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    /// There was no instance to wait for.
    Alone,
    /// B confirmed.
    Confirmed,
    /// The longest use has passed.
    WaitedOut,
}

/// Instance B.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct User {
    /// What it believes of its link.
    pub(crate) link: Link,
    /// The link works. Half-open: `Up` without a wire.
    pub(crate) wire: bool,
    /// The link was made to a server that is no longer the one at this address.
    pub(crate) stale: bool,
    /// The link is one to the isolated master.
    pub(crate) on_isolated: bool,
    /// Under way on the link, in order.
    pub(crate) to_redis: VecDeque<Command>,
    /// A heartbeat that Redis may still read from a link that is no more.
    pub(crate) late_beat: Option<Beat>,
    /// Under way on the link, in order.
    pub(crate) to_user: VecDeque<Push>,
    /// The heartbeat or look that is outstanding.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Ticks since the start of the latest lease, up to the longest use. The lease holds while this
    /// is below its length.
    pub(crate) lease_age: Ticks,
    /// The generation that it knows.
    pub(crate) generation: Generation,
    /// Nothing was announced since the latest heartbeat that was answered on this link (only where
    /// there are looks).
    pub(crate) quiet: bool,
    /// K is in the cache.
    pub(crate) cached: bool,
    /// The read of K that is under way.
    pub(crate) flight: Option<Flight>,
    /// K was named and is still to be dropped (only where `DropBeforeConfirming` is left out).
    pub(crate) owes_drop: bool,
}

/// A heartbeat from its sending to the lease that it brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heartbeat {
    /// Ticks since it was sent, up to the longest use.
    pub(crate) age: Ticks,
}

/// A read of K, on a data connection: it is not ordered with anything on the link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    /// Redis has executed it and found the record; not finding one ends the flight at once.
    pub(crate) found: bool,
    /// The generation of K's shard is still the one from before the read was sent.
    pub(crate) shard_stands: bool,
    /// The epoch is still the one from before the read was sent.
    pub(crate) epoch_stands: bool,
}

/// From B to Redis, on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// `SUBSCRIBE` and `CLIENT TRACKING ON`.
    Track,
    /// The heartbeat script.
    Beat(Beat),
    /// A heartbeat that writes nothing: is B registered?
    Look,
    /// `PING` after an answered heartbeat, `ECHO` after an answered look.
    Prove,
    /// `PING` before a bare announcement is confirmed.
    Ping(Number),
    /// `PUBLISH` to A's channel.
    Confirm(Number),
}

/// From Redis to B, on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Push {
    /// The answer to `Track`.
    Tracked,
    /// The answer to `Beat`.
    Beaten(Generation),
    /// The other answer to `Beat`: `NOREPLICAS`.
    Refused,
    /// The answer to `Look`: the generation, if B is registered.
    Looked(Option<Generation>),
    /// The answer to `Prove`.
    Proven,
    /// The answer to `Ping`.
    Pong(Number),
    /// K is revoked, or another token.
    Revoked(Number, Target),
    /// A bare announcement: everything is removed that was removed before this.
    Removed(Number),
    /// K's key was changed.
    Invalidate,
    /// A null invalidation: any key may have changed.
    InvalidateAll,
}

impl Redis {
    /// Sends to B, if B's link is known here.
    pub(crate) fn push(&self, user: &mut User, push: Push) {
        if self.tracks_user && !user.on_isolated {
            user.to_user.push_back(push);
        }
    }
}

impl User {
    /// Sends on the link; what is sent on a broken one is lost.
    pub(crate) fn send(&mut self, command: Command) {
        if self.wire {
            self.to_redis.push_back(command);
        }
    }

    /// Forgets K, and breaks the fence of a read that is under way.
    pub(crate) fn drop_token(&mut self) {
        self.cached = false;
        if let Some(flight) = &mut self.flight {
            flight.shard_stands = false;
        }
    }

    /// Forgets everything, and breaks all fences.
    pub(crate) fn drop_everything(&mut self) {
        self.cached = false;
        if let Some(flight) = &mut self.flight {
            flight.epoch_stands = false;
        }
    }

    /// The link breaks: what is under way is lost, or executed late without an answer. B does not
    /// know yet. (A late confirmation is as good as one in time, and a late `PING` is nothing, so
    /// only a heartbeat is remembered.)
    pub(crate) fn cut(&mut self) {
        self.wire = false;
        let mut beats = self.to_redis.iter().filter_map(|command| match command {
            Command::Beat(beat) if !self.on_isolated => Some(*beat),
            _ => None,
        });
        self.late_beat = beats.next_back().or(self.late_beat);
        self.to_redis.clear();
        self.to_user.clear();
    }
}
