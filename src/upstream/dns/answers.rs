//! What is known of all names, and the endpoints that an upstream has by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::super::{Endpoint, UpstreamSettings};

/// What is known of names at one moment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    by_name: Arc<BTreeMap<Arc<str>, Answer>>,
    doubts: Arc<Doubts>,
}

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Sorted, each once.
    pub(super) addresses: Vec<IpAddr>,
    /// Why there is none.
    pub(super) fault: Option<Arc<str>>,
}

/// Names of which an address took no connection: they are asked again before their time is over.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    names: Mutex<BTreeSet<Arc<str>>>,
    /// There is a new one, or another reason to look.
    pub(super) noted: Notify,
}

impl Doubts {
    /// Those that were noted since this was called last.
    pub(super) fn take(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An endpoint that has no address, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Unresolved {
    pub(in crate::upstream) endpoint: String,
    pub(in crate::upstream) reason: Arc<str>,
}

impl Answers {
    pub(super) fn new(by_name: BTreeMap<Arc<str>, Answer>, doubts: Arc<Doubts>) -> Self {
        Self { by_name: Arc::new(by_name), doubts }
    }

    /// What is known of one name; without addresses there is no such name.
    #[cfg(test)]
    pub(in crate::upstream) fn of(name: &str, addresses: &[&str]) -> Self {
        let addresses: Vec<_> =
            addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let fault = addresses.is_empty().then(|| Arc::from("no such name"));
        let answer = Answer { addresses, fault };
        Self::new(BTreeMap::from([(Arc::from(name), answer)]), Arc::default())
    }

    /// An address of this name took no connection.
    pub(in crate::upstream) fn doubt(&self, name: &str) {
        if let Some((name, _)) = self.by_name.get_key_value(name) {
            let mut names = self.doubts.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(Arc::clone(name));
            self.doubts.noted.notify_one();
        }
    }

    /// The settings of an upstream with an endpoint for each address of its names, each with the
    /// share of the name; and the endpoints that have none.
    pub(in crate::upstream) fn expand(
        &self,
        settings: &UpstreamSettings,
    ) -> (UpstreamSettings, Vec<Unresolved>) {
        if settings.endpoints.iter().all(|endpoint| endpoint.name().is_none()) {
            return (settings.clone(), Vec::new());
        }
        let (mut endpoints, mut shares) = (Vec::new(), Vec::new());
        let mut unresolved = Vec::new();
        let balancing = settings.balancing.as_ref();
        for (at, endpoint) in settings.endpoints.iter().enumerate() {
            let mut add = |endpoint: Endpoint| {
                endpoints.push(endpoint);
                shares.extend(balancing.and_then(|all| all.shares.get(at)));
            };
            let Some(name) = endpoint.name() else {
                add(endpoint.clone());
                continue;
            };
            let answer = self.by_name.get(name);
            for ip in answer.iter().flat_map(|answer| &answer.addresses) {
                add(Endpoint { resolved: Some(*ip), ..endpoint.clone() });
            }
            if answer.is_none_or(|answer| answer.addresses.is_empty()) {
                let reason = answer.and_then(|answer| answer.fault.clone());
                let reason = reason.unwrap_or_else(|| "no server of names has answered yet".into());
                unresolved.push(Unresolved { endpoint: endpoint.to_string(), reason });
            }
        }
        let mut expanded = UpstreamSettings { endpoints, ..settings.clone() };
        if let Some(balancing) = &mut expanded.balancing {
            Arc::make_mut(balancing).shares = shares;
        }
        (expanded, unresolved)
    }
}
