//! Deadlines that cost a store of one integer: the hot path sets and lifts several per request.
//!
//! [`Deadlines`] is a hashed timing wheel of one worker. [`Deadlines::tick`], called every
//! [`TICK`], visits only the deadlines of one slot. A deadline that is moved to a later time stays
//! in its slot, and gets its new one when it is visited: moving it costs nothing. A deadline is
//! late by at most one tick and never early.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

/// The resolution of the clock.
pub const TICK: Duration = Duration::from_millis(50);

/// Ticks of one turn of the wheel: 6.4 s. A deadline further away is visited once a turn. One that
/// is dropped keeps its memory until its slot is visited: a long turn would hold those of many
/// streams that are over.
const SLOTS: u32 = 128;

/// The deadlines of one worker.
pub struct Deadlines {
    wheel: Rc<Wheel>,
    all: RefCell<Vec<Weak<Deadline>>>,
    /// How many entries of `all` are looked through before it is compacted.
    compact_at: Cell<usize>,
}

struct Wheel {
    now: Cell<u32>,
    slots: Box<[RefCell<Vec<Weak<Deadline>>>]>,
}

/// One deadline at a time, of whatever its owner waits for now; and a bound, which no deadline is
/// later than, for all that its owner waits for together.
pub struct Deadline {
    wheel: Rc<Wheel>,
    this: Weak<Deadline>,
    /// The tick at which it is over; 0: none is set.
    due: Cell<u32>,
    /// The tick that `due` is never later than; 0: there is no bound.
    bound: Cell<u32>,
    /// The tick at which the wheel visits it; 0: it is in no slot.
    visited_at: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Deadlines {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| RefCell::default()).collect();
        // Not 0: a tick of 0 means that none is set.
        let wheel = Rc::new(Wheel { now: Cell::new(1), slots });
        Self { wheel, all: RefCell::default(), compact_at: Cell::new(64) }
    }
}

impl Deadlines {
    /// A deadline that is not set yet.
    #[must_use]
    pub fn register(&self) -> Rc<Deadline> {
        let deadline = Rc::new_cyclic(|this| Deadline {
            wheel: Rc::clone(&self.wheel),
            this: Weak::clone(this),
            due: Cell::new(0),
            bound: Cell::new(0),
            visited_at: Cell::new(0),
            waker: RefCell::new(None),
        });
        let mut all = self.all.borrow_mut();
        if all.len() >= self.compact_at.get() {
            all.retain(|deadline| deadline.strong_count() > 0);
            if all.capacity() > 4 * all.len() + 64 {
                all.shrink_to_fit();
            }
            self.compact_at.set(2 * all.len() + 64);
        }
        all.push(Rc::downgrade(&deadline));
        deadline
    }

    /// One tick has passed: wakes what is overdue.
    pub fn tick(&self) {
        let now = self.wheel.now.get().wrapping_add(1).max(1);
        self.wheel.now.set(now);
        let Some(slot) = self.wheel.slot(now) else { return };
        let mut visited = slot.take();
        for deadline in visited.drain(..).filter_map(|deadline| deadline.upgrade()) {
            // Set to an earlier time since, and so visited already.
            if deadline.visited_at.get() != now {
                continue;
            }
            deadline.visited_at.set(0);
            if deadline.is_over() {
                deadline.wake();
            } else if deadline.due.get() != 0 {
                deadline.enlist();
            }
        }
        // The memory is used again, unless it is large.
        let mut slot = slot.borrow_mut();
        if slot.is_empty() && visited.capacity() <= 256 {
            *slot = visited;
        }
    }

    /// Wakes all that are registered: something has changed for all.
    pub fn wake_all(&self) {
        for deadline in self.all.borrow().iter().filter_map(Weak::upgrade) {
            deadline.wake();
        }
    }
}

impl Wheel {
    fn slot(&self, tick: u32) -> Option<&RefCell<Vec<Weak<Deadline>>>> {
        self.slots.get((tick % SLOTS) as usize)
    }

    /// The tick at which this span is over; never 0.
    fn after(&self, span: Duration) -> u32 {
        const MOST: u32 = u32::MAX / 4;
        let ticks = span.as_millis().div_ceil(TICK.as_millis());
        let ticks = u32::try_from(ticks).unwrap_or(MOST).min(MOST);
        // One more: the current tick is already under way. Never 0, which means that none is set.
        self.now.get().wrapping_add(ticks + 1).max(1)
    }

    /// Whether a tick is set and has come.
    fn is_past(&self, tick: u32) -> bool {
        tick != 0 && self.now.get().wrapping_sub(tick) < u32::MAX / 2
    }
}

/// Whether one tick comes before another. The clock wraps after six years: they are compared by
/// their distance.
const fn is_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) > u32::MAX / 2
}

impl Deadline {
    /// Sets it, in place of what was set before. It is over no later than its bound.
    pub fn set(&self, span: Duration) {
        let due = self.wheel.after(span);
        let bound = self.bound.get();
        self.set_due(if bound != 0 && is_before(bound, due) { bound } else { due });
    }

    /// Bounds it, and all that it is set to until [`Self::unbind`]: it is over after this span at
    /// the latest, also while it is lifted.
    pub fn bind(&self, span: Duration) {
        let bound = self.wheel.after(span);
        self.bound.set(bound);
        if self.due.get() == 0 || is_before(bound, self.due.get()) {
            self.set_due(bound);
        }
    }

    /// Takes its bound away. What is earlier than the bound stays set.
    pub fn unbind(&self) {
        if self.due.get() == self.bound.replace(0) {
            self.due.set(0);
        }
    }

    /// Whether it has a bound, and the bound is over.
    #[must_use]
    pub fn is_bound_over(&self) -> bool {
        self.wheel.is_past(self.bound.get())
    }

    fn set_due(&self, due: u32) {
        self.due.set(due);
        let visited_at = self.visited_at.get();
        if visited_at == 0 || is_before(due, visited_at) {
            self.enlist();
        }
    }

    /// Puts it into the slot in which it is due, or into the last one of this turn.
    fn enlist(&self) {
        let now = self.wheel.now.get();
        let ahead = self.due.get().wrapping_sub(now).clamp(1, SLOTS - 1);
        let tick = now.wrapping_add(ahead).max(1);
        self.visited_at.set(tick);
        if let Some(slot) = self.wheel.slot(tick) {
            slot.borrow_mut().push(Weak::clone(&self.this));
        }
    }

    /// Sets it if it is lifted.
    pub fn set_if_lifted(&self, span: Duration) {
        if self.due.get() == self.bound.get() {
            self.set(span);
        }
    }

    /// Lifts it. Its bound stays.
    pub fn lift(&self) {
        match self.bound.get() {
            0 => self.due.set(0),
            bound => self.set_due(bound),
        }
    }

    /// Whether it is set and over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.wheel.is_past(self.due.get())
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ticks until the deadline wakes its task, at most `most` times.
    fn ticks_until_woken(all: &Deadlines, deadline: &Deadline, most: u32) -> Option<u32> {
        let count = Arc::new(Count::default());
        deadline.wake_by(&Context::from_waker(&Arc::clone(&count).into()));
        (1..=most).find(|_| {
            all.tick();
            count.0.load(Ordering::Relaxed) > 0
        })
    }

    #[test]
    fn a_deadline_is_never_early_and_late_by_at_most_a_tick() {
        let all = Deadlines::default();
        let deadline = all.register();
        for ticks in [1, 3, 100, SLOTS - 1, SLOTS, 3 * SLOTS + 7] {
            deadline.set(TICK * ticks);
            assert_eq!(ticks_until_woken(&all, &deadline, ticks + 2), Some(ticks + 1), "{ticks}");
            assert!(deadline.is_over());
        }
        deadline.lift();
        assert!(!deadline.is_over());
        assert_eq!(ticks_until_woken(&all, &deadline, 4 * SLOTS), None);
    }

    #[test]
    fn a_deadline_that_is_moved_is_over_at_its_new_time_only() {
        let all = Deadlines::default();
        let deadline = all.register();
        deadline.set(TICK * 50);
        deadline.set(TICK * 5);
        assert_eq!(ticks_until_woken(&all, &deadline, 60), Some(6));
        deadline.set(TICK * 5);
        deadline.set(TICK * 2000);
        assert_eq!(ticks_until_woken(&all, &deadline, 2100), Some(2001));
        deadline.set(TICK * 5);
        deadline.lift();
        deadline.set(TICK * 9);
        assert_eq!(ticks_until_woken(&all, &deadline, 20), Some(10));
    }

    #[test]
    fn a_bound_holds_whatever_the_deadline_is_set_to() {
        let all = Deadlines::default();
        let deadline = all.register();
        deadline.bind(TICK * 100);
        deadline.set(TICK * 5);
        assert_eq!(ticks_until_woken(&all, &deadline, 20), Some(6));
        assert!(deadline.is_over() && !deadline.is_bound_over());
        // Neither a later time nor none is beyond the bound.
        deadline.set(TICK * 5000);
        deadline.lift();
        assert!(!deadline.is_over());
        assert_eq!(ticks_until_woken(&all, &deadline, 200), Some(101 - 6));
        assert!(deadline.is_over() && deadline.is_bound_over());
        deadline.set(TICK * 10);
        assert!(deadline.is_over());
        deadline.unbind();
        deadline.set(TICK * 10);
        assert!(!deadline.is_over());
        assert_eq!(ticks_until_woken(&all, &deadline, 20), Some(11));
        assert!(!deadline.is_bound_over());
    }

    #[test]
    fn a_deadline_that_is_lifted_can_be_set_within_its_bound() {
        let all = Deadlines::default();
        let deadline = all.register();
        deadline.bind(TICK * 100);
        deadline.lift();
        deadline.set_if_lifted(TICK * 5);
        deadline.set_if_lifted(TICK * 50);
        assert_eq!(ticks_until_woken(&all, &deadline, 20), Some(6));
    }

    #[test]
    fn those_that_are_gone_cost_nothing() {
        let all = Deadlines::default();
        let kept = all.register();
        for _ in 0..10_000 {
            all.register().set(TICK * 3);
        }
        assert!(all.all.borrow().len() < 200);
        for _ in 0..5 {
            all.tick();
        }
        assert!(all.wheel.slots.iter().all(|slot| slot.borrow().is_empty()));
        drop(kept);
    }
}
