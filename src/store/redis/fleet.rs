//! This instance as a member of its fleet: what it is told, what it has confirmed, and for whom it waits.
//!
//! An announcement names what was removed, who removed it, and a number. Every other instance drops its copies and confirms; the
//! one that removed waits until all who were registered have, or until the leases of those that did not are over for
//! certain. No two clocks are compared: the wait is counted from the receipt of the script's answer. Every heartbeat that
//! an instance may still count its lease from was executed before the script, and sent before it was executed; a later
//! one brings the announcement with it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::operations::Announced;
use crate::domain::{TokenDigest, Uptime};
use crate::tokens::cache::TokenCache;
use crate::tokens::clock;

/// See the module.
pub(super) struct Fleet {
    /// This instance's id: random, new with every start.
    me: String,
    cache: Arc<TokenCache>,
    /// Since when the present link has been up, in nanoseconds of [`Uptime`]; 0: it is not.
    linked_since: AtomicU64,
    ledger: Mutex<Ledger>,
    /// The ledger has a new entry.
    entered: Notify,
}

/// Who has confirmed which announcement. A confirmation may be there before the answer of the script that it is about: the two
/// come on different connections.
#[derive(Default)]
struct Ledger {
    confirmed: HashMap<u64, Confirmations>,
}

struct Confirmations {
    first_at: Uptime,
    by: HashSet<String>,
}

/// What an announcement asks to be dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// These; none: everything that was removed before this.
    Named(Vec<TokenDigest>),
    /// So much that it is not named.
    Everything,
}

/// An announcement, as it comes over the link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) number: u64,
    pub(super) by: String,
    pub(super) dropped: Dropped,
}

/// How the wait for an announcement ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// All who were registered have confirmed.
    Confirmed,
    /// The leases of these, as they were registered, are over: they did not confirm.
    Waited(Vec<(String, u64)>),
}

/// Announcements that nobody here waits for are forgotten when there are so many.
const MOST_ENTRIES: usize = 10_000;

impl Fleet {
    pub(super) fn new(me: String, cache: Arc<TokenCache>) -> Self {
        Self {
            me,
            cache,
            linked_since: AtomicU64::new(0),
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

    /// The link is up, and everything from before it has been dropped.
    pub(super) fn linked(&self, now: Uptime) {
        self.linked_since.store(now.nanos().max(1), Ordering::Release);
    }

    /// The link is down: what is remembered can no longer be vouched for.
    pub(super) fn unlinked(&self, now: Uptime) {
        self.linked_since.store(0, Ordering::Release);
        self.cache.lease().end(now);
    }

    /// Drops what an announcement names. When this returns, it may be confirmed.
    pub(super) fn drop_named(&self, dropped: &Dropped) {
        match dropped {
            Dropped::Named(digests) => digests.iter().for_each(|digest| self.cache.invalidate(digest)),
            Dropped::Everything => self.cache.invalidate_all(),
        }
    }

    /// Enters that `by` has confirmed announcement `number`, one of ours.
    pub(super) fn enter(&self, number: u64, by: &str) {
        let now = clock::uptime();
        let mut ledger = self.ledger();
        if ledger.confirmed.len() >= MOST_ENTRIES && !ledger.confirmed.contains_key(&number) {
            let bound = self.cache.lease().bound();
            ledger.confirmed.retain(|_, entry| now.since(entry.first_at) < bound);
            if ledger.confirmed.len() >= MOST_ENTRIES {
                // Whoever waits for it waits until the leases are over.
                return;
            }
        }
        let entry = ledger
            .confirmed
            .entry(number)
            .or_insert_with(|| Confirmations { first_at: now, by: HashSet::new() });
        entry.by.insert(by.to_owned());
        drop(ledger);
        self.entered.notify_waiters();
    }

    /// Returns when no other instance uses any more what was announced; `received` is when the answer of the script was there.
    ///
    /// It waits for the whole bound, whoever confirms, if the register may lack somebody: it was lost with the data, or this
    /// instance's link has not been up for as long as a lease lasts, as after a failover or a restart.
    pub(super) async fn settled(&self, announced: &Announced, received: Uptime) -> Settled {
        let bound = self.cache.lease().bound();
        let over = received.after(bound);
        let register_is_whole_at = match self.linked_since.load(Ordering::Acquire) {
            _ if announced.is_new_generation => over,
            0 => over,
            since => Uptime::from_nanos(since).after(bound).min(over),
        };
        let mut awaited: HashMap<&str, u64> = announced
            .instances
            .iter()
            .filter(|(instance, _)| *instance != self.me)
            .map(|(instance, beat)| (instance.as_str(), *beat))
            .collect();
        loop {
            let entered = self.entered.notified();
            tokio::pin!(entered);
            // Listening before looking, so that an entry in between is not missed.
            entered.as_mut().enable();
            if let Some(confirmations) = self.ledger().confirmed.get(&announced.number) {
                awaited.retain(|instance, _| !confirmations.by.contains(*instance));
            }
            let now = clock::uptime();
            let until = if awaited.is_empty() { register_is_whole_at } else { over };
            if now >= until {
                break;
            }
            let _ = tokio::time::timeout(until.since(now), entered).await;
        }
        self.ledger().confirmed.remove(&announced.number);
        if awaited.is_empty() {
            Settled::Confirmed
        } else {
            Settled::Waited(awaited.into_iter().map(|(instance, beat)| (instance.to_owned(), beat)).collect())
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcement {
    /// Reads `number space instance space digests`, 32 bytes each, or `*`.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut parts = payload.splitn(3, |&byte| byte == b' ');
        let number = number(parts.next()?)?;
        let by = std::str::from_utf8(parts.next()?).ok()?.to_owned();
        let dropped = match parts.next()? {
            b"*" => Dropped::Everything,
            named => {
                let (digests, rest) = named.as_chunks::<32>();
                if !rest.is_empty() {
                    return None;
                }
                Dropped::Named(digests.iter().copied().map(TokenDigest::from_bytes).collect())
            }
        };
        Some(Self { number, by, dropped })
    }

    /// Whether it names nothing: it is about whatever was removed before it.
    pub(super) fn is_bare(&self) -> bool {
        matches!(&self.dropped, Dropped::Named(digests) if digests.is_empty())
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
    use std::time::Duration;

    use super::*;
    use crate::tokens::lease::{Lease, LeaseTerms};

    fn fleet(bound: Duration) -> Arc<Fleet> {
        let terms = LeaseTerms { span: bound, staleness: Duration::ZERO, open: bound, patience: Duration::ZERO };
        Arc::new(Fleet::new("a".into(), Arc::new(TokenCache::new(100, Lease::pending(terms)))))
    }

    /// Up for as long as it takes.
    fn linked(bound: Duration) -> Arc<Fleet> {
        let fleet = fleet(bound);
        fleet.linked(Uptime::from_nanos(1));
        fleet
    }

    fn announced(instances: &[(&str, u64)]) -> Announced {
        Announced {
            number: 7,
            instances: instances.iter().map(|(id, beat)| ((*id).to_owned(), *beat)).collect(),
            generation: "g".into(),
            is_new_generation: false,
        }
    }

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn who_is_alone_waits_for_nobody() {
        for instances in [&[][..], &[("a", 3)]] {
            assert_eq!(linked(LONG).settled(&announced(instances), clock::uptime()).await, Settled::Confirmed);
        }
    }

    #[tokio::test]
    async fn it_waits_for_each_who_was_registered_and_for_nobody_else() {
        let fleet = linked(LONG);
        fleet.enter(7, "b"); // before the answer of the script was there
        fleet.enter(6, "c");
        let waiting = tokio::spawn({
            let fleet = Arc::clone(&fleet);
            async move { fleet.settled(&announced(&[("a", 1), ("b", 2), ("c", 9)]), clock::uptime()).await }
        });
        tokio::task::yield_now().await;
        fleet.enter(7, "d");
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fleet.enter(7, "c");
        assert_eq!(waiting.await.expect("no panic"), Settled::Confirmed);
        assert!(!fleet.ledger().confirmed.contains_key(&7));
    }

    #[tokio::test]
    async fn who_does_not_confirm_is_waited_out_and_named_with_its_beat() {
        let received = clock::uptime();
        let fleet = linked(SHORT);
        fleet.enter(7, "b");
        let settled = fleet.settled(&announced(&[("b", 2), ("c", 9)]), received).await;
        assert_eq!(settled, Settled::Waited(vec![("c".into(), 9)]));
        assert!(clock::uptime() >= received.after(SHORT));
    }

    #[tokio::test]
    async fn a_register_that_may_lack_somebody_is_waited_out_whoever_confirms() {
        let received = clock::uptime();
        let new = Announced { is_new_generation: true, ..announced(&[]) };
        assert_eq!(linked(SHORT).settled(&new, received).await, Settled::Confirmed);
        assert!(clock::uptime() >= received.after(SHORT), "the data was lost");

        let received = clock::uptime();
        assert_eq!(fleet(SHORT).settled(&announced(&[]), received).await, Settled::Confirmed);
        assert!(clock::uptime() >= received.after(SHORT), "no link");

        let fleet = fleet(SHORT);
        let since = clock::uptime();
        fleet.linked(since);
        assert_eq!(fleet.settled(&announced(&[]), clock::uptime()).await, Settled::Confirmed);
        assert!(clock::uptime() >= since.after(SHORT), "a new link");
    }

    #[test]
    fn announcements_are_read_whatever_bytes_a_digest_has() {
        let digest = [b' '; 32];
        let mut payload = b"12 me ".to_vec();
        assert!(Announcement::read(&payload).is_some_and(|bare| bare.is_bare() && bare.number == 12 && bare.by == "me"));
        payload.extend_from_slice(&digest);
        let one = Announcement::read(&payload).expect("one");
        assert_eq!(one.dropped, Dropped::Named(vec![TokenDigest::from_bytes(digest)]));
        assert!(!one.is_bare());
        payload.push(0);
        assert_eq!(Announcement::read(&payload), None, "half a digest");
        assert_eq!(Announcement::read(b"1 a *").map(|all| all.dropped), Some(Dropped::Everything));
        for wrong in [&b""[..], b"1", b"1 a", b"x a ", b"-1 a ", b"1 \xff "] {
            assert_eq!(Announcement::read(wrong), None, "{wrong:?}");
        }
        assert_eq!(read_confirmation(b"7 b"), Some((7, "b")));
        assert_eq!(read_confirmation(b"7"), None);
    }
}
