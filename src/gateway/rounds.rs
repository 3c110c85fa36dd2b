//! Looks at all that is open, a part at a time, so that no look keeps other requests waiting.

use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::domain::Uptime;

/// In this time everything is looked at once. Between two looks at one item pass at most two rounds
/// and a tick: it may be early in the first and late in the second, if others went.
pub(super) const ROUND: Duration = Duration::from_millis(400);

/// Items that are looked at round by round for as long as something else holds them.
#[derive(Debug)]
pub(super) struct Rounds<T> {
    items: Vec<Weak<T>>,
    /// The first one that this round has not looked at.
    next: usize,
    /// When this round began; `None`: not yet.
    begun: Option<Uptime>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: 0, begun: None }
    }
}

impl<T> Rounds<T> {
    pub(super) fn add(&mut self, item: &Rc<T>) {
        self.items.push(Rc::downgrade(item));
    }

    /// Those that are still held, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = Rc<T>> {
        self.items.iter().filter_map(Weak::upgrade)
    }

    /// Looks at as large a part of the items as the time since the round began is of [`ROUND`], less
    /// what the round has looked at before, and forgets those that nothing holds.
    pub(super) fn look(&mut self, now: Uptime, mut look_at: impl FnMut(Rc<T>)) {
        let begun = *self.begun.get_or_insert(now);
        let elapsed = now.since(begun);
        let end = if elapsed >= ROUND {
            self.items.len()
        } else {
            // At most as many as there are, as the fraction is below one.
            let scaled = self.items.len() as u128 * elapsed.as_nanos() / ROUND.as_nanos();
            usize::try_from(scaled).unwrap_or(usize::MAX)
        };
        while self.next < end
            && let Some(item) = self.items.get(self.next)
        {
            if let Some(item) = item.upgrade() {
                self.next += 1;
                look_at(item);
            } else {
                // The one that takes its place is looked at next.
                self.items.swap_remove(self.next);
            }
        }
        if elapsed >= ROUND {
            self.next = 0;
            self.begun = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);
    const START: Uptime = Uptime::from_nanos(0);

    /// Looks at every tick for so long, and tells at which tick each item was looked at.
    fn looks(rounds: &mut Rounds<usize>, from: Uptime, ticks: u32) -> Vec<(u32, usize)> {
        let mut seen = Vec::new();
        for tick in 0..ticks {
            rounds.look(from.after(TICK * tick), |item| seen.push((tick, *item)));
        }
        seen
    }

    fn filled(count: usize) -> (Rounds<usize>, Vec<Rc<usize>>) {
        let items: Vec<_> = (0..count).map(Rc::new).collect();
        let mut rounds = Rounds::default();
        items.iter().for_each(|item| rounds.add(item));
        (rounds, items)
    }

    #[test]
    fn a_round_looks_at_everything_once_in_even_parts() {
        let (mut rounds, _items) = filled(1_000);
        let seen = looks(&mut rounds, START, 9);
        let mut numbers: Vec<_> = seen.iter().map(|&(_, item)| item).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        for tick in 1..9 {
            assert_eq!(seen.iter().filter(|&&(at, _)| at == tick).count(), 125, "tick {tick}");
        }
    }

    #[test]
    fn one_item_is_looked_at_once_in_a_round() {
        let (mut rounds, _items) = filled(1);
        let ticks = looks(&mut rounds, START, 25);
        assert_eq!(ticks, [(8, 0), (16, 0), (24, 0)]);
    }

    #[test]
    fn a_look_that_comes_late_ends_the_round() {
        let (mut rounds, _items) = filled(10);
        looks(&mut rounds, START, 2);
        let late = looks(&mut rounds, START.after(ROUND * 5), 1);
        assert_eq!(late.len(), 9);
    }

    #[test]
    fn what_nothing_holds_is_forgotten_within_a_round() {
        let (mut rounds, mut items) = filled(100);
        items.truncate(3);
        let seen = looks(&mut rounds, START, 9);
        assert_eq!(seen.len(), 3);
        assert_eq!(rounds.items.len(), 3);
    }

    /// Between any two looks at an item are at most two rounds and a tick, whatever comes and goes.
    #[test]
    fn no_item_waits_longer_than_two_rounds_when_others_come_and_go() {
        for (before, kept, added) in [(1_000, 2, 0), (10, 10, 1_000), (1_000, 500, 2_000)] {
            for change_at in 0..9_u32 {
                let (mut rounds, mut items) = filled(before);
                let mut seen = looks(&mut rounds, START, change_at);
                items.truncate(kept);
                items.extend((before..before + added).map(Rc::new));
                items[kept..].iter().for_each(|item| rounds.add(item));
                let rest = looks(&mut rounds, START.after(TICK * change_at), 40);
                seen.extend(rest.iter().map(|&(tick, item)| (tick + change_at, item)));
                for item in 0..kept {
                    let mut last = 0;
                    for &(tick, _) in seen.iter().filter(|&&(_, at)| at == item) {
                        assert!(tick - last <= 17, "item {item}: from {last} to {tick}");
                        last = tick;
                    }
                    assert!(last + 17 >= change_at + 40, "item {item} was last seen at {last}");
                }
            }
        }
    }
}
