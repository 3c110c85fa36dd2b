//! Finds the primary: it is named by the settings, by sentinels, or by the nodes of a Cluster.
//!
//! What names it is never simply believed. The server that is named must say itself that it is a
//! primary, and in a Cluster that the fleet's slot is its own. [`Nodes::connect`] asks it.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::discovery_error::DiscoveryError;
use super::node::Nodes;
use super::settings::{NodeAddress, Servers};

mod cluster;
mod sentinel;
#[cfg(test)]
mod tests;

/// How long one sentinel or node may take to say what it knows.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How long a look for another primary may take: the questions, and a connection to the primary
/// that is named, with the wait for its turn.
const LOOK: Duration = Duration::from_millis(1500);

impl Nodes {
    /// The primary as it can be found now. A single server is not asked for that.
    ///
    /// # Errors
    ///
    /// Mostly [`DiscoveryError::MasterUnknown`] with what each server that was asked said;
    /// [`DiscoveryError::NotMaster`] while a failover is under way.
    pub async fn discover(&self) -> Result<NodeAddress, DiscoveryError> {
        self.find(None).await
    }

    /// Whether another server than `present` is the primary now. `present` may hang or be slow, so
    /// it is not connected to: where it is still named, that is the answer.
    pub(super) async fn is_elsewhere(&self, present: &NodeAddress) -> bool {
        let found = timeout(LOOK, self.find(Some(present))).await;
        found.is_ok_and(|found| found.is_ok_and(|found| found != *present))
    }

    /// The primary. `present` is believed without a connection to it.
    async fn find(&self, present: Option<&NodeAddress>) -> Result<NodeAddress, DiscoveryError> {
        match &self.settings.servers {
            Servers::Single(address) => Ok(address.clone()),
            Servers::Sentinel { sentinels, master, .. } => {
                self.ask_sentinels(sentinels, master, present).await
            }
            Servers::Cluster(nodes) => self.ask_cluster(nodes, present).await,
        }
    }
}

/// Why none of the servers that were asked named the primary: the same definitive error, or what
/// each of them said, with a `note` behind it.
fn unknown(reasons: Vec<DiscoveryError>, note: Option<&str>) -> DiscoveryError {
    let texts = reasons.iter().map(DiscoveryError::to_string).chain(note.map(str::to_owned));
    let unknown = DiscoveryError::MasterUnknown(texts.collect());
    if note.is_some() || !reasons.iter().all(DiscoveryError::is_definitive) {
        return unknown;
    }
    reasons.into_iter().next().unwrap_or(unknown)
}

/// A question to one server within [`TIMEOUT`].
async fn briefly<T>(
    address: &NodeAddress,
    asking: impl Future<Output = Result<T, DiscoveryError>>,
) -> Result<T, DiscoveryError> {
    timeout(TIMEOUT, asking)
        .await
        .unwrap_or_else(|_| Err(DiscoveryError::TimedOut(address.clone())))
}
