//! Requests that wait until an endpoint has a place for them.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

/// Requests of all workers that wait until an endpoint has a place, in the order in which they
/// came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicU32,
    freed: Notify,
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

/// Counts one that waits.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // There may be a place for the next one, too.
        self.0.wake();
    }
}

impl Queue {
    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    /// A place has become free.
    pub(super) fn wake(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// Waits behind the others until `take` finds a place; at most `most` wait, each for
    /// `timeout`, and none that `has_left`. Whatever makes that so wakes the task that waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the queue; a place that was about to be its own is the next one's.
    pub(super) async fn wait<T>(
        &self,
        most: u32,
        timeout: Duration,
        has_left: &dyn Fn() -> bool,
        mut take: impl FnMut() -> Option<T>,
    ) -> Result<T, NoPlace> {
        let add = |count: u32| if count < most { count.checked_add(1) } else { None };
        let before = self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        let before = before.map_err(|_| NoPlace::Full)?;
        let _waiting = Waiting(self);
        let turn = async {
            // A place that became free before this one was counted woke none.
            let mut is_first = before == 0;
            loop {
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable();
                if is_first && let Some(place) = take() {
                    return place;
                }
                freed.await;
                is_first = true;
            }
        };
        let mut turn = pin!(tokio::time::timeout(timeout, turn));
        std::future::poll_fn(|cx| match turn.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|_| NoPlace::TimedOut)),
            Poll::Pending if has_left() => Poll::Ready(Err(NoPlace::Left)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// So many places, taken and freed by hand.
    struct Places(Cell<u32>);

    impl Places {
        fn take(&self) -> Option<()> {
            let left = self.0.get().checked_sub(1)?;
            self.0.set(left);
            Some(())
        }

        fn free(&self, queue: &Queue) {
            self.0.set(self.0.get() + 1);
            queue.wake();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn those_that_wait_get_a_place_in_the_order_in_which_they_came() {
        let (queue, places) = (Queue::default(), Places(Cell::new(0)));
        let order = std::cell::RefCell::new(Vec::new());
        let wait = async |name: u32| {
            let got = queue.wait(3, Duration::from_secs(10), &|| false, || places.take()).await;
            order.borrow_mut().push(name);
            got
        };
        let free = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                places.free(&queue);
            }
        };
        let (one, two, three, ()) = tokio::join!(wait(1), wait(2), wait(3), free);
        assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
        assert_eq!(*order.borrow(), [1, 2, 3]);
        assert_eq!((queue.waiting(), places.0.get()), (0, 0));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_more_than_may_wait_is_refused_and_none_waits_for_longer_than_it_may() {
        let queue = Queue::default();
        let wait = || queue.wait(1, Duration::from_millis(50), &|| false, || None::<()>);
        let (first, second) = tokio::join!(wait(), wait());
        assert_eq!((first, second), (Err(NoPlace::TimedOut), Err(NoPlace::Full)));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_leaves_the_queue_hands_its_turn_on() {
        let (queue, places) = (Queue::default(), Places(Cell::new(0)));
        let wait = || queue.wait(2, Duration::from_secs(10), &|| false, || places.take());
        let mut leaving = Box::pin(wait());
        let second = async {
            std::future::poll_fn(|cx| {
                assert!(leaving.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            let staying = wait();
            let leave = async {
                tokio::task::yield_now().await;
                // It is woken, and leaves before it takes the place.
                places.free(&queue);
                drop(leaving);
            };
            tokio::join!(staying, leave).0
        };
        assert_eq!(second.await, Ok(()));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn places_that_become_free_at_once_are_all_taken() {
        let (queue, places) = (Queue::default(), Places(Cell::new(0)));
        let wait = || queue.wait(9, Duration::from_secs(10), &|| false, || places.take());
        let free = async {
            tokio::task::yield_now().await;
            places.0.set(3);
            queue.wake();
        };
        let (one, two, three, ()) = tokio::join!(wait(), wait(), wait(), free);
        assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_is_not_waited_for_any_more_leaves_the_queue() {
        let queue = Queue::default();
        let has_left = Cell::new(false);
        let has_left_by_now = || has_left.get();
        let wait = queue.wait(1, Duration::from_secs(10), &has_left_by_now, || None::<()>);
        let leave = async {
            assert_eq!(queue.waiting(), 1);
            has_left.set(true);
            tokio::task::yield_now().await;
        };
        assert_eq!(tokio::join!(wait, leave).0, Err(NoPlace::Left));
        assert_eq!(queue.waiting(), 0);
    }
}
