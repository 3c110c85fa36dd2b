//! Redis away, stopped, cut off or slow.

use std::time::{Duration, Instant};

use super::super::mix::{Class, Footprint, Sample};
use super::super::{LEASE, percentiles};
use super::{Book, OutageBench, READ_TIMEOUT, RECOVERY, connections, is_long, pass, serve_cached};
use crate::support::lateness::{self, slack};
use crate::support::{Issued, Way};

/// How long connecting to Redis may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn r1_a_killed_redis_interrupts_no_remembered_token_and_is_used_again_when_it_is_back() {
    /// Also how long a revocation takes while it is not certain that every instance is registered.
    const STALENESS: Duration = Duration::from_secs(4);
    let mut bench =
        OutageBench::start("appendfsync always", false, |plan| serve_cached(plan, STALENESS));
    let (mix, book) =
        (bench.mix(), Book::start(bench.fleet.client(0), bench.root.clone(), STALENESS));
    pass(Duration::from_millis(500));
    let killed = Instant::now();
    bench.redis.kill();
    pass(Duration::from_millis(1500));
    bench.redis.restart();
    let over = Instant::now();
    let samples = bench.recover(mix, Some(book), over);
    // When it is back, all that is remembered is dropped and read anew, over connections that are
    // made one after the other: that is part of the recovery, and held to its time.
    let meanwhile = samples.of(Class::Cached).between(killed, over);
    assert_eq!(meanwhile.not_served(), Vec::<String>::new(), "a remembered token was not served");
    let away = samples.between(killed + LEASE, over - Duration::from_millis(100));
    assert!(away.of(Class::Fresh).count(503) > 10, "{}", away.summary());
    // Nothing is said of what is in no record: it might have been made a moment ago.
    let unknown = away.of(Class::Unknown);
    assert!(!unknown.0.is_empty() && unknown.count(503) == unknown.0.len(), "{}", away.summary());
    let slowest =
        away.of(Class::Fresh).0.iter().map(Sample::took_by_itself).max().unwrap_or_default();
    assert!(slowest <= 2 * READ_TIMEOUT, "\"cannot tell\" took {slowest:?}");
    // Three seconds since its start; and of our own, one for each command of this test.
    let made = connections(&bench.redis);
    assert!(made <= 3 * 10 + 10, "{made} connections in three seconds");
}

/// The pauses between attempts have grown meanwhile.
#[test]
#[ignore = "takes long: make soak"]
fn soak_r1_after_ten_seconds_away_full_service_is_back_as_soon() {
    let mut bench = OutageBench::start("appendfsync always", false, |plan| plan);
    let (mix, book) = (bench.mix(), bench.book());
    bench.redis.kill();
    pass(Duration::from_secs(10));
    bench.redis.restart();
    bench.recover(mix, Some(book), Instant::now());
    let made = connections(&bench.redis);
    assert!(made <= 3 * 10 + 10, "{made} connections in three seconds");
}

#[test]
fn r2_a_stopped_redis_makes_nothing_hang_and_nothing_refused_and_is_not_stormed_when_it_goes_on() {
    let mut bench = OutageBench::start("", false, |plan| plan);
    let mix = bench.mix();
    pass(Duration::from_millis(700));
    let reads_before = bench.redis.calls("hmget");
    let frozen = Instant::now();
    bench.redis.freeze();
    pass(Duration::from_secs(if is_long() { 30 } else { 3 }));
    let grown = Footprint::of(&bench.fleet.worlds[0]);
    let thawing = Instant::now();
    bench.redis.thaw();
    let over = Instant::now();
    let samples = bench.recover(mix, None, over);
    let reads = bench.redis.calls("hmget") - reads_before;
    assert!(
        grown.resident_kib < bench.before.resident_kib + 32 * 1024,
        "{grown:?} after {:?}",
        bench.before
    );
    let away = samples.between(frozen + LEASE, thawing).answered_by(thawing);
    assert_eq!(away.count(200), 0, "without a lease no request is let through: {}", away.summary());
    let since = samples.between(frozen, Instant::now());
    let asked =
        |classes: &[Class]| since.0.iter().filter(|sample| classes.contains(&sample.class)).count();
    // At most one read for each token: those that are remembered, those of the other classes, and
    // each first request.
    let remembered = 20 + 10 + 5;
    // A machine that is late for longer than a lease ends one, and then all of them are read again.
    let again = lateness::between(over, Instant::now()).as_millis() / (LEASE / 2).as_millis();
    let distinct = remembered
        + asked(&[Class::Fresh])
        + remembered * usize::try_from(again).expect("a few times");
    eprintln!("{reads} reads since the stop, {distinct} distinct tokens at most");
    assert!(reads <= distinct as u64, "{reads} reads for {distinct} tokens");
}

#[test]
fn with_serve_cached_what_is_remembered_is_served_until_its_hard_end_and_not_longer() {
    let staleness = Duration::from_millis(1500);
    let bench = OutageBench::start("", false, |plan| serve_cached(plan, staleness));
    let mix = bench.mix();
    pass(Duration::from_millis(500));
    let frozen = Instant::now();
    bench.redis.freeze();
    pass(Duration::from_secs(3));
    let end = Instant::now();
    let samples = mix.end();
    bench.redis.thaw();
    samples.hold(None);
    let cached = samples.of(Class::Cached);
    // The lease counts from the last heartbeat: at most a quarter of it, and a bit, before the
    // stop.
    let before = LEASE / 4 + slack(frozen - LEASE, frozen);
    let early = cached.between(frozen, frozen + staleness.saturating_sub(before));
    assert_eq!(early.not_served(), Vec::<String>::new());
    let took = early.0.iter().map(Sample::took_by_itself).collect();
    let (middle, most) = percentiles(took);
    eprintln!("remembered tokens while Redis is stopped: p50 {middle:?}, p99 {most:?}");
    // A request that waits for Redis waits for its deadline. What is remembered does not: most take
    // as long as ever, and those that the machine delays stay far below it.
    assert!(middle < READ_TIMEOUT / 8, "p50 {middle:?}");
    assert!(most < READ_TIMEOUT / 2, "p99 {most:?}");
    let late = cached.between(frozen + staleness, end);
    assert!(!late.0.is_empty() && late.count(503) == late.0.len(), "{}", late.summary());
}

#[test]
fn r3_a_network_that_holds_or_loses_what_is_sent_either_way_is_recovered_from_without_a_restart() {
    let mut bench = OutageBench::start("", true, |plan| plan);
    for (to_server, to_client) in
        [(Way::Hold, Way::Hold), (Way::Pass, Way::Swallow), (Way::Swallow, Way::Pass)]
    {
        let mix = bench.mix();
        let cut = Instant::now();
        bench.relay().set(to_server, to_client);
        pass(Duration::from_millis(1200));
        let mending = Instant::now();
        bench.relay().mend();
        let over = Instant::now();
        // An instance that was connecting meanwhile, and whose bytes are lost, notices when the
        // time for that is over.
        let lost = if to_server == to_client { Duration::ZERO } else { CONNECT_TIMEOUT };
        let samples = bench.recover_within(RECOVERY + lost, mix, None, over);
        let away = samples.between(cut + LEASE, mending).answered_by(mending);
        assert_eq!(away.count(200), 0, "{to_server:?}, {to_client:?}: {}", away.summary());
    }
}

#[test]
fn r4_a_slow_redis_is_asked_once_for_many_requests_at_once_and_does_not_slow_what_is_remembered() {
    // Slow, but not too slow, however busy this machine is.
    let mut bench = OutageBench::start("", true, |plan| {
        plan.set("store", "coherence_lease", "\"1s\"").set("store", "read_timeout", "\"800ms\"")
    });
    let fresh: Vec<Issued> = (0..4).map(|_| bench.fleet.mint(0, &bench.root)).collect();
    bench.relay().set_both(Way::Delay(Duration::from_millis(100)));
    let mix = bench.mix();
    let from = Instant::now();
    pass(Duration::from_secs(2));
    let samples = mix.end();
    samples.hold(None);
    let cached = samples.between(from, Instant::now()).of(Class::Cached);
    assert_eq!(cached.not_served(), Vec::<String>::new());
    let (middle, most) = percentiles(cached.0.iter().map(Sample::took_by_itself).collect());
    eprintln!("remembered tokens with a slow Redis: p50 {middle:?}, p99 {most:?}");
    assert!(middle < Duration::from_millis(100), "what is remembered waits for Redis: {middle:?}");

    for token in &fresh {
        let before = bench.redis.calls("hmget");
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| assert_eq!(bench.fleet.status(0, &token.token), 200));
            }
        });
        assert_eq!(bench.redis.calls("hmget") - before, 1, "one read for all requests at once");
    }
    // That many connections to the upstream are kept now.
    bench.before = Footprint::of(&bench.fleet.worlds[0]);

    // So slow that nothing can be told, and then a trickle.
    for way in [Way::Delay(Duration::from_secs(1)), Way::Trickle(1000)] {
        let mix = bench.mix();
        bench.relay().set_both(way);
        pass(Duration::from_millis(1500));
        bench.relay().mend();
        bench.recover(mix, None, Instant::now());
    }
}
