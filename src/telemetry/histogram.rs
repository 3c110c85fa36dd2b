//! How long something took, as a histogram of Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use super::counter::Counter;

/// Upper bounds of the durations' buckets, in microseconds.
const BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS.len()],
    count: Counter,
    micros: Counter,
}

impl Histogram {
    /// Counts one. Only the histogram's one writer may call it: see [`Counter::add`].
    pub fn observe(&self, took: Duration) {
        self.each(took, Counter::add);
    }

    /// Counts one, in a histogram of several writers: see [`Counter::add_shared`].
    pub fn observe_shared(&self, took: Duration) {
        self.each(took, Counter::add_shared);
    }

    fn each(&self, took: Duration, add: impl Fn(&Counter, u64)) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.count, 1);
        add(&self.micros, micros);
        let at = BUCKETS.iter().position(|bound| micros <= *bound);
        if let Some(bucket) = at.and_then(|at| self.buckets.get(at)) {
            add(bucket, 1);
        }
    }

    /// Writes the lines of the metric `name`: the sum of these histograms.
    pub(super) fn render<'a>(
        out: &mut String,
        name: &str,
        histograms: impl Iterator<Item = &'a Self> + Clone,
    ) {
        let sum = |of: &dyn Fn(&Self) -> u64| histograms.clone().map(of).sum::<u64>();
        let mut below = 0;
        for (at, bound) in BUCKETS.iter().enumerate() {
            below += sum(&|histogram| histogram.buckets.get(at).map_or(0, Counter::value));
            let bound = seconds(Duration::from_micros(*bound));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let count = sum(&|histogram| histogram.count.value());
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let micros = sum(&|histogram| histogram.micros.value());
        let _ = writeln!(out, "{name}_sum {}", seconds(Duration::from_micros(micros)));
        let _ = writeln!(out, "{name}_count {count}");
    }
}

/// Seconds with six decimals, exactly: a float would round them.
pub(super) fn seconds(span: Duration) -> String {
    format!("{}.{:06}", span.as_secs(), span.subsec_micros())
}
