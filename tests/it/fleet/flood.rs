//! A flood of forged tokens: right in form, signed by nobody. Redis must not hear of one of them.

use std::time::{Duration, Instant};

use super::line::get;
use super::{Fleet, LEASE};
use crate::support::redis::RedisServer;

/// How many are asked with before the answers are read.
const BATCH: usize = 100;

/// Commands that Redis was given, those of the heartbeats, the probes and this test apart.
fn look_ups(redis: &RedisServer) -> u64 {
    ["hmget", "hget", "hgetall", "get", "exists"].iter().map(|name| redis.calls(name)).sum()
}

fn flood(count: usize) {
    let redis = RedisServer::start();
    let fleet = Fleet::start(1, &redis);
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    fleet.warm(&good);
    let (signed, _) = good.token.rsplit_once('.').expect("a JWT has three parts");
    let (reads, exists, purges) = (redis.calls("hmget"), redis.calls("exists"), redis.calls("zrangebyscore"));
    let (all, echoes) = (look_ups(&redis), redis.calls("echo"));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let mut line = fleet.line(0);
            scope.spawn(move || {
                for first in (thread * BATCH..count).step_by(4 * BATCH) {
                    let mut requests = String::new();
                    for number in first..first + BATCH {
                        // 32 bytes in base64url: each another signature, and none of them ours.
                        requests.push_str(&get(&format!("{signed}.{number:0>42}A")));
                    }
                    line.send(requests.as_bytes()).expect("sent");
                    for _ in 0..BATCH {
                        assert_eq!(line.hear().expect("an answer").status, 401);
                    }
                }
            });
        }
    });
    let took = began.elapsed();
    eprintln!("{count} forged tokens in {took:?}");
    // The upkeep, once in a while, reads what has expired, and is alone in asking for that.
    let (reads, purges) = (redis.calls("hmget") - reads, redis.calls("zrangebyscore") - purges);
    assert!(reads <= purges && purges <= took.as_secs() / 20 + 1, "{reads} look-ups, {purges} purges in {took:?}");
    // Each question to Redis on behalf of a request has an ECHO behind it; what is left are the probes of readiness.
    let beats = took.as_millis() as u64 / (LEASE.as_millis() as u64 / 4) + 2;
    let (all, echoes) = (look_ups(&redis) - all, redis.calls("echo") - echoes);
    let probes = redis.calls("exists") - exists;
    // A heartbeat's script asks for the generation; a change that probes asks for nothing.
    assert!(
        all <= beats + probes + 5 * purges && echoes <= beats + 2 * probes + purges,
        "{all} look-ups, {echoes} questions in {took:?}"
    );
    assert!(probes <= took.as_secs() * 10 + 10, "{probes} probes in {took:?}");
    assert_eq!(fleet.status(0, &good.token), 200);
    assert!(took < Duration::from_secs(600));
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
