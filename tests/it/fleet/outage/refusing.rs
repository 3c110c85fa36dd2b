//! A Redis that refuses changes, heartbeats or keyward itself: what is judged meanwhile, and what
//! is said of it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::{Fleet, LEASE};
use super::{ALICE, OutageBench, pass};
use crate::support::redis::{RedisServer, wait_until};
use crate::support::{Issued, World, eventually};

/// What the log says once when Redis refuses changes.
const REFUSES: &str = "the store refuses changes";

#[test]
fn r9_a_full_redis_still_tells_and_revokes_and_refuses_only_what_needs_room() {
    let mut bench = OutageBench::start("", false, |plan| plan);
    let victims: Vec<Issued> = (0..3).map(|_| bench.fleet.mint(0, &bench.root)).collect();
    let mix = bench.mix();
    pass(Duration::from_millis(200));
    bench.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = Instant::now();
    let issue = bench.fleet.worlds[0].api(ALICE).issue(&bench.root, "");
    assert_eq!(issue.status, 503, "{issue}");
    for victim in &victims {
        assert_eq!(bench.fleet.status(0, &victim.token), 200);
        // What frees memory goes on.
        bench.fleet.revoke(0, &victim.token);
        assert_eq!(bench.fleet.status(0, &victim.token), 401);
    }
    pass(Duration::from_millis(1500));
    let over = Instant::now();
    bench.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let samples = bench.recover(mix, None, over);
    assert_eq!(samples.between(full, over).not_served(), Vec::<String>::new());
    bench.fleet.mint(0, &bench.root);
}

/// What `store check` says, which must find a fault: on both streams.
fn found_faulty(world: &World) -> String {
    let output = world.run(&["store", "check"]);
    assert!(!output.status.success());
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

/// How often a line of the log holds these words.
fn said(world: &World, words: &str) -> usize {
    world.output().lines().filter(|line| line.contains(words)).count()
}

/// redis#9913. The server itself has all that it was ever told, and no other can be the master:
/// while it takes no revocation, none can be missed.
#[test]
fn r9c_a_redis_whose_saves_fail_still_judges_and_says_why_it_changes_nothing() {
    let redis = RedisServer::start();
    let mut fleet = Fleet::start_with(&[&redis.url(), &redis.url()], |plan| plan);
    let root = fleet.root();
    let [known, unknown, victim, gone] = [(); 4].map(|()| fleet.mint(0, &root));
    fleet.warm(&known);
    fleet.revoke(0, &gone.token);
    // Heartbeats after the revocation.
    pass(LEASE);
    redis.fail_saves();
    let failed = Instant::now();
    for world in &fleet.worlds {
        assert!(eventually(|| said(world, REFUSES) == 1), "{}", world.output());
        assert!(world.output().contains("stop-writes-on-bgsave-error"), "{}", world.output());
    }
    for _ in 0..3 {
        assert_eq!(fleet.worlds[0].api(ALICE).revoke(&victim.token).status, 503);
        assert_eq!(fleet.worlds[1].api(ALICE).issue(&root, "").status, 503);
        for (token, statuses) in [(&known, [200, 200]), (&victim, [200, 200]), (&gone, [401, 401])]
        {
            assert_eq!(fleet.statuses(&token.token), statuses);
        }
        pass(LEASE);
    }
    assert!(failed.elapsed() > 3 * LEASE, "long after the last lease of a heartbeat");
    assert_eq!(fleet.statuses(&unknown.token), [200, 200], "read now for the first time");
    assert!(fleet.are_ready(), "it serves");
    let found = found_faulty(&fleet.worlds[0]);
    assert!(found.contains("refused: MISCONF") && found.contains("save \"\""), "{found}");
    for world in &fleet.worlds {
        assert_eq!(said(world, REFUSES), 1, "once: {}", world.output());
    }
    // One that comes now is not registered: a revocation would not wait for it.
    fleet.worlds[1].kill();
    fleet.worlds[1].launch();
    assert!(eventually(|| fleet.worlds[1].ready() == Some(503)), "{}", fleet.worlds[1].output());
    assert_eq!(fleet.statuses(&known.token), [200, 503]);
    redis.mend_saves();
    wait_until("it is ready by itself", || fleet.are_ready());
    assert!(eventually(|| said(&fleet.worlds[0], "the store takes changes again") == 1));
    fleet.revoke(0, &victim.token);
    assert_eq!(fleet.statuses(&victim.token), [401, 401]);
    assert_eq!(fleet.statuses(&known.token), [200, 200]);
}

#[test]
fn r9d_a_redis_that_lacks_its_replicas_may_be_cut_off_and_judges_nothing() {
    let redis = RedisServer::start();
    let fleet = Fleet::start_with(&[&redis.url()], |plan| plan);
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    fleet.warm(&good);
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let world = &fleet.worlds[0];
    assert!(eventually(|| fleet.status(0, &good.token) == 503), "no instance can tell");
    assert!(eventually(|| world.ready() == Some(503)), "it says so");
    assert!(
        eventually(|| said(world, "the store refuses heartbeats") == 1),
        "and why: {}",
        world.output()
    );
    assert!(
        world.output().contains("NOREPLICAS") && world.output().contains("min-replicas-max-lag")
    );
    let found = found_faulty(world);
    assert!(
        found.contains("refused: NOREPLICAS") && found.contains("min-replicas-to-write"),
        "{found}"
    );
    // A save that fails as well is said first by Redis, and is no reason to believe it.
    redis.fail_saves();
    assert!(eventually(|| world.output().contains("MISCONF")), "{}", world.output());
    assert_eq!(fleet.status(0, &good.token), 503);
    redis.mend_saves();
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    wait_until("it is ready by itself", || fleet.are_ready());
    assert_eq!(fleet.status(0, &good.token), 200);
}

#[test]
fn r9e_store_check_names_a_full_redis_and_one_that_is_a_replica() {
    let redis = RedisServer::start();
    let fleet = Fleet::start_with(&[&redis.url()], |plan| plan);
    let world = &fleet.worlds[0];
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let found = found_faulty(world);
    assert!(found.contains("refused: OOM") && found.contains("maxmemory"), "{found}");
    assert!(
        eventually(|| world.output().contains("maxmemory")),
        "the log names it: {}",
        world.output()
    );
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let found = found_faulty(world);
    assert!(found.contains("a replica") && found.contains("READONLY"), "{found}");
    redis.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    let found = found_faulty(world);
    assert!(found.contains("MASTERDOWN"), "{found}");
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
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("password");
    std::fs::write(&file, "first-secret\n").expect("written");
    let fleet = Fleet::start_with(&[&redis.url()], |plan| {
        plan.set("store", "username", "\"fleet\"").set(
            "store",
            "password_file",
            &format!("\"{}\"", file.display()),
        )
    });
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    fleet.warm(&good);
    redis.command(&["ACL", "SETUSER", "fleet", "resetpass", ">second-secret"]);
    redis.command(&["CLIENT", "KILL", "USER", "fleet"]);
    assert!(eventually(|| fleet.status(0, &good.token) == 503), "no instance can tell");
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
    redis.command(&["ACL", "SETUSER", "fleet", "on", ">open-sesame", "~*", "&*", "+@all"]);
    let fleet = Fleet::start_with(&[&redis.url(), &redis.url()], |plan| {
        plan.set("store", "username", "\"fleet\"").set("store", "password", "\"open-sesame\"")
    });
    let root = fleet.root();
    let (good, victim) = (fleet.mint(0, &root), fleet.mint(0, &root));
    fleet.warm(&good);
    fleet.warm(&victim);
    // Without scripts there are neither changes nor heartbeats.
    redis.command(&["ACL", "SETUSER", "fleet", "-@scripting"]);
    let refused = fleet.worlds[0].api(ALICE).revoke(&victim.token);
    assert_eq!(refused.status, 503, "{refused}");
    assert!(eventually(|| fleet.statuses(&good.token) == [503, 503]), "no instance can tell");
    for world in &fleet.worlds {
        assert!(eventually(|| world.ready() == Some(503)), "it says so");
        assert!(eventually(|| world.output().contains("NOPERM")), "and why: {}", world.output());
        assert_eq!(world.metric("keyward_coherence_lease_seconds_left", ""), 0.0);
    }
    redis.command(&["ACL", "SETUSER", "fleet", "+@scripting"]);
    wait_until("they are ready again, without a restart", || fleet.are_ready());
    assert_eq!(
        (fleet.statuses(&good.token), fleet.statuses(&victim.token)),
        (vec![200, 200], vec![200, 200])
    );
    fleet.revoke(0, &victim.token);
    assert_eq!(fleet.statuses(&victim.token), [401, 401]);
    assert!(!fleet.worlds[0].output().contains("open-sesame"));
}
