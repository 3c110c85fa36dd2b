//! What instance A does: revoke, wait, answer.

use crate::rules::{Rule, Setting, Target};
use crate::state::{Generation, How, Link, Phase, Revocation, Revoker};

impl Revoker {
    /// The revocations of K.
    pub(crate) fn key_revocations(&self) -> impl Iterator<Item = &Revocation> {
        self.revocations.iter().filter(|revocation| revocation.target == Target::Key)
    }

    /// Whether A has been told, after `WAIT`, that K's record is gone: from then on no failover
    /// brings it back.
    pub(crate) fn relies_on_removal(&self) -> bool {
        self.key_revocations().any(|revocation| {
            matches!(revocation.phase, Phase::Waiting { .. } | Phase::Answered { .. })
        })
    }

    /// Scripts are sent on a data connection, and those are to the link's server. The same
    /// revocation twice: in order, the other order is the same.
    pub(crate) fn may_revoke(&self, setting: &Setting, index: usize) -> bool {
        let bound = self.link == Link::Up && !self.stale;
        let before = &self.revocations[..index];
        let target = self.revocations[index].target;
        let first = before.iter().all(|other| other.target != target || other.phase != Phase::Idle);
        first && (bound || !setting.has(Rule::ScriptsBoundToLink))
    }

    /// The script's answer is here: answer at once, or wait for one instance or for all.
    pub(crate) fn learn(&mut self, setting: &Setting, index: usize) {
        let Phase::Executed { answer, age } = self.revocations[index].phase.clone() else { return };
        let new_generation = answer.generation != self.generation;
        self.learn_generation(answer.generation);
        let young_link = self.link != Link::Up || self.link_age < setting.settled();
        let young_generation = self.generation_age < setting.wait();
        let for_all = (young_link && setting.has(Rule::WaitWhileLinkIsYoung))
            || (new_generation && setting.has(Rule::WaitOnNewGeneration))
            || (young_generation
                && !new_generation
                && setting.has(Rule::WaitWhileGenerationIsYoung));
        let silent = answer.absent && !setting.has(Rule::AnnounceAbsence);
        let for_none = answer.registered.is_none() && !for_all;
        let waited = if setting.has(Rule::WaitFromReceipt) { 0 } else { age };
        let wait = if young_link { setting.settled() } else { setting.wait() };
        let left = wait.saturating_sub(waited);
        self.revocations[index].phase = if silent || for_none {
            Phase::Answered { how: How::Alone, forgetting: None }
        } else if left == 0 || (!for_all && !setting.has(Rule::WaitForUnconfirmed)) {
            Phase::Answered { how: How::WaitedOut, forgetting: answer.registered }
        } else {
            Phase::Waiting { answer, for_all, left }
        };
    }

    /// These calls are lost; the client may repeat them.
    pub(crate) fn repeat(&mut self, lost: impl Fn(&Phase) -> bool) {
        for revocation in &mut self.revocations {
            if lost(&revocation.phase) {
                revocation.phase = Phase::Idle;
            }
        }
    }

    /// B confirms: K is dropped there, and no read that is under way brings it back.
    pub(crate) fn note_acknowledgement(&mut self, number: u8) {
        self.confirmations &= !(1 << number);
        for revocation in &mut self.revocations {
            let waits_for_it = matches!(
                &revocation.phase,
                Phase::Waiting { answer, for_all: false, .. } if answer.number == number
            );
            if waits_for_it {
                revocation.phase = Phase::Answered { how: How::Confirmed, forgetting: None };
            }
        }
    }

    /// The generation may be another one.
    pub(crate) fn learn_generation(&mut self, generation: Generation) {
        if generation != self.generation {
            self.generation = generation;
            self.generation_age = 0;
        }
    }

    /// Time passes. A revoker that has waited long enough answers in the same instant: the earliest
    /// is the most dangerous.
    pub(crate) fn tick(&mut self, setting: &Setting) {
        self.link_age = setting.settled().min(self.link_age + 1);
        self.generation_age = setting.longest_use.min(self.generation_age + 1);
        for revocation in &mut self.revocations {
            match &mut revocation.phase {
                Phase::Called { age } | Phase::Executed { age, .. }
                    if !setting.has(Rule::WaitFromReceipt) =>
                {
                    *age = setting.longest_use.min(*age + 1);
                }
                Phase::Waiting { answer, left, .. } => {
                    *left -= 1;
                    if *left == 0 {
                        let forgetting = answer.registered;
                        revocation.phase = Phase::Answered { how: How::WaitedOut, forgetting };
                    }
                }
                _ => {}
            }
        }
    }

    /// The link breaks.
    pub(crate) fn cut(&mut self) {
        self.wire = false;
        self.confirmations = 0;
    }

    /// A new link: from now on nothing that is announced is missed, but the registry may be an
    /// older one.
    pub(crate) fn connect(&mut self) {
        self.link = Link::Up;
        self.wire = true;
        self.stale = false;
        self.link_age = 0;
    }
}
