//! The primary as it was found: what data connections belong to.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::settings::NodeAddress;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Where it is.
    pub address: NodeAddress,
    /// Its run id ([`super::node::Facts::run_id`]): another one at the same address is another
    /// server.
    pub run_id: String,
    /// Counts how often a link was established in this process. What was read in one term counts
    /// for nothing in the next.
    pub term: u64,
}

/// What connects the link and the data connections.
#[derive(Clone, Debug)]
pub struct PrimaryWatch {
    /// The primary while the link stands; `None` while it does not.
    pub current: watch::Receiver<Option<Arc<Primary>>>,
    /// Notified when a server says that it is not, or no longer, the primary: the link then ends
    /// the term and looks anew.
    pub doubt: Arc<Notify>,
}

impl PrimaryWatch {
    /// The primary now.
    #[must_use]
    pub fn now(&self) -> Option<Arc<Primary>> {
        self.current.borrow().clone()
    }

    /// Whether a term goes on.
    #[must_use]
    pub fn is_current(&self, term: u64) -> bool {
        self.current.borrow().as_ref().is_some_and(|primary| primary.term == term)
    }

    /// Returns when a term has ended.
    pub async fn ended(&self, term: u64) {
        let mut current = self.current.clone();
        // An error says that the link is gone, and every term with it.
        let _ = current
            .wait_for(|primary| primary.as_ref().is_none_or(|primary| primary.term != term))
            .await;
    }
}
