use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::*;

/// So many places, taken and freed by hand.
#[derive(Default)]
struct Places(Cell<u32>);

impl Places {
    fn take(&self) -> Found<()> {
        let Some(left) = self.0.get().checked_sub(1) else { return Found::Nothing };
        self.0.set(left);
        Found::This(())
    }

    fn free(&self, queue: &Queue) {
        self.0.set(self.0.get() + 1);
        queue.wake();
    }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Joins, and waits until `take` finds something.
async fn wait<T>(
    queue: &Arc<Queue>,
    most: u32,
    take: impl FnMut() -> Found<T>,
) -> Result<T, NoPlace> {
    queue.join(most, later())?.wait(&|| false, take).await
}

#[tokio::test(flavor = "current_thread")]
async fn those_that_wait_get_a_place_in_the_order_in_which_they_came() {
    let (queue, places) = (Arc::new(Queue::default()), Places::default());
    let order = RefCell::new(Vec::new());
    let wait = async |name: u32| {
        let got = wait(&queue, 3, || places.take()).await;
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
async fn one_that_finds_nothing_keeps_its_place_before_those_that_came_later() {
    let (queue, places) = (Arc::new(Queue::default()), Places::default());
    let order = RefCell::new(Vec::new());
    let wait = async |name: u32| {
        let got = wait(&queue, 3, || places.take()).await;
        order.borrow_mut().push(name);
        got
    };
    let free = async {
        // All look in vain.
        for _ in 0..5 {
            tokio::task::yield_now().await;
            queue.wake();
        }
        places.0.set(3);
        queue.wake();
    };
    let (one, two, three, ()) = tokio::join!(wait(1), wait(2), wait(3), free);
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    assert_eq!(*order.borrow(), [1, 2, 3]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_does_not_suit_the_first_one_is_taken_by_one_behind_it() {
    let (queue, places) = (Arc::new(Queue::default()), Places::default());
    let own = Places::default();
    let particular = || match own.take() {
        Found::Nothing => Found::NothingSuitable,
        found => found,
    };
    let first = async {
        assert_eq!(wait(&queue, 4, particular).await, Ok(()));
    };
    let others = async {
        let (second, third) =
            tokio::join!(wait(&queue, 4, || places.take()), wait(&queue, 4, || places.take()));
        assert_eq!((second, third), (Ok(()), Ok(())));
        assert_eq!(queue.waiting(), 1, "the first one waits");
        // Before it, too, if nothing suits it that is there.
        places.0.set(1);
        assert_eq!(wait(&queue, 4, || places.take()).await, Ok(()));
        own.free(&queue);
    };
    let free = async {
        tokio::task::yield_now().await;
        places.0.set(2);
        queue.wake();
    };
    tokio::join!(first, others, free);
    assert_eq!((queue.waiting(), queue.line().particular), (0, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn one_more_than_may_wait_is_refused_and_none_waits_for_longer_than_it_may() {
    let queue = Arc::new(Queue::default());
    let wait = async || {
        let ticket = queue.join(1, Instant::now() + Duration::from_millis(50))?;
        ticket.wait(&|| false, || Found::<()>::Nothing).await
    };
    let (first, second) = tokio::join!(wait(), wait());
    assert_eq!((first, second), (Err(NoPlace::TimedOut), Err(NoPlace::Full)));
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn one_that_leaves_the_queue_hands_its_turn_on() {
    let (queue, places) = (Arc::new(Queue::default()), Places::default());
    let mut leaving = Box::pin(wait(&queue, 2, || places.take()));
    std::future::poll_fn(|cx| {
        assert!(leaving.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let leave = async {
        tokio::task::yield_now().await;
        // It is woken, and leaves before it takes the place.
        places.free(&queue);
        drop(leaving);
    };
    let (staying, ()) = tokio::join!(wait(&queue, 2, || places.take()), leave);
    assert_eq!(staying, Ok(()));
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn places_that_become_free_at_once_are_all_taken() {
    let (queue, places) = (Arc::new(Queue::default()), Places::default());
    let wait = || wait(&queue, 9, || places.take());
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
    let queue = Arc::new(Queue::default());
    let has_left = Cell::new(false);
    let has_left_by_now = || has_left.get();
    let wait = async {
        let ticket = queue.join(1, later())?;
        ticket.wait(&has_left_by_now, || Found::<()>::Nothing).await
    };
    let leave = async {
        assert_eq!(queue.waiting(), 1);
        has_left.set(true);
        tokio::task::yield_now().await;
    };
    assert_eq!(tokio::join!(wait, leave).0, Err(NoPlace::Left));
    assert_eq!(queue.waiting(), 0);
}
