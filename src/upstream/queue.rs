//! Requests that wait until an endpoint has a place for them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, timeout_at};

/// Requests of all workers that wait until an endpoint has a place, in the order in which they
/// came. One looks for a place at a time: it *has the turn*. When a place becomes free, that is the
/// first one. It hands the turn on when it leaves; and, if it has found nothing that suits it, but
/// another one might, to the one behind it. All keep their order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many there are in the line, without a lock for those that ask.
    waiting: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// By their numbers, which are in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// How many of them found nothing that suits them, where others might.
    particular: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    has_turn: bool,
    is_particular: bool,
    waker: Option<Waker>,
}

/// Why a request got no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// As many wait as may.
    Full,
    /// It has waited for as long as it may.
    TimedOut,
    /// It is not waited for any more.
    Left,
}

/// What a request that has the turn has found.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It waits no longer.
    This(T),
    /// Nothing, and no other one would find more.
    Nothing,
    /// Nothing that suits it. Others take what it does not.
    NothingSuitable,
}

impl Queue {
    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// A place has become free, or places are found in another way.
    pub(super) fn wake(&self) {
        if self.waiting() > 0 {
            self.give_turn(Bound::Unbounded);
        }
    }

    /// Joins the line, where at most `most` wait, each until some time.
    pub(super) fn join(self: &Arc<Self>, most: u32, until: Instant) -> Result<Ticket, NoPlace> {
        let mut line = self.line();
        if self.waiting() >= most {
            return Err(NoPlace::Full);
        }
        let number = line.next;
        line.next += 1;
        // It overtakes none that would take what it takes. A place that became free before this
        // one was counted woke none.
        let has_turn = line.waiting.len() == line.particular;
        line.waiting.insert(number, Waiting { has_turn, ..Waiting::default() });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Ok(Ticket { queue: Arc::clone(self), number, until })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turn to the first one behind.
    fn give_turn(&self, behind: Bound<u64>) {
        let mut line = self.line();
        let first = line.waiting.range_mut((behind, Bound::Unbounded)).next();
        let waker = first.and_then(|(_, waiting)| {
            waiting.has_turn = true;
            waiting.waker.take()
        });
        drop(line);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The place of one request in the line. Dropping it leaves the line.
#[derive(Debug)]
pub(super) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
    until: Instant,
}

impl Ticket {
    pub(super) fn is_of(&self, queue: &Arc<Queue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }

    /// How long it waits at most.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Waits until `take` finds something when it has the turn, and no longer than it may, nor
    /// once it `has_left`. Whatever makes that so wakes the task that waits.
    ///
    /// # Cancel safety
    ///
    /// It goes on waiting when this is called again. A place that was about to be its own is the
    /// next one's when it leaves the line.
    pub(super) async fn wait<T>(
        &self,
        has_left: &dyn Fn() -> bool,
        mut take: impl FnMut() -> Found<T>,
    ) -> Result<T, NoPlace> {
        let found = std::future::poll_fn(|cx| {
            while self.takes_turn(cx) {
                match take() {
                    Found::This(found) => return Poll::Ready(found),
                    Found::Nothing => {}
                    Found::NothingSuitable => self.passes_turn(),
                }
            }
            Poll::Pending
        });
        let mut found = pin!(timeout_at(self.until, found));
        std::future::poll_fn(|cx| match found.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|_| NoPlace::TimedOut)),
            Poll::Pending if has_left() => Poll::Ready(Err(NoPlace::Left)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Whether it has the turn; then it is up to it to use it. Otherwise it is woken for it.
    fn takes_turn(&self, cx: &Context<'_>) -> bool {
        let mut line = self.queue.line();
        let Line { waiting, particular, .. } = &mut *line;
        let Some(own) = waiting.get_mut(&self.number) else { return false };
        if std::mem::take(&mut own.has_turn) {
            *particular -= usize::from(std::mem::take(&mut own.is_particular));
            return true;
        }
        own.waker = Some(cx.waker().clone());
        false
    }

    fn passes_turn(&self) {
        let mut line = self.queue.line();
        let Line { waiting, particular, .. } = &mut *line;
        if let Some(own) = waiting.get_mut(&self.number) {
            own.is_particular = true;
            *particular += 1;
        }
        drop(line);
        self.queue.give_turn(Bound::Excluded(self.number));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        if let Some(own) = line.waiting.remove(&self.number) {
            line.particular -= usize::from(own.is_particular);
            self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        drop(line);
        // There may be a place for the next one, too.
        self.queue.wake();
    }
}

#[cfg(test)]
mod tests;
