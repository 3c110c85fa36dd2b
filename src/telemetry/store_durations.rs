//! How long the store takes, by what it is asked for.

use std::time::Duration;

use super::histogram::{Histogram, Took};

/// What the store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// One record.
    Find,
    /// Records of an owner, or all.
    List,
    /// A record is added.
    Issue,
    /// Records are removed, until no instance uses them any more.
    Remove,
    /// Accounts and their sessions.
    Account,
    /// Uses are noted and expired records deleted, beside the requests.
    Upkeep,
    /// Whether it works.
    Check,
}

impl StoreRequest {
    /// All, in order.
    const ALL: [Self; 7] = [
        Self::Find,
        Self::List,
        Self::Issue,
        Self::Remove,
        Self::Account,
        Self::Upkeep,
        Self::Check,
    ];

    /// Its name in the metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::List => "list",
            Self::Issue => "issue",
            Self::Remove => "remove",
            Self::Account => "account",
            Self::Upkeep => "upkeep",
            Self::Check => "check",
        }
    }
}

/// How long requests of the store took. They come from several threads.
#[derive(Debug, Default)]
pub struct StoreDurations([Histogram; StoreRequest::ALL.len()]);

impl StoreDurations {
    /// Counts one.
    pub fn observe(&self, request: StoreRequest, took: Duration) {
        if let Some(histogram) = self.0.get(request as usize) {
            histogram.observe_shared(Took::new(took));
        }
    }

    /// Whether any of this kind was counted.
    #[must_use]
    pub fn is_used(&self, request: StoreRequest) -> bool {
        self.0.get(request as usize).is_some_and(Histogram::is_used)
    }

    /// Each, with its name in the metrics.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        StoreRequest::ALL.into_iter().map(StoreRequest::as_str).zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_place_and_a_name_of_its_own() {
        let durations = StoreDurations::default();
        for (at, request) in StoreRequest::ALL.into_iter().enumerate() {
            assert_eq!(request as usize, at);
            durations.observe(request, Duration::from_millis(1));
        }
        let names: std::collections::BTreeSet<_> = durations.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), StoreRequest::ALL.len());
        assert!(durations.iter().all(|(_, histogram)| histogram.is_used()));
    }
}
