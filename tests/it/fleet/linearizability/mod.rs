//! Many clients on three instances, tokens that come and go, and faults: no success begins after a
//! revoke's answer.
//!
//! What is checked of each answer, with the moments taken on one clock:
//!
//! * a success whose request began after the answer of the token's revocation, or of the call that
//!   put another in its place, is a violation, whatever was broken meanwhile;
//! * so is a refusal of a token that was issued, whose revocation has not begun, and that FLUSHDB
//!   has not taken;
//! * so is an answer with another's identity, an answer that is neither yes, no nor "cannot tell",
//!   and none at all from an instance that was not killed.

mod faults;
mod history;
mod users;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::mix::Footprint;
use super::raw_client::RawClient;
use super::topology::{Clustered, Watched};
use super::{Fleet, LEASE, percentiles};
use crate::support::redis::RedisServer;
use crate::support::{Random, Relay, eventually};
pub(super) use history::History;
use users::{ALL_SLOTS, OWNERS, Owner, USERS, User, use_tokens};

const CLIENTS: usize = 64;

/// On what a run takes place.
#[derive(Clone, Copy, Debug)]
enum Ground {
    OneServer,
    Sentinels,
    Cluster,
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Tokens whose revocation was answered.
    pub(super) revocations: usize,
    /// Tokens in whose place another was put.
    pub(super) rotations: usize,
}

/// One run.
fn run(ground: Ground, random: &mut Random, span: Duration) -> Seen {
    let mut faults = random.fork();
    match ground {
        Ground::OneServer => {
            // What was acknowledged is to survive a kill.
            let mut redis = RedisServer::start_with("appendfsync always");
            let relay = Relay::start(redis.address());
            let (direct, relayed) = (redis.url(), format!("redis://{}", relay.address()));
            let fleet = Fleet::start_with(&[&direct, &direct, &relayed], |plan| plan);
            drive(&fleet, CLIENTS, random, |history| {
                faults::on_one_server(history, &fleet, &mut redis, &relay, &mut faults, span);
            })
        }
        Ground::Sentinels => {
            let Watched { mut servers, sentinels, fleet } = Watched::start(2);
            drive(&fleet, CLIENTS, random, |history| {
                faults::on_sentinels(history, &fleet, &mut servers, &sentinels, &mut faults, span);
            })
        }
        Ground::Cluster => {
            let mut clustered = Clustered::start();
            let fleet = clustered.fleet(3);
            drive(&fleet, CLIENTS, random, |history| {
                faults::on_cluster(history, &fleet, &mut clustered, &mut faults, span);
            })
        }
    }
}

/// Ends the work of all when it goes.
struct Stop<'h>(&'h History);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Owners, users and clients at work for as long as `trouble` lasts, and then the judgement.
pub(super) fn drive(
    fleet: &Fleet,
    clients: usize,
    random: &mut Random,
    trouble: impl FnOnce(&History),
) -> Seen {
    let before: Vec<_> = fleet.worlds.iter().map(Footprint::of).collect();
    let history = History::new(ALL_SLOTS, fleet.worlds.len());
    std::thread::scope(|scope| {
        for index in 0..OWNERS.len() {
            let (history, random) = (&history, random.fork());
            scope.spawn(move || Owner::new(history, fleet, index, random).work());
        }
        for index in 0..USERS.len() {
            let (history, random) = (&history, random.fork());
            scope.spawn(move || User::new(history, fleet, index, random).work());
        }
        for _ in 0..clients {
            let (history, random) = (&history, random.fork());
            scope.spawn(move || use_tokens(history, fleet, random));
        }
        // Also if it panics: the others would go on for ever.
        let _stop = Stop(&history);
        trouble(&history);
    });

    // Nothing is broken any more: each token is what it should be, everywhere, and each instance
    // can tell.
    for world in &fleet.worlds {
        assert!(
            eventually(|| world.status_with("forged") == 401 && world.ready() == Some(200)),
            "not ready"
        );
    }
    for slot in 0..history.slots() {
        let Some(entry) = history.entry(slot) else { continue };
        let can_tell = |client: &mut RawClient| {
            client.get_at(entry.target, &entry.token).is_ok_and(|answer| answer.status != 503)
        };
        assert!(
            fleet.clients().iter_mut().all(|client| eventually(|| can_tell(client))),
            "still cannot tell: {}",
            entry.answer
        );
    }
    for entry in (0..history.slots()).filter_map(|slot| history.entry(slot)) {
        for instance in 0..fleet.worlds.len() {
            let began = history.now();
            let answer = fleet.client(instance).get_at(entry.target, &entry.token);
            history.judge(instance, &entry, began, &answer);
        }
    }
    // Nothing is left of the clients, but for what is kept for the next: connections to the
    // upstream, memory of the allocator.
    for (world, before) in fleet.worlds.iter().zip(before) {
        let is_small = |now: Footprint| {
            now.files <= before.files + clients + ALL_SLOTS
                && now.resident_kib <= before.resident_kib + 64 * 1024
        };
        let now = || Footprint::of(world);
        assert!(eventually(|| is_small(now())), "it holds {:?}, and held {before:?}", now());
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let seen =
        Seen { revocations: count(&history.revocations), rotations: count(&history.rotations) };
    eprintln!(
        "linearizability: {} requests, {} successes, {} times \"cannot tell\", {} revocations, {} \
         rotations",
        count(&history.requests),
        count(&history.successes),
        count(&history.cannot_tell),
        seen.revocations,
        seen.rotations,
    );
    let healthy = history.healthy.into_inner().unwrap();
    if !healthy.is_empty() {
        let (middle, most) = percentiles(healthy);
        eprintln!(
            "linearizability: revocations while nothing was broken: p50 {middle:?}, p99 {most:?}"
        );
    }
    let faults: Vec<String> = history
        .faults
        .into_inner()
        .unwrap()
        .into_iter()
        .map(|(at, fault)| format!("{:?} {fault}", Duration::from_nanos(at)))
        .collect();
    let violations = history.violations.into_inner().unwrap();
    assert!(
        violations.is_empty(),
        "{} violations, the first of them:\n{}\nfaults:\n{}",
        violations.len(),
        violations[..violations.len().min(10)].join("\n"),
        faults.join("\n")
    );
    let outlived = history.outlived.into_inner().unwrap().into_iter().max().unwrap_or_default();
    assert!(
        outlived < LEASE,
        "accepted {outlived:?} after FLUSHDB, allowed are {LEASE:?}; faults:\n{}",
        faults.join("\n")
    );
    seen
}

#[test]
fn no_success_begins_after_the_answer_of_a_revocation_whatever_fails_meanwhile() {
    runs(
        &[Ground::OneServer],
        Duration::from_secs(10),
        Seen { revocations: 100, rotations: 30 },
        4,
    );
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_no_success_begins_after_the_answer_of_a_revocation() {
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let wanted = Seen { revocations: number("KEYWARD_SOAK_REVOCATIONS", 10_000), rotations: 0 };
    let grounds = [Ground::OneServer, Ground::Sentinels, Ground::Cluster];
    runs(&grounds, Duration::from_secs(60), wanted, number("KEYWARD_SOAK_RUNS", 24));
}

/// A run on each of these grounds, and more of them, one after the other, until enough has been
/// seen.
fn runs(grounds: &[Ground], span: Duration, wanted: Seen, most: usize) {
    let mut random = Random::seeded("linearizability");
    let (mut runs, mut all) = (0, Seen::default());
    let is_enough =
        |all: &Seen| all.revocations >= wanted.revocations && all.rotations >= wanted.rotations;
    while runs < grounds.len().min(most) || (!is_enough(&all) && runs < most) {
        let ground = grounds[runs % grounds.len()];
        let seen = run(ground, &mut random, span);
        all = Seen {
            revocations: all.revocations + seen.revocations,
            rotations: all.rotations + seen.rotations,
        };
        runs += 1;
        eprintln!(
            "linearizability: {} revocations and {} rotations in {runs} runs, the last on \
             {ground:?}",
            all.revocations, all.rotations
        );
    }
    assert!(is_enough(&all), "only {all:?} in {runs} runs");
}
