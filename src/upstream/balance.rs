//! Which endpoint a request goes to. It neither reads a clock nor does I/O: what is known of the
//! endpoints and the randomness come as arguments.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};

use super::Policy;

/// An endpoint that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place among the endpoints of the upstream.
    pub(super) at: usize,
    /// Its share, in proportion to the others; at least 1.
    pub(super) weight: u32,
    /// Requests that it has under way.
    pub(super) load: u32,
    /// What distinguishes it from the others, whatever their order.
    pub(super) seed: u64,
}

/// Chooses among candidates, for one worker.
pub(super) struct Balancer {
    policy: Policy,
    /// How far each endpoint is behind its share (round robin).
    behind: RefCell<Vec<i64>>,
    pub(super) random: Random,
}

impl Balancer {
    /// For so many endpoints.
    pub(super) fn new(policy: Policy, endpoints: usize, random: Random) -> Self {
        let balancer = Self { policy, behind: RefCell::new(vec![0; endpoints]), random };
        // Workers that all begin with the first endpoint would ask it too often.
        if let Ok(last) = i64::try_from(endpoints) {
            let mut behind = balancer.behind.borrow_mut();
            for each in behind.iter_mut() {
                *each = i64::from(balancer.random.below(1000)) * last / 1000;
            }
        }
        balancer
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// One of the candidates; `key`: of the request, for the policy that goes by it. `None`: there
    /// is no candidate.
    pub(super) fn choose(&self, candidates: &[Candidate], key: Option<u64>) -> Option<usize> {
        if let [only] = candidates {
            return Some(only.at);
        }
        match (&self.policy, key) {
            (Policy::LeastRequests, _) => self.less_loaded(candidates),
            (Policy::Hash(_), Some(key)) => highest(candidates, key),
            (Policy::RoundRobin | Policy::Hash(_), _) => self.next(candidates),
        }
    }

    /// Each has its turns in proportion to its weight, spread evenly: the one that is the furthest
    /// behind is next.
    fn next(&self, candidates: &[Candidate]) -> Option<usize> {
        let mut behind = self.behind.borrow_mut();
        let mut best: Option<(usize, i64)> = None;
        let mut all = 0;
        for candidate in candidates {
            let own = behind.get_mut(candidate.at)?;
            *own += i64::from(candidate.weight);
            all += i64::from(candidate.weight);
            if best.is_none_or(|(_, most)| *own > most) {
                best = Some((candidate.at, *own));
            }
        }
        let (at, _) = best?;
        *behind.get_mut(at)? -= all;
        Some(at)
    }

    /// Of two that are drawn by their weights, the one with fewer requests for its weight; of two
    /// that are alike, the one that was drawn first.
    fn less_loaded(&self, candidates: &[Candidate]) -> Option<usize> {
        let first = self.draw(candidates, None)?;
        let second = self.draw(candidates, Some(first.at))?;
        let cost = |one: Candidate, other: Candidate| u64::from(one.load) * u64::from(other.weight);
        Some(if cost(second, first) < cost(first, second) { second.at } else { first.at })
    }

    fn draw(&self, candidates: &[Candidate], except: Option<usize>) -> Option<Candidate> {
        let open = || candidates.iter().filter(|candidate| Some(candidate.at) != except);
        let all: u64 = open().map(|candidate| u64::from(candidate.weight)).sum();
        let mut left = u64::from(self.random.below(u32::try_from(all).unwrap_or(u32::MAX)));
        open()
            .find(|candidate| {
                let weight = u64::from(candidate.weight);
                let is_it = left < weight;
                left = left.saturating_sub(weight);
                is_it
            })
            .copied()
    }
}

/// Rendezvous hashing: each candidate gets a number from the key and its seed, and the highest one
/// is chosen. A candidate that leaves moves only its own keys; one that comes takes its share of
/// each other's. The logarithm makes the shares follow the weights.
fn highest(candidates: &[Candidate], key: u64) -> Option<usize> {
    let score = |candidate: &Candidate| {
        f64::from(candidate.weight) / -unit(mixed(key ^ candidate.seed)).ln()
    };
    let best = candidates.iter().max_by(|one, other| score(one).total_cmp(&score(other)));
    best.map(|candidate| candidate.at)
}

/// Evenly spread over the numbers between 0 and 1, without both.
pub(super) fn unit(bits: u64) -> f64 {
    // 32 bits fit into a float exactly.
    let high = u32::try_from(bits >> 32).unwrap_or_default();
    (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// The same number for the same bytes in every process (FNV-1a, then mixed).
#[must_use]
pub fn key_of(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let folded =
        bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    mixed(folded)
}

/// Spreads every bit over all (the finalizer of SplitMix64).
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A source of numbers for choices, of one worker (SplitMix64). Nothing secret may depend on it.
pub(super) struct Random(Cell<u64>);

impl Random {
    /// Unlike that of any other worker.
    pub(super) fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mixed(state)
    }

    /// Below `end`; 0, if that is 0.
    fn below(&self, end: u32) -> u32 {
        // The bias is below 2^-32.
        let scaled = (self.next() >> 32) * u64::from(end);
        u32::try_from(scaled >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::HashBy;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate = |(at, weight): (usize, &u32)| Candidate {
            at,
            weight: *weight,
            load: 0,
            seed: key_of(format!("10.0.0.{at}:80").as_bytes()),
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    fn balancer(policy: Policy, endpoints: usize) -> Balancer {
        Balancer::new(policy, endpoints, Random::seeded(7))
    }

    fn counts(chosen: impl Iterator<Item = usize>, endpoints: usize) -> Vec<usize> {
        let mut counts = vec![0; endpoints];
        chosen.for_each(|at| counts[at] += 1);
        counts
    }

    #[test]
    fn in_turn_each_has_exactly_its_share_and_never_two_runs_of_its_own() {
        let balancer = balancer(Policy::RoundRobin, 3);
        let three = candidates(&[5, 1, 1]);
        let chosen: Vec<_> =
            (0..700).map(|_| balancer.choose(&three, None).expect("one")).collect();
        let shares = counts(chosen.iter().copied(), 3);
        for (share, expected) in shares.iter().zip([500, 100, 100]) {
            assert!(share.abs_diff(expected) <= 1, "{shares:?}");
        }
        let longest = chosen.chunk_by(|one, other| one == other).map(<[usize]>::len).max();
        assert!(longest <= Some(5), "{longest:?}");
    }

    #[test]
    fn one_that_was_away_does_not_catch_up() {
        let balancer = balancer(Policy::RoundRobin, 2);
        let both = candidates(&[1, 1]);
        (0..1000).for_each(|_| assert_eq!(balancer.choose(&both[..1], None), Some(0)));
        let first: Vec<_> = (0..10).filter_map(|_| balancer.choose(&both, None)).collect();
        assert!(counts(first.iter().copied(), 2)[1] <= 6, "{first:?}");
    }

    /// A queue of requests that end in the order in which they began, at endpoints of which one
    /// takes ten times as long.
    #[test]
    fn a_slow_endpoint_gets_fewer_requests_where_the_least_loaded_of_two_is_asked() {
        let balancer = balancer(Policy::LeastRequests, 3);
        let mut all = candidates(&[1, 1, 1]);
        let mut ends: Vec<(u32, usize)> = Vec::new();
        let mut asked = vec![0; 3];
        for now in 0..3000 {
            ends.retain(|(end, at)| {
                let is_open = *end > now;
                if !is_open {
                    all[*at].load -= 1;
                }
                is_open
            });
            let at = balancer.choose(&all, None).expect("one");
            asked[at] += 1;
            all[at].load += 1;
            ends.push((now + if at == 0 { 100 } else { 10 }, at));
        }
        assert!(asked[0] * 2 < asked[1] && asked[0] * 2 < asked[2], "{asked:?}");
        assert!(asked[0] > 100, "it is not left out: {asked:?}");
    }

    #[test]
    fn without_load_the_least_loaded_are_asked_by_their_weights() {
        let balancer = balancer(Policy::LeastRequests, 2);
        let both = candidates(&[1, 3]);
        let shares = counts((0..4000).filter_map(|_| balancer.choose(&both, None)), 2);
        assert!((850..1150).contains(&shares[0]), "{shares:?}");
    }

    #[test]
    fn a_key_keeps_its_endpoint_in_any_order_and_moves_only_when_that_one_leaves() {
        let balancer = balancer(Policy::Hash(HashBy::Subject), 4);
        let four = candidates(&[1, 1, 1, 2]);
        let reversed: Vec<_> = four.iter().rev().copied().collect();
        let without: Vec<_> = four[1..].to_vec();
        let mut shares = vec![0; 4];
        for subject in 0..10_000 {
            let key = Some(key_of(format!("user-{subject}").as_bytes()));
            let at = balancer.choose(&four, key).expect("one");
            shares[at] += 1;
            assert_eq!(balancer.choose(&reversed, key), Some(at));
            let then = balancer.choose(&without, key).expect("one");
            assert!(at == 0 || then == at, "a key of {at} went to {then}");
        }
        for (share, expected) in shares.iter().zip([2000, 2000, 2000, 4000]) {
            assert!(i32::abs_diff(*share, expected) < 200, "{shares:?}");
        }
    }

    #[test]
    fn there_is_no_choice_among_none() {
        for policy in [Policy::RoundRobin, Policy::LeastRequests, Policy::Hash(HashBy::Subject)] {
            assert_eq!(balancer(policy, 0).choose(&[], Some(1)), None);
        }
    }

    #[test]
    fn numbers_between_zero_and_one_exclude_both() {
        for bits in [0, 1, u64::MAX, u64::MAX / 2] {
            let unit = unit(bits);
            assert!(unit > 0.0 && unit < 1.0, "{bits}: {unit}");
        }
    }
}
