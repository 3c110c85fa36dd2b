//! How long something took, as a histogram of Prometheus.

use std::fmt::Write as _;
use std::time::Duration;

use super::counter::Counter;

/// Upper bounds of the durations' buckets, in microseconds.
const BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// A duration with its bucket, for several histograms.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    bucket: usize,
    micros: u64,
}

impl Took {
    /// Finds the bucket.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        Self { bucket, micros }
    }
}

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one has what is beyond all bounds.
    buckets: [Counter; BUCKETS.len() + 1],
    micros: Counter,
}

impl Histogram {
    /// Counts one. Only the histogram's one writer may call it: see [`Counter::add`].
    pub fn observe(&self, took: Took) {
        self.each(took, Counter::add);
    }

    /// Counts one, in a histogram of several writers: see [`Counter::add_shared`].
    pub fn observe_shared(&self, took: Took) {
        self.each(took, Counter::add_shared);
    }

    fn each(&self, took: Took, add: impl Fn(&Counter, u64)) {
        add(&self.micros, took.micros);
        if let Some(bucket) = self.buckets.get(took.bucket) {
            add(bucket, 1);
        }
    }

    /// Whether there is anything in it.
    pub(super) fn is_used(&self) -> bool {
        self.buckets.iter().any(|bucket| bucket.value() > 0)
    }

    /// Writes the lines of the metric `name` with these labels (`a="b",c="d"`, or none): the sum of
    /// these histograms.
    pub(super) fn render<'a>(
        out: &mut String,
        name: &str,
        labels: &str,
        histograms: impl Iterator<Item = &'a Self> + Clone,
    ) {
        let sum = |of: &dyn Fn(&Self) -> u64| histograms.clone().map(of).sum::<u64>();
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for at in 0..=BUCKETS.len() {
            below += sum(&|histogram| histogram.buckets.get(at).map_or(0, Counter::value));
            let bound = BUCKETS.get(at).map(|bound| seconds(Duration::from_micros(*bound)));
            let bound = bound.as_deref().unwrap_or("+Inf");
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let micros = sum(&|histogram| histogram.micros.value());
        let _ = writeln!(out, "{name}_sum{labels} {}", seconds(Duration::from_micros(micros)));
        let _ = writeln!(out, "{name}_count{labels} {below}");
    }
}

/// Seconds with six decimals, exactly: a float would round them.
pub(super) fn seconds(span: Duration) -> String {
    format!("{}.{:06}", span.as_secs(), span.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_every_bucket_from_its_own_on_with_and_without_labels() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(Took::new(Duration::from_micros(100)));
        other.observe(Took::new(Duration::from_micros(101)));
        other.observe_shared(Took::new(Duration::from_secs(31)));
        for (labels, comma, whole) in [("", "", ""), ("a=\"b\"", ",", "{a=\"b\"}")] {
            let mut text = String::new();
            Histogram::render(&mut text, "x", labels, [&one, &other].into_iter());
            let mut lines = vec![
                format!("x_bucket{{{labels}{comma}le=\"0.000100\"}} 1"),
                format!("x_bucket{{{labels}{comma}le=\"0.000250\"}} 2"),
                format!("x_bucket{{{labels}{comma}le=\"30.000000\"}} 2"),
                format!("x_bucket{{{labels}{comma}le=\"+Inf\"}} 3"),
                format!("x_sum{whole} 31.000201"),
                format!("x_count{whole} 3"),
            ];
            lines.retain(|line| !text.lines().any(|other| other == line));
            assert!(lines.is_empty(), "{lines:?} in\n{text}");
            assert_eq!(text.lines().count(), BUCKETS.len() + 3);
        }
    }
}
