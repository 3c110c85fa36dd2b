//! What Redis does, and what can be done to it.

use crate::protocol::{Dump, MissingState};
use crate::rules::{Rule, Setting, Target};
use crate::state::{Beat, Command, Fleet, Generation, Isolated, Link, Phase, Push, ScriptAnswer};

impl Fleet {
    /// The generation; an instance that finds none makes one.
    pub(crate) fn generation(&mut self) -> Generation {
        let lost = self.revoker.generation.max(self.user.generation) + 1;
        *self.redis.generation.get_or_insert(lost)
    }

    /// Executes what comes next on B's link.
    pub(crate) fn serve_user(&mut self, setting: &Setting) {
        let Some(command) = self.user.to_redis.pop_front() else { return };
        if self.user.on_isolated {
            self.isolated_serves_user(setting, command);
            return;
        }
        let answer = match command {
            Command::Track => {
                self.redis.tracks_user = true;
                Push::Tracked
            }
            Command::Beat(beat) => {
                let counted = self.redis.registered.unwrap_or(0) + 1;
                let own = setting.has(Rule::BeatNeverRepeats);
                self.redis.registered = Some(if own { beat } else { counted });
                Push::Beaten(self.generation())
            }
            Command::Look => {
                Push::Looked(self.redis.generation.filter(|_| self.redis.registered.is_some()))
            }
            Command::Prove => Push::Proven,
            Command::Ping(number) => Push::Pong(number),
            Command::Confirm(number) => {
                if self.revoker.wire {
                    self.revoker.confirmations |= 1 << number;
                }
                return;
            }
        };
        self.redis.push(&mut self.user, answer);
    }

    /// The isolated master knows of no revocation, so there is no instance to confirm to.
    fn isolated_serves_user(&mut self, setting: &Setting, command: Command) {
        let Some(isolated) = &self.isolated else { return };
        let refuses = setting.has(Rule::HeartbeatWrites) && isolated.age >= setting.lag;
        self.user.to_user.push_back(match command {
            Command::Track => Push::Tracked,
            Command::Beat(_) if refuses => Push::Refused,
            Command::Beat(_) => Push::Beaten(self.user.generation),
            Command::Look => Push::Looked(Some(self.user.generation)),
            Command::Prove => Push::Proven,
            Command::Ping(number) => Push::Pong(number),
            Command::Confirm(_) => return,
        });
    }

    /// Writes the broadcast invalidations of the turn, behind all that the turn has answered.
    pub(crate) fn end_turn(&mut self) {
        self.redis.owes_invalidation = false;
        self.redis.push(&mut self.user, Push::Invalidate);
    }

    /// The revoke script: the removal, the announcement and the registry, in one step.
    pub(crate) fn revoke(&mut self, setting: &Setting, index: usize) {
        let Phase::Called { age } = self.revoker.revocations[index].phase else { return };
        let target = self.revoker.revocations[index].target;
        let absent = target == Target::Key && !self.redis.record;
        if target == Target::Key && !absent {
            self.remove_record();
        }
        let own = setting.has(Rule::NumberNeverRepeats);
        let latest = if own { &mut self.revoker.announced } else { &mut self.redis.announced };
        *latest += 1;
        let number = *latest;
        if !absent {
            self.redis.push(&mut self.user, Push::Revoked(number, target));
        } else if setting.has(Rule::AnnounceAbsence) {
            self.redis.push(&mut self.user, Push::Removed(number));
        }
        let registered = self.redis.registered;
        let generation = self.generation();
        let answer = ScriptAnswer { number, registered, generation, absent };
        self.revoker.revocations[index].phase = Phase::Executed { answer, age };
    }

    /// The compare-and-delete script.
    pub(crate) fn forget(&mut self, setting: &Setting, index: usize) {
        let Phase::Answered { forgetting, .. } = &mut self.revoker.revocations[index].phase else {
            return;
        };
        let beat = forgetting.take();
        if self.redis.registered == beat || !setting.has(Rule::CompareBeforeForgetting) {
            self.redis.registered = None;
        }
    }

    /// A beat that is written nowhere. In the code it counts up; here numbers are used again once
    /// nothing holds them.
    pub(crate) fn unused_beat(&self) -> Beat {
        let held = |beat: Beat| {
            let by_revocation =
                self.revoker.revocations.iter().any(|revocation| match &revocation.phase {
                    Phase::Idle | Phase::Called { .. } => false,
                    Phase::Executed { answer, .. } | Phase::Waiting { answer, .. } => {
                        answer.registered == Some(beat)
                    }
                    Phase::Answered { forgetting, .. } => *forgetting == Some(beat),
                });
            by_revocation
                || self.redis.registered == Some(beat)
                || self.user.late_beat == Some(beat)
                || self.user.to_redis.contains(&Command::Beat(beat))
        };
        (1..).find(|&beat| !held(beat)).unwrap_or_default()
    }

    /// B's link breaks.
    pub(crate) fn cut_user(&mut self) {
        self.faults.user_cuts -= 1;
        if !self.user.on_isolated {
            self.redis.tracks_user = false;
        }
        self.user.cut();
    }

    /// A's link breaks.
    pub(crate) fn cut_revoker(&mut self) {
        self.faults.revoker_cuts -= 1;
        self.revoker.cut();
    }

    /// Another run of Redis, or another Redis, at the same address: all connections break.
    pub(crate) fn restart(&mut self, lost: MissingState) {
        self.faults.restarts -= 1;
        self.lose(lost);
        self.redis.owes_invalidation = false;
        self.redis.tracks_user = false;
        self.user.cut();
        self.user.stale = self.user.link != Link::Down;
        self.user.late_beat = None;
        // A read that was not executed breaks with its connection; an answer may have been sent
        // before.
        if self.user.flight.as_ref().is_some_and(|flight| !flight.found) {
            self.user.flight = None;
        }
        self.abandon_revoker();
    }

    /// The master stays with B alone; the rest gets another one.
    pub(crate) fn isolate(&mut self, lost: MissingState) {
        self.faults.partitions -= 1;
        // Removals reach the new master or not; registrations as well.
        self.isolated = Some(Isolated { record: self.redis.record, age: 0 });
        self.lose(lost);
        self.redis.tracks_user = false;
        self.user.on_isolated = self.user.link != Link::Down;
        self.abandon_revoker();
    }

    fn abandon_revoker(&mut self) {
        self.revoker.cut();
        self.revoker.stale = self.revoker.link != Link::Down;
        // The same for scripts.
        self.revoker.repeat(|phase| matches!(phase, Phase::Called { .. }));
    }

    fn lose(&mut self, lost: MissingState) {
        if lost.registration {
            self.redis.registered = None;
        }
        if lost.removal {
            self.redis.record = true;
            self.redis.announced = 0;
            // The scripts that are to be forgotten have not answered: `WAIT` is still to come, and
            // is not answered.
            self.revoker.repeat(|phase| matches!(phase, Phase::Executed { .. }));
        }
    }

    /// `FLUSHDB`: the null invalidation does not wait for the end of the turn.
    pub(crate) fn flush(&mut self) {
        self.faults.flushes -= 1;
        self.empty();
        self.redis.push(&mut self.user, Push::InvalidateAll);
    }

    /// `SWAPDB`: no invalidation at all.
    pub(crate) fn swap(&mut self) {
        self.faults.swaps -= 1;
        self.empty();
    }

    /// `FLUSHDB` and an import: whatever is not in the dump is gone, with a null invalidation and
    /// nothing else.
    pub(crate) fn import(&mut self, dump: Dump) {
        if dump == Dump::Older {
            self.faults.older_imports -= 1;
            self.redis.registered = None;
        } else {
            self.faults.imports -= 1;
        }
        self.redis.record &= dump == Dump::Recent;
        self.redis.announced = 0;
        self.redis.push(&mut self.user, Push::InvalidateAll);
    }

    fn empty(&mut self) {
        self.redis.record = false;
        self.redis.registered = None;
        self.redis.announced = 0;
        self.redis.generation = None;
    }

    /// K's record goes without a revocation.
    pub(crate) fn remove(&mut self) {
        self.faults.removals -= 1;
        self.remove_record();
    }

    fn remove_record(&mut self) {
        self.redis.record = false;
        self.redis.owes_invalidation = self.redis.tracks_user;
    }
}
