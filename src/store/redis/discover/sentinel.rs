//! Asks sentinels for the primary.
//!
//! Of sentinels that disagree, those with the newest configuration are right: a sentinel raises the
//! *configuration epoch* with every failover, so an old primary that comes back, or a sentinel that
//! was cut off, does not win against what has been voted since (Redis Sentinel documentation,
//! "Configuration epochs").
//!
//! A sentinel may hang together with the master, if they share a host: once a majority agrees, the
//! others are waited for only briefly.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::super::discovery_error::DiscoveryError;
use super::super::node::{Nodes, Peer};
use super::super::settings::NodeAddress;
use super::{briefly, unknown};

/// How long the other sentinels are waited for once a majority agrees: one of them may know of a
/// failover of which the majority has not heard yet.
const REST: Duration = Duration::from_millis(100);

/// What one sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) address: NodeAddress,
    pub(super) epoch: u64,
}

impl Nodes {
    pub(super) async fn ask_sentinels(
        &self,
        sentinels: &[NodeAddress],
        master: &str,
        present: Option<&NodeAddress>,
    ) -> Result<NodeAddress, DiscoveryError> {
        let (mut named, mut reasons) = (Vec::new(), Vec::new());
        for answer in self.answers(sentinels, master).await {
            match answer {
                Ok(answer) => named.push(answer),
                Err(error) => reasons.push(error),
            }
        }
        let is_majority = named.len() * 2 > sentinels.len();
        let floor = if is_majority { 0 } else { self.learned().epoch };
        let Some((candidates, epoch)) = choose(&named, floor) else {
            let missed = "those that answer have missed the latest failover";
            return Err(unknown(reasons, (!named.is_empty()).then_some(missed)));
        };
        self.learned().epoch = epoch;
        let mut last = DiscoveryError::MasterUnknown(Vec::new());
        for candidate in candidates {
            if present == Some(&candidate) {
                return Ok(candidate);
            }
            match self.connect(&candidate, None).await {
                Ok(_) => return Ok(candidate),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The answers of all sentinels, or of those that answer within [`REST`] once a majority agrees.
    async fn answers(
        &self,
        sentinels: &[NodeAddress],
        master: &str,
    ) -> Vec<Result<Named, DiscoveryError>> {
        let asked =
            sentinels.iter().map(|sentinel| briefly(sentinel, self.ask_sentinel(sentinel, master)));
        let mut running = asked.map(Box::pin).collect();
        let mut answers = Vec::new();
        while !is_agreed(answers.iter().flatten(), sentinels.len())
            && let Some(answer) = next(&mut running).await
        {
            answers.push(answer);
        }
        let rest = async {
            while let Some(answer) = next(&mut running).await {
                answers.push(answer);
            }
        };
        // Late ones count as not asked.
        let _ = timeout(REST, rest).await;
        answers
    }

    async fn ask_sentinel(
        &self,
        address: &NodeAddress,
        master: &str,
    ) -> Result<Named, DiscoveryError> {
        const ASK: &str = "SENTINEL GET-MASTER-ADDR-BY-NAME";
        let mut connection = self.open(address, Peer::Sentinel, None).await?;
        let mut ask = redis::cmd("SENTINEL");
        let asked =
            ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut connection.inner);
        let found: Option<(String, u16)> =
            asked.await.map_err(|error| DiscoveryError::from_redis(address, ASK, &error))?;
        let Some((host, port)) = found else {
            let words = format!("this sentinel watches no master named {master:?}");
            return Err(DiscoveryError::Unsuitable(address.clone(), words));
        };
        let mut ask = redis::cmd("SENTINEL");
        let asked = ask.arg("MASTER").arg(master).query_async(&mut connection.inner);
        // A sentinel that does not answer this counts as one that has seen no failover.
        let details: HashMap<String, String> = asked.await.unwrap_or_default();
        let epoch = details.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        Ok(Named { address: NodeAddress::new(host, port), epoch })
    }
}

/// Takes out the first of the futures that ends, and returns its output; `None`: there are none.
/// They are few: polling all of them whenever one makes progress is cheap enough.
async fn next<F: Future>(running: &mut Vec<Pin<Box<F>>>) -> Option<F::Output> {
    poll_fn(|context| {
        let polled = running.iter_mut().map(|future| future.as_mut().poll(context));
        match polled.enumerate().find(|(_, poll)| poll.is_ready()) {
            Some((index, output)) => {
                drop(running.swap_remove(index));
                output.map(Some)
            }
            None if running.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Whether more than half of so many sentinels name one address with one epoch.
pub(super) fn is_agreed<'a>(
    named: impl Iterator<Item = &'a Named> + Clone,
    sentinels: usize,
) -> bool {
    let votes = |one| named.clone().filter(|other| *other == one).count();
    named.clone().any(|one| votes(one) * 2 > sentinels)
}

/// The addresses that are named with the newest epoch, the most often named first; none if that is
/// older than `floor`.
pub(super) fn choose(named: &[Named], floor: u64) -> Option<(Vec<NodeAddress>, u64)> {
    let newest = named.iter().map(|named| named.epoch).max().filter(|epoch| *epoch >= floor)?;
    let mut votes: BTreeMap<&NodeAddress, usize> = BTreeMap::new();
    for answer in named.iter().filter(|answer| answer.epoch == newest) {
        *votes.entry(&answer.address).or_default() += 1;
    }
    let mut candidates: Vec<_> = votes.into_iter().collect();
    candidates.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some((candidates.into_iter().map(|(address, _)| address.clone()).collect(), newest))
}
