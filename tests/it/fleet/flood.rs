//! A flood of forged tokens: right in form, without a valid signature. None of them may cause a
//! question to Redis.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::raw_client::get;
use super::{Fleet, millis};
use crate::support::redis::{Monitor, RedisServer};

/// How many are asked with before the answers are read.
const BATCH: usize = 100;

/// Long, because an instance whose link is lost on a late machine makes another link, with more
/// commands than those that keep a link up.
const LEASE: Duration = Duration::from_secs(4);

/// What a look-up is: a command of an instance, with an `ECHO` behind it. What a script reads does
/// not count: it was called, and that counts.
const LOOK_UP: &str = "hmget";

/// What an instance sends to Redis without any request: its heartbeats, each with a
/// `PING` behind it, and once a second a question and a script that say whether the store can be
/// used, and at times one that notes uses or sweeps up; each of these has an `ECHO` behind it. A
/// script that Redis does not know yet is sent again.
const UPKEEP: [&str; 5] = ["evalsha", "eval", "ping", "exists", "echo"];

/// What instances asked Redis meanwhile, by command; and the look-ups among it, those of scripts
/// apart, by both of the ways to count them.
fn asked(redis: &RedisServer, meanwhile: impl FnOnce()) -> (BTreeMap<String, u64>, u64) {
    let monitor = Monitor::start(redis);
    let before = redis.calls(LOOK_UP);
    meanwhile();
    let counted = redis.calls(LOOK_UP) - before;
    let answer = monitor.end();
    let of_scripts = answer.of_scripts.get(LOOK_UP).copied().unwrap_or_default();
    eprintln!("asked by instances: {:?}; by scripts: {:?}", answer.of_clients, answer.of_scripts);
    (answer.of_clients, counted - of_scripts)
}

fn flood(count: usize) {
    let redis = RedisServer::start();
    let fleet = Fleet::start_with(&[&redis.url()], |plan| {
        plan.set("store", "coherence_lease", &millis(LEASE))
    });
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    let cold: Vec<_> = (0..3).map(|_| fleet.mint(0, &root)).collect();
    fleet.warm(&good);
    let (signed, _) = good.token.rsplit_once('.').expect("a JWT has three parts");
    let began = Instant::now();
    let (commands, look_ups) = asked(&redis, || {
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let mut client = fleet.client(0);
                scope.spawn(move || {
                    for first in (thread * BATCH..count).step_by(4 * BATCH) {
                        let mut requests = String::new();
                        for number in first..first + BATCH {
                            // 32 bytes in base64url: each another signature, and none of them ours.
                            requests.push_str(&get(&format!("{signed}.{number:0>42}A")));
                        }
                        client.send(requests.as_bytes()).expect("sent");
                        for _ in 0..BATCH {
                            assert_eq!(client.read_answer().expect("an answer").status, 401);
                        }
                    }
                });
            }
        });
    });
    let took = began.elapsed();
    eprintln!("{count} forged tokens in {took:?}");
    assert_eq!(look_ups, 0, "{commands:?}");
    let others: Vec<_> = commands.keys().filter(|name| !UPKEEP.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "only a forged token can be the cause of this: {commands:?}");
    let count_of = |name: &str| commands.get(name).copied().unwrap_or_default();
    let (beats, echoes, scripts) =
        (count_of("ping"), count_of("echo"), count_of("evalsha") + count_of("eval"));
    let seconds = took.as_secs_f64();
    let most = |a_second: f64| (a_second * seconds) as u64 + 10;
    assert!(
        beats <= most(4.0 / LEASE.as_secs_f64()) && echoes <= most(4.0),
        "in {took:?}: {commands:?}"
    );
    // One of either may be under way.
    assert!(
        (scripts + count_of("exists")).abs_diff(beats + echoes) <= 2,
        "in {took:?}: {commands:?}"
    );

    // What would have been seen: a token that is unknown to the cache costs one.
    let (_, look_ups) = asked(&redis, || {
        for token in &cold {
            assert_eq!(fleet.status(0, &token.token), 200);
        }
        assert_eq!(fleet.status(0, &good.token), 200);
    });
    assert_eq!(look_ups, 3);
}

#[test]
fn a_flood_of_forged_tokens_costs_redis_nothing() {
    flood(50_000);
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_a_flood_of_a_million_forged_tokens_costs_redis_nothing() {
    flood(1_000_000);
}
