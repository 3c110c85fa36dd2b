//! This instance as a member of its fleet: the announcements that it receives, and the
//! confirmations that it waits for.
//!
//! An announcement names what was removed, the instance that removed it, and a number. Every other
//! instance drops its copies and confirms. The one that removed waits until all registered
//! instances have confirmed, or until the leases of those that did not are over for certain. No two
//! clocks are compared: the wait is counted from the receipt of the script's answer. Every
//! heartbeat that an instance may still count its lease from was executed before the script, and
//! sent before it was executed; a later one brings the announcement with it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::link_state::LinkState;
use super::membership::{Announced, Registered};
use crate::domain::{TokenDigest, Uptime};
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;

/// See the module.
pub(super) struct Fleet {
    /// This instance's id: random, new with every start.
    me: String,
    cache: Arc<TokenCache>,
    state: Arc<LinkState>,
    /// Since when the link has been up on the same data, so that every running instance has had to
    /// register itself again. In nanoseconds of [`Uptime`]; 0: there is no link.
    register_since: AtomicU64,
    /// The generation of the data, as the link was last told.
    generation: Mutex<String>,
    /// The longest bound that this instance has ever read in the register, in nanoseconds.
    longest: AtomicU64,
    beats: AtomicU64,
    /// The latest beat that was answered.
    answered_beat: AtomicU64,
    /// How many announcements have come.
    announcements: AtomicU64,
    /// How many of them had come when the latest beat that was answered was sent.
    announcements_at_beat: AtomicU64,
    /// The confirmations of each announcement. One may arrive before the answer of the script that
    /// it is about: the two come on different connections.
    ledger: Mutex<HashMap<u64, Confirmations>>,
    /// The ledger has a new entry.
    entered: Notify,
}

struct Confirmations {
    first_at: Uptime,
    by: HashSet<String>,
}

/// An announcement, as it comes over the link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) number: u64,
    pub(super) by: String,
    /// What was removed; `None`: so much that it is not named. Empty: it is about whatever was
    /// removed before it.
    pub(super) digests: Option<Vec<TokenDigest>>,
}

/// How many announcements have entries; further ones push out those that are no longer waited for.
const MOST_ENTRIES: usize = 10_000;

impl Fleet {
    pub(super) fn new(me: String, cache: Arc<TokenCache>) -> Self {
        Self {
            me,
            cache,
            state: Arc::default(),
            register_since: AtomicU64::new(0),
            generation: Mutex::default(),
            longest: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            answered_beat: AtomicU64::new(0),
            announcements: AtomicU64::new(0),
            announcements_at_beat: AtomicU64::new(0),
            ledger: Mutex::default(),
            entered: Notify::new(),
        }
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    pub(super) fn cache(&self) -> &TokenCache {
        &self.cache
    }

    pub(super) fn state(&self) -> &Arc<LinkState> {
        &self.state
    }

    /// What is registered with the next heartbeat, and how many announcements have come.
    pub(super) fn next_beat(&self) -> (Registered, u64) {
        let registered = Registered {
            instance: self.me.clone(),
            beat: self.beats.fetch_add(1, Ordering::Relaxed) + 1,
            bound: self.cache.lease().bound(),
        };
        (registered, self.announcements.load(Ordering::Acquire))
    }

    /// A heartbeat has been answered that was sent when so many announcements had come.
    pub(super) fn beat_answered(&self, beat: u64, announcements: u64) {
        self.answered_beat.fetch_max(beat, Ordering::AcqRel);
        self.announcements_at_beat.store(announcements, Ordering::Release);
    }

    /// Whether the link was ever on data, and last on other data than of this generation.
    pub(super) fn knows_other_than(&self, generation: &str) -> bool {
        let known = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        !known.is_empty() && *known != generation
    }

    /// An announcement has come.
    pub(super) fn note_announcement(&self) {
        self.announcements.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nothing was announced since the latest heartbeat that was answered. Then no instance
    /// is about to take this one off the register: it would have had to announce something first.
    pub(super) fn is_quiet(&self) -> bool {
        let announcements = self.announcements.load(Ordering::Acquire);
        announcements == self.announcements_at_beat.load(Ordering::Acquire)
    }

    /// The link is up on data of this generation, and everything from before has been dropped.
    pub(super) fn linked(&self, generation: &str, now: Uptime) {
        generation.clone_into(&mut self.generation.lock().unwrap_or_else(PoisonError::into_inner));
        self.register_since.store(now.nanos().max(1), Ordering::Release);
    }

    /// Whether the data is still of the generation that the link was established on.
    pub(super) fn is_known(&self, generation: &str) -> bool {
        *self.generation.lock().unwrap_or_else(PoisonError::into_inner) == generation
    }

    /// The link is down: what is remembered may be out of date from now on.
    pub(super) fn unlinked(&self, now: Uptime) {
        self.register_since.store(0, Ordering::Release);
        self.cache.lease().end(now);
    }

    /// Drops what an announcement names. When this returns, it may be confirmed.
    pub(super) fn drop_named(&self, announcement: &Announcement) {
        match &announcement.digests {
            Some(digests) => digests.iter().for_each(|digest| self.cache.invalidate(digest)),
            None => self.drop_everything(),
        }
    }

    /// Drops everything that is remembered.
    pub(super) fn drop_everything(&self) {
        self.cache.invalidate_all();
        self.state.drops.fetch_add(1, Ordering::Relaxed);
    }

    /// Enters that `by` has confirmed announcement `number`, one of ours.
    pub(super) fn enter(&self, number: u64, by: &str) {
        let now = clock::uptime();
        let mut ledger = self.ledger();
        if ledger.len() >= MOST_ENTRIES && !ledger.contains_key(&number) {
            let bound = self.cache.lease().bound();
            ledger.retain(|_, entry| now.since(entry.first_at) < bound);
            if ledger.len() >= MOST_ENTRIES {
                // The wait for it lasts until the leases are over.
                return;
            }
        }
        let none = || Confirmations { first_at: now, by: HashSet::new() };
        ledger.entry(number).or_insert_with(none).by.insert(by.to_owned());
        drop(ledger);
        self.entered.notify_waiters();
    }

    /// Returns when no other instance uses any more what was announced; `received` is when the
    /// answer of the script arrived. Returns the instances, as they were registered, that did not
    /// confirm, but whose leases are over.
    ///
    /// Where the register may be incomplete, confirmations are not enough: it waits as long as any
    /// instance may use what it remembers. That is so if the register was lost or replaced with the
    /// data, or if this instance's link has not been up for as long, as after a failover.
    pub(super) async fn confirmed(
        &self,
        announced: &Announced,
        received: Uptime,
    ) -> Vec<Registered> {
        let own = self.cache.lease().bound();
        let bounds = announced.instances.iter().map(|registered| registered.bound);
        let seen = bounds.fold(own, Duration::max).as_nanos();
        let seen = u64::try_from(seen).unwrap_or(u64::MAX);
        let longest =
            Duration::from_nanos(self.longest.fetch_max(seen, Ordering::AcqRel).max(seen));
        let mine = announced.instances.iter().find(|registered| registered.instance == self.me);
        // One beat may have been answered between the script and now.
        let has_me = mine.is_some_and(|mine| {
            mine.beat.saturating_add(1) >= self.answered_beat.load(Ordering::Acquire)
        });
        let since = self.register_since.load(Ordering::Acquire);
        let is_same = !announced.is_new_generation && self.is_known(&announced.generation);
        let over = received.after(longest);
        let whole_at = if since == 0 || !is_same || !has_me {
            over
        } else {
            Uptime::from_nanos(since).after(longest).min(over)
        };
        if whole_at > received {
            // The only trace of why it takes so long: all may have confirmed at once.
            let (is_linked, waits) = (since != 0, whole_at.since(received));
            tracing::debug!(
                is_linked,
                is_same,
                has_me,
                ?waits,
                "a removal waits because the register may be incomplete"
            );
        }
        let mut awaited: HashMap<&str, &Registered> = announced
            .instances
            .iter()
            .filter(|registered| registered.instance != self.me)
            .map(|registered| (registered.instance.as_str(), registered))
            .collect();
        loop {
            let entered = self.entered.notified();
            tokio::pin!(entered);
            // Listening before looking, so that an entry in between is not missed.
            entered.as_mut().enable();
            if let Some(confirmations) = self.ledger().get(&announced.number) {
                awaited.retain(|instance, _| !confirmations.by.contains(*instance));
            }
            let now = clock::uptime();
            let until = awaited
                .values()
                .map(|silent| received.after(silent.bound))
                .fold(whole_at, Uptime::max);
            if now >= until {
                break;
            }
            let _ = tokio::time::timeout(until.since(now), entered).await;
        }
        self.ledger().remove(&announced.number);
        awaited.into_values().cloned().collect()
    }

    fn ledger(&self) -> MutexGuard<'_, HashMap<u64, Confirmations>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcement {
    /// Reads `number space instance space digests`, 32 bytes each, or `*`.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut parts = payload.splitn(3, |&byte| byte == b' ');
        let number = number(parts.next()?)?;
        let by = std::str::from_utf8(parts.next()?).ok()?.to_owned();
        let digests = match parts.next()? {
            b"*" => None,
            named => {
                let (digests, rest) = named.as_chunks::<32>();
                if !rest.is_empty() {
                    return None;
                }
                Some(digests.iter().copied().map(TokenDigest::from_bytes).collect())
            }
        };
        Some(Self { number, by, digests })
    }
}

/// Reads `number space instance`: a confirmation.
pub(super) fn read_confirmation(payload: &[u8]) -> Option<(u64, &str)> {
    let at = payload.iter().position(|&byte| byte == b' ')?;
    let (first, rest) = payload.split_at(at);
    Some((number(first)?, std::str::from_utf8(rest.get(1..)?).ok()?))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::lease::{Lease, LeaseTerms};

    fn fleet(bound: Duration) -> Arc<Fleet> {
        let terms = LeaseTerms {
            span: bound,
            staleness: Duration::ZERO,
            open: bound,
            timeout: Duration::ZERO,
        };
        Arc::new(Fleet::new("a".into(), Arc::new(TokenCache::new(100, Lease::pending(terms)))))
    }

    /// Linked since the machine started.
    fn linked(bound: Duration) -> Arc<Fleet> {
        let fleet = fleet(bound);
        fleet.linked("g", Uptime::from_nanos(1));
        fleet
    }

    fn announced(instances: &[(&str, Duration)]) -> Announced {
        let registered = |&(instance, bound): &(&str, Duration)| Registered {
            instance: instance.into(),
            beat: 4,
            bound,
        };
        Announced {
            number: 7,
            instances: instances.iter().map(registered).collect(),
            generation: "g".into(),
            is_new_generation: false,
        }
    }

    /// Longer than a test takes, and shorter than the machine has been up: [`linked`] says "since
    /// the machine started". A wait for it would return the
    /// instance that did not confirm.
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn an_instance_that_is_alone_does_not_wait() {
        let alone = announced(&[("a", LONG)]);
        assert_eq!(linked(LONG).confirmed(&alone, clock::uptime()).await, []);
        // Nor if a heartbeat was answered right after the script.
        let fleet = linked(LONG);
        fleet.beat_answered(5, 0);
        assert_eq!(fleet.confirmed(&alone, clock::uptime()).await, []);
    }

    #[tokio::test]
    async fn it_waits_for_each_registered_instance_and_for_no_other() {
        let fleet = linked(LONG);
        fleet.enter(7, "b"); // before the answer of the script was there
        fleet.enter(6, "c");
        let waiting = tokio::spawn({
            let fleet = Arc::clone(&fleet);
            let announced = announced(&[("a", LONG), ("b", LONG), ("c", LONG)]);
            async move { fleet.confirmed(&announced, clock::uptime()).await }
        });
        tokio::task::yield_now().await;
        fleet.enter(7, "d");
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fleet.enter(7, "c");
        assert_eq!(waiting.await.expect("no panic"), []);
        assert!(!fleet.ledger().contains_key(&7));
    }

    #[tokio::test]
    async fn an_instance_that_does_not_confirm_is_waited_for_as_long_as_its_bound() {
        let received = clock::uptime();
        let fleet = linked(Duration::from_millis(1));
        fleet.enter(7, "b");
        let announced = announced(&[("a", SHORT), ("b", LONG), ("c", SHORT)]);
        let silent = fleet.confirmed(&announced, received).await;
        assert!(
            silent.len() == 1
                && silent.iter().all(|silent| silent.instance == "c" && silent.beat == 4)
        );
        assert!(clock::uptime() >= received.after(SHORT));
    }

    #[tokio::test]
    async fn with_a_register_that_may_be_incomplete_confirmations_are_not_enough() {
        let alone = || announced(&[("a", SHORT)]);
        let new = Announced { is_new_generation: true, ..alone() };
        let other = Announced { generation: "h".into(), ..alone() };
        for (announced, why) in [
            (new, "the data was lost"),
            (other, "it is other data"),
            (announced(&[]), "it lacks this instance"),
        ] {
            let received = clock::uptime();
            assert_eq!(linked(SHORT).confirmed(&announced, received).await, []);
            assert!(clock::uptime() >= received.after(SHORT), "{why}");
        }

        let behind = linked(SHORT);
        behind.beat_answered(6, 0);
        let received = clock::uptime();
        assert_eq!(behind.confirmed(&alone(), received).await, []);
        assert!(clock::uptime() >= received.after(SHORT), "an older register");

        let received = clock::uptime();
        assert_eq!(fleet(SHORT).confirmed(&alone(), received).await, []);
        assert!(clock::uptime() >= received.after(SHORT), "no link");

        let fleet = fleet(SHORT);
        let since = clock::uptime();
        fleet.linked("g", since);
        assert_eq!(fleet.confirmed(&alone(), clock::uptime()).await, []);
        assert!(clock::uptime() >= since.after(SHORT), "a new link");
    }

    #[test]
    fn announcements_are_read_whatever_bytes_a_digest_has() {
        let digest = [b' '; 32];
        let mut payload = b"12 me ".to_vec();
        let bare = Announcement { number: 12, by: "me".into(), digests: Some(vec![]) };
        assert_eq!(Announcement::read(&payload), Some(bare));
        payload.extend_from_slice(&digest);
        let one = Announcement::read(&payload).expect("one");
        assert_eq!(one.digests, Some(vec![TokenDigest::from_bytes(digest)]));
        payload.push(0);
        assert_eq!(Announcement::read(&payload), None, "half a digest");
        assert_eq!(Announcement::read(b"1 a *").map(|all| all.digests), Some(None));
        for wrong in [&b""[..], b"1", b"1 a", b"x a ", b"-1 a ", b"1 \xff "] {
            assert_eq!(Announcement::read(wrong), None, "{wrong:?}");
        }
        assert_eq!(read_confirmation(b"7 b"), Some((7, "b")));
        assert_eq!(read_confirmation(b"7"), None);
    }
}
