//! A Redis with wrong answers, empty, crowded, as a replica or not there yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::raw_client::{Answer, get};
use super::super::{Fleet, LEASE};
use super::{AFTERWARDS, ALICE, OutageBench, RECOVERY, connections, pass};
use crate::support::redis::{RedisServer, free_port, wait_until};
use crate::support::{Client, RFC_8037_KEYS, Reply, Upstream, Way, eventually, lateness};

#[test]
fn r5_garbage_in_place_of_answers_gives_no_request_another_identity() {
    garble(5_000);
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_r5_garbage_among_a_hundred_thousand_answers_gives_no_request_another_identity() {
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

#[test]
fn r13_a_start_without_redis_and_an_issuer_lets_no_token_through_and_is_ready_when_redis_comes() {
    let port = free_port();
    // A token of another user, so that there is one to ask with.
    let first = RedisServer::start();
    // An issuer whose keys are fetched, and there for the first instance only.
    let issuer = Upstream::start();
    let answer = |status: &str, body: &str| issuer.answer("/keys", Reply::of(status, "", body));
    answer("200 OK", RFC_8037_KEYS);
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
    let unknown = fleet.mint(0, &root);
    answer("500 Internal Server Error", "down");
    fleet.worlds[1].launch();
    let world = &fleet.worlds[1];
    assert!(eventually(|| world.ready() == Some(503)), "not ready");
    assert_eq!(world.admin_get("/livez").map(|response| response.status), Some(200));
    for _ in 0..5 {
        let mut client = fleet.client(1);
        let answer = client.get(&unknown.token).expect("an answer");
        assert!(answer.status == 503 && answer.has_retry_after, "{answer:?}");
        assert_eq!(client.get("forged").expect("an answer").status, 401);
    }
    let _redis = RedisServer::start_as(false, port, "");
    let came = Instant::now();
    wait_until("it can tell", || fleet.status(1, &unknown.token) == 401);
    eprintln!("it could tell {:?} after Redis came", came.elapsed());
    assert_eq!(world.ready(), Some(503), "the keys of the issuer are missing");
    answer("200 OK", RFC_8037_KEYS);
    wait_until("it is ready by itself", || world.ready() == Some(200));
    assert_eq!(fleet.status(1, &unknown.token), 401, "another store, and no record in it");
    let root = world.bootstrap(ALICE, 1);
    let good = world.api(ALICE).mint(&root);
    assert_eq!(fleet.status(1, &good.token), 200);
}
