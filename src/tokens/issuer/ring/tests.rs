//! Keys over time, from a source that is told what to bring. Nothing sleeps: what is waited for is
//! an end of a fetch.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::tokens::issuer::jwk::Key;
use crate::tokens::issuer::set::OutsideVerdict;
use crate::tokens::issuer::tests::{
    NOW, at, claims, document, ed_jwk, header, key_set, merged, set_of, settings, token,
    with_header,
};
use crate::tokens::issuer::{Issuer, IssuerSet, OutsideFault, OutsideRefusal};

const ALL: &[OutsideAlgorithm] = &OutsideAlgorithm::PUBLIC;

/// A source that plays a script, and then its last line for ever.
#[derive(Default)]
struct Scripted {
    script: Mutex<Vec<Result<Vec<u8>, &'static str>>>,
    asked: AtomicUsize,
    /// While shut, fetches hang.
    gate: Option<Notify>,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Result<Vec<u8>, &'static str>>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for Scripted {
    fn fetch(&self) -> KeyFetch<'_> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            let mut script = self.script.lock().expect("not poisoned");
            let line = if script.len() > 1 {
                script.remove(0)
            } else {
                script.first().cloned().expect("a line")
            };
            line.map_err(|words| KeySourceFault(words.to_owned()))
        })
    }
}

fn rhythm(refresh: Duration) -> Rhythm {
    Rhythm { refresh, stale_if_error: Duration::from_secs(60) }
}

const HOUR: Duration = Duration::from_secs(3600);

fn ring(refresh: Duration) -> Arc<KeyRing> {
    Arc::new(KeyRing::empty("main".into(), rhythm(refresh)))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn start(ring: &Arc<KeyRing>, source: &Arc<Scripted>) -> tokio::task::JoinHandle<()> {
    let (ring, source) = (Arc::clone(ring), Arc::clone(source));
    tokio::spawn(async move { ring.keep(source, ALL.into()).await })
}

/// Waits until this many fetches have ended.
async fn fetched(ring: &KeyRing, count: u64) {
    let mut ended = ring.ended.subscribe();
    let waited =
        tokio::time::timeout(Duration::from_secs(20), ended.wait_for(|ended| *ended >= count))
            .await;
    waited.expect("in time").expect("the ring is there");
}

/// The key of this name, whatever it is good for.
fn named(ring: &KeyRing, kid: &str) -> Option<Arc<Key>> {
    OutsideAlgorithm::PUBLIC.into_iter().find_map(|algorithm| {
        match ring.select(Some(kid), algorithm) {
            Selection::Keys { keys, .. } => keys.into_iter().next(),
            Selection::OtherAlgorithm(_) | Selection::Unusable(_) | Selection::Missing => None,
        }
    })
}

#[test]
fn an_issuer_that_is_away_at_the_start_is_asked_until_it_is_there() {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let source = Scripted::new([Err("down"), Ok(b"<html>".to_vec()), Ok(document(&key_set()))]);
        assert!(matches!(ring.health(Instant::now()), RingHealth::Never(why) if why.contains("no \
         fetch has ended")));
        let _task = start(&ring, &source);
        fetched(&ring, 1).await;
        assert_eq!(ring.health(Instant::now()), RingHealth::Never("down".into()));
        assert!(!ring.are_usable(Instant::now()));
        fetched(&ring, 2).await;
        assert!(matches!(ring.health(Instant::now()), RingHealth::Never(why) if why.contains("no \
         key set")));
        fetched(&ring, 3).await;
        assert_eq!(ring.health(Instant::now()), RingHealth::Well);
        assert!(named(&ring, "rsa").is_some() && ring.are_usable(Instant::now()));
    });
}

#[test]
fn keys_are_used_while_their_issuer_is_away_and_given_up_at_the_stated_end() {
    runtime().block_on(async {
        let ring = ring(Duration::from_millis(40));
        let failures = [Err("down"), Ok(Vec::new()), Ok(b"{}".to_vec()), Err("reset")];
        let source = Scripted::new([Ok(document(&key_set()))].into_iter().chain(failures));
        let task = start(&ring, &source);
        fetched(&ring, 2).await;
        let now = Instant::now();
        assert_eq!(ring.health(now), RingHealth::Stale("down".into()));
        let key = named(&ring, "rsa").expect("still here");
        fetched(&ring, 4).await;
        assert!(
            ring.are_usable(now)
                && Arc::ptr_eq(&key, &named(&ring, "rsa").expect("here"))
                && !key.is_retired()
        );
        // 60 s and one refresh after the last that came.
        assert!(ring.are_usable(now + Duration::from_secs(59)));
        assert!(!ring.are_usable(now + Duration::from_secs(61)));
        // Keys that open nothing any more are none in the metrics.
        let shown = |after| ring.gauges(now + Duration::from_secs(after)).keys;
        assert!(shown(59) > 0 && shown(61) == 0);
        assert!(matches!(ring.health(now + Duration::from_secs(61)), RingHealth::Unusable(_)));
        task.abort();
    });
}

#[test]
fn a_key_that_is_added_or_taken_away_is_so_after_one_refresh() {
    runtime().block_on(async {
        let ring = ring(Duration::from_millis(40));
        let (before, after) = (key_set(), [&key_set()[1..], &[ed_jwk("new")]].concat());
        let source = Scripted::new([Ok(document(&before)), Ok(document(&after))]);
        let _task = start(&ring, &source);
        fetched(&ring, 1).await;
        let removed = named(&ring, "rsa").expect("here");
        let kept = named(&ring, "p256").expect("here");
        fetched(&ring, 2).await;
        assert!(removed.is_retired() && named(&ring, "rsa").is_none());
        assert!(named(&ring, "new").is_some() && !kept.is_retired());
        assert!(Arc::ptr_eq(&kept, &named(&ring, "p256").expect("here")));
    });
}

#[test]
fn a_thousand_unknown_keys_cost_one_fetch_in_ten_seconds() {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let source = Scripted::new([Ok(document(&key_set()))]);
        let _task = start(&ring, &source);
        fetched(&ring, 1).await;
        let begun = ring.pacing().last_begun.expect("begun");
        // Within ten seconds of a fetch no token waits, and nothing is asked.
        for _ in 0..1000 {
            ring.missed(begun + ASK_EVERY - Duration::from_millis(1)).await;
        }
        assert_eq!(source.asked(), 1);
        // After them, all wait for one.
        let storm: Vec<_> = (0..1000)
            .map(|_| {
                let ring = Arc::clone(&ring);
                tokio::spawn(async move { ring.missed(begun + ASK_EVERY).await })
            })
            .collect();
        for task in storm {
            task.await.expect("no panic");
        }
        assert_eq!((source.asked(), *ring.ended.borrow()), (2, 2));
    });
}

#[test]
fn a_token_waits_for_a_slow_issuer_for_a_second_and_no_longer() {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let source = Arc::new(Scripted {
            script: Mutex::new(vec![Ok(document(&key_set()))]),
            gate: Some(Notify::new()),
            ..Scripted::default()
        });
        let task = start(&ring, &source);
        let begun = Instant::now();
        ring.missed(begun).await;
        let waited = begun.elapsed();
        assert!((MISS_TIMEOUT..MISS_TIMEOUT * 5).contains(&waited), "{waited:?}");
        assert!(named(&ring, "rsa").is_none());
        source.gate.as_ref().expect("a gate").notify_one();
        fetched(&ring, 1).await;
        assert!(named(&ring, "rsa").is_some());
        // Given up in the middle, a fetch has ended: no token waits for it.
        task.abort();
        let _ = task.await;
        assert!(!ring.pacing().is_under_way);
    });
}

#[test]
fn a_set_of_keys_that_cannot_be_used_is_asked_for_again_soon() {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let source = Scripted::new([
            Ok(b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}".to_vec()),
            Ok(document(&key_set())),
        ]);
        let _task = start(&ring, &source);
        fetched(&ring, 1).await;
        assert!(
            matches!(ring.health(Instant::now()), RingHealth::Never(why) if why.contains("no key"))
        );
        fetched(&ring, 2).await;
        assert_eq!(ring.health(Instant::now()), RingHealth::Well);
    });
}

#[test]
fn pauses_grow_to_a_bound_and_refreshes_are_never_late() {
    let pauses: Vec<_> =
        (1..8).map(|failures| pause_after(failures, FIRST_PAUSE, rhythm(HOUR)).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(pause_after(u32::MAX, FIRST_PAUSE, rhythm(HOUR)), LONGEST_PAUSE);
    assert_eq!(
        pause_after(9, FIRST_PAUSE, rhythm(Duration::from_secs(10))),
        Duration::from_secs(10)
    );
    // An issuer whose keys are here is not asked more often because it fails than because of a
    // flood.
    let pauses: Vec<_> =
        (1..5).map(|failures| pause_after(failures, ASK_EVERY, rhythm(HOUR))).collect();
    assert!(
        pauses.is_sorted()
            && pauses.iter().all(|pause| (ASK_EVERY..=LONGEST_PAUSE).contains(pause)),
        "{pauses:?}"
    );
    for _ in 0..1000 {
        let pause = HOUR - jitter(HOUR);
        assert!(pause <= HOUR * 9 / 10 && pause >= HOUR * 7 / 10, "{pause:?}");
    }
}

#[test]
fn a_fixed_ring_never_ages_and_is_never_fetched() {
    runtime().block_on(async {
        let ring = KeyRing::fixed(
            "main".into(),
            KeySet::secret(&[7; 32], &[OutsideAlgorithm::Hs256]).expect("a secret"),
        );
        assert!(ring.are_usable(Instant::now() + HOUR * 100_000));
        assert_eq!(ring.health(Instant::now()), RingHealth::Well);
        ring.missed(Instant::now()).await;
        ring.keep(Scripted::new([Err("never asked")]), ALL.into()).await;
        assert_eq!(*ring.ended.borrow(), 0);
    });
}

fn set_around(ring: &Arc<KeyRing>) -> Arc<IssuerSet> {
    Arc::new(set_of(vec![Issuer::new(settings(), Arc::clone(ring))]))
}

#[test]
fn a_token_that_comes_before_the_first_keys_waits_for_them_a_moment_and_gets_no_verdict_without_them()
 {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let set = set_around(&ring);
        let source = Arc::new(Scripted {
            script: Mutex::new(vec![Ok(document(&key_set())), Err("down")]),
            gate: Some(Notify::new()),
            ..Scripted::default()
        });
        let _task = start(&ring, &source);
        let good = token("ES256", &header("ES256"), &claims());
        let waiting = tokio::spawn({
            let (set, good) = (Arc::clone(&set), good.clone());
            async move { set.verify(good.as_bytes(), at(NOW)).await }
        });
        let unavailable = set.verify(good.as_bytes(), at(NOW)).await.expect_err("no keys yet");
        assert_eq!(
            unavailable.to_string(),
            "the keys of issuer main are not available: no fetch has ended yet"
        );
        assert!(waiting.await.expect("no panic").is_err());
        // What needs no key to be judged is judged.
        let forged =
            set.verify(with_header(serde_json::json!({"alg": "none"})).as_bytes(), at(NOW)).await;
        assert!(matches!(
            forged,
            Ok(OutsideVerdict::Refused(OutsideRefusal { fault: OutsideFault::Algorithm, .. }))
        ));
        let waiting = tokio::spawn({
            let set = Arc::clone(&set);
            async move { set.verify(good.as_bytes(), at(NOW)).await }
        });
        tokio::task::yield_now().await;
        source.gate.as_ref().expect("a gate").notify_one();
        assert!(matches!(waiting.await.expect("no panic"), Ok(OutsideVerdict::Passed(_))));
    });
}

#[test]
fn a_flood_of_unknown_keys_costs_the_issuer_nothing_and_known_ones_pass_meanwhile() {
    runtime().block_on(async {
        let ring = ring(HOUR);
        let set = set_around(&ring);
        let source = Scripted::new([Ok(document(&key_set()))]);
        let _task = start(&ring, &source);
        fetched(&ring, 1).await;
        let flood: Vec<_> = (0..1000)
            .map(|number| {
                let set = Arc::clone(&set);
                let unknown = with_header(serde_json::json!({"kid": format!("unknown-{number}")}));
                tokio::spawn(async move { set.verify(unknown.as_bytes(), at(NOW)).await })
            })
            .collect();
        for number in 0..10 {
            let good = token(
                "EdDSA",
                &header("EdDSA"),
                &merged(claims(), serde_json::json!({"jti": number.to_string()})),
            );
            assert!(matches!(
                set.verify(good.as_bytes(), at(NOW)).await,
                Ok(OutsideVerdict::Passed(_))
            ));
        }
        for task in flood {
            let verdict = task.await.expect("no panic");
            assert!(
                matches!(
                    verdict,
                    Ok(OutsideVerdict::Refused(OutsideRefusal {
                        fault: OutsideFault::UnknownKey,
                        ..
                    }))
                ),
                "{verdict:?}"
            );
        }
        assert_eq!(source.asked(), 1);
    });
}
