//! Deadlines that cost a store of one integer: the hot path sets and lifts several per request.
//!
//! A [`Deadlines`] holds those of one worker; its owner calls [`Deadlines::tick`] every [`TICK`], and whoever is overdue is
//! woken. A deadline is late by at most one tick and never early. Exact timers are for what is rare.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

/// How coarse the clock is.
pub const TICK: Duration = Duration::from_millis(50);

/// The deadlines of one worker.
#[derive(Default)]
pub struct Deadlines {
    now: Rc<Cell<u32>>,
    all: RefCell<Vec<Weak<Deadline>>>,
}

/// One deadline at a time: of one connection, whatever it waits for now.
pub struct Deadline {
    now: Rc<Cell<u32>>,
    /// The tick at which it is over; 0: none is set.
    due: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Deadlines {
    /// A deadline that is not set yet.
    #[must_use]
    pub fn register(&self) -> Rc<Deadline> {
        let deadline = Rc::new(Deadline { now: Rc::clone(&self.now), due: Cell::new(0), waker: RefCell::new(None) });
        self.all.borrow_mut().push(Rc::downgrade(&deadline));
        deadline
    }

    /// One tick has passed: wakes whoever is overdue.
    pub fn tick(&self) {
        self.now.set(self.now.get().wrapping_add(1));
        let mut all = self.all.borrow_mut();
        all.retain(|deadline| {
            let Some(deadline) = deadline.upgrade() else { return false };
            if deadline.is_over()
                && let Some(waker) = deadline.waker.borrow_mut().take()
            {
                waker.wake();
            }
            true
        });
        if all.capacity() > 4 * all.len() + 64 {
            all.shrink_to_fit();
        }
    }

    /// Wakes everybody who is registered: something has changed for all.
    pub fn wake_all(&self) {
        for deadline in self.all.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(waker) = deadline.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// How many are registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Deadline {
    /// Sets it, instead of what was set before.
    pub fn set(&self, span: Duration) {
        let ticks =
            u32::try_from(span.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX / 4).min(u32::MAX / 4);
        // One more: the current tick is already under way. Never 0, which means that none is set.
        self.due.set(self.now.get().wrapping_add(ticks + 1).max(1));
    }

    /// Lifts it.
    pub fn lift(&self) {
        self.due.set(0);
    }

    /// Whether it is set and over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let due = self.due.get();
        // The clock wraps after six years: compare by distance.
        due != 0 && self.now.get().wrapping_sub(due) < u32::MAX / 2
    }

    /// Wakes the task now: something else has happened that it must look at.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Has the task woken when it is over, whatever it is set to by then.
    pub fn wake_by(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_late_by_at_most_a_tick() {
        let all = Deadlines::default();
        let deadline = all.register();
        deadline.set(TICK * 3);
        for _ in 0..3 {
            all.tick();
            assert!(!deadline.is_over());
        }
        all.tick();
        assert!(deadline.is_over());
        deadline.lift();
        assert!(!deadline.is_over());
    }

    #[test]
    fn those_that_are_gone_cost_nothing() {
        let all = Deadlines::default();
        let kept = all.register();
        for _ in 0..1000 {
            let _ = all.register();
        }
        all.tick();
        assert_eq!(all.len(), 1);
        drop(kept);
    }
}
