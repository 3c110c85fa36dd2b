//! What instance B does: keep a link and a lease, fill and drop.

use crate::rules::{Rule, Setting, Target};
use crate::state::{Command, Fleet, Flight, Heartbeat, Link, Push, Redis, User};

impl User {
    /// One heartbeat is outstanding at a time.
    pub(crate) fn may_beat(&self, setting: &Setting, redis: &Redis) -> bool {
        let countable = setting.has(Rule::BeatNeverRepeats)
            || redis.registered.unwrap_or(0) < setting.highest_beat;
        self.link == Link::Up && self.heartbeat.is_none() && countable
    }

    /// A look takes the place of a heartbeat.
    pub(crate) fn may_look(&self, setting: &Setting) -> bool {
        setting.looks && self.link == Link::Up && self.heartbeat.is_none()
    }

    /// B asks whether it is registered.
    pub(crate) fn look(&mut self) {
        self.heartbeat = Some(Heartbeat { age: 0 });
        self.send(Command::Look);
    }

    /// A miss reads, over a data connection of this term; all requests that miss share one read.
    pub(crate) fn may_read(&self, setting: &Setting) -> bool {
        let in_term = self.link == Link::Up || !setting.has(Rule::ReadsBoundToLink);
        setting.reads && in_term && !self.cached && self.flight.is_none()
    }

    /// The fence is taken, then the read is sent.
    pub(crate) fn read(&mut self) {
        self.flight = Some(Flight { found: false, shard_stands: true, epoch_stands: true });
    }

    /// The read is executed.
    pub(crate) fn answer_read(&mut self, found: bool) {
        match &mut self.flight {
            Some(flight) if found => flight.found = true,
            _ => self.flight = None,
        }
    }

    /// The answer has come: the requests that wait for it are let in and it is remembered, or it is
    /// thrown away.
    pub(crate) fn land(&mut self, setting: &Setting) {
        self.cached |= setting.would_land(self);
        self.flight = None;
    }

    /// What comes next on the link, handled inline. Nothing if there is nothing.
    pub(crate) fn receive(&mut self, setting: &Setting) -> Option<()> {
        match self.to_user.pop_front()? {
            Push::Tracked => {
                self.link = Link::Up;
                self.quiet = false;
                if setting.has(Rule::DropOnNewLink) {
                    self.drop_everything();
                }
                if setting.has(Rule::LeaseEndsWithLink) {
                    self.lease_age = setting.longest_use;
                }
            }
            Push::Beaten(generation) => {
                self.quiet = setting.looks;
                if generation != self.generation {
                    self.generation = generation;
                    if setting.has(Rule::DropOnNewGeneration) {
                        self.drop_everything();
                    }
                }
                if !setting.has(Rule::LeaseFromSending) {
                    self.heartbeat = Some(Heartbeat { age: 0 });
                }
                if setting.has(Rule::Proof) {
                    self.send(Command::Prove);
                } else {
                    self.renew_lease();
                }
            }
            Push::Refused => self.lose_link(setting),
            Push::Looked(found) => {
                let quiet = self.quiet || !setting.has(Rule::LookWhileQuiet);
                if quiet && found == Some(self.generation) {
                    self.send(Command::Prove);
                } else {
                    self.heartbeat = None;
                }
            }
            Push::Proven => {
                if !setting.has(Rule::LeaseNotFromProof) {
                    self.heartbeat = Some(Heartbeat { age: 0 });
                }
                self.renew_lease();
            }
            Push::Revoked(number, target) => {
                self.quiet = false;
                if target == Target::Key {
                    if setting.has(Rule::DropBeforeConfirming) {
                        self.drop_token();
                    } else {
                        self.owes_drop = true;
                    }
                }
                self.send(Command::Confirm(number));
            }
            Push::Removed(number) if setting.has(Rule::PingBeforeConfirmingBare) => {
                self.quiet = false;
                self.send(Command::Ping(number));
            }
            Push::Removed(number) | Push::Pong(number) => {
                self.quiet = false;
                self.send(Command::Confirm(number));
            }
            Push::Invalidate => self.drop_token(),
            Push::InvalidateAll => {
                if setting.has(Rule::DropOnNull) {
                    self.drop_everything();
                }
            }
        }
        Some(())
    }

    fn renew_lease(&mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            self.lease_age = self.lease_age.min(heartbeat.age);
        }
    }

    /// The term ends. The cache stays, and the lease runs on, for as long as they may be used; a
    /// new link empties it.
    pub(crate) fn lose_link(&mut self, setting: &Setting) {
        self.cut();
        self.link = Link::Down;
        self.stale = false;
        self.on_isolated = false;
        self.heartbeat = None;
        if setting.has(Rule::ReadsBoundToLink) {
            self.flight = None;
        }
    }
}

impl Fleet {
    /// B sends a heartbeat.
    pub(crate) fn user_beats(&mut self, setting: &Setting) {
        let beat = if setting.has(Rule::BeatNeverRepeats) { self.unused_beat() } else { 0 };
        self.user.heartbeat = Some(Heartbeat { age: 0 });
        self.user.send(Command::Beat(beat));
    }

    /// B makes a new link.
    pub(crate) fn user_connects(&mut self, to_isolated: bool) {
        self.user.link = Link::Opening;
        self.user.wire = true;
        self.user.on_isolated = to_isolated;
        self.user.send(Command::Track);
        // Redis sends nothing on this link before it has executed that.
        self.redis.tracks_user = false;
    }
}
