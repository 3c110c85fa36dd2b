//! Redis mad, full, empty, changed, crowded or not there yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::raw_client::{Answer, get};
use super::super::{Fleet, LEASE};
use super::{AFTERWARDS, ALICE, OutageBench, RECOVERY, connections, pass};
use crate::support::redis::{RedisServer, free_port, wait_until};
use crate::support::{Client, Issued, Reply, Upstream, Way, World, eventually, lateness};

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

/// Asks until so many answers were right, many requests at once on each line. Each request asks
/// Redis, whose answers are spoilt again and again.
fn garble(count: usize) {
    // Nothing is remembered.
    let mut bench = OutageBench::start("", true, |plan| plan.set("limits", "cached_tokens", "0"));
    let good = &bench.tokens.cached;
    let (right, cannot_tell) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let spoilt = std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut client = bench.fleet.client(0);
            let (right, cannot_tell) = (&right, &cannot_tell);
            scope.spawn(move || {
                while right.load(Ordering::Relaxed) < count {
                    for issued in good {
                        client.send(get(&issued.token).as_bytes()).expect("sent");
                    }
                    for issued in good {
                        match client.read_answer().expect("an answer") {
                            Answer { status: 200, body, .. } => {
                                assert_eq!(body, issued.jti.as_bytes(), "taken for another");
                                right.fetch_add(1, Ordering::Relaxed);
                            }
                            Answer { status: 503, has_retry_after: true, .. } => {
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
            bench.relay().set(Way::Pass, Way::Garble);
            pass(Duration::from_millis(30));
            bench.relay().mend();
            spoilt += 1;
            let next = count.min(right.load(Ordering::Relaxed) + 500);
            wait_until("there are right answers again", || right.load(Ordering::Relaxed) >= next);
        }
        spoilt
    });
    let (right, cannot_tell) = (right.into_inner(), cannot_tell.into_inner());
    eprintln!(
        "with garbage: {right} right answers, {cannot_tell} times \"cannot tell\", {spoilt} times \
         spoilt"
    );
    assert!(spoilt > 3 && cannot_tell > 0);
    // Half an answer is waited for as long as connecting may take, and the pauses have grown.
    let fleet = &bench.fleet;
    wait_until("all are served again", || {
        good.iter().all(|issued| fleet.status(0, &issued.token) == 200)
    });
    let mix = bench.mix();
    bench.recover(mix, None, Instant::now());
}

#[test]
fn r7_a_redis_that_becomes_a_replica_is_not_used_and_no_revocation_is_reported_that_did_not_happen()
{
    let mut bench = OutageBench::start("", false, |plan| plan);
    let victim = bench.fleet.mint(0, &bench.root);
    bench.fleet.warm(&victim);
    let (mix, book) = (bench.mix(), bench.book());
    // Of a master that is nowhere.
    bench.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let became = Instant::now();
    let refused = bench.fleet.worlds[0].api(ALICE).revoke(&victim.token);
    assert_eq!(refused.status, 503, "{refused}");
    pass(Duration::from_millis(1500).saturating_sub(became.elapsed()));
    let over = Instant::now();
    bench.redis.command(&["REPLICAOF", "NO", "ONE"]);
    let samples = bench.recover(mix, Some(book), Instant::now());
    let away = samples.between(became + LEASE, over);
    assert_eq!(away.count(200), 0, "{}", away.summary());
    assert_eq!(bench.fleet.status(0, &victim.token), 200, "it was not revoked");
    bench.fleet.revoke(0, &victim.token);
    assert_eq!(bench.fleet.status(0, &victim.token), 401);
}

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

const REFUSES: &str = "the store refuses changes";

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
    let room = tempfile::tempdir().expect("a directory");
    let file = room.path().join("password");
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

#[test]
fn r11_a_redis_that_comes_back_empty_ends_every_token_and_is_noticed() {
    let mut bench = OutageBench::start("", false, |plan| plan);
    let mix = bench.mix();
    pass(Duration::from_millis(500));
    let lost = Instant::now();
    bench.redis.restart_empty();
    let over = Instant::now();
    lateness::pass(RECOVERY);
    let back = Instant::now();
    lateness::pass(AFTERWARDS);
    let samples = mix.end();
    samples.hold(Some(lost));
    let after = samples.between(over + LEASE, Instant::now());
    assert_eq!(after.count(200), 0, "{}", after.summary());
    let after = samples.between(back, Instant::now());
    assert!(after.count(401) > 0 && after.are_answered(401), "{}", after.summary());
    let world = &bench.fleet.worlds[0];
    assert!(
        world.output().contains("the store's data has been lost or replaced"),
        "{}",
        world.output()
    );
    assert!(world.metric("keyward_store_generation_changes_total", "") > 0.0);
    // What is issued now is as good as any, and what was never there is not remembered as absent.
    let root = bench.fleet.root();
    let new = bench.fleet.mint(0, &root);
    assert_eq!(bench.fleet.status(0, &new.token), 200);
    bench.fleet.revoke(0, &new.token);
    assert_eq!(bench.fleet.status(0, &new.token), 401);
    bench.redis.kill();
}

#[test]
fn r12_connections_that_are_killed_again_and_again_come_back_without_a_storm() {
    let mut bench = OutageBench::start("", false, |plan| plan);
    let (mix, book) = (bench.mix(), bench.book());
    let before = connections(&bench.redis);
    let began = Instant::now();
    let mut own = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for kind in ["normal", "pubsub"] {
            bench.redis.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
            own += 1;
        }
        pass(Duration::from_millis(50));
    }
    let made = connections(&bench.redis) - before - own;
    let most = 10 * (began.elapsed().as_secs() + 1) + 2;
    assert!(made <= most, "{made} connections in {:?}", began.elapsed());
    bench.recover(mix, Some(book), Instant::now());
}

#[test]
fn r12_no_room_for_connections_is_recovered_from() {
    let mut bench = OutageBench::start("", false, |plan| plan);
    let mix = bench.mix();
    // From the one connection that is left.
    let mut left = Client::connect(bench.redis.address());
    left.send(
        "CONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\n\
               CLIENT KILL TYPE pubsub\r\n",
    );
    pass(Duration::from_secs(1));
    left.send("CONFIG SET maxclients 1000\r\n");
    bench.recover(mix, None, Instant::now());
}

/// The public key of RFC 8037, appendix A.2.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn r13_without_redis_and_an_issuer_at_start_it_lives_and_lets_nobody_through_and_is_ready_when_redis_comes()
 {
    let port = free_port();
    // A token of another user, so that there is one to ask with.
    let first = RedisServer::start();
    // An issuer whose keys are fetched, and there for the first instance only.
    let issuer = Upstream::start();
    let answer = |status: &str, body: &str| {
        let length = body.len();
        issuer.answer(
            "/keys",
            Reply::bytes(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")),
        );
    };
    answer("200 OK", KEYS);
    let mut fleet = Fleet::prepare(&[&first.url(), &format!("redis://127.0.0.1:{port}")], |plan| {
        let keys = format!("jwks_url = \"http://{}/keys\"", issuer.address());
        plan.table(
            "issuer",
            &format!(
                "name = \"idp\"\nissuer = \"https://idp.example\"\naudience = [\"a\"]\n{keys}"
            ),
        )
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
        let mut client = fleet.client(1);
        let answer = client.get(&stranger.token).expect("an answer");
        assert!(answer.status == 503 && answer.has_retry_after, "{answer:?}");
        assert_eq!(client.get("forged").expect("an answer").status, 401);
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
