//! The keys of one issuer over time: asked for again and again, kept while the issuer is away,
//! given up at a stated end.
//!
//! Verifying never waits for the issuer: it uses the keys that are here. Only a token whose key is
//! not here waits, for a short time, for one fetch that all such tokens share; and such fetches
//! begin at most once in [`ASK_EVERY`], whatever is sent to us.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::jwk::{KeySet, Selection};
use crate::domain::OutsideAlgorithm;
use crate::telemetry::metrics::IssuerGauges;

/// How often a fetch may begin because a token names a key that is not here: what a flood of such
/// tokens costs the issuer.
pub const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long a token may wait for such a fetch.
pub const MISS_PATIENCE: Duration = Duration::from_secs(1);
/// After a failure while no key is here that can be used: the first pause, doubled by each further
/// one, and the longest. While there are keys, the first is [`ASK_EVERY`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A source has deadlines of its own; this one is for a source that has not.
const SOURCE_DEADLINE: Duration = Duration::from_secs(30);

/// The clock that keys age by: the runtime's, which tests can hold.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a source returns: the bytes of a JWK set.
pub type KeyFetch<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, KeySourceFault>> + Send + 'a>>;

/// Where the keys of an issuer come from: the port. Whoever fetches keeps deadlines, and reads at
/// most [`MOST_BYTES`](super::jwk::MOST_BYTES).
pub trait KeySource: Send + Sync + 'static {
    /// Fetches the set as it is now.
    fn fetch(&self) -> KeyFetch<'_>;
}

/// Why there is no set, in words for the log. Nothing of it goes to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceFault(pub String);

/// How long keys are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// How old keys may become before they are fetched again; a fetch begins somewhat earlier,
    /// never later.
    pub refresh: Duration,
    /// How long, beyond that, keys are used whose issuer cannot be reached.
    pub stale_if_error: Duration,
}

/// How the keys of an issuer are, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingHealth {
    /// They are here and fresh.
    Well,
    /// They are used, though the last fetch failed, for this reason.
    Stale(String),
    /// They were here, and are too old now, or the issuer has taken them all back.
    Unusable(String),
    /// There never were any.
    Never(String),
}

/// The keys of one issuer.
pub struct KeyRing {
    name: Arc<str>,
    /// `None`: they do not come from a source and do not age.
    rhythm: Option<Rhythm>,
    held: ArcSwap<Held>,
    pacing: Mutex<Pacing>,
    /// Wakes the one who fetches.
    wanted: Notify,
    /// Counts the fetches that have ended; those who wait for one watch it.
    ended: watch::Sender<u64>,
    /// Of those that ended by themselves, the ones that brought keys and the ones that did not.
    fetched: AtomicU64,
    failed: AtomicU64,
}

struct Held {
    keys: Arc<KeySet>,
    /// When they were fetched; `None`: never.
    since: Option<Instant>,
    /// Whether any set so far had a key that could be used.
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
    /// A ring that waits for its first keys.
    #[must_use]
    pub fn empty(name: Arc<str>, rhythm: Rhythm) -> Self {
        Self::new(
            name,
            Some(rhythm),
            Held { keys: Arc::default(), since: None, was_usable: false, fault: None },
        )
    }

    /// A ring whose keys are here, and are only ever [taken](Self::take) anew by whoever made it.
    #[must_use]
    pub fn fixed(name: Arc<str>, keys: KeySet) -> Self {
        Self::new(
            name,
            None,
            Held { keys: Arc::new(keys), since: None, was_usable: true, fault: None },
        )
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

    /// What logs and metrics call it: the issuer's name, and of a template whose tenants have keys
    /// of their own, the tenant.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the keys that are here may be used at `now`.
    pub(super) fn are_usable(&self, now: Instant) -> bool {
        self.is_usable(&self.held.load(), now)
    }

    fn is_usable(&self, held: &Held, now: Instant) -> bool {
        let Some(rhythm) = self.rhythm else { return !held.keys.is_empty() };
        !held.keys.is_empty()
            && held.since.is_some_and(|since| {
                now.saturating_duration_since(since)
                    < rhythm.refresh.saturating_add(rhythm.stale_if_error)
            })
    }

    /// The keys to try for a token, among those that are here: see [`KeySet::select`].
    pub(super) fn select(&self, kid: Option<&str>, algorithm: OutsideAlgorithm) -> Selection {
        self.held.load().keys.select(kid, algorithm)
    }

    /// Takes a set from now on. A key that stays is the same key; one that is gone is dead at once,
    /// in every copy.
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
        self.held.store(Arc::new(Held {
            keys: Arc::new(keys),
            since: Some(now),
            was_usable,
            fault: None,
        }));
    }

    /// Notes that there is no newer set.
    fn fail(&self, fault: String) {
        let before = self.held.load_full();
        if before.fault.as_ref() != Some(&fault) {
            tracing::warn!(issuer = %self.name, %fault, "the keys of an issuer could not be \
             fetched");
        }
        self.held.store(Arc::new(Held {
            keys: Arc::clone(&before.keys),
            since: before.since,
            was_usable: before.was_usable,
            fault: Some(fault),
        }));
    }

    /// How the keys are at `now`.
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

    /// What is to be seen of the keys at `now`.
    #[must_use]
    pub fn gauges(&self, now: Instant) -> IssuerGauges {
        let held = self.held.load();
        IssuerGauges {
            name: Arc::clone(&self.name),
            keys: held.keys.len(),
            age: held.since.map(|since| now.saturating_duration_since(since)),
            fetched: self.fetched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// How many fetches have ended, well or not.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        *self.ended.borrow()
    }

    /// Waits for a fetch that may bring a key which is missing: a moment, or not at all where one
    /// has just been.
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
        let _ = tokio::time::timeout(MISS_PATIENCE, ended.changed()).await;
    }

    /// Fetches from `source`, now and whenever it is due or wanted, for ever: the caller ends it by
    /// dropping it. `accepted`: as in [`KeySet::read`].
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
                    self.take(keys, tokio::time::Instant::now().into_std());
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
            let pause = match failures {
                0 => rhythm.refresh - chance(rhythm.refresh),
                _ => {
                    let pause = pause_after(failures, first, rhythm);
                    pause + chance(pause)
                }
            };
            self.rest(pause).await;
        }
    }

    /// Until it is due or wanted.
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
        let mut pacing = self.pacing();
        *pacing = Pacing {
            last_begun: Some(tokio::time::Instant::now().into_std()),
            is_under_way: true,
            is_wanted: false,
        };
    }

    fn pacing(&self) -> MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that is under way; dropped in the middle, it has ended all the same.
struct UnderWay<'a>(&'a KeyRing);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.pacing().is_under_way = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

/// How many reasons are told at a time why keys are not used.
const MOST_REASONS: usize = 3;

fn no_usable_key(keys: &KeySet) -> String {
    let reasons: Vec<_> =
        keys.passed_over().iter().take(MOST_REASONS).map(String::as_str).collect();
    match reasons.as_slice() {
        [] => "it publishes no key".to_owned(),
        reasons => format!("it publishes no key that can be used: {}", reasons.join("; ")),
    }
}

fn pause_after(failures: u32, first: Duration, rhythm: Rhythm) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
    doubled.min(LONGEST_PAUSE).min(rhythm.refresh.max(FIRST_PAUSE))
}

/// Between a tenth of it and three: a slow answer shall not be too late, and a fleet that was
/// started together shall not ask together for ever.
fn chance(span: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness all ask at the same time; that is no reason not to ask.
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
