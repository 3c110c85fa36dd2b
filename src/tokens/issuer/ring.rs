//! The keys of one issuer over time: fetched again and again, and used for a stated time while the
//! issuer cannot be reached.
//!
//! Verifying uses the keys that are at hand. Only a token whose key is missing waits, for a short
//! time, for one fetch that all such tokens share. Such fetches begin at most once in
//! [`ASK_EVERY`], whatever clients send.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::jwk::{KeySet, Selection};
use crate::domain::OutsideAlgorithm;
use crate::telemetry::gauges::IssuerGauges;

/// How often a fetch may begin because a token names a missing key: it bounds what a flood of such
/// tokens costs the issuer.
pub const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long a token may wait for such a fetch.
pub const MISS_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause after a failure without usable keys, doubled by each further failure, and the
/// longest. With usable keys, the first is [`ASK_EVERY`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For a source that does not keep its own deadline.
const SOURCE_DEADLINE: Duration = Duration::from_secs(30);

/// The clock by which keys age: the runtime's, which tests can pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a source returns: the bytes of a JWK set.
pub type KeyFetch<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, KeySourceFault>> + Send + 'a>>;

/// The port to the keys of an issuer. An implementation keeps deadlines, and reads at most
/// [`MOST_BYTES`](super::jwk::MOST_BYTES).
pub trait KeySource: Send + Sync + 'static {
    /// Fetches the set as it is now.
    fn fetch(&self) -> KeyFetch<'_>;
}

/// Why a fetch failed, for the log. Nothing of it goes to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceFault(pub String);

/// How long keys are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The age at which keys are fetched again, at the latest.
    pub refresh: Duration,
    /// How long, beyond that, keys are used if their issuer cannot be reached.
    pub stale_if_error: Duration,
}

/// The state of the keys of an issuer, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingHealth {
    /// They are usable, and the last fetch succeeded.
    Well,
    /// They are usable, and the last fetch failed for this reason.
    Stale(String),
    /// They are too old, or the issuer has withdrawn them all.
    Unusable(String),
    /// There never were usable keys.
    Never(String),
}

/// The keys of one issuer.
pub struct KeyRing {
    name: Arc<str>,
    /// `None`: the keys do not come from a source and do not age.
    rhythm: Option<Rhythm>,
    held: ArcSwap<Held>,
    pacing: Mutex<Pacing>,
    /// Wakes the task that fetches.
    wanted: Notify,
    /// How many fetches have ended, for the tokens that wait for one.
    ended: watch::Sender<u64>,
    /// How many fetches brought usable keys, and how many did not; without those that were aborted.
    fetched: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Default)]
struct Held {
    keys: Arc<KeySet>,
    /// When they were fetched; `None`: never.
    since: Option<Instant>,
    /// Whether any set so far had a usable key.
    was_usable: bool,
    /// Why the last fetch failed.
    fault: Option<String>,
}

#[derive(Default)]
struct Pacing {
    last_begun: Option<Instant>,
    is_under_way: bool,
    is_wanted: bool,
}

impl KeyRing {
    /// A ring without keys, until [`Self::keep`] fetches them.
    #[must_use]
    pub fn empty(name: Arc<str>, rhythm: Rhythm) -> Self {
        Self::new(name, Some(rhythm), Held::default())
    }

    /// A ring of these keys, which only [`Self::take`] replaces.
    #[must_use]
    pub fn fixed(name: Arc<str>, keys: KeySet) -> Self {
        Self::new(name, None, Held { keys: keys.into(), was_usable: true, ..Held::default() })
    }

    fn new(name: Arc<str>, rhythm: Option<Rhythm>, held: Held) -> Self {
        Self {
            name,
            rhythm,
            held: ArcSwap::from_pointee(held),
            pacing: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Its name in logs and metrics: the issuer's name, with the tenant if the tenants of a
    /// template have keys of their own.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the keys may be used at `now`.
    pub(super) fn are_usable(&self, now: Instant) -> bool {
        self.is_usable(&self.held.load(), now)
    }

    fn is_usable(&self, held: &Held, now: Instant) -> bool {
        let is_young = |rhythm: Rhythm| {
            let most = rhythm.refresh.saturating_add(rhythm.stale_if_error);
            held.since.is_some_and(|since| now.saturating_duration_since(since) < most)
        };
        !held.keys.is_empty() && self.rhythm.is_none_or(is_young)
    }

    /// The keys to try for a token: see [`KeySet::select`].
    pub(super) fn select(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> Selection {
        self.held.load().keys.select(kid, algorithm)
    }

    /// Replaces the keys. A key that is not in the new set is retired at once, in every copy.
    pub fn take(&self, mut keys: KeySet, now: Instant) {
        let before = self.held.load_full();
        let (added, removed) = keys.replace(&before.keys);
        let is_news = before.since.is_none() || before.fault.is_some() || added + removed > 0;
        if keys.passed_over() != before.keys.passed_over() {
            for reason in keys.passed_over() {
                tracing::warn!(issuer = %self.name, "a key of an issuer is not used: {reason}");
            }
        }
        if keys.is_empty() {
            tracing::error!(issuer = %self.name, removed, "an issuer has no key that can be used: \
             its tokens cannot be judged");
        } else if is_news {
            tracing::info!(issuer = %self.name, keys = keys.len(), added, removed, "the keys of an \
             issuer are here");
        }
        let was_usable = before.was_usable || !keys.is_empty();
        let held = Held { keys: keys.into(), since: Some(now), was_usable, fault: None };
        self.held.store(held.into());
    }

    /// Notes that a fetch failed.
    fn fail(&self, fault: String) {
        let before = self.held.load_full();
        if before.fault.as_ref() != Some(&fault) {
            tracing::warn!(issuer = %self.name, %fault, "the keys of an issuer could not be \
             fetched");
        }
        self.held.store(Arc::new(Held { fault: Some(fault), ..Held::clone(&before) }));
    }

    /// The state of the keys at `now`.
    #[must_use]
    pub fn health(&self, now: Instant) -> RingHealth {
        let held = self.held.load();
        if self.is_usable(&held, now) {
            return match &held.fault {
                Some(fault) => RingHealth::Stale(fault.clone()),
                None => RingHealth::Well,
            };
        }
        let why = match &held.fault {
            Some(fault) => fault.clone(),
            None if held.since.is_some() => no_usable_key(&held.keys),
            None => "no fetch has ended yet".to_owned(),
        };
        if held.was_usable { RingHealth::Unusable(why) } else { RingHealth::Never(why) }
    }

    /// The metrics of the keys at `now`.
    #[must_use]
    pub fn gauges(&self, now: Instant) -> IssuerGauges {
        let held = self.held.load();
        IssuerGauges {
            name: Arc::clone(&self.name),
            keys: if self.is_usable(&held, now) { held.keys.len() } else { 0 },
            refresh: self.rhythm.map(|rhythm| rhythm.refresh),
            age: held.since.map(|since| now.saturating_duration_since(since)),
            fetched: self.fetched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Waits for a fetch that may bring a missing key: at most [`MISS_TIMEOUT`], and not at all if
    /// there was one in the last [`ASK_EVERY`].
    ///
    /// # Cancel safety
    ///
    /// A fetch that was asked for takes place.
    pub(super) async fn missed(&self, now: Instant) {
        if self.rhythm.is_none() {
            return;
        }
        let mut ended = self.ended.subscribe();
        {
            let mut pacing = self.pacing();
            let may_begin = pacing
                .last_begun
                .is_none_or(|begun| now.saturating_duration_since(begun) >= ASK_EVERY);
            if !pacing.is_under_way && !pacing.is_wanted {
                if !may_begin {
                    return;
                }
                pacing.is_wanted = true;
                self.wanted.notify_one();
            }
        }
        let _ = tokio::time::timeout(MISS_TIMEOUT, ended.changed()).await;
    }

    /// Fetches from `source`, now and whenever it is due or wanted, until it is dropped.
    /// `accepted`: as in [`KeySet::read`].
    pub async fn keep(&self, source: Arc<dyn KeySource>, accepted: Arc<[OutsideAlgorithm]>) {
        let Some(rhythm) = self.rhythm else { return };
        let mut failures = 0_u32;
        loop {
            self.begin();
            let under_way = UnderWay(self);
            let fetched = tokio::time::timeout(SOURCE_DEADLINE, source.fetch()).await;
            let outcome = match fetched {
                Ok(Ok(text)) => KeySet::read(&text, &accepted)
                    .map_err(|fault| format!("what came is no key set: {fault}")),
                Ok(Err(fault)) => Err(fault.to_string()),
                Err(_) => Err("the fetch took too long".to_owned()),
            };
            let is_failure = match outcome {
                Ok(keys) => {
                    let is_empty = keys.is_empty();
                    self.take(keys, now());
                    is_empty
                }
                Err(fault) => {
                    self.fail(fault);
                    true
                }
            };
            if is_failure { &self.failed } else { &self.fetched }.fetch_add(1, Ordering::Relaxed);
            drop(under_way);
            failures = if is_failure { failures.saturating_add(1) } else { 0 };
            let first = if self.are_usable(now()) { ASK_EVERY } else { FIRST_PAUSE };
            self.rest(match failures {
                0 => rhythm.refresh - jitter(rhythm.refresh),
                _ => {
                    let pause = pause_after(failures, first, rhythm);
                    pause + jitter(pause)
                }
            })
            .await;
        }
    }

    /// Waits until a fetch is due or wanted.
    async fn rest(&self, pause: Duration) {
        let due = tokio::time::sleep(pause);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => return,
                () = self.wanted.notified() => if self.pacing().is_wanted { return },
            }
        }
    }

    fn begin(&self) {
        *self.pacing() = Pacing { last_begun: Some(now()), is_under_way: true, is_wanted: false };
    }

    fn pacing(&self) -> MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that is under way. It has ended also when it is dropped.
struct UnderWay<'a>(&'a KeyRing);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.pacing().is_under_way = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

/// How many reasons why keys are not used are named at a time.
const MOST_REASONS: usize = 3;

fn no_usable_key(keys: &KeySet) -> String {
    let all = keys.passed_over();
    match all.get(..MOST_REASONS).unwrap_or(all) {
        [] => "it publishes no key".to_owned(),
        reasons => format!("it publishes no key that can be used: {}", reasons.join("; ")),
    }
}

fn pause_after(failures: u32, first: Duration, rhythm: Rhythm) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
    doubled.min(LONGEST_PAUSE).min(rhythm.refresh.max(FIRST_PAUSE))
}

/// Between one and three tenths of a span: a slow answer is still in time, and instances that were
/// started together do not ask at the same time for ever.
fn jitter(span: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the byte is 0.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    span / 10 + span / 5 * u32::from(byte) / 255
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing")
    }
}

#[cfg(test)]
mod tests;
