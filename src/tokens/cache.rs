//! The verified-token cache: what every request asks first.
//!
//! It may only ever answer with what the store would have answered. Four rules make that so:
//!
//! * **Fences.** Before a read of the store is sent, the reader takes a [`Fence`]: the epoch and
//!   the generation of the token's shard. The answer is put in only if both are still the same. An
//!   invalidation removes the entry and raises the generation in one step, so a read that was under
//!   way cannot bring back what was revoked in between.
//! * **Single flight.** All requests that miss the same token share one read ([`Join`]). A read
//!   whose fence was broken is made again, so a request that came after a revocation never gets an
//!   answer from before it.
//! * **The lease.** What is remembered is used, and what was read is handed on, only while the
//!   [`Lease`] holds: without one, a revocation may have been missed.
//! * **Bounds.** The number of entries is bounded (least valuable out first); unknown tokens are
//!   remembered for at most [`ABSENT_FOR`], and forgotten at once when they are made.
//!
//! What it does not do: it knows no signature and no expiry. The user of an entry checks its
//! expiry, at every use.
//!
//! The table is `quick_cache`: against `dashmap` it has a bound and evicts without stalls; its own
//! single flight is not used, because a placeholder cannot be fenced.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;
use tokio::sync::watch;

use super::lease::Lease;
use super::store::StoreError;
use super::verified::Verified;
use crate::domain::{TokenDigest, Uptime};

/// How long an unknown token is remembered as unknown, at most: so that a client that repeats a
/// revoked token costs the store one read a second, not one a request.
pub const ABSENT_FOR: Duration = Duration::from_secs(1);

/// Generations: enough that a revocation seldom breaks the fence of another token's read.
const SHARDS: u64 = 1024;
/// Locks; each covers `SHARDS / STRIPES` generations and the flights of their tokens.
const STRIPES: u64 = 64;

/// What the store says of a token.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It has a record.
    Present(Arc<Verified>),
    /// It has a record that is not to be remembered, because it changes with use.
    PresentOnce(Arc<Verified>),
    /// It has none.
    Absent,
}

/// The answer of a flight to all requests that wait for it.
pub type FlightOutcome = Result<Answer, StoreError>;

#[derive(Clone)]
enum Entry {
    Present(Arc<Verified>),
    Absent { until: Uptime },
}

type Flights = HashMap<TokenDigest, watch::Receiver<Option<FlightOutcome>>>;

/// The cache of one process, shared by its workers.
pub struct TokenCache {
    entries: quick_cache::sync::Cache<
        TokenDigest,
        Entry,
        UnitWeighter,
        DigestHasher,
        DefaultLifecycle<TokenDigest, Entry>,
    >,
    epoch: AtomicU64,
    generations: Box<[AtomicU64]>,
    /// A lock is held for a few instructions, and never across an await.
    stripes: Box<[Mutex<Flights>]>,
    refused_fills: AtomicU64,
    lease: Lease,
}

/// The state of the world before a read: see the module's first rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    epoch: u64,
    generation: u64,
}

/// What a request that misses has to do.
pub enum Join {
    /// The answer came in while you were asking.
    Answer(Answer),
    /// You read the store, for all.
    Leader(Leader),
    /// Another request reads; wait for its answer.
    Follower(watch::Receiver<Option<FlightOutcome>>),
}

impl TokenCache {
    /// A cache of at most `capacity` tokens; 0 remembers nothing, every request then reads the
    /// store.
    #[must_use]
    pub fn new(capacity: usize, lease: Lease) -> Self {
        Self {
            entries: quick_cache::sync::Cache::with(
                capacity.min(4096),
                capacity as u64,
                UnitWeighter,
                DigestHasher,
                DefaultLifecycle::default(),
            ),
            epoch: AtomicU64::new(0),
            generations: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            refused_fills: AtomicU64::new(0),
            lease,
        }
    }

    /// The lease under which all of it may be used.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What is remembered of the token at `now`; nothing, without a lease.
    #[must_use]
    pub fn recall(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        if self.lease.holds(now) { self.remembered(digest, now) } else { None }
    }

    /// What is remembered of a token that was good when the lease still held, if that may be used
    /// without one.
    #[must_use]
    pub fn recall_stale(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        let answer =
            if self.lease.tolerates_stale(now) { self.remembered(digest, now) } else { None };
        answer.filter(|answer| !matches!(answer, Answer::Absent))
    }

    fn remembered(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        match self.entries.get(digest)? {
            Entry::Present(token) => Some(Answer::Present(token)),
            Entry::Absent { until } if now < until => Some(Answer::Absent),
            Entry::Absent { .. } => None,
        }
    }

    /// The epoch and generation of the token's shard. An answer may be kept outside the cache and
    /// used while the fence [is current](Self::is_current); the fence must be taken before the
    /// answer.
    #[must_use]
    pub fn fence(&self, digest: &TokenDigest) -> Fence {
        Fence {
            epoch: self.epoch.load(Ordering::Acquire),
            generation: self.generation(digest).load(Ordering::Acquire),
        }
    }

    /// Whether nothing of the token's shard has been invalidated since `fence` was taken.
    #[must_use]
    pub fn is_current(&self, digest: &TokenDigest, fence: Fence) -> bool {
        self.fence(digest) == fence
    }

    /// Asks to read the store for a token that was missed.
    #[must_use]
    pub fn join(self: &Arc<Self>, digest: TokenDigest, now: Uptime) -> Join {
        let mut flights = self.stripe(&digest);
        if let Some(flight) = flights.get(&digest) {
            return Join::Follower(flight.clone());
        }
        if let Some(answer) = self.recall(&digest, now) {
            return Join::Answer(answer);
        }
        let (landed, waiting) = watch::channel(None);
        flights.insert(digest, waiting);
        Join::Leader(Leader { cache: Arc::clone(self), digest, landed })
    }

    /// Forgets the token. When this returns, no answer from before it is given any more: not by the
    /// cache, not by a read that is under way, not from a copy whose fence is checked.
    pub fn invalidate(&self, digest: &TokenDigest) {
        let stripe = self.stripe(digest);
        // Removed first, raised second: after the raise, the holder of a new fence cannot find the
        // entry.
        self.entries.remove(digest);
        self.generation(digest).fetch_add(1, Ordering::AcqRel);
        drop(stripe);
    }

    /// Forgets everything. To be called when it is not certain any more what has been revoked.
    pub fn invalidate_all(&self) {
        // All stripes, so that no flight lands in between.
        let stripes: Vec<_> = self.stripes.iter().map(lock).collect();
        self.entries.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        drop(stripes);
    }

    /// How many tokens are remembered now, unknown ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a read was thrown away because its fence was broken.
    #[must_use]
    pub fn refused_fills(&self) -> u64 {
        self.refused_fills.load(Ordering::Relaxed)
    }

    fn generation(&self, digest: &TokenDigest) -> &AtomicU64 {
        let at = usize::try_from(digest.prefix() % SHARDS).unwrap_or_default();
        self.generations.get(at).unwrap_or(&self.epoch)
    }

    fn stripe(&self, digest: &TokenDigest) -> MutexGuard<'_, Flights> {
        // The same low bits as the generation's: one generation belongs to one lock.
        let at = usize::try_from(digest.prefix() % STRIPES).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        lock(&self.stripes[at])
    }
}

/// A panic while the lock was held would have been between two complete states: the map is still
/// good.
fn lock(stripe: &Mutex<Flights>) -> MutexGuard<'_, Flights> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The duty to read the store for a token. Dropped without [landing](Self::land), it tells all
/// waiting requests that the read failed.
pub struct Leader {
    cache: Arc<TokenCache>,
    digest: TokenDigest,
    landed: watch::Sender<Option<FlightOutcome>>,
}

/// The fence was broken while the read was under way, or the lease ended: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceBroken;

impl Leader {
    /// The token's digest.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        self.digest
    }

    /// A place to wait for one's own landing.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<FlightOutcome>> {
        self.landed.subscribe()
    }

    /// What the answer will be used under.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.cache.lease
    }

    /// Take it before the read is sent.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.cache.fence(&self.digest)
    }

    /// Hands the outcome to all waiting requests, and puts an answer into the cache. An error is
    /// not remembered.
    ///
    /// # Errors
    ///
    /// When the fence is not current any more, or the lease does not hold. No request has been
    /// answered then.
    pub fn land(
        &self,
        fence: Fence,
        outcome: FlightOutcome,
        now: Uptime,
    ) -> Result<(), FenceBroken> {
        let mut flights = self.cache.stripe(&self.digest);
        let is_certain = self.cache.is_current(&self.digest, fence) && self.cache.lease.holds(now);
        if outcome.is_ok() && !is_certain {
            self.cache.refused_fills.fetch_add(1, Ordering::Relaxed);
            return Err(FenceBroken);
        }
        match &outcome {
            Ok(Answer::Present(token)) => {
                self.cache.entries.insert(self.digest, Entry::Present(Arc::clone(token)))
            }
            Ok(Answer::Absent) => self
                .cache
                .entries
                .insert(self.digest, Entry::Absent { until: now.after(ABSENT_FOR) }),
            Ok(Answer::PresentOnce(_)) | Err(_) => {}
        }
        flights.remove(&self.digest);
        // In the same step: a later request finds the entry, not a flight that has already landed.
        self.landed.send_replace(Some(outcome));
        Ok(())
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.landed.borrow().is_none() {
            self.cache.stripe(&self.digest).remove(&self.digest);
        }
    }
}

/// A digest is a MAC: its own first bytes are the hash.
#[derive(Clone, Default)]
pub(super) struct DigestHasher;

pub(super) struct FirstBytes(u64);

impl BuildHasher for DigestHasher {
    type Hasher = FirstBytes;

    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests;
