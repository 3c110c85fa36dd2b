//! The cache of verified tokens, which every request asks first.
//!
//! It only ever answers what the store would have answered. Five rules make that so:
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
//! * **Alone.** While another process has the store, too, nothing is remembered and no read is
//!   shared ([`TokenCache::read_anew`]): that process breaks no fence here.
//! * **Bounds.** The number of entries is bounded; the least valuable is evicted. Unknown tokens
//!   are remembered for at most [`ABSENT_FOR`], and forgotten at once when they are made.
//!
//! It checks neither signature nor expiry: the user of an entry checks its expiry at every use.
//!
//! The table is `quick_cache`: unlike `dashmap` it has a bound, and it evicts without stalls. Its
//! own single flight is not used, because a placeholder cannot be fenced.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::UnitWeighter;
use tokio::sync::watch;

use super::lease::Lease;
use super::store::StoreError;
use super::verified::Verified;
use crate::domain::{TokenDigest, Uptime};

/// How long an unknown token is remembered as unknown: a client that repeats a revoked token costs
/// the store one read a second.
pub const ABSENT_FOR: Duration = Duration::from_secs(1);

/// The number of generations: enough that a revocation seldom breaks the fence of another token.
const SHARDS: u64 = 1024;
/// The number of locks. Each covers `SHARDS / STRIPES` generations and the flights of their tokens.
const STRIPES: u64 = 64;

/// The answer of the store for a token.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It has a record.
    Present(Arc<Verified>),
    /// It has a record that is not to be remembered, because it changes with use.
    PresentOnce(Arc<Verified>),
    /// It has no record.
    Absent,
}

/// The outcome of a read for all requests that wait for it.
pub type FlightOutcome = Result<Answer, StoreError>;

#[derive(Clone)]
enum Entry {
    Present(Arc<Verified>),
    Absent { until: Uptime },
}

type Flights = HashMap<TokenDigest, watch::Receiver<Option<FlightOutcome>>>;

/// A bounded table by digest.
pub(super) type DigestTable<V> =
    quick_cache::sync::Cache<TokenDigest, V, UnitWeighter, DigestHasher>;

/// A table of at most `capacity` entries, made with room for `first` of them.
pub(super) fn digest_table<V: Clone>(capacity: usize, first: usize) -> DigestTable<V> {
    let room = capacity.min(first);
    let (hasher, lifecycle) = (DigestHasher::default(), Default::default());
    DigestTable::with(room, capacity as u64, UnitWeighter, hasher, lifecycle)
}

/// The cache of one process, shared by its workers.
pub struct TokenCache {
    entries: DigestTable<Entry>,
    epoch: AtomicU64,
    generations: Box<[AtomicU64]>,
    /// A lock is held for a few instructions, and never across an await.
    stripes: Box<[Mutex<Flights>]>,
    refused_fills: AtomicU64,
    lease: Lease,
}

/// The state of a shard before a read: see the module's first rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    epoch: u64,
    generation: u64,
}

/// What a request that misses is to do.
pub enum Join {
    /// Use this answer, which has just come in.
    Answer(Answer),
    /// Read the store, for all requests.
    Leader(Leader),
    /// Wait for the answer that another request reads.
    Follower(watch::Receiver<Option<FlightOutcome>>),
}

impl TokenCache {
    /// A cache of at most `capacity` tokens; with 0, every request reads the store.
    #[must_use]
    pub fn new(capacity: usize, lease: Lease) -> Self {
        Self {
            entries: digest_table(capacity, 4096),
            epoch: AtomicU64::new(0),
            generations: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            refused_fills: AtomicU64::new(0),
            lease,
        }
    }

    /// The lease under which the answers may be used.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What is remembered of the token at `now`; `None` without a lease.
    #[must_use]
    pub fn recall(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        if self.lease.holds(now) { self.remembered(digest, now) } else { None }
    }

    /// What is remembered of a token with a record, if the lease tolerates that without holding.
    #[must_use]
    pub fn recall_stale(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        if !self.lease.tolerates_stale(now) {
            return None;
        }
        self.remembered(digest, now).filter(|answer| !matches!(answer, Answer::Absent))
    }

    fn remembered(&self, digest: &TokenDigest, now: Uptime) -> Option<Answer> {
        match self.entries.get(digest)? {
            Entry::Present(token) => Some(Answer::Present(token)),
            Entry::Absent { until } if now < until => Some(Answer::Absent),
            Entry::Absent { .. } => None,
        }
    }

    /// The epoch and generation of the token's shard. An answer may be kept outside of the cache
    /// and used while the fence [is current](Self::is_current), if the fence was taken before the
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

    /// Begins a read of the store for a token that was missed, or joins one.
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

    /// Forgets the token. When this returns, no answer from before it is given any more: neither by
    /// the cache, nor by a read that is under way, nor from a copy whose fence is checked.
    pub fn invalidate(&self, digest: &TokenDigest) {
        let stripe = self.stripe(digest);
        // Removed before the raise, so that the holder of a new fence cannot find the entry.
        self.entries.remove(digest);
        self.generation(digest).fetch_add(1, Ordering::AcqRel);
        drop(stripe);
    }

    /// Forgets everything: for when it is uncertain what has been revoked.
    pub fn invalidate_all(&self) {
        // All stripes, so that no flight lands in between.
        let stripes: Vec<_> = self.stripes.iter().map(lock).collect();
        self.entries.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        drop(stripes);
    }

    /// From now on and until the returned value is dropped, every decision reads the store: for
    /// while another process changes it, too. Only for a lease [without an
    /// end](Lease::endless).
    #[must_use]
    pub fn read_anew(self: &Arc<Self>) -> ReadAnew {
        self.lease.suspend();
        // Reads that are under way are made again: their answers may be from before.
        self.invalidate_all();
        ReadAnew(Arc::clone(self))
    }

    /// How many tokens are remembered, unknown ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no token is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many reads were discarded because their fence was broken.
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

/// A panic under the lock leaves the map in a complete state, so poisoning is ignored.
fn lock(stripe: &Mutex<Flights>) -> MutexGuard<'_, Flights> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, nothing that is remembered counts: see [`TokenCache::read_anew`].
pub struct ReadAnew(Arc<TokenCache>);

impl Drop for ReadAnew {
    fn drop(&mut self) {
        // First, so that no fence from before outlives it: the other process broke none.
        self.0.invalidate_all();
        self.0.lease.resume();
    }
}

/// The task of reading the store for a token. If it is dropped without [landing](Self::land), all
/// waiting requests learn that the read failed.
pub struct Leader {
    pub(super) cache: Arc<TokenCache>,
    pub(super) digest: TokenDigest,
    landed: watch::Sender<Option<FlightOutcome>>,
}

/// The fence was broken during the read, or the lease ended: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceBroken;

impl Leader {
    /// A receiver of the outcome.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<FlightOutcome>> {
        self.landed.subscribe()
    }

    /// The fence, to be taken before the read is sent.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.cache.fence(&self.digest)
    }

    /// Hands the outcome to all waiting requests, and puts an answer into the cache. An error is
    /// not remembered.
    ///
    /// # Errors
    ///
    /// When the fence is not current any more, or the lease does not hold. No request is answered
    /// then.
    pub fn land(
        &self,
        fence: Fence,
        outcome: FlightOutcome,
        now: Uptime,
    ) -> Result<(), FenceBroken> {
        let mut flights = self.cache.stripe(&self.digest);
        let reads_anew = self.cache.lease.reads_anew();
        let is_certain = self.cache.is_current(&self.digest, fence)
            && (self.cache.lease.holds(now) || reads_anew);
        if outcome.is_ok() && !is_certain {
            self.cache.refused_fills.fetch_add(1, Ordering::Relaxed);
            return Err(FenceBroken);
        }
        let entry = match &outcome {
            Ok(Answer::Present(token)) => Some(Entry::Present(Arc::clone(token))),
            Ok(Answer::Absent) => Some(Entry::Absent { until: now.after(ABSENT_FOR) }),
            Ok(Answer::PresentOnce(_)) | Err(_) => None,
        };
        if let Some(entry) = entry.filter(|_| !reads_anew) {
            self.cache.entries.insert(self.digest, entry);
        }
        flights.remove(&self.digest);
        // Under the same lock: a later request finds the entry, not a flight that has landed.
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

/// Hashes a digest by its first bytes: it is a MAC.
type DigestHasher = BuildHasherDefault<FirstBytes>;

#[derive(Default)]
pub(super) struct FirstBytes(u64);

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
