//! What one instance knows of one shared counter: the permits that it holds, how long the counter
//! has none, and how fast it needs them. This file decides, without I/O and without a clock.
//!
//! * Permits are taken in a bundle of what this instance has used in [`BUNDLE_OF`], and never of
//!   more than [`SHARE_OF`] of the quota or a quarter of the burst. What is held is at most two
//!   bundles, and is let go after [`HELD_FOR`]: it was spent for the fleet, and is not given back.
//! * The next bundle is asked for when half of one is left, so that a request seldom waits. Where a
//!   bundle is a single permit, as with `5/m`, nothing is taken ahead, and the limit is exact.
//! * That there was none is remembered for as long as that is so, and for as long as a few permits
//!   take to come: until then, requests are refused without a call.
//! * Without the counter, the instance counts by itself, by the same quota. What passed so is owed,
//!   up to a burst, and taken first when the counter is there again.

use std::num::NonZeroU32;
use std::time::Duration;

use super::gcra::Counter;
use super::quota::Quota;
use super::shared::Grant;
use super::verdict::Verdict;
use crate::domain::Uptime;

/// A bundle is what was used in this time.
const BUNDLE_OF: Duration = Duration::from_millis(30);

/// A bundle is no more than the quota gives to the whole fleet in this time.
const SHARE_OF: Duration = Duration::from_millis(50);

/// How long permits are held. Long enough for an instance that had to pause, and of no effect on
/// how many pass: they have been counted.
const HELD_FOR: Duration = Duration::from_secs(1);

/// How long a counter that had no more permits is not asked, though single ones come sooner: a time
/// from here to three times as much, by chance, so that all instances get their share of what comes
/// in the meantime.
const PAUSE: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Allowance {
    held: u32,
    held_until: Uptime,
    none_until: Uptime,
    /// What was left for the fleet.
    remaining: u32,
    is_asking: bool,
    /// How many requests wait for the answer.
    pub(super) waiting: u32,
    demand: Demand,
    /// What this instance alone has let pass.
    own: Counter,
    /// What it has let pass without a permit of the fleet.
    owed: u32,
    /// What chance is made of; not 0.
    chance: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This.
    Decided(Verdict),
    /// This, and the counter is to be asked for so many permits beside it.
    Ahead(Verdict, NonZeroU32),
    /// It waits, and the counter is to be asked for so many permits.
    Ask(NonZeroU32),
    /// It waits for the answer that another one asked for.
    Wait,
}

/// Whether the counter can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Yes.
    There,
    /// No.
    Away,
    /// It could not, and is to be tried again, without a request that waits.
    Tried,
}

impl Allowance {
    /// `seed`: another one for each.
    pub(super) fn new(now: Uptime, seed: u64) -> Self {
        Self {
            held: 0,
            held_until: now,
            none_until: now,
            remaining: 0,
            is_asking: false,
            waiting: 0,
            demand: Demand { since: now, count: 0, per_second: 0 },
            own: Counter::default(),
            owed: 0,
            chance: seed | 1,
        }
    }

    /// A new request. Who waits is judged again when there is an answer: by [`again`](Self::again).
    pub(super) fn judge(&mut self, quota: &Quota, reach: Reach, now: Uptime) -> Step {
        self.demand.note(now);
        self.again(quota, reach, now)
    }

    /// A request that has been counted. Where it waits, the caller adds it to
    /// [`waiting`](Self::waiting) before.
    pub(super) fn again(&mut self, quota: &Quota, reach: Reach, now: Uptime) -> Step {
        let bundle = self.bundle(quota);
        if self.held > 0 && now < self.held_until {
            self.held -= 1;
            let verdict = Verdict {
                is_allowed: true,
                remaining: self.remaining.saturating_add(self.held),
                next_after: Duration::from_nanos(quota.interval_nanos()),
            };
            let is_low = bundle > 1 && self.held < bundle / 2 && now >= self.none_until;
            if is_low && !self.is_asking && reach == Reach::There {
                return self.ask(bundle, |wanted| Step::Ahead(verdict, wanted));
            }
            return Step::Decided(verdict);
        }
        self.held = 0;
        if now < self.none_until {
            return Step::Decided(Verdict {
                is_allowed: false,
                remaining: 0,
                next_after: self.none_until.since(now),
            });
        }
        match reach {
            Reach::There if self.is_asking => Step::Wait,
            Reach::There => self.ask(bundle.max(self.waiting), Step::Ask),
            Reach::Away => Step::Decided(self.alone(quota, now)),
            Reach::Tried => {
                let verdict = self.alone(quota, now);
                if self.is_asking {
                    return Step::Decided(verdict);
                }
                self.ask(0, |wanted| Step::Ahead(verdict, wanted))
            }
        }
    }

    /// Judges by what this instance alone has let pass.
    pub(super) fn alone(&mut self, quota: &Quota, now: Uptime) -> Verdict {
        let verdict = self.own.take(*quota, now);
        if verdict.is_allowed {
            self.owed = self.owed.saturating_add(1).min(quota.burst.get());
        }
        verdict
    }

    /// Takes back a permit that was not used.
    pub(super) fn give_back(&mut self, quota: &Quota) {
        if self.held > 0 || self.owed == 0 {
            self.held = self.held.saturating_add(1).min(quota.burst.get());
        } else {
            self.owed -= 1;
        }
        self.own.give_back(*quota);
    }

    /// The answer to what was asked: `wanted` permits.
    pub(super) fn granted(
        &mut self,
        grant: &Grant,
        wanted: NonZeroU32,
        quota: &Quota,
        now: Uptime,
    ) {
        self.is_asking = false;
        let paid = self.owed.min(grant.granted);
        self.owed -= paid;
        let new = grant.granted - paid;
        self.own.spend(*quota, new, now);
        self.held = if now < self.held_until { self.held.saturating_add(new) } else { new };
        self.held_until = now.after(HELD_FOR);
        self.remaining = grant.remaining;
        if grant.granted < wanted.get() {
            // Not so long that the counter would be full before it is asked again.
            let pause = self.pause().min(grant.full_after / 4);
            self.none_until = now.after(grant.next_after.max(pause));
        }
    }

    fn pause(&mut self) -> Duration {
        // Xorshift (Marsaglia 2003).
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let more = (PAUSE.as_micros() * 2 * u128::from(self.chance >> 32)) >> 32;
        PAUSE + Duration::from_micros(u64::try_from(more).unwrap_or_default())
    }

    /// There is no answer.
    pub(super) fn failed(&mut self) {
        self.is_asking = false;
    }

    fn ask(&mut self, number: u32, step: impl FnOnce(NonZeroU32) -> Step) -> Step {
        self.is_asking = true;
        let wanted = number.saturating_add(self.owed);
        step(NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN))
    }

    /// How many permits are taken at a time, at least 1.
    fn bundle(&self, quota: &Quota) -> u32 {
        let used = u128::from(self.demand.per_second) * BUNDLE_OF.as_millis() / 1000;
        let share = SHARE_OF.as_nanos() / u128::from(quota.interval_nanos());
        let most = share.min(u128::from(quota.burst.get() / 4));
        u32::try_from(used.min(most)).unwrap_or(u32::MAX).max(1)
    }
}

/// How often an instance is asked for what one counter counts, allowed or not.
struct Demand {
    since: Uptime,
    count: u64,
    per_second: u64,
}

impl Demand {
    const WINDOW: Duration = Duration::from_millis(50);
    /// After such a pause, what was before says nothing any more.
    const LONG_AGO: Duration = Duration::from_secs(1);

    fn note(&mut self, now: Uptime) {
        self.count = self.count.saturating_add(1);
        let elapsed = now.since(self.since);
        if elapsed < Self::WINDOW {
            return;
        }
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let latest = self.count.saturating_mul(1_000_000_000) / nanos;
        let is_new = elapsed > Self::LONG_AGO;
        self.per_second = if is_new { latest } else { self.per_second.midpoint(latest) };
        (self.since, self.count) = (now, 0);
    }
}

#[cfg(test)]
mod tests;
