//! The lease: until when an instance may use the answers of the store.
//!
//! An instance holds a lease while it is certain to have learned of all revocations that were
//! answered. The connection to the store extends it, and every decision on a token asks for it.
//! Without a lease, no answer of the store counts, whether remembered or just read: the decision is
//! "cannot tell", or, if an operator has configured it, what is remembered, for a limited time
//! (DESIGN.md, section 6).
//!
//! A store within the process reports every change in the same step: its lease never ends
//! ([`Lease::endless`]). While two processes have that store, neither learns of the other's
//! changes: then nothing that is remembered counts, and each decision reads the store
//! ([`Lease::reads_anew`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock;
use super::store::StoreError;
use crate::domain::Uptime;

/// The durations of a lease, each from the moment for which it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long the lease holds.
    pub span: Duration,
    /// How long what is remembered may be used, lease or not. Without effect if it is not longer
    /// than `span`.
    pub staleness: Duration,
    /// How long open connections (WebSockets, event streams, long transfers) may go on.
    pub open: Duration,
    /// How long a request waits for the next lease. This long after [`Lease::give_up`] no request
    /// waits any more.
    pub timeout: Duration,
}

/// The lease of an instance. Asking is one load and one comparison: every request does.
#[derive(Debug)]
pub struct Lease {
    terms: LeaseTerms,
    /// In nanoseconds of [`Uptime`]: it holds before this, not at it.
    until: AtomicU64,
    /// The moment for which it was last granted; 0: never.
    since: AtomicU64,
    /// From this moment on no request waits for it, until it is granted again.
    hopeless: AtomicU64,
    /// Wakes the requests that wait.
    granted: Notify,
    /// Whether nothing that is remembered counts, and for how many reasons.
    reads_anew: AtomicBool,
    suspensions: Mutex<usize>,
}

impl Lease {
    /// A lease that holds for ever.
    #[must_use]
    pub fn endless() -> Self {
        let zero = Duration::ZERO;
        let terms =
            LeaseTerms { span: Duration::MAX, staleness: zero, open: Duration::MAX, timeout: zero };
        Self::with(terms, u64::MAX)
    }

    /// A lease that is not granted yet.
    #[must_use]
    pub fn pending(terms: LeaseTerms) -> Self {
        // As if one had just ended, so that a request that comes while the process starts waits.
        let now = clock::uptime();
        let lease = Self::with(terms, now.nanos());
        lease.give_up(now);
        lease
    }

    fn with(terms: LeaseTerms, until: u64) -> Self {
        let [until, since, hopeless] = [until, 0, u64::MAX].map(AtomicU64::new);
        let (granted, reads_anew) = (Notify::new(), AtomicBool::new(false));
        let suspensions = Mutex::new(0);
        Self { terms, until, since, hopeless, granted, reads_anew, suspensions }
    }

    /// Its durations.
    #[must_use]
    pub fn terms(&self) -> &LeaseTerms {
        &self.terms
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, now: Uptime) -> bool {
        now.nanos() < self.until.load(Ordering::Acquire)
    }

    /// Whether nothing that is remembered counts, and what was just read from the store does.
    #[must_use]
    pub fn reads_anew(&self) -> bool {
        self.reads_anew.load(Ordering::Acquire)
    }

    /// From now on, nothing that is remembered counts: a lease without an end is suspended.
    pub(super) fn suspend(&self) {
        let mut suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        *suspensions = suspensions.saturating_add(1);
        self.reads_anew.store(true, Ordering::Release);
        self.until.store(0, Ordering::Release);
    }

    /// Takes one [`suspend`](Self::suspend) back. With the last one, it holds again.
    pub(super) fn resume(&self) {
        let mut suspensions = self.suspensions.lock().unwrap_or_else(PoisonError::into_inner);
        *suspensions = suspensions.saturating_sub(1);
        if *suspensions == 0 {
            self.until.store(u64::MAX, Ordering::Release);
            self.reads_anew.store(false, Ordering::Release);
        }
    }

    /// Whether what is remembered may be used although the lease does not hold.
    #[must_use]
    pub fn tolerates_stale(&self, now: Uptime) -> bool {
        self.since() != Uptime::from_nanos(0) && now < self.since().after(self.terms.staleness)
    }

    /// Whether open connections may go on.
    #[must_use]
    pub fn tolerates_open(&self, now: Uptime) -> bool {
        self.holds(now) || self.reads_anew() || now < self.since().after(self.terms.open)
    }

    /// How much is left of it.
    #[must_use]
    pub fn left(&self, now: Uptime) -> Duration {
        self.until().since(now)
    }

    /// After this long without a grant, an instance uses no token any more that was removed in
    /// between. A revocation waits this long for an instance that does not answer.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.terms.span.max(self.terms.staleness)
    }

    /// Grants it for the moment `since`: every removal that was answered before is known. Never
    /// shortens it.
    pub fn grant(&self, since: Uptime) {
        self.since.fetch_max(since.nanos(), Ordering::AcqRel);
        self.until.fetch_max(since.after(self.terms.span).nanos(), Ordering::AcqRel);
        self.hopeless.store(u64::MAX, Ordering::Release);
        self.granted.notify_waiters();
    }

    /// No grant is expected: after the timeout, counted from now or from the end of the lease, no
    /// request waits for one. Only the connection to the store knows this: after a pause of the
    /// process a lease has ended as well, and the next heartbeat brings another.
    pub fn give_up(&self, now: Uptime) {
        let over = now.max(self.until());
        self.hopeless.fetch_min(over.after(self.terms.timeout).nanos(), Ordering::AcqRel);
    }

    /// Ends it now and gives it up. What is remembered and open connections may go on as granted.
    pub fn end(&self, now: Uptime) {
        self.until.fetch_min(now.nanos(), Ordering::AcqRel);
        self.give_up(now);
    }

    /// Ends it now, and the use of what is remembered, too.
    pub fn end_all(&self, now: Uptime) {
        self.since.store(0, Ordering::Release);
        self.end(now);
    }

    /// Waits until it holds, at most as long as its terms say, and not at all if it was given up
    /// for longer than that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if it does not come.
    pub async fn held(&self) -> Result<(), StoreError> {
        let timeout = clock::uptime().after(self.terms.timeout);
        loop {
            let granted = self.granted.notified();
            tokio::pin!(granted);
            // Before the check, so that a grant in between is not missed.
            granted.as_mut().enable();
            let now = clock::uptime();
            if self.holds(now) || self.reads_anew() {
                return Ok(());
            }
            let hopeless = Uptime::from_nanos(self.hopeless.load(Ordering::Acquire));
            let left = timeout.min(hopeless).since(now);
            if left.is_zero() || tokio::time::timeout(left, granted).await.is_err() {
                return Err(StoreError::Unavailable(
                    "it is not certain which tokens have been revoked".into(),
                ));
            }
        }
    }

    fn until(&self) -> Uptime {
        Uptime::from_nanos(self.until.load(Ordering::Acquire))
    }

    fn since(&self) -> Uptime {
        Uptime::from_nanos(self.since.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(timeout: Duration) -> LeaseTerms {
        let seconds = Duration::from_secs;
        LeaseTerms { span: seconds(10), staleness: seconds(30), open: seconds(60), timeout }
    }

    #[test]
    fn it_holds_before_its_end_and_not_at_it_and_stale_use_ends_after_it() {
        let lease = Lease::pending(terms(Duration::ZERO));
        let now = clock::uptime();
        assert!(!lease.holds(now) && !lease.tolerates_stale(now));
        lease.grant(now);
        let at = |seconds: u64| now.after(Duration::from_secs(seconds));
        let before = |moment: Uptime| Uptime::from_nanos(moment.nanos() - 1);
        assert!(lease.holds(before(at(10))) && !lease.holds(at(10)));
        assert!(lease.tolerates_stale(before(at(30))) && !lease.tolerates_stale(at(30)));
        assert!(lease.tolerates_open(before(at(60))) && !lease.tolerates_open(at(60)));
        assert_eq!(
            (lease.left(at(4)), lease.bound()),
            (Duration::from_secs(6), Duration::from_secs(30))
        );
        // A grant that was overtaken by a later one takes nothing away.
        lease.grant(Uptime::from_nanos(1));
        assert!(lease.holds(at(9)));
        lease.end(at(1));
        assert!(!lease.holds(at(1)) && lease.tolerates_stale(at(1)));
        lease.end_all(at(1));
        assert!(!lease.tolerates_stale(at(1)));
    }

    #[tokio::test]
    async fn a_waiting_request_is_woken_by_the_grant_and_gives_up_after_the_timeout() {
        let lease = std::sync::Arc::new(Lease::pending(terms(Duration::from_secs(60))));
        let waiting = tokio::spawn({
            let lease = std::sync::Arc::clone(&lease);
            async move { lease.held().await }
        });
        tokio::task::yield_now().await;
        lease.grant(clock::uptime());
        assert!(waiting.await.expect("no panic").is_ok());

        let over = Lease::pending(terms(Duration::ZERO));
        assert!(matches!(over.held().await, Err(StoreError::Unavailable(_))));
        assert!(Lease::endless().held().await.is_ok());
    }

    /// After a pause of the process the lease is long over, and the heartbeat that brings the next
    /// one is about to be sent.
    #[tokio::test]
    async fn a_lease_that_is_long_over_is_waited_for_unless_it_was_given_up() {
        let short = LeaseTerms { span: Duration::from_nanos(1), ..terms(Duration::from_secs(60)) };
        let is_waited_for =
            async |lease: &Lease| match tokio::time::timeout(Duration::ZERO, lease.held()).await {
                Err(_) => true,
                Ok(refused) => {
                    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
                    false
                }
            };
        let (long_ago, lease) = (Uptime::from_nanos(1), Lease::with(short, 1));
        lease.grant(long_ago);
        assert!(is_waited_for(&lease).await);
        lease.give_up(long_ago);
        assert!(!is_waited_for(&lease).await);
        lease.grant(long_ago);
        assert!(is_waited_for(&lease).await);
        lease.end(long_ago);
        assert!(!is_waited_for(&lease).await);
        // A request that comes while the timeout runs waits for the rest of it.
        lease.grant(long_ago);
        lease.give_up(clock::uptime());
        assert!(is_waited_for(&lease).await);
    }
}
