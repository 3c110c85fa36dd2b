//! What is broken in a run, and mended again: each kind once, in random order, before any comes
//! again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::Fleet;
use super::super::topology::{Clustered, failover, master_of, wait_for_followers_of};
use super::History;
use crate::support::redis::{RedisServer, wait_until};
use crate::support::{Random, Relay, Way, Which};

const INSTANCE_STOPPED: &str = "instance stopped";
const INSTANCE_KILLED: &str = "instance killed";
const LISTENERS_CUT: &str = "invalidation connections cut";
const OTHERS_CUT: &str = "data connections cut";
const REDIS_STOPPED: &str = "Redis stopped";
const REDIS_KILLED: &str = "Redis killed";
const FLUSHED: &str = "FLUSHDB";
const HELD: &str = "network held";
const ONE_WAY: &str = "network one-way";
const LATE: &str = "network late";
const LISTENER_HELD: &str = "invalidation connection held";
const LISTENER_HALF_OPEN: &str = "invalidation connection half-open";
const LISTENER_LATE: &str = "invalidation connection late";
const PLANNED: &str = "planned failover";
const SLOT_MOVED: &str = "slot moved";

/// Breaks one thing after the other for so long. `act` breaks it, for about that time, and mends
/// it.
fn stir(
    history: &History,
    fleet: &Fleet,
    kinds: &[&'static str],
    random: &mut Random,
    span: Duration,
    mut act: impl FnMut(&str, Duration, &mut Random),
) {
    let until = Instant::now() + span;
    let mut slowest = (Duration::ZERO, String::new());
    let mut left = Vec::new();
    while Instant::now() < until {
        pause(300 + random.below(400));
        let lasts = Duration::from_millis(100 + random.below(900) as u64);
        if left.is_empty() {
            left.extend_from_slice(kinds);
        }
        let fault = left.swap_remove(random.below(left.len()));
        history.during(&format!("{fault} for {lasts:?}"), || {
            act(fault, lasts, random);
            let over = Instant::now();
            wait_until("every instance is ready again", || fleet.are_ready());
            slowest = slowest
                .clone()
                .max((over.elapsed(), format!("ready {:?} after {fault}", over.elapsed())));
        });
    }
    eprintln!("linearizability: the slowest to recover from: {}", slowest.1);
}

fn pause(millis: usize) {
    std::thread::park_timeout(Duration::from_millis(millis as u64));
}

/// What is broken in the same way wherever the records are; `redis` is the master.
fn common(
    history: &History,
    fleet: &Fleet,
    redis: &RedisServer,
    fault: &str,
    lasts: Duration,
    random: &mut Random,
) {
    let instance = random.below(fleet.worlds.len());
    let world = &fleet.worlds[instance];
    match fault {
        INSTANCE_STOPPED => {
            world.signal(Signal::STOP);
            std::thread::park_timeout(lasts);
            world.signal(Signal::CONT);
        }
        INSTANCE_KILLED => history.while_away(instance, || {
            world.replace(|| std::thread::park_timeout(lasts));
            wait_until("it is ready", || world.ready() == Some(200));
        }),
        LISTENERS_CUT => drop(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])),
        OTHERS_CUT => drop(redis.command(&["CLIENT", "KILL", "TYPE", "normal"])),
        REDIS_STOPPED => {
            redis.freeze();
            std::thread::park_timeout(lasts);
            redis.thaw();
        }
        FLUSHED => history.while_flushed(|| drop(redis.command(&["FLUSHDB"]))),
        other => panic!("no such fault: {other}"),
    }
}

/// One server; the last of the instances reaches it through `relay`.
pub(super) fn on_one_server(
    history: &History,
    fleet: &Fleet,
    redis: &mut RedisServer,
    relay: &Relay,
    random: &mut Random,
    span: Duration,
) {
    const KINDS: [&str; 13] = [
        INSTANCE_STOPPED,
        INSTANCE_KILLED,
        LISTENERS_CUT,
        OTHERS_CUT,
        REDIS_STOPPED,
        REDIS_KILLED,
        FLUSHED,
        HELD,
        ONE_WAY,
        LATE,
        LISTENER_HELD,
        LISTENER_HALF_OPEN,
        LISTENER_LATE,
    ];
    stir(history, fleet, &KINDS, random, span, |fault, lasts, random| {
        let late = Way::Delay(Duration::from_millis(10 + random.below(90) as u64));
        let one_way = if random.below(2) == 0 {
            (Way::Pass, Way::Swallow)
        } else {
            (Way::Swallow, Way::Pass)
        };
        let (which, (to_server, to_client)) = match fault {
            REDIS_KILLED => {
                redis.kill();
                std::thread::park_timeout(lasts);
                return redis.restart();
            }
            HELD => (Which::All, (Way::Hold, Way::Hold)),
            ONE_WAY => (Which::All, one_way),
            LATE => (Which::All, (late, late)),
            LISTENER_HELD => (Which::Listening, (Way::Hold, Way::Hold)),
            LISTENER_HALF_OPEN => (Which::Listening, one_way),
            LISTENER_LATE => (Which::Listening, (late, late)),
            _ => return common(history, fleet, redis, fault, lasts, random),
        };
        relay.set_of(which, to_server, to_client);
        std::thread::park_timeout(lasts);
        if matches!(fault, ONE_WAY | LISTENER_HALF_OPEN) {
            // What was swallowed is missing for good: nothing sensible comes over these connections
            // any more.
            relay.cut();
        }
        relay.mend();
    });
}

/// A master with replicas under sentinels.
pub(super) fn on_sentinels(
    history: &History,
    fleet: &Fleet,
    servers: &mut [RedisServer],
    sentinels: &[RedisServer],
    random: &mut Random,
    span: Duration,
) {
    const KINDS: [&str; 8] = [
        REDIS_KILLED,
        PLANNED,
        INSTANCE_STOPPED,
        INSTANCE_KILLED,
        LISTENERS_CUT,
        OTHERS_CUT,
        REDIS_STOPPED,
        FLUSHED,
    ];
    stir(history, fleet, &KINDS, random, span, |fault, lasts, random| {
        let master = master_of(servers, sentinels);
        match fault {
            REDIS_KILLED => {
                servers[master].kill();
                wait_until("the sentinels name another master", || {
                    master_of(servers, sentinels) != master
                });
                servers[master].restart();
            }
            PLANNED => failover(servers, sentinels),
            // Shorter than the sentinels' timeout: it stays the master.
            _ => {
                return common(
                    history,
                    fleet,
                    &servers[master],
                    fault,
                    lasts.min(Duration::from_millis(600)),
                    random,
                );
            }
        }
        // Until then, no change is acknowledged. Where a sentinel was late, they may choose once
        // more.
        wait_for_followers_of(|| &servers[master_of(servers, sentinels)], servers.len() - 1);
    });
}

/// A Cluster whose masters have a replica each.
pub(super) fn on_cluster(
    history: &History,
    fleet: &Fleet,
    cluster: &mut Clustered,
    random: &mut Random,
    span: Duration,
) {
    const KINDS: [&str; 8] = [
        SLOT_MOVED,
        REDIS_KILLED,
        INSTANCE_STOPPED,
        INSTANCE_KILLED,
        LISTENERS_CUT,
        OTHERS_CUT,
        REDIS_STOPPED,
        FLUSHED,
    ];
    stir(history, fleet, &KINDS, random, span, |fault, lasts, random| match fault {
        SLOT_MOVED => cluster.move_slot(),
        REDIS_KILLED => {
            let killed = cluster.kill_owner();
            cluster.restart(killed);
        }
        _ => common(history, fleet, &cluster.nodes[cluster.owner()], fault, lasts, random),
    });
}
