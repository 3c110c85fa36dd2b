//! Counters of what the configuration names, such as routes: a set for each worker, found by the
//! place in the configuration, and kept over reloads by the labels.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Counters `C` under labels `L`, of all workers.
#[derive(Debug)]
pub struct Series<L, C> {
    /// Each label once, with the counters of each worker.
    labelled: Vec<(L, Vec<Arc<C>>)>,
    /// Where in `labelled` what stands at each place of the configuration is counted.
    places: Vec<usize>,
}

impl<L, C> Default for Series<L, C> {
    fn default() -> Self {
        Self { labelled: Vec::new(), places: Vec::new() }
    }
}

impl<L: Clone + Eq + Hash, C: Default> Series<L, C> {
    /// The labels of what stands at each place; what has the same labels is counted together. What
    /// was counted `before` under the same labels goes on; the rest of it goes.
    pub fn new(labels: impl IntoIterator<Item = L>, workers: usize, before: &Self) -> Self {
        let known: HashMap<&L, &Vec<Arc<C>>> =
            before.labelled.iter().map(|(labels, counters)| (labels, counters)).collect();
        let mut found: HashMap<L, usize> = HashMap::new();
        let mut series = Self::default();
        for labels in labels {
            let place = *found.entry(labels).or_insert_with_key(|labels| {
                let kept = known.get(labels).filter(|kept| kept.len() == workers);
                let new = || (0..workers).map(|_| Arc::default()).collect();
                let counters = kept.map_or_else(new, |kept| (*kept).clone());
                series.labelled.push((labels.clone(), counters));
                series.labelled.len() - 1
            });
            series.places.push(place);
        }
        series
    }

    /// The counters of one worker, by place. `None`: those of no worker, which are in no metric.
    #[must_use]
    pub fn of_worker(&self, worker: Option<usize>) -> Box<[Arc<C>]> {
        let of = |place: &usize| {
            let (_, counters) = self.labelled.get(*place)?;
            counters.get(worker?).map(Arc::clone)
        };
        self.places.iter().map(|place| of(place).unwrap_or_default()).collect()
    }

    /// The counters of one worker, by label; [`of_worker`](Self::of_worker) says of which.
    #[must_use]
    pub fn of_worker_by_label(&self, worker: Option<usize>) -> HashMap<L, Arc<C>> {
        let of = |counters: &[Arc<C>]| worker.and_then(|at| counters.get(at).map(Arc::clone));
        self.iter()
            .map(|(labels, counters)| (labels.clone(), of(counters).unwrap_or_default()))
            .collect()
    }

    /// The labels, each once, with the counters of each worker.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&L, &[Arc<C>])> {
        self.labelled.iter().map(|(labels, counters)| (labels, counters.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::counter::Counter;

    fn counted(series: &Series<&'static str, Counter>) -> Vec<(&'static str, u64)> {
        let sum = |counters: &[Arc<Counter>]| counters.iter().map(|counter| counter.value()).sum();
        series.iter().map(|(labels, counters)| (*labels, sum(counters))).collect()
    }

    fn add(series: &Series<&'static str, Counter>, worker: usize, place: usize) {
        if let Some(counter) = series.of_worker(Some(worker)).get(place) {
            counter.add(1);
        }
    }

    #[test]
    fn after_a_reload_what_stays_counts_on_and_what_went_is_gone() {
        let before = Series::new(["a", "b", "a"], 2, &Series::default());
        for place in 0..3 {
            add(&before, 0, place);
            add(&before, 1, place);
        }
        assert_eq!(counted(&before), [("a", 4), ("b", 2)], "two places of one label are one");
        let after = Series::new(["c", "a"], 2, &before);
        assert_eq!(counted(&after), [("c", 0), ("a", 4)]);
        // A request that began before the reload.
        add(&before, 1, 2);
        add(&after, 0, 1);
        assert_eq!(counted(&after), [("c", 0), ("a", 6)]);
        let again = Series::new(["b"], 2, &after);
        assert_eq!(counted(&again), [("b", 0)]);
    }

    #[test]
    fn what_belongs_to_no_worker_has_counters_that_are_not_shown() {
        let series = Series::<_, Counter>::new(["a"], 1, &Series::default());
        for worker in [None, Some(1)] {
            let own = series.of_worker(worker);
            own.iter().for_each(|counter| counter.add(1));
            assert_eq!(own.len(), 1);
            series.of_worker_by_label(worker)["a"].add(1);
        }
        assert_eq!(counted(&series), [("a", 0)]);
        series.of_worker_by_label(Some(0))["a"].add(1);
        assert_eq!(counted(&series), [("a", 1)]);
    }
}
