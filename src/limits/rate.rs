//! The counters of one rate.

use std::convert::Infallible;
use std::sync::Arc;

use quick_cache::UnitWeighter;

use super::allowances::{Allowances, FleetCounters, Judged, Pending};
use super::gcra::Counter;
use super::key::{CounterKey, LimitId, Scope};
use super::quota::Quota;
use super::settings::RateSettings;
use super::verdict::Verdict;
use crate::domain::Uptime;

/// How many counters a rate has at most.
///
/// Of more keys than this, those that were seen least are forgotten. A counter that is forgotten
/// has all its permits: its holder gets one burst too many. Who comes again and again is not
/// forgotten for those who come once, so an attacker with many addresses makes room for nobody but
/// itself; and each rate has counters of its own, so addresses never drive out tokens.
pub const MOST_COUNTERS: usize = 1 << 17;

/// Counters for this many keys are there from the start.
const FIRST_COUNTERS: usize = 64;

/// One rate of the configuration, with its counters. All workers of a process share it.
pub struct Rate {
    id: LimitId,
    settings: RateSettings,
    counters: Counters,
}

enum Counters {
    /// Of all requests together.
    One(Arc<Counter>),
    /// Of each key. `quick_cache` has a bound, and keeps what is used often: see
    /// [`MOST_COUNTERS`].
    ByKey(quick_cache::sync::Cache<CounterKey, Arc<Counter>>),
    /// Of each key, in the fleet's store.
    OfFleet(Arc<Allowances>),
}

/// What becomes of a request that asked for a permit.
pub enum Asked {
    /// This; with the permit, if it may pass.
    Now(Verdict, Option<Taken>),
    /// It has to wait for the counter of the fleet.
    Later(Waiting),
}

/// A request that waits for the counter of the fleet.
pub struct Waiting {
    pending: Pending,
    permit: Taken,
}

/// A permit that was taken, to be given back if the request does not pass after all.
pub struct Taken(Source);

enum Source {
    Own { counter: Arc<Counter>, quota: Quota },
    Fleet { allowances: Arc<Allowances>, key: CounterKey, quota: Quota },
}

impl Rate {
    /// Without a request so far. `id` tells it from all others.
    #[must_use]
    pub fn new(id: LimitId, settings: RateSettings) -> Self {
        let counters = match settings.scope {
            Scope::Route => Counters::One(Arc::default()),
            _ => Counters::ByKey(quick_cache::sync::Cache::with(
                FIRST_COUNTERS,
                MOST_COUNTERS as u64,
                UnitWeighter,
                quick_cache::DefaultHashBuilder::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            )),
        };
        Self { id, settings, counters }
    }

    /// A limit that has other settings now, with what of it is used up. Where the fleet counts, its
    /// store has that; what moves between this process and the fleet is forgotten.
    #[must_use]
    pub fn with(&self, settings: RateSettings, now: Uptime) -> Self {
        let mut changed = Self::new(self.id, settings);
        let converted = |counter: &Counter| {
            counter.converted(self.settings.quota, settings.quota, now).map(Arc::new)
        };
        match (&mut changed.counters, &self.counters) {
            (Counters::One(own), Counters::One(before)) => {
                *own = converted(before).unwrap_or_default();
            }
            (Counters::ByKey(own), Counters::ByKey(before)) => {
                for (key, counter) in before.iter() {
                    if let Some(counter) = converted(&counter) {
                        own.insert(key, counter);
                    }
                }
            }
            _ => {}
        }
        changed
    }

    /// The same, counted by the fleet together.
    #[must_use]
    pub fn of_fleet(&self, fleet: &Arc<FleetCounters>) -> Self {
        let allowances = Allowances::new(Arc::clone(fleet), MOST_COUNTERS);
        Self { id: self.id, settings: self.settings, counters: Counters::OfFleet(allowances) }
    }

    /// What tells it from every other rate.
    #[must_use]
    pub const fn id(&self) -> LimitId {
        self.id
    }

    /// As it is configured.
    #[must_use]
    pub const fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// Takes one permit of `quota`, which is the rate's own or another one for this key, if there is
    /// one. Must be called within a tokio runtime.
    #[must_use]
    pub fn take(&self, key: &CounterKey, quota: Quota, now: Uptime) -> Asked {
        let counter = match &self.counters {
            Counters::OfFleet(allowances) => {
                let judged = allowances.judge(*key, quota, now);
                let allowances = Arc::clone(allowances);
                let permit = Taken(Source::Fleet { allowances, key: *key, quota });
                return match judged {
                    Judged::Now(verdict) => {
                        Asked::Now(verdict, verdict.is_allowed.then_some(permit))
                    }
                    Judged::Later(pending) => Asked::Later(Waiting { pending, permit }),
                };
            }
            Counters::One(counter) => Arc::clone(counter),
            Counters::ByKey(counters) => counters.get(key).unwrap_or_else(|| {
                let new = || Ok::<_, Infallible>(Arc::default());
                counters.get_or_insert_with(key, new).unwrap_or_else(|never| match never {})
            }),
        };
        let verdict = counter.take(quota, now);
        let permit = verdict.is_allowed.then_some(Taken(Source::Own { counter, quota }));
        Asked::Now(verdict, permit)
    }

    /// How many keys it has counters for.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &self.counters {
            Counters::One(_) => 1,
            Counters::ByKey(counters) => counters.len(),
            Counters::OfFleet(allowances) => allowances.len(),
        }
    }

    /// Whether the whole fleet has one counter of it.
    #[must_use]
    pub const fn is_of_fleet(&self) -> bool {
        matches!(self.counters, Counters::OfFleet(_))
    }
}

impl Waiting {
    /// Waits a bounded time for what becomes of the request; with the permit, if it may pass.
    pub async fn outcome(self) -> (Verdict, Option<Taken>) {
        let verdict = self.pending.verdict().await;
        (verdict, verdict.is_allowed.then_some(self.permit))
    }
}

impl Taken {
    /// Gives it back.
    pub fn give_back(self) {
        match self.0 {
            Source::Own { counter, quota } => counter.give_back(quota),
            Source::Fleet { allowances, key, quota } => allowances.give_back(&key, &quota),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn rate(scope: Scope, burst: u32) -> Rate {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let period = Duration::from_hours(1);
        let quota = Quota { count: number(1), period, burst: number(burst) };
        let settings = RateSettings { scope, quota, is_shared: false };
        Rate::new(LimitId::of(&["test", scope.as_str()]), settings)
    }

    fn passes(rate: &Rate, address: u32) -> bool {
        let address = IpAddr::V4(Ipv4Addr::from_bits(address));
        let key = CounterKey::address(rate.id(), Some(address));
        let asked = rate.take(&key, rate.settings().quota, Uptime::from_nanos(1));
        matches!(asked, Asked::Now(verdict, _) if verdict.is_allowed)
    }

    #[test]
    fn each_key_has_a_quota_of_its_own() {
        let rate = rate(Scope::Address, 2);
        for address in 0..100 {
            assert!(passes(&rate, address) && passes(&rate, address));
            assert!(!passes(&rate, address));
        }
    }

    #[test]
    fn what_is_used_up_of_each_key_stays_so_when_the_quota_changes() {
        let before = rate(Scope::Address, 3);
        assert!(passes(&before, 1) && passes(&before, 1) && passes(&before, 2));
        let quota = rate(Scope::Address, 4).settings().quota;
        let settings = RateSettings { quota, ..*before.settings() };
        let after = before.with(settings, Uptime::from_nanos(1));
        let left = |address| (0..10).filter(|_| passes(&after, address)).count();
        assert_eq!([left(1), left(2), left(3)], [2, 3, 4]);
        let one = rate(Scope::Route, 2);
        assert!(passes(&one, 1));
        let same = *one.settings();
        let after = one.with(same, Uptime::from_nanos(1));
        assert!(passes(&after, 1) && !passes(&after, 1));
    }

    #[test]
    fn a_million_addresses_take_no_more_memory_than_the_bound() {
        let rate = rate(Scope::Address, 1);
        for address in 0..1_000_000 {
            assert!(passes(&rate, address), "every address has its burst");
        }
        let keys = rate.keys();
        assert!(keys <= MOST_COUNTERS, "{keys}");
        assert!(keys > MOST_COUNTERS / 2, "it keeps what it has room for: {keys}");
    }

    #[test]
    fn an_address_that_comes_again_and_again_is_not_forgotten_in_a_flood() {
        let rate = rate(Scope::Address, 1);
        assert!(passes(&rate, u32::MAX));
        for address in 0..500_000 {
            let _ = passes(&rate, address);
            if address % 100 == 0 {
                assert!(!passes(&rate, u32::MAX), "after {address} others");
            }
        }
    }
}
