//! How many requests were sent to an endpoint: each worker counts for itself, without a locked
//! instruction.

use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::counter::Counter;

/// The requests of all workers.
#[derive(Debug, Default)]
pub(super) struct SentRequests(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    counters: Vec<Arc<Counter>>,
    /// Of workers that count no more.
    others: u64,
}

impl SentRequests {
    /// The counter of one more worker, which alone writes it. Those that no worker has any more are
    /// added up and dropped.
    pub(super) fn begin(&self) -> Arc<Counter> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { counters, others } = &mut *counts;
        counters.retain(|counter| {
            let is_used = Arc::strong_count(counter) > 1;
            if !is_used {
                *others = others.wrapping_add(counter.value());
            }
            is_used
        });
        let counter = Arc::<Counter>::default();
        counters.push(Arc::clone(&counter));
        counter
    }

    /// How many there were.
    pub(super) fn sum(&self) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts.counters.iter().map(|counter| counter.value());
        counted.fold(counts.others, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_leaves_its_requests_and_no_counter() {
        let requests = SentRequests::default();
        let stays = requests.begin();
        stays.add(1);
        for nth in 1..=100 {
            requests.begin().add(1);
            assert_eq!(requests.sum(), nth + 1);
        }
        stays.add(1);
        assert_eq!(requests.sum(), 102);
        // One that stays, and the last of the others.
        assert_eq!(requests.0.lock().expect("a lock").counters.len(), 2);
    }
}
