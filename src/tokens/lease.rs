//! The lease: until when an instance may use what it was told of a token.
//!
//! An instance learns of revocations from outside. While it is certain to have learned of all that
//! were answered, it holds a lease. The connection to the store extends the lease, and every
//! decision on a token asks for it. Without a lease, nothing that came from the store counts,
//! whether remembered or just read. The answer is then "cannot tell", or, where an operator chose
//! so, what is remembered, until a hard end (DESIGN.md, section 6).
//!
//! A store within the process tells of every change in the same step: its lease never ends
//! ([`Lease::endless`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock;
use super::store::StoreError;
use crate::domain::Uptime;

/// How long what comes with a lease lasts, each counted from the moment for which it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The lease itself: what the store said may be used for so long.
    pub span: Duration,
    /// What is remembered may be used for so long, lease or not; no longer than `span`: not without
    /// a lease.
    pub staleness: Duration,
    /// What is open (WebSockets, event streams, long transfers) may go on for so long without a
    /// word from the store.
    pub open: Duration,
    /// For so long a request waits for the next one, and for so long after [`Lease::give_up`]; then
    /// "cannot tell" is the answer at once.
    pub timeout: Duration,
}

/// One for each instance. Hot: asking is one load and one comparison.
#[derive(Debug)]
pub struct Lease {
    terms: LeaseTerms,
    /// In nanoseconds of [`Uptime`]: it holds before this, not at it.
    until: AtomicU64,
    /// For when it was last granted.
    since: AtomicU64,
    /// From then on no request waits for it, until it has been granted again.
    hopeless: AtomicU64,
    /// A request waits for it.
    granted: Notify,
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

    /// A lease that is yet to be granted.
    #[must_use]
    pub fn pending(terms: LeaseTerms) -> Self {
        // As if one had just ended: a request that comes while the process starts waits a little,
        // too.
        let now = clock::uptime();
        let lease = Self::with(terms, now.nanos());
        lease.give_up(now);
        lease
    }

    fn with(terms: LeaseTerms, until: u64) -> Self {
        let [until, since, hopeless] = [until, 0, u64::MAX].map(AtomicU64::new);
        Self { terms, until, since, hopeless, granted: Notify::new() }
    }

    /// How long what comes with it lasts.
    #[must_use]
    pub fn terms(&self) -> &LeaseTerms {
        &self.terms
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, now: Uptime) -> bool {
        now.nanos() < self.until.load(Ordering::Acquire)
    }

    /// Whether what is remembered may be used although the lease does not hold.
    #[must_use]
    pub fn tolerates_stale(&self, now: Uptime) -> bool {
        self.has_been_granted() && now < self.since().after(self.terms.staleness)
    }

    /// Whether what is open may go on.
    #[must_use]
    pub fn tolerates_open(&self, now: Uptime) -> bool {
        self.holds(now) || now < self.since().after(self.terms.open)
    }

    /// How much is left of it.
    #[must_use]
    pub fn left(&self, now: Uptime) -> Duration {
        self.until().since(now)
    }

    /// After this long without a new grant, no instance uses a token any more that was removed in
    /// between. A revocation waits so long for an instance that does not answer.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.terms.span.max(self.terms.staleness)
    }

    /// Grants it for a moment `since` which every removal that was answered before is known; never
    /// for a shorter time than before.
    pub fn grant(&self, since: Uptime) {
        self.since.fetch_max(since.nanos(), Ordering::AcqRel);
        self.until.fetch_max(since.after(self.terms.span).nanos(), Ordering::AcqRel);
        self.hopeless.store(u64::MAX, Ordering::Release);
        self.granted.notify_waiters();
    }

    /// Says that no grant is expected: once the timeout is over, which begins now or when the lease
    /// ends, no request waits for one. Only the connection to the store can tell: after a pause of
    /// the whole process a lease is over as well, and the next heartbeat brings another.
    pub fn give_up(&self, now: Uptime) {
        let over = now.max(self.until());
        self.hopeless.fetch_min(over.after(self.terms.timeout).nanos(), Ordering::AcqRel);
    }

    /// Ends it now and gives it up; what is remembered and what is open may be used as long as was
    /// granted.
    pub fn end(&self, now: Uptime) {
        self.until.fetch_min(now.nanos(), Ordering::AcqRel);
        self.give_up(now);
    }

    /// Ends it now, and with it the use of all that is remembered.
    pub fn end_all(&self, now: Uptime) {
        self.since.store(0, Ordering::Release);
        self.end(now);
    }

    /// Waits until it holds: not at all if it does, nor where it has been given up for too long,
    /// and at most as long as its terms say.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if it does not come.
    pub async fn held(&self) -> Result<(), StoreError> {
        let timeout = clock::uptime().after(self.terms.timeout);
        loop {
            let granted = self.granted.notified();
            tokio::pin!(granted);
            // Listening before looking, so that a grant in between is not missed.
            granted.as_mut().enable();
            let now = clock::uptime();
            if self.holds(now) {
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

    fn has_been_granted(&self) -> bool {
        self.since.load(Ordering::Acquire) != 0
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
    async fn who_waits_is_woken_by_the_grant_and_gives_up_when_its_time_is_over() {
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
