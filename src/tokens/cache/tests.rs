use std::sync::atomic::AtomicBool;

use super::*;
use crate::domain::{Identity, Record, RecordKind, Timestamp, TokenId};
use crate::tokens::clock;
use crate::tokens::lease::LeaseTerms;

fn digest(n: u64) -> TokenDigest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes[24..].copy_from_slice(&n.to_le_bytes());
    TokenDigest::from_bytes(bytes)
}

fn present() -> Answer {
    let record = Record {
        digest: digest(0),
        id: TokenId::from_uuid(uuid::Uuid::nil()),
        token_api: "api".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity: Identity {
            subject: "s".into(),
            username: None,
            organization: None,
            role: None,
            email: None,
        },
        name: None,
        hint: None,
        limits: None,
        issued_at: Timestamp::from_unix_millis(0),
        expires_at: None,
        last_used_at: None,
    };
    Answer::Present(Arc::new(Verified::new(&record)))
}

fn lead(cache: &Arc<TokenCache>, of: TokenDigest) -> Leader {
    match cache.join(of, clock::uptime()) {
        Join::Leader(leader) => leader,
        Join::Answer(_) | Join::Follower(_) => panic!("expected to lead"),
    }
}

fn is_present(answer: Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Present(_)))
}

#[test]
fn a_fill_that_was_under_way_during_an_invalidation_is_refused() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let leader = lead(&cache, digest(1));
    let fence = leader.fence();
    cache.invalidate(&digest(1));
    assert_eq!(leader.land(fence, Ok(present()), clock::uptime()), Err(FenceBroken));
    assert!(cache.recall(&digest(1), clock::uptime()).is_none());
    assert_eq!(cache.refused_fills(), 1);
    // It reads again, and then it lands.
    assert_eq!(leader.land(leader.fence(), Ok(Answer::Absent), clock::uptime()), Ok(()));
}

#[test]
fn dropping_everything_breaks_every_fence() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let leader = lead(&cache, digest(1));
    leader.land(leader.fence(), Ok(present()), clock::uptime()).expect("lands");
    let fence = cache.fence(&digest(1));
    let under_way = lead(&cache, digest(2));
    let before = under_way.fence();
    cache.invalidate_all();
    assert!(cache.recall(&digest(1), clock::uptime()).is_none() && cache.is_empty());
    assert!(!cache.is_current(&digest(1), fence));
    assert_eq!(under_way.land(before, Ok(present()), clock::uptime()), Err(FenceBroken));
}

#[test]
fn while_another_process_has_the_store_nothing_is_remembered_and_no_fence_outlives_that() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let before = cache.fence(&digest(1));
    let leader = lead(&cache, digest(1));
    leader.land(leader.fence(), Ok(present()), clock::uptime()).expect("lands");
    let under_way = lead(&cache, digest(2));
    let fence = under_way.fence();
    let shared = cache.read_anew();
    let now = clock::uptime();
    assert!(!cache.lease().holds(now) && cache.recall(&digest(1), now).is_none());
    assert!(cache.recall_stale(&digest(1), now).is_none() && cache.is_empty());
    assert!(cache.lease().tolerates_open(now), "what is open is checked, and goes on");
    // A read from before is made again, and then answers those that wait for it.
    assert_eq!(under_way.land(fence, Ok(present()), now), Err(FenceBroken));
    assert_eq!(under_way.land(under_way.fence(), Ok(present()), now), Ok(()));
    assert!(cache.is_empty(), "and is not remembered");
    let during = cache.fence(&digest(1));
    drop(shared);
    let now = clock::uptime();
    assert!(cache.lease().holds(now) && !cache.lease().reads_anew());
    for fence in [before, during] {
        assert!(!cache.is_current(&digest(1), fence));
    }
    let leader = lead(&cache, digest(1));
    leader.land(leader.fence(), Ok(present()), now).expect("lands");
    assert!(is_present(cache.recall(&digest(1), now)));
}

#[test]
fn a_copy_kept_outside_is_told_of_an_invalidation_by_its_fence() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let fence = cache.fence(&digest(1));
    assert!(cache.is_current(&digest(1), fence));
    cache.invalidate(&digest(2));
    assert!(cache.is_current(&digest(1), fence), "another shard's invalidation is none of ours");
    cache.invalidate(&digest(1));
    assert!(!cache.is_current(&digest(1), fence));
}

#[tokio::test]
async fn all_misses_share_one_read_and_its_error_is_not_remembered() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let leader = lead(&cache, digest(1));
    let Join::Follower(mut follower) = cache.join(digest(1), clock::uptime()) else {
        panic!("expected to follow")
    };
    leader
        .land(leader.fence(), Err(StoreError::TimedOut), clock::uptime())
        .expect("an error needs no fence");
    let outcome = follower.wait_for(Option::is_some).await.expect("landed").clone();
    assert!(matches!(outcome, Some(Err(StoreError::TimedOut))));
    drop(leader);
    let _ = lead(&cache, digest(1));
}

#[tokio::test]
async fn a_leader_that_dies_frees_those_that_wait_and_the_token() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let leader = lead(&cache, digest(1));
    let Join::Follower(mut follower) = cache.join(digest(1), clock::uptime()) else {
        panic!("expected to follow")
    };
    drop(leader);
    assert!(follower.wait_for(Option::is_some).await.is_err());
    let _ = lead(&cache, digest(1));
}

#[test]
fn an_unknown_token_is_remembered_for_a_second_and_forgotten_when_it_is_made() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let now = clock::uptime();
    let leader = lead(&cache, digest(1));
    leader.land(leader.fence(), Ok(Answer::Absent), now).expect("lands");
    assert!(matches!(cache.recall(&digest(1), now), Some(Answer::Absent)));
    assert!(cache.recall(&digest(1), now.after(ABSENT_FOR)).is_none());
    cache.invalidate(&digest(1));
    assert!(cache.recall(&digest(1), now).is_none());
}

#[test]
fn what_changes_with_use_is_answered_but_not_remembered() {
    let cache = Arc::new(TokenCache::new(100, Lease::endless()));
    let leader = lead(&cache, digest(1));
    let Answer::Present(token) = present() else { panic!() };
    leader.land(leader.fence(), Ok(Answer::PresentOnce(token)), clock::uptime()).expect("lands");
    assert!(cache.recall(&digest(1), clock::uptime()).is_none());
}

#[test]
fn the_number_of_entries_is_bounded() {
    let cache = Arc::new(TokenCache::new(1000, Lease::endless()));
    for n in 0..20_000 {
        let leader = lead(&cache, digest(n * 7919));
        leader.land(leader.fence(), Ok(present()), clock::uptime()).expect("lands");
    }
    assert!(cache.len() <= 1000, "{}", cache.len());
}

/// Threads fill the cache from a store in which another thread revokes. A request that begins after
/// a revocation has returned must not be answered with the token.
#[test]
fn nothing_revoked_is_ever_answered_while_many_threads_fill() {
    const TOKENS: u64 = 32;
    let cache = Arc::new(TokenCache::new(1000, Lease::endless()));
    let store: Arc<Vec<AtomicBool>> =
        Arc::new((0..TOKENS).map(|_| AtomicBool::new(true)).collect());
    // What has been revoked and answered.
    let revoked: Arc<Vec<AtomicBool>> =
        Arc::new((0..TOKENS).map(|_| AtomicBool::new(false)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let wrong = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..4_u64 {
            let (cache, store, revoked, stop, wrong) = (&cache, &store, &revoked, &stop, &wrong);
            scope.spawn(move || {
                let mut random = seed + 1;
                while !stop.load(Ordering::Acquire) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let n = (random >> 33) % TOKENS;
                    let at = usize::try_from(n).expect("small");
                    let dead_before = revoked[at].load(Ordering::Acquire);
                    let answered = match cache.recall(&digest(n), clock::uptime()) {
                        Some(answer) => Some(answer),
                        None => match cache.join(digest(n), clock::uptime()) {
                            Join::Answer(answer) => Some(answer),
                            Join::Follower(flight) => flight.borrow().clone().and_then(Result::ok),
                            Join::Leader(leader) => loop {
                                let fence = leader.fence();
                                let read = store[at].load(Ordering::Acquire);
                                std::thread::yield_now();
                                let answer = if read { present() } else { Answer::Absent };
                                if leader.land(fence, Ok(answer.clone()), clock::uptime()).is_ok() {
                                    break Some(answer);
                                }
                            },
                        },
                    };
                    if dead_before && is_present(answered) {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for n in 0..TOKENS {
            let at = usize::try_from(n).expect("small");
            // Only once it has been filled at least once, so that there is something to revoke.
            while !is_present(cache.recall(&digest(n), clock::uptime())) {
                std::thread::yield_now();
            }
            store[at].store(false, Ordering::Release);
            cache.invalidate(&digest(n));
            revoked[at].store(true, Ordering::Release);
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
}

#[test]
fn without_a_lease_nothing_is_recalled_and_nothing_lands() {
    let second = Duration::from_secs(1);
    let terms =
        LeaseTerms { span: second, staleness: 5 * second, open: second, timeout: Duration::ZERO };
    let cache = Arc::new(TokenCache::new(100, Lease::pending(terms)));
    let now = clock::uptime();
    let leader = lead(&cache, digest(1));
    assert_eq!(leader.land(leader.fence(), Ok(present()), now), Err(FenceBroken));
    cache.lease().grant(now);
    assert_eq!(leader.land(leader.fence(), Ok(present()), now), Ok(()));
    let absent = lead(&cache, digest(2));
    assert_eq!(absent.land(absent.fence(), Ok(Answer::Absent), now), Ok(()));
    assert!(is_present(cache.recall(&digest(1), now)) && cache.recall(&digest(2), now).is_some());

    // The lease has run out: only good tokens are still recalled, only as stale answers, and only
    // until the hard end.
    let lapsed = now.after(second);
    assert!(
        cache.recall(&digest(1), lapsed).is_none() && cache.recall(&digest(2), lapsed).is_none()
    );
    assert!(
        is_present(cache.recall_stale(&digest(1), lapsed))
            && cache.recall_stale(&digest(2), lapsed).is_none()
    );
    assert!(cache.recall_stale(&digest(1), now.after(5 * second)).is_none());
    // A new lease: nothing was missed, so nothing was forgotten.
    cache.lease().grant(lapsed);
    assert!(is_present(cache.recall(&digest(1), lapsed)));
}

/// A figure, not a guarantee: `cargo test --release --lib tokens::cache::tests::figures --
/// --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn figures() {
    const TOKENS: u64 = 400_000;
    let resident_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim_end_matches("kB").trim().parse::<u64>().expect("a number")
    };
    let cache = Arc::new(TokenCache::new(1_000_000, Lease::endless()));
    let before = resident_kib();
    for n in 0..TOKENS {
        let of = digest(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let leader = lead(&cache, of);
        let fence = leader.fence();
        leader.land(fence, Ok(present()), clock::uptime()).expect("it lands");
    }
    let each = (resident_kib() - before) * 1024 / TOKENS;
    println!("{each} bytes for each token in memory, beside its claims");
}
