//! What a world counts, by series.

use std::collections::BTreeMap;

use super::{World, eventually};

impl World {
    /// The series of a metric that are not 0, without those of a histogram's buckets: labels in the
    /// order of the page, and value.
    pub(crate) fn series(&self, name: &str) -> BTreeMap<String, f64> {
        let page = self.admin_text("/metrics");
        let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let values = lines.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'));
        let number = |value: &str| value.parse::<f64>().expect("a number");
        let values = values.map(|(labels, value)| (labels.to_owned(), number(value)));
        values.filter(|(_, value)| *value != 0.0).collect()
    }

    /// Waits until the metric has these series that are not 0, and no others: what is counted when
    /// an exchange ends may be counted a moment after its client has the answer.
    #[track_caller]
    pub(crate) fn assert_series<const N: usize>(&self, name: &str, series: [(&str, f64); N]) {
        let series = series.map(|(labels, value)| (format!("{{{labels}}}"), value));
        let expected = BTreeMap::from(series);
        eventually(|| self.series(name) == expected);
        assert_eq!(self.series(name), expected, "{name}");
    }
}
