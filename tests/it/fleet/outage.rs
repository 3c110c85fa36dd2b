//! Redis away, stopped, slow, cut off, mad, full, empty or changed: what is let through meanwhile, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::line::{Heard, Line};
use super::mix::{Class, Footprint, Mix, Samples, Tokens};
use super::{Fleet, LEASE, Lateness, STORE_TIMEOUT, millis, percentiles};
use crate::support::redis::{RedisServer, free_port, wait_until};
use crate::support::{Client, Issued, Person, Plan, Relay, Reply, Upstream, Way, eventually};

const ALICE: Person = Person::ALICE;

/// How long one look-up may take, by default.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// How long connecting to Redis may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Full service is back this soon after the end of an outage.
const RECOVERY: Duration = Duration::from_secs(2);

/// How long it is then looked at.
const AFTERWARDS: Duration = Duration::from_millis(400);

/// One instance, its Redis, maybe a relay between them, and tokens of all classes.
struct Scene {
    redis: RedisServer,
    relay: Option<Relay>,
    fleet: Fleet,
    tokens: Arc<Tokens>,
    root: String,
    before: Footprint,
}

impl Scene {
    fn start(lines: &str, is_relayed: bool, change: impl Fn(Plan) -> Plan) -> Self {
        let redis = RedisServer::start_with(lines);
        let relay = is_relayed.then(|| Relay::start(redis.address()));
        let url = relay.as_ref().map_or_else(|| redis.url(), |relay| format!("redis://{}", relay.address()));
        let fleet = Fleet::start_with(&[&url], change);
        let root = fleet.root();
        let tokens = Arc::new(Tokens::make(&fleet, &redis, &root, 120));
        let before = Footprint::of(&fleet.worlds[0]);
        Self { redis, relay, fleet, tokens, root, before }
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("a relay")
    }

    fn mix(&self) -> Mix {
        Mix::start(&self.fleet, 0, &self.tokens)
    }

    fn book(&self) -> Book {
        Book::start(self.fleet.line(0), self.root.clone(), LEASE)
    }

    /// [`recover_within`](Self::recover_within) the usual time.
    fn recover(&mut self, mix: Mix, book: Option<Book>, over: Instant) -> Samples {
        self.recover_within(RECOVERY, mix, book, over)
    }

    /// Lets the load go on until full service must be back and a little longer, and holds it to what must hold after every
    /// outage. Returns what became of the requests.
    fn recover_within(&mut self, time: Duration, mix: Mix, book: Option<Book>, over: Instant) -> Samples {
        let back = over + time;
        pass((back + AFTERWARDS).saturating_duration_since(Instant::now()));
        let book = book.map(Book::end);
        let samples = mix.end();
        eprintln!("{}", samples.summary());
        samples.hold(None);
        let late = samples.between(back, Instant::now()).not_served();
        assert!(late.is_empty(), "{} are not served {time:?} later: {:#?}", late.len(), late.first());
        if let Some(book) = book {
            book.audit(&self.fleet);
        }
        assert!(!self.fleet.worlds[0].has_ended(), "the process died");
        let (before, world) = (self.before, &self.fleet.worlds[0]);
        assert!(
            eventually(|| Footprint::of(world).is_like(before)),
            "it holds {:?}, and held {before:?}",
            Footprint::of(world)
        );
        samples
    }
}

/// Somebody who issues and revokes meanwhile, and knows what was acknowledged.
struct Book {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Acknowledged>,
}

#[derive(Default)]
struct Acknowledged {
    alive: Vec<Issued>,
    revoked: Vec<Issued>,
    refused: usize,
}

impl Book {
    /// `bound`: that of the fleet, for which a change may wait.
    fn start(mut line: Line, root: String, bound: Duration) -> Self {
        let most = STORE_TIMEOUT + bound + Duration::from_secs(2);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = std::thread::spawn(move || {
            let mut known = Acknowledged::default();
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                if known.alive.len() > 2 {
                    let victim = known.alive.remove(0);
                    let heard = line.call(ALICE, "POST", &format!("/auth/revoke/{}", victim.jti), &root);
                    match heard.expect("an answer").status {
                        200 => known.revoked.push(victim),
                        // Either may be true of it now.
                        503 => known.refused += 1,
                        status => panic!("revoke: {status}"),
                    }
                } else {
                    match line.call(ALICE, "POST", "/auth/issue-token", &root).expect("an answer") {
                        Heard { status: 200, body, .. } => {
                            let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                            let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
                            known.alive.push(Issued { token: text("token"), jti: text("jti") });
                        }
                        Heard { status: 503, has_retry_after: true, .. } => known.refused += 1,
                        other => panic!("issue: {other:?}"),
                    }
                }
                let took = began.elapsed();
                // A change, and then at most the wait for the fleet.
                assert!(took < most, "a change took {took:?}");
                std::thread::park_timeout(Duration::from_millis(30));
            }
            known
        });
        Self { stop, work }
    }

    fn end(self) -> Acknowledged {
        self.stop.store(true, Ordering::SeqCst);
        self.work.join().expect("the book is kept")
    }
}

impl Acknowledged {
    /// What was acknowledged still holds.
    fn audit(&self, fleet: &Fleet) {
        eprintln!("{} issued, {} revoked, {} refused", self.alive.len(), self.revoked.len(), self.refused);
        for issued in &self.alive {
            assert_eq!(fleet.status(0, &issued.token), 200, "an acknowledged token is lost: {}", issued.jti);
        }
        for issued in &self.revoked {
            assert_eq!(fleet.status(0, &issued.token), 401, "an acknowledged revocation is lost: {}", issued.jti);
        }
    }
}

/// Whether this is the long form, as RELIABILITY.md says it: `make soak`.
fn is_long() -> bool {
    std::env::var_os("KEYWARD_LONG").is_some()
}

fn serve_cached(plan: Plan, staleness: Duration) -> Plan {
    plan.set("store", "on_outage", "\"serve_cached\"").set("store", "max_staleness", &millis(staleness))
}

/// Lets time pass: that of a fault, not a wait for anything.
fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn connections(redis: &RedisServer) -> u64 {
    let stats = redis.command(&["INFO", "stats"]).text();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|digits| digits.trim().parse().ok()).expect("a count")
}

#[test]
fn r1_a_killed_redis_interrupts_no_remembered_token_and_is_used_again_when_it_is_back() {
    /// Also how long a revocation takes while it is not certain that everybody is registered.
    const STALENESS: Duration = Duration::from_secs(4);
    let mut scene = Scene::start("appendfsync always", false, |plan| serve_cached(plan, STALENESS));
    let lateness = Lateness::watch();
    let (mix, book) = (scene.mix(), Book::start(scene.fleet.line(0), scene.root.clone(), STALENESS));
    pass(Duration::from_millis(500));
    let killed = Instant::now();
    scene.redis.kill();
    pass(Duration::from_millis(1500));
    scene.redis.restart();
    let over = Instant::now();
    let samples = scene.recover(mix, Some(book), over);
    // When it is back, all that is remembered is dropped and read anew, over connections that are made one after the other: that
    // is part of the recovery, and held to its time.
    let meanwhile = samples.of(Class::Cached).between(killed, over);
    assert_eq!(meanwhile.not_served(), Vec::<String>::new(), "a remembered token was not served");
    let away = samples.between(killed + LEASE, over - Duration::from_millis(100));
    let slack = lateness.slack();
    assert!(away.of(Class::Fresh).count(503) > 10, "{}", away.summary());
    // Nothing is said of what is in no record: it might have been made a moment ago.
    let unknown = away.of(Class::Unknown);
    assert!(!unknown.0.is_empty() && unknown.count(503) == unknown.0.len(), "{}", away.summary());
    let slowest = away.of(Class::Fresh).0.into_iter().map(|sample| sample.took).max().unwrap_or_default();
    assert!(slowest <= READ_TIMEOUT + slack, "\"cannot tell\" took {slowest:?}");
    // Three seconds since its start; and of our own, one for each command of this test.
    let made = connections(&scene.redis);
    assert!(made <= 3 * 10 + 10, "{made} connections in three seconds");
}

/// The pauses between attempts have grown meanwhile.
#[test]
#[ignore = "takes long: make soak"]
fn soak_r1_after_ten_seconds_away_full_service_is_back_as_soon() {
    let mut scene = Scene::start("appendfsync always", false, |plan| plan);
    let (mix, book) = (scene.mix(), scene.book());
    scene.redis.kill();
    pass(Duration::from_secs(10));
    scene.redis.restart();
    scene.recover(mix, Some(book), Instant::now());
    let made = connections(&scene.redis);
    assert!(made <= 3 * 10 + 10, "{made} connections in three seconds");
}

#[test]
fn r2_a_stopped_redis_makes_nothing_hang_and_nothing_refused_and_is_not_stormed_when_it_goes_on() {
    let mut scene = Scene::start("", false, |plan| plan);
    let lateness = Lateness::watch();
    let mix = scene.mix();
    pass(Duration::from_millis(700));
    let reads_before = scene.redis.calls("hmget");
    let frozen = Instant::now();
    scene.redis.freeze();
    pass(Duration::from_secs(if is_long() { 30 } else { 3 }));
    let grown = Footprint::of(&scene.fleet.worlds[0]);
    scene.redis.thaw();
    let over = Instant::now();
    let samples = scene.recover(mix, None, over);
    let reads = scene.redis.calls("hmget") - reads_before;
    let slack = lateness.slack();
    assert!(grown.resident_kib < scene.before.resident_kib + 32 * 1024, "{grown:?} after {:?}", scene.before);
    let away = samples.between(frozen + LEASE + slack, over);
    assert_eq!(away.count(200), 0, "without a lease nobody is let through: {}", away.summary());
    let since = samples.between(frozen, Instant::now());
    let asked = |classes: &[Class]| since.0.iter().filter(|sample| classes.contains(&sample.class)).count();
    // At most one read for each token: those that are remembered, those of the other classes, and each first request.
    let distinct = 20 + 10 + 5 + asked(&[Class::Fresh]);
    eprintln!("{reads} reads since the stop, {distinct} distinct tokens at most");
    assert!(reads <= distinct as u64, "{reads} reads for {distinct} tokens");
}

#[test]
fn with_serve_cached_what_is_remembered_is_served_until_its_hard_end_and_not_longer() {
    let staleness = Duration::from_millis(1500);
    let scene = Scene::start("", false, |plan| serve_cached(plan, staleness));
    let lateness = Lateness::watch();
    let mix = scene.mix();
    pass(Duration::from_millis(500));
    let frozen = Instant::now();
    scene.redis.freeze();
    pass(Duration::from_secs(3));
    let end = Instant::now();
    let samples = mix.end();
    scene.redis.thaw();
    samples.hold(None);
    let slack = lateness.slack();
    let cached = samples.of(Class::Cached);
    // The lease counts from the last heartbeat: at most a quarter of it, and a bit, before the stop.
    let early = cached.between(frozen, frozen + staleness.saturating_sub(LEASE / 4 + slack));
    assert_eq!(early.not_served(), Vec::<String>::new());
    let took = early.0.iter().map(|sample| sample.took).collect();
    let (middle, most) = percentiles(took);
    eprintln!("remembered tokens while Redis is stopped: p50 {middle:?}, p99 {most:?}");
    // Where other tests run beside this one, a slow answer may be theirs.
    assert!(!is_long() || most < Duration::from_millis(5), "p99 {most:?}");
    let late = cached.between(frozen + staleness + slack, end);
    assert!(!late.0.is_empty() && late.count(503) == late.0.len(), "{}", late.summary());
}

#[test]
fn r3_a_network_that_holds_or_loses_what_is_sent_either_way_is_recovered_from_without_a_restart() {
    let mut scene = Scene::start("", true, |plan| plan);
    for (to_server, to_client) in [(Way::Hold, Way::Hold), (Way::Pass, Way::Swallow), (Way::Swallow, Way::Pass)] {
        let lateness = Lateness::watch();
        let mix = scene.mix();
        let cut = Instant::now();
        scene.relay().set(to_server, to_client);
        pass(Duration::from_millis(1200));
        scene.relay().mend();
        let over = Instant::now();
        // Who was connecting meanwhile, and whose bytes are lost, notices when the time for that is over.
        let lost = if to_server == to_client { Duration::ZERO } else { CONNECT_TIMEOUT };
        let samples = scene.recover_within(RECOVERY + lost, mix, None, over);
        let slack = lateness.slack();
        let away = samples.between(cut + LEASE + slack, over);
        assert_eq!(away.count(200), 0, "{to_server:?}, {to_client:?}: {}", away.summary());
    }
}

#[test]
fn r4_a_slow_redis_is_asked_once_for_many_who_ask_at_once_and_does_not_slow_what_is_remembered() {
    // Slow, but not too slow, however busy this machine is.
    let mut scene = Scene::start("", true, |plan| {
        plan.set("store", "coherence_lease", "\"1s\"").set("store", "read_timeout", "\"800ms\"")
    });
    let fresh: Vec<Issued> = (0..4).map(|_| scene.fleet.mint(0, &scene.root)).collect();
    scene.relay().set_both(Way::Delay(Duration::from_millis(100)));
    let mix = scene.mix();
    let lateness = Lateness::watch();
    let from = Instant::now();
    pass(Duration::from_secs(2));
    let samples = mix.end();
    samples.hold(None);
    let slack = lateness.slack();
    let cached = samples.between(from, Instant::now()).of(Class::Cached);
    assert_eq!(cached.not_served(), Vec::<String>::new());
    let (middle, most) = percentiles(cached.0.iter().map(|sample| sample.took).collect());
    eprintln!("remembered tokens with a slow Redis: p50 {middle:?}, p99 {most:?}");
    assert!(middle < Duration::from_millis(100), "what is remembered waits for Redis: {middle:?}, slack {slack:?}");

    for token in &fresh {
        let before = scene.redis.calls("hmget");
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| assert_eq!(scene.fleet.status(0, &token.token), 200));
            }
        });
        assert_eq!(scene.redis.calls("hmget") - before, 1, "one read for all who ask at once");
    }
    // That many connections to the upstream are kept now.
    scene.before = Footprint::of(&scene.fleet.worlds[0]);

    // So slow that nothing can be told, and then a trickle.
    for way in [Way::Delay(Duration::from_secs(1)), Way::Trickle(1000)] {
        let mix = scene.mix();
        scene.relay().set_both(way);
        pass(Duration::from_millis(1500));
        scene.relay().mend();
        scene.recover(mix, None, Instant::now());
    }
}

#[test]
fn r5_garbage_in_place_of_answers_makes_nobody_somebody_else() {
    garble(5_000);
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_r5_garbage_among_a_hundred_thousand_answers_makes_nobody_somebody_else() {
    garble(100_000);
}

/// Asks until so many answers were right, many requests at once on each line. Each request asks Redis, whose answers are spoilt
/// again and again.
fn garble(count: usize) {
    // Nothing is remembered.
    let mut scene = Scene::start("", true, |plan| plan.set("limits", "cached_tokens", "0"));
    let good = &scene.tokens.cached;
    let (right, cannot_tell) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let spoilt = std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut line = scene.fleet.line(0);
            let (right, cannot_tell) = (&right, &cannot_tell);
            scope.spawn(move || {
                while right.load(Ordering::Relaxed) < count {
                    for issued in good {
                        line.send(super::line::get(&issued.token).as_bytes()).expect("sent");
                    }
                    for issued in good {
                        match line.hear().expect("an answer") {
                            Heard { status: 200, body, .. } => {
                                assert_eq!(body, issued.jti.as_bytes(), "taken for another");
                                right.fetch_add(1, Ordering::Relaxed);
                            }
                            Heard { status: 503, has_retry_after: true, .. } => {
                                cannot_tell.fetch_add(1, Ordering::Relaxed);
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
        let mut spoilt = 0;
        while right.load(Ordering::Relaxed) < count {
            scene.relay().set(Way::Pass, Way::Garble);
            pass(Duration::from_millis(30));
            scene.relay().mend();
            spoilt += 1;
            let next = count.min(right.load(Ordering::Relaxed) + 500);
            wait_until("there are right answers again", || right.load(Ordering::Relaxed) >= next);
        }
        spoilt
    });
    let (right, cannot_tell) = (right.into_inner(), cannot_tell.into_inner());
    eprintln!("with garbage: {right} right answers, {cannot_tell} times \"cannot tell\", {spoilt} times spoilt");
    assert!(spoilt > 3 && cannot_tell > 0);
    // Half an answer is waited for as long as connecting may take, and the pauses have grown.
    let fleet = &scene.fleet;
    wait_until("everybody is served again", || good.iter().all(|issued| fleet.status(0, &issued.token) == 200));
    let mix = scene.mix();
    scene.recover(mix, None, Instant::now());
}

#[test]
fn r7_a_redis_that_becomes_a_replica_is_not_used_and_no_revocation_is_reported_that_did_not_happen() {
    let mut scene = Scene::start("", false, |plan| plan);
    let victim = scene.fleet.mint(0, &scene.root);
    scene.fleet.warm(&victim);
    let lateness = Lateness::watch();
    let (mix, book) = (scene.mix(), scene.book());
    // Of a master that is nowhere.
    scene.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let became = Instant::now();
    let refused = scene.fleet.worlds[0].api(ALICE).revoke(&victim.token);
    assert_eq!(refused.status, 503, "{refused}");
    pass(Duration::from_millis(1500).saturating_sub(became.elapsed()));
    let over = Instant::now();
    scene.redis.command(&["REPLICAOF", "NO", "ONE"]);
    let samples = scene.recover(mix, Some(book), Instant::now());
    let slack = lateness.slack();
    let away = samples.between(became + LEASE + slack, over);
    assert_eq!(away.count(200), 0, "{}", away.summary());
    assert_eq!(scene.fleet.status(0, &victim.token), 200, "it was not revoked");
    assert_eq!(scene.fleet.worlds[0].api(ALICE).revoke(&victim.token).status, 200);
    assert_eq!(scene.fleet.status(0, &victim.token), 401);
}

#[test]
fn r9_a_full_redis_still_tells_and_revokes_and_refuses_only_what_needs_room() {
    let mut scene = Scene::start("", false, |plan| plan);
    let victims: Vec<Issued> = (0..3).map(|_| scene.fleet.mint(0, &scene.root)).collect();
    let mix = scene.mix();
    pass(Duration::from_millis(200));
    scene.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = Instant::now();
    let issue = scene.fleet.worlds[0].api(ALICE).issue(&scene.root, "");
    assert_eq!(issue.status, 503, "{issue}");
    for victim in &victims {
        assert_eq!(scene.fleet.status(0, &victim.token), 200);
        let revoked = scene.fleet.worlds[0].api(ALICE).revoke(&victim.token);
        assert_eq!(revoked.status, 200, "what frees memory goes on: {revoked}");
        assert_eq!(scene.fleet.status(0, &victim.token), 401);
    }
    pass(Duration::from_millis(1500));
    let over = Instant::now();
    scene.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let samples = scene.recover(mix, None, over);
    assert_eq!(samples.between(full, over).not_served(), Vec::<String>::new());
    assert_eq!(scene.fleet.worlds[0].api(ALICE).issue(&scene.root, "").status, 200);
}

#[test]
fn r9b_a_redis_that_may_evict_records_is_not_started_on() {
    let redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let mut fleet = Fleet::prepare(&[&redis.url()], |plan| plan);
    fleet.worlds[0].launch();
    assert!(!fleet.worlds[0].ended().success());
    let output = fleet.worlds[0].output();
    assert!(output.contains("maxmemory-policy") && output.contains("allkeys-lru"), "{output}");
}

#[test]
fn r10_a_changed_password_is_said_without_it_and_taken_by_a_reload() {
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "fleet", "on", ">first-secret", "~*", "&*", "+@all"]);
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("password");
    std::fs::write(&file, "first-secret\n").expect("written");
    let fleet = Fleet::start_with(&[&redis.url()], |plan| {
        plan.set("store", "username", "\"fleet\"").set("store", "password_file", &format!("\"{}\"", file.display()))
    });
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    fleet.warm(&good);
    redis.command(&["ACL", "SETUSER", "fleet", "resetpass", ">second-secret"]);
    redis.command(&["CLIENT", "KILL", "USER", "fleet"]);
    assert!(eventually(|| fleet.status(0, &good.token) == 503), "nobody can tell");
    let world = &fleet.worlds[0];
    assert!(eventually(|| world.ready() == Some(503)), "it says so");
    assert!(eventually(|| world.output().contains("WRONGPASS")), "and why: {}", world.output());
    std::fs::write(&file, "second-secret\n").expect("written");
    world.signal(Signal::HUP);
    wait_until("it is ready again, without a restart", || world.ready() == Some(200));
    assert_eq!(fleet.status(0, &good.token), 200);
    assert!(!world.output().contains("first-secret") && !world.output().contains("second-secret"));
}

#[test]
fn r10_a_right_that_is_taken_away_is_said_and_missed_until_it_is_given_back() {
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "fleet", "on", ">secret", "~*", "&*", "+@all"]);
    let fleet = Fleet::start_with(&[&redis.url(), &redis.url()], |plan| {
        plan.set("store", "username", "\"fleet\"").set("store", "password", "\"secret\"")
    });
    let root = fleet.root();
    let (good, victim) = (fleet.mint(0, &root), fleet.mint(0, &root));
    fleet.warm(&good);
    fleet.warm(&victim);
    // Without scripts there are neither changes nor heartbeats.
    redis.command(&["ACL", "SETUSER", "fleet", "-@scripting"]);
    let refused = fleet.worlds[0].api(ALICE).revoke(&victim.token);
    assert_eq!(refused.status, 503, "{refused}");
    assert!(eventually(|| fleet.statuses(&good.token) == [503, 503]), "nobody can tell");
    for world in &fleet.worlds {
        assert!(eventually(|| world.ready() == Some(503)), "it says so");
        assert!(eventually(|| world.output().contains("NOPERM")), "and why: {}", world.output());
        assert_eq!(world.metric("keyward_coherence_lease_seconds_left", ""), 0.0);
    }
    redis.command(&["ACL", "SETUSER", "fleet", "+@scripting"]);
    wait_until("they are ready again, without a restart", || fleet.are_ready());
    assert_eq!((fleet.statuses(&good.token), fleet.statuses(&victim.token)), (vec![200, 200], vec![200, 200]));
    assert_eq!(fleet.worlds[0].api(ALICE).revoke(&victim.token).status, 200);
    assert_eq!(fleet.statuses(&victim.token), [401, 401]);
    assert!(!fleet.worlds[0].output().contains("secret"));
}

#[test]
fn r11_a_redis_that_comes_back_empty_ends_every_token_and_is_noticed() {
    let mut scene = Scene::start("", false, |plan| plan);
    let lateness = Lateness::watch();
    let mix = scene.mix();
    pass(Duration::from_millis(500));
    let lost = Instant::now();
    scene.redis.restart_empty();
    let over = Instant::now();
    pass(RECOVERY + AFTERWARDS);
    let samples = mix.end();
    let slack = lateness.slack();
    samples.hold(Some(lost));
    let after = samples.between(over + LEASE + slack, Instant::now());
    assert_eq!(after.count(200), 0, "{}", after.summary());
    let after = samples.between(over + RECOVERY, Instant::now());
    assert!(after.count(401) > 0 && after.count(401) == after.0.len(), "{}", after.summary());
    let world = &scene.fleet.worlds[0];
    assert!(world.output().contains("the store's data has been lost or replaced"), "{}", world.output());
    assert!(world.metric("keyward_store_generation_changes_total", "") > 0.0);
    // What is issued now is as good as any, and what was never there is not remembered as absent.
    let root = scene.fleet.root();
    let new = scene.fleet.mint(0, &root);
    assert_eq!(scene.fleet.status(0, &new.token), 200);
    assert_eq!(scene.fleet.worlds[0].api(ALICE).revoke(&new.token).status, 200);
    assert_eq!(scene.fleet.status(0, &new.token), 401);
    scene.redis.kill();
}

#[test]
fn r12_connections_that_are_killed_again_and_again_come_back_without_a_storm() {
    let mut scene = Scene::start("", false, |plan| plan);
    let (mix, book) = (scene.mix(), scene.book());
    let before = connections(&scene.redis);
    let began = Instant::now();
    let mut own = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for kind in ["normal", "pubsub"] {
            scene.redis.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
            own += 1;
        }
        pass(Duration::from_millis(50));
    }
    let made = connections(&scene.redis) - before - own;
    let most = 10 * (began.elapsed().as_secs() + 1) + 2;
    assert!(made <= most, "{made} connections in {:?}", began.elapsed());
    scene.recover(mix, Some(book), Instant::now());
}

#[test]
fn r12_no_room_for_connections_is_recovered_from() {
    let mut scene = Scene::start("", false, |plan| plan);
    let mix = scene.mix();
    // From the one connection that is left.
    let mut left = Client::connect(scene.redis.address());
    left.send("CONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\nCLIENT KILL TYPE pubsub\r\n");
    pass(Duration::from_secs(1));
    left.send("CONFIG SET maxclients 1000\r\n");
    scene.recover(mix, None, Instant::now());
}

/// The public key of RFC 8037, appendix A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn r13_without_redis_and_an_issuer_at_start_it_lives_and_lets_nobody_through_and_is_ready_when_redis_comes() {
    let port = free_port();
    // Somebody else's token, so that there is one to ask with.
    let first = RedisServer::start();
    // An issuer whose keys are fetched, and there for the first instance only.
    let issuer = Upstream::start();
    let answer = |status: &str, body: &str| {
        let length = body.len();
        issuer.answer("/keys", Reply::bytes(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")));
    };
    answer("200 OK", KEYS);
    let mut fleet = Fleet::prepare(&[&first.url(), &format!("redis://127.0.0.1:{port}")], |plan| {
        let keys = format!("jwks_url = \"http://{}/keys\"", issuer.address());
        plan.table("issuer", &format!("name = \"idp\"\nissuer = \"https://idp.example\"\naudience = [\"a\"]\n{keys}"))
    });
    fleet.worlds[0].restart();
    let root = fleet.root();
    let stranger = fleet.mint(0, &root);
    answer("500 Internal Server Error", "down");
    fleet.worlds[1].launch();
    let world = &fleet.worlds[1];
    assert!(eventually(|| world.ready() == Some(503)), "not ready");
    assert_eq!(world.admin_get("/livez").map(|response| response.status), Some(200));
    for _ in 0..5 {
        let mut line = fleet.line(1);
        let heard = line.get(&stranger.token).expect("an answer");
        assert!(heard.status == 503 && heard.has_retry_after, "{heard:?}");
        assert_eq!(line.get("forged").expect("an answer").status, 401);
    }
    let _redis = RedisServer::start_as(false, port, "");
    let came = Instant::now();
    wait_until("it can tell", || fleet.status(1, &stranger.token) == 401);
    eprintln!("it could tell {:?} after Redis came", came.elapsed());
    assert_eq!(world.ready(), Some(503), "the keys of the issuer are missing");
    answer("200 OK", KEYS);
    wait_until("it is ready by itself", || world.ready() == Some(200));
    assert_eq!(fleet.status(1, &stranger.token), 401, "another store, and no record in it");
    let root = world.bootstrap(ALICE, 1);
    let good = world.api(ALICE).mint(&root);
    assert_eq!(fleet.status(1, &good.token), 200);
}
