//! Issuing races revoking (DESIGN, section 3): whatever the order, nothing is left alive and
//! unlisted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use crate::support::{Client, Issued, Plan, TestUser, Upstream, World, eventually, issued, json};

const THREADS: usize = 12;

fn start() -> (World, Upstream) {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    (world, upstream)
}

/// Issues on one connection until the parent is refused; returns what was issued. A token that was
/// issued by a call that began after `over` was set is a failure at once.
fn issue_until_refused(
    world: &World,
    path: &str,
    parent: &str,
    over: &AtomicBool,
    made: &AtomicUsize,
) -> Vec<Issued> {
    let mut children = Vec::new();
    let mut client = world.client();
    loop {
        let late = over.load(Ordering::SeqCst);
        let response = client.ask(format!(
            "POST {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {parent}\r\n\r\n"
        ));
        match response.status {
            200 => {
                assert!(!late, "a revoked parent issued a token");
                children.push(issued(&response));
                made.fetch_add(1, Ordering::SeqCst);
            }
            401 => return children,
            _ => panic!("{response}"),
        }
    }
}

/// Races `THREADS` issuers against one call that ends the parent, made once they have issued so
/// many tokens; returns every token that was issued.
fn race(
    world: &World,
    person: TestUser,
    parent: &str,
    after: usize,
    end: impl FnOnce() + Send,
) -> Vec<Issued> {
    let path = world.api(person).path("/auth/issue-token");
    let (barrier, over, made) =
        (Barrier::new(THREADS + 1), AtomicBool::new(false), AtomicUsize::new(0));
    let children = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                let issued = issue_until_refused(world, &path, parent, &over, &made);
                children.lock().unwrap().extend(issued);
            });
        }
        barrier.wait();
        assert!(eventually(|| made.load(Ordering::SeqCst) >= after), "tokens are issued");
        end();
        over.store(true, Ordering::SeqCst);
    });
    children.into_inner().unwrap()
}

#[test]
fn of_tokens_that_race_revoke_all_none_is_left_alive() {
    let (world, _upstream) = start();
    let person = TestUser::ALICE;
    let bootstrap = world.bootstrap(person, 100);
    let api = world.api(person);
    for round in 0..15 {
        let parent = api.mint(&bootstrap);
        let children = race(&world, person, &parent.token, round * 3, || {
            assert_eq!(api.revoke_all(&bootstrap).status, 200);
        });
        for child in &children {
            assert_eq!(
                world.status_with(&child.token),
                401,
                "round {round}: {} outlived revoke-all",
                child.jti
            );
        }
        assert_eq!(api.jtis(&bootstrap), Vec::<String>::new(), "round {round}");
        assert!(children.len() >= round * 3, "round {round}: no race");
    }
}

#[test]
fn of_tokens_that_race_their_parents_revocation_none_is_alive_and_unlisted() {
    let (world, _upstream) = start();
    let person = TestUser::BOB;
    let bootstrap = world.bootstrap(person, 100);
    let api = world.api(person);
    for round in 0..15 {
        let parent = api.mint(&bootstrap);
        let children = race(&world, person, &parent.token, round * 3, || {
            assert_eq!(api.revoke(&parent.token).status, 200);
        });
        let listed: BTreeSet<_> = api.jtis(&bootstrap).into_iter().collect();
        assert!(!listed.contains(&parent.jti));
        for child in &children {
            let alive = world.status_with(&child.token) == 200;
            assert_eq!(alive, listed.contains(&child.jti), "round {round}: {}", child.jti);
        }
        let known: BTreeSet<_> = children.iter().map(|child| child.jti.clone()).collect();
        assert!(listed.is_subset(&known), "round {round}: a record of a token that no caller got");
        assert_eq!(api.revoke_all(&bootstrap).status, 200);
    }
}

#[test]
fn one_mint_is_one_token_however_many_ask_at_once() {
    let (world, _upstream) = start();
    let person = TestUser::ALICE;
    for mints in [1, 1, 1, 5] {
        let bootstrap = world.bootstrap(person, mints);
        let barrier = Barrier::new(THREADS * 2);
        let made = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..THREADS * 2 {
                scope.spawn(|| {
                    barrier.wait();
                    let response = world.api(person).issue(&bootstrap, "");
                    match response.status {
                        200 => made.lock().unwrap().push(issued(&response)),
                        status => assert_eq!(status, 401, "{response}"),
                    }
                });
            }
        });
        assert_eq!(made.into_inner().unwrap().len(), mints);
    }
}

#[test]
fn of_many_revocations_of_one_token_exactly_one_succeeds() {
    let (world, _upstream) = start();
    let root = world.key(TestUser::ALICE);
    for _ in 0..10 {
        let victim = world.api(TestUser::ALICE).mint(&root.token);
        let barrier = Barrier::new(THREADS);
        let revoked = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    let response =
                        world.api(TestUser::ALICE).revoke_by_jti(&root.token, &victim.jti);
                    assert_eq!(response.status, 200, "{response}");
                    if json(&response)["data"]["status"] == "revoked" {
                        *revoked.lock().unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(revoked.into_inner().unwrap(), 1);
    }
}

/// The cache under fire: while requests with the token pour in on every worker, it is revoked. A
/// request that was sent after the answer had come is refused, and so is every one behind it.
#[test]
fn a_hot_token_is_dead_when_its_revocation_is_answered() {
    let (world, _upstream) = start();
    let root = world.key(TestUser::ALICE);
    for _ in 0..10 {
        let victim = world.api(TestUser::ALICE).mint(&root.token);
        let revoked = AtomicBool::new(false);
        let request = format!(
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\r\n",
            victim.token
        );
        let hot = Barrier::new(9);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client: Client = world.client();
                    assert_eq!(client.ask(&request).status, 200);
                    hot.wait();
                    loop {
                        let late = revoked.load(Ordering::SeqCst);
                        match client.ask(&request).status {
                            200 => assert!(!late, "served after the revocation was answered"),
                            401 if late => return,
                            401 => {}
                            other => panic!("neither yes nor no but {other}"),
                        }
                    }
                });
            }
            hot.wait();
            let response = world.api(TestUser::ALICE).revoke_by_jti(&root.token, &victim.jti);
            assert_eq!(response.status, 200, "{response}");
            revoked.store(true, Ordering::SeqCst);
        });
    }
}

/// Many at once ask with a token that no worker has seen: each gets the right answer, and its own.
#[test]
fn a_token_that_is_not_cached_serves_many_requests_at_once() {
    let (world, _upstream) = start();
    let root = world.key(TestUser::ALICE);
    for _ in 0..10 {
        let good = world.api(TestUser::ALICE).mint(&root.token);
        let dead = world.api(TestUser::ALICE).mint(&root.token);
        assert_eq!(world.api(TestUser::ALICE).revoke(&dead.token).status, 200);
        let barrier = Barrier::new(THREADS * 2);
        std::thread::scope(|scope| {
            for n in 0..THREADS * 2 {
                let (world, barrier, good, dead) = (&world, &barrier, &good, &dead);
                scope.spawn(move || {
                    barrier.wait();
                    let (key, status) = if n % 2 == 0 { (good, 200) } else { (dead, 401) };
                    assert_eq!(world.status_with(&key.token), status);
                });
            }
        });
    }
}
