//! SIGKILL while tokens are issued and revoked: what was acknowledged still holds after the
//! restart.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::lateness::unless_held_up;
use crate::support::{Client, Issued, Plan, Random, TestUser, Upstream, World, json};

/// Rounds, unless `KEYWARD_KILL_ROUNDS` says otherwise.
const ROUNDS: usize = 50;

/// However slow the machine, the rounds end after this.
const TIME: Duration = Duration::from_secs(75);

const USERS: [TestUser; 4] = [
    TestUser::user("kill|0", "kill0"),
    TestUser::user("kill|1", "kill1"),
    TestUser::user("kill|2", "kill2"),
    TestUser::user("kill|3", "kill3"),
];

/// What one user knows of their tokens.
struct KnownTokens {
    person: TestUser,
    /// The key that issues and revokes the others.
    root: Issued,
    /// Acknowledged as issued. No revocation was asked for.
    alive: Vec<Issued>,
    /// Acknowledged as revoked.
    revoked: Vec<Issued>,
    /// A revocation was asked for and not acknowledged: either answer is right, as long as it stays
    /// the same.
    open: Vec<Issued>,
    /// How many calls to issue were not acknowledged. Each may have left a record whose token was
    /// never received.
    unanswered: usize,
}

/// One call that may die with the server; nothing if it was not answered.
fn call(world: &World, method: &str, path: &str, token: &str) -> Option<serde_json::Value> {
    let mut client = Client::try_connect(world.address())?;
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    ));
    let (response, _) = client.final_response(method).ok()?;
    assert_eq!(response.status, 200, "{method} {path}: {response}");
    Some(json(&response))
}

/// Issues and revokes until the server is gone.
fn work(
    world: &World,
    known: &mut KnownTokens,
    random: &mut Random,
    acknowledged: &AtomicUsize,
    stop: &AtomicBool,
) {
    let api = world.api(known.person);
    while !stop.load(Ordering::SeqCst) {
        if known.alive.len() > 3 && random.below(2) == 0 {
            let victim = known.alive.swap_remove(random.below(known.alive.len()));
            let own = random.below(2) == 0;
            let answer = if own {
                call(world, "POST", &api.path("/auth/revoke"), &victim.token)
            } else {
                call(
                    world,
                    "POST",
                    &api.path(&format!("/auth/revoke/{}", victim.jti)),
                    &known.root.token,
                )
            };
            match answer {
                Some(answer) => {
                    assert_eq!(answer["data"]["status"], "revoked", "{answer}");
                    known.revoked.push(victim);
                }
                None => return known.open.push(victim),
            }
        } else {
            match call(world, "POST", &api.path("/auth/issue-token"), &known.root.token) {
                Some(answer) => {
                    let text =
                        |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
                    known.alive.push(Issued { token: text("token"), jti: text("jti") });
                }
                None => {
                    known.unanswered += 1;
                    return;
                }
            }
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// Compares what the user knows with what the server answers.
fn audit(world: &World, known: &mut KnownTokens, revoked_since: usize) {
    let api = world.api(known.person);
    let listed: BTreeSet<String> = api.jtis(&known.root.token).into_iter().collect();
    let mut client = world.client();
    let mut works = |token: &str| {
        let request = format!(
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        match unless_held_up(|| client.ask(&request).status) {
            200 => true,
            401 => false,
            other => panic!("neither yes nor no but {other}"),
        }
    };
    for key in known.alive.iter().chain([&known.root]) {
        assert!(works(&key.token), "an acknowledged token is lost: {}", key.jti);
        assert!(listed.contains(&key.jti), "an acknowledged token is not listed: {}", key.jti);
    }
    for key in &known.revoked[revoked_since..] {
        assert!(!works(&key.token), "an acknowledged revocation is lost: {}", key.jti);
        assert!(!listed.contains(&key.jti), "a revoked token is listed: {}", key.jti);
    }
    for key in std::mem::take(&mut known.open) {
        let alive = works(&key.token);
        assert_eq!(
            alive,
            listed.contains(&key.jti),
            "alive and unlisted, or listed and dead: {}",
            key.jti
        );
        if alive { known.alive.push(key) } else { known.revoked.push(key) }
    }
    let expected: BTreeSet<String> =
        known.alive.iter().chain([&known.root]).map(|key| key.jti.clone()).collect();
    let strays: Vec<_> = listed.difference(&expected).cloned().collect();
    assert!(strays.len() <= known.unanswered, "records that no call asked for: {strays:?}");
    for jti in strays {
        assert_eq!(api.revoke_by_jti(&known.root.token, &jti).status, 200);
    }
    known.unanswered = 0;
    // A handful is enough to go on with, and keeps the audits short.
    while known.alive.len() > 8 {
        let key = known.alive.swap_remove(0);
        match api.revoke(&key.token).status {
            200 => known.revoked.push(key),
            // Either may be true of it.
            503 => known.open.push(key),
            status => panic!("revoke: {status}"),
        }
    }
}

#[test]
fn sigkill_at_any_moment_loses_no_acknowledged_answer() {
    let rounds = std::env::var("KEYWARD_KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS);
    let mut random = Random::seeded("durability");
    let upstream = Upstream::start();
    // A disk that pauses for longer than the usual time is no subject of this test.
    let mut world = Plan::usual(&upstream).set("store", "timeout", "\"30s\"").start();
    let mut users: Vec<KnownTokens> = USERS
        .iter()
        .map(|&person| KnownTokens {
            person,
            root: world.key(person),
            alive: Vec::new(),
            revoked: Vec::new(),
            open: Vec::new(),
            unanswered: 0,
        })
        .collect();
    let mut spent = Vec::new();
    let started = Instant::now();
    let (mut done, mut total) = (0, 0);
    while done < rounds && started.elapsed() < TIME {
        let before: Vec<usize> = users.iter().map(|known| known.revoked.len()).collect();
        let (acknowledged, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        // Some answers, then a little more: the kill falls at any place of a call.
        let (after, spins) = (random.below(120), random.below(4000));
        let bootstrap = world.bootstrap(USERS[0], 1);
        let minted = std::thread::scope(|scope| {
            for known in &mut users {
                let mut random = random.fork();
                let (world, acknowledged, stop) = (&world, &acknowledged, &stop);
                scope.spawn(move || work(world, known, &mut random, acknowledged, stop));
            }
            let minted = {
                let (world, acknowledged) = (&world, &acknowledged);
                let bootstrap = bootstrap.as_str();
                scope.spawn(move || {
                    let path = world.api(USERS[0]).path("/auth/issue-token");
                    let answer = call(world, "POST", &path, bootstrap);
                    acknowledged.fetch_add(usize::from(answer.is_some()), Ordering::SeqCst);
                    answer
                })
            };
            let deadline = Instant::now() + Duration::from_secs(5);
            while acknowledged.load(Ordering::SeqCst) < after && Instant::now() < deadline {
                std::hint::spin_loop();
                std::thread::yield_now();
            }
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            world.signal(rustix::process::Signal::KILL);
            stop.store(true, Ordering::SeqCst);
            minted.join().expect("the call ends")
        });
        world.kill();
        world.restart();
        match minted {
            Some(answer) => {
                let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
                users[0].alive.push(Issued { token: text("token"), jti: text("jti") });
                spent.push(bootstrap);
            }
            None => users[0].unanswered += 1,
        }
        for (known, before) in users.iter_mut().zip(before) {
            audit(&world, known, before);
        }
        total += acknowledged.load(Ordering::SeqCst);
        done += 1;
    }
    eprintln!("durability: {done} rounds, {total} acknowledged answers, {:?}", started.elapsed());
    assert!(total > 0, "nothing was acknowledged at all");
    assert!(done >= rounds.min(10), "only {done} rounds in {:?}", started.elapsed());
    for known in &mut users {
        audit(&world, known, 0);
    }
    for bootstrap in &spent {
        assert_eq!(
            world.api(USERS[0]).issue(bootstrap, "").status,
            401,
            "a spent bootstrap token stays spent"
        );
    }
}

/// What was acknowledged also survives a stop in good order.
#[test]
fn a_restart_in_good_order_keeps_everything() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let gone = world.api(TestUser::ALICE).mint(&alice.token);
    assert_eq!(world.api(TestUser::ALICE).revoke(&gone.token).status, 200);
    let bootstrap = world.bootstrap(TestUser::BOB, 2);
    world.api(TestUser::BOB).mint(&bootstrap);
    let list = world.api(TestUser::ALICE).list(&alice.token).text();
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    world.restart();
    assert_eq!(world.status_with(&alice.token), 200);
    assert_eq!(world.status_with(&gone.token), 401);
    assert_eq!(world.api(TestUser::ALICE).list(&alice.token).text(), list);
    world.api(TestUser::BOB).mint(&bootstrap);
    assert_eq!(world.api(TestUser::BOB).issue(&bootstrap, "").status, 401);
}
