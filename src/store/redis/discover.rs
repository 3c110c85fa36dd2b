//! Finds the master: it is named by the settings, by sentinels, or by the nodes of a Cluster.
//!
//! Who names it is never simply believed. The server that is named must say itself that it is a
//! master, and in a Cluster that the fleet's slot is its own. Of sentinels that disagree, those
//! with the newest configuration are right: a sentinel raises the *configuration epoch* with every
//! failover, so an old master that comes back, or a sentinel that was cut off, does not win against
//! what has been voted since (Redis Sentinel documentation, "Configuration epochs").

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::node::{Nodes, Peer};
use super::pace::random;
use super::settings::{NodeAddress, Servers};
use super::site_fault::{SiteFault, words_of};
use super::slot::slot_of;

#[cfg(test)]
mod tests;

/// How long one sentinel or node may take to say what it knows.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a question is passed on by `MOVED` before it goes in circles.
const HOPS: usize = 5;

/// How many nodes of a Cluster are remembered.
const MOST_LEARNED: usize = 64;

/// What has been learned while looking for the master.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Nodes of the Cluster, beside those of the settings.
    nodes: Vec<NodeAddress>,
    /// The newest configuration epoch that a sentinel has told.
    epoch: u64,
}

/// What one sentinel says.
#[derive(Clone, Debug)]
struct Named {
    address: NodeAddress,
    epoch: u64,
}

impl Nodes {
    /// The master as it can be found now. With a single server that is the server, without a
    /// question; otherwise it has been asked whether it is a master. [`Nodes::connect`] asks in any
    /// case.
    ///
    /// # Errors
    ///
    /// Mostly [`SiteFault::MasterUnknown`] with what each of those who were asked said;
    /// [`SiteFault::NotMaster`] while a failover is under way.
    pub async fn discover(&self) -> Result<NodeAddress, SiteFault> {
        match &self.settings.servers {
            Servers::Single(address) => Ok(address.clone()),
            Servers::Sentinel { sentinels, master, .. } => {
                self.ask_sentinels(sentinels, master).await
            }
            Servers::Cluster(nodes) => self.ask_cluster(nodes).await,
        }
    }

    async fn ask_sentinels(
        &self,
        sentinels: &[NodeAddress],
        master: &str,
    ) -> Result<NodeAddress, SiteFault> {
        let answers = gather(sentinels, |address| self.ask_sentinel(address, master)).await;
        let mut named = Vec::new();
        let mut reasons = Vec::new();
        for (sentinel, answer) in answers {
            match answer {
                Ok(answer) => named.push(answer),
                Err(Refusal::Fault(fault)) => reasons.push(fault),
                Err(Refusal::Unknown) => reasons.push(SiteFault::Unsuitable {
                    address: sentinel,
                    reason: format!("this sentinel watches no master named {master:?}"),
                }),
            }
        }
        let is_majority = named.len() * 2 > sentinels.len();
        let floor = self.learned().epoch;
        let Some((candidates, epoch)) = choose(&named, if is_majority { 0 } else { floor }) else {
            // All of them say the same definitive thing: so does the whole.
            if named.is_empty() && reasons.iter().all(SiteFault::is_definitive) {
                return Err(reasons
                    .into_iter()
                    .next()
                    .unwrap_or(SiteFault::MasterUnknown { reasons: Vec::new() }));
            }
            let mut reasons: Vec<String> = reasons.iter().map(SiteFault::to_string).collect();
            if !named.is_empty() {
                reasons.push("those who answer have missed the latest failover".to_owned());
            }
            return Err(SiteFault::MasterUnknown { reasons });
        };
        self.learned().epoch = epoch;
        let mut last = None;
        for candidate in candidates {
            match self.connect(&candidate, None).await {
                Ok(_) => return Ok(candidate),
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or(SiteFault::MasterUnknown { reasons: Vec::new() }))
    }

    async fn ask_sentinel(&self, address: &NodeAddress, master: &str) -> Result<Named, Refusal> {
        let mut connection = self.open(address, Peer::Sentinel, None).await?;
        let asked = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(master)
            .query_async::<Option<(String, u16)>>(&mut connection)
            .await;
        let (host, port) = match asked {
            Ok(Some(found)) => found,
            Ok(None) => return Err(Refusal::Unknown),
            Err(fault) => {
                return Err(SiteFault::from_redis(
                    address,
                    "SENTINEL GET-MASTER-ADDR-BY-NAME",
                    &fault,
                )
                .into());
            }
        };
        // A sentinel that does not say counts as one that has seen no failover.
        let details: Value = redis::cmd("SENTINEL")
            .arg("MASTER")
            .arg(master)
            .query_async(&mut connection)
            .await
            .unwrap_or_default();
        Ok(Named { address: NodeAddress::new(host, port), epoch: epoch_in(&details) })
    }

    async fn ask_cluster(&self, configured: &[NodeAddress]) -> Result<NodeAddress, SiteFault> {
        let mut nodes = self.learned().nodes.clone();
        nodes.extend(
            configured.iter().filter(|node| !nodes.contains(node)).cloned().collect::<Vec<_>>(),
        );
        let start = usize::try_from(random()).unwrap_or(0) % nodes.len().max(1);
        nodes.rotate_left(start);
        let mut reasons: Vec<SiteFault> = Vec::new();
        let mut in_vain = Vec::new();
        for node in &nodes {
            match self.ask_node(node, &mut in_vain).await {
                Ok(Some(master)) => return Ok(master),
                Ok(None) => {}
                Err(fault) => reasons.push(fault),
            }
        }
        if reasons.iter().all(SiteFault::is_definitive)
            && let Some(fault) = reasons.pop()
        {
            return Err(fault);
        }
        Err(SiteFault::MasterUnknown {
            reasons: reasons.iter().map(SiteFault::to_string).collect(),
        })
    }

    /// Asks one node for the slots, and then the master that it names whether the slot is its own;
    /// `MOVED` leads on. `None`: it names one that has been tried `in_vain`. Until a dead master is
    /// replaced, every node names it, and connections are paced: to try it for each of them would
    /// take a second in which another may have taken its place.
    async fn ask_node(
        &self,
        node: &NodeAddress,
        in_vain: &mut Vec<NodeAddress>,
    ) -> Result<Option<NodeAddress>, SiteFault> {
        let key = format!("{{{}}}:meta", self.settings.prefix);
        let named = briefly(node, self.slots(node)).await?;
        let mut candidate = match named {
            Some(slots) => {
                self.learn(slots.iter().map(|(_, _, master)| master));
                let slot = slot_of(key.as_bytes());
                let owner =
                    slots.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
                owner.map(|(_, _, master)| master).ok_or_else(|| SiteFault::NotNow {
                    address: node.clone(),
                    reason: format!("no node of the Cluster serves slot {slot}"),
                })?
            }
            // Not permitted to ask: begin with this one, and let it say where to go.
            None => node.clone(),
        };
        for _ in 0..HOPS {
            if in_vain.contains(&candidate) {
                return Ok(None);
            }
            let connected = self.connect(&candidate, None).await;
            let (mut connection, _) = connected.inspect_err(|_| in_vain.push(candidate.clone()))?;
            let mut exists = redis::cmd("EXISTS");
            match timeout(PATIENCE, exists.arg(&key).query_async::<i64>(&mut connection)).await {
                Err(_) => return Err(SiteFault::TimedOut { address: candidate }),
                // ASK and TRYAGAIN: the slot is on its way from here and still this one's.
                Ok(Ok(_)) => return Ok(Some(candidate)),
                Ok(Err(fault)) => match (fault.code(), fault.redirect_node()) {
                    (Some("ASK" | "TRYAGAIN"), _) => return Ok(Some(candidate)),
                    (Some("MOVED"), Some((to, _))) => {
                        let next: NodeAddress = to.parse().map_err(|()| SiteFault::NotNow {
                            address: candidate.clone(),
                            reason: words_of(&fault),
                        })?;
                        candidate = at_home(next, &candidate);
                    }
                    _ => return Err(SiteFault::from_redis(&candidate, "EXISTS", &fault)),
                },
            }
        }
        Err(SiteFault::NotNow {
            address: candidate,
            reason: "the nodes of the Cluster do not agree yet".to_owned(),
        })
    }

    /// The ranges of slots with their masters, as a node sees them; `None` where it may not be
    /// asked.
    async fn slots(
        &self,
        node: &NodeAddress,
    ) -> Result<Option<Vec<(u16, u16, NodeAddress)>>, SiteFault> {
        let mut connection = self.open(node, Peer::Server, None).await?;
        // Deprecated in favour of CLUSTER SHARDS, which servers before 7.0 do not know.
        let asked = redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut connection).await;
        match asked {
            Ok(slots) => Ok(Some(read_slots(&slots, node))),
            Err(fault) if fault.code() == Some("NOPERM") => Ok(None),
            Err(fault) if words_of(&fault).contains("cluster support disabled") => {
                Err(SiteFault::Unsuitable {
                    address: node.clone(),
                    reason: "it is no node of a Cluster: see \"topology\" in [store]".to_owned(),
                })
            }
            Err(fault) => Err(SiteFault::from_redis(node, "CLUSTER SLOTS", &fault)),
        }
    }

    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn learn<'a>(&self, masters: impl Iterator<Item = &'a NodeAddress>) {
        let mut nodes: Vec<NodeAddress> = Vec::new();
        for master in masters {
            if !nodes.contains(master) && nodes.len() < MOST_LEARNED {
                nodes.push(master.clone());
            }
        }
        if !nodes.is_empty() {
            self.learned().nodes = nodes;
        }
    }
}

/// Why a sentinel named nobody.
enum Refusal {
    Fault(SiteFault),
    Unknown,
}

impl From<SiteFault> for Refusal {
    fn from(fault: SiteFault) -> Self {
        Self::Fault(fault)
    }
}

/// Asks all at the same time, each within the patience for one.
async fn gather<'a, T, F>(
    addresses: &'a [NodeAddress],
    ask: impl Fn(&'a NodeAddress) -> F,
) -> Vec<(NodeAddress, Result<T, Refusal>)>
where
    F: Future<Output = Result<T, Refusal>> + 'a,
{
    let mut answers = Vec::with_capacity(addresses.len());
    let mut asked: Vec<_> = addresses
        .iter()
        .map(|address| {
            let asking = timeout(PATIENCE, ask(address));
            Some(Box::pin(async move {
                let silent = |_| Err(SiteFault::TimedOut { address: address.clone() }.into());
                (address.clone(), asking.await.unwrap_or_else(silent))
            }))
        })
        .collect();
    // Few, and each bounded in time: polling all of them whenever one moves is simple and cheap
    // enough.
    std::future::poll_fn(|context| {
        for slot in &mut asked {
            if let Some(asking) = slot
                && let std::task::Poll::Ready(answer) = asking.as_mut().poll(context)
            {
                answers.push(answer);
                *slot = None;
            }
        }
        if asked.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers
}

async fn briefly<T>(
    address: &NodeAddress,
    asking: impl Future<Output = Result<T, SiteFault>>,
) -> Result<T, SiteFault> {
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(SiteFault::TimedOut { address: address.clone() }))
}

/// The addresses that are named with the newest epoch, the most often named first; none if that is
/// older than `floor`.
fn choose(named: &[Named], floor: u64) -> Option<(Vec<NodeAddress>, u64)> {
    let newest = named.iter().map(|named| named.epoch).max().filter(|epoch| *epoch >= floor)?;
    let mut votes: BTreeMap<&NodeAddress, usize> = BTreeMap::new();
    for answer in named.iter().filter(|answer| answer.epoch == newest) {
        *votes.entry(&answer.address).or_default() += 1;
    }
    let mut candidates: Vec<_> = votes.into_iter().collect();
    candidates.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some((candidates.into_iter().map(|(address, _)| address.clone()).collect(), newest))
}

/// The configuration epoch in the answer of `SENTINEL MASTER`: names and values in turn.
fn epoch_in(details: &Value) -> u64 {
    let words: Vec<&[u8]> = match details {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(name, value)| [text(name), text(value)]).flatten().collect()
        }
        _ => Vec::new(),
    };
    let value = words.chunks_exact(2).find_map(|pair| match pair {
        [b"config-epoch", value] => std::str::from_utf8(value).ok()?.parse().ok(),
        _ => None,
    });
    value.unwrap_or(0)
}

/// The masters in the answer of `CLUSTER SLOTS`; what cannot be read is left out.
fn read_slots(answer: &Value, asked: &NodeAddress) -> Vec<(u16, u16, NodeAddress)> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    ranges
        .iter()
        .filter_map(|range| {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice()
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = master.as_slice() else { return None };
            let host = match text(host).map(String::from_utf8_lossy).as_deref() {
                // Not known to the node itself: where the question went (CLUSTER SLOTS, "null" and
                // "?").
                None | Some("" | "?") => String::new(),
                Some(host) => host.to_owned(),
            };
            let master = at_home(NodeAddress::new(host, u16::try_from(*port).ok()?), asked);
            Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, master))
        })
        .collect()
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// An address without a host is on the host that was asked.
fn at_home(address: NodeAddress, asked: &NodeAddress) -> NodeAddress {
    if address.host.is_empty() {
        NodeAddress::new(asked.host.clone(), address.port)
    } else {
        address
    }
}
