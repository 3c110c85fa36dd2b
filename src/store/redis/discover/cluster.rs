//! Asks the nodes of a Cluster for the primary of the slot in which the fleet's keys are.

use std::collections::BTreeSet;

use redis::Value;

use super::super::discovery_error::{DiscoveryError, words_of};
use super::super::node::{Nodes, Peer};
use super::super::pace::random;
use super::super::settings::NodeAddress;
use super::{briefly, unknown};

/// How many `MOVED` are followed in a row: more of them lead in circles.
const HOPS: usize = 5;

/// How many nodes of a Cluster are remembered.
const MOST_LEARNED: usize = 64;

/// Slots from the first to the second, and their primary.
type SlotRange = (u16, u16, NodeAddress);

impl Nodes {
    pub(super) async fn ask_cluster(
        &self,
        configured: &[NodeAddress],
        present: Option<&NodeAddress>,
    ) -> Result<NodeAddress, DiscoveryError> {
        let nodes: BTreeSet<_> = self.learned().nodes.iter().chain(configured).cloned().collect();
        // An old primary that is cut off names itself.
        let mut nodes: Vec<_> = nodes.into_iter().filter(|node| Some(node) != present).collect();
        let start = usize::try_from(random()).unwrap_or(0) % nodes.len().max(1);
        nodes.rotate_left(start);
        let (mut reasons, mut failed) = (Vec::new(), Vec::new());
        for node in &nodes {
            match self.ask_node(node, present, &mut failed).await {
                Ok(Some(primary)) => return Ok(primary),
                Ok(None) => {}
                Err(error) => reasons.push(error),
            }
        }
        Err(unknown(reasons, None))
    }

    /// Asks one node for the slots, and then the primary that it names whether the slot is its own;
    /// `MOVED` leads on. If it names `present`, that is not asked. `None`: it names one that is
    /// among the `failed`. Until a dead primary is replaced, every node names it, and connections
    /// are paced: it is tried once.
    async fn ask_node(
        &self,
        node: &NodeAddress,
        present: Option<&NodeAddress>,
        failed: &mut Vec<NodeAddress>,
    ) -> Result<Option<NodeAddress>, DiscoveryError> {
        let not_now = |node: &NodeAddress, words| DiscoveryError::NotNow(node.clone(), words);
        let key = format!("{{{}}}:meta", self.settings.prefix);
        let mut candidate = match briefly(node, self.slots(node)).await? {
            Some(slots) => {
                self.learn(&slots);
                let slot = slot_of(self.settings.prefix.as_bytes());
                let owner = slots.into_iter().find(|range| (range.0..=range.1).contains(&slot));
                let unserved =
                    || not_now(node, format!("no node of the Cluster serves slot {slot}"));
                owner.map(|(_, _, primary)| primary).ok_or_else(unserved)?
            }
            // Not permitted to ask: the search begins with this node, which says where to go.
            None => node.clone(),
        };
        for _ in 0..HOPS {
            if present == Some(&candidate) {
                return Ok(Some(candidate));
            }
            if failed.contains(&candidate) {
                return Ok(None);
            }
            let connected = self.connect(&candidate, None).await;
            let (mut connection, _) = connected.inspect_err(|_| failed.push(candidate.clone()))?;
            let mut exists = redis::cmd("EXISTS");
            let asked =
                async { Ok(exists.arg(&key).query_async::<i64>(&mut connection.inner).await) };
            let Err(error) = briefly(&candidate, asked).await? else { return Ok(Some(candidate)) };
            match (error.code(), error.redirect_node()) {
                // The slot is on its way to another node and still this one's.
                (Some("ASK" | "TRYAGAIN"), _) => return Ok(Some(candidate)),
                (Some("MOVED"), Some((to, _))) => {
                    let next = to.parse().map_err(|()| not_now(&candidate, words_of(&error)))?;
                    candidate = with_host(next, &candidate);
                }
                _ => return Err(DiscoveryError::from_redis(&candidate, "EXISTS", &error)),
            }
        }
        Err(not_now(&candidate, "the nodes of the Cluster do not agree yet".to_owned()))
    }

    /// The slots with their primaries, as a node sees them; `None` where it may not be asked.
    async fn slots(&self, node: &NodeAddress) -> Result<Option<Vec<SlotRange>>, DiscoveryError> {
        let mut connection = self.open(node, Peer::Server, None).await?;
        // Deprecated in favour of CLUSTER SHARDS, which servers before 7.0 do not know.
        let asked =
            redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut connection.inner).await;
        match asked {
            Ok(slots) => Ok(Some(read_slots(&slots, node))),
            Err(error) if error.code() == Some("NOPERM") => Ok(None),
            Err(error) if words_of(&error).contains("cluster support disabled") => {
                let words = "it is no node of a Cluster: see \"topology\" in [store]";
                Err(DiscoveryError::Unsuitable(node.clone(), words.to_owned()))
            }
            Err(error) => Err(DiscoveryError::from_redis(node, "CLUSTER SLOTS", &error)),
        }
    }

    fn learn(&self, slots: &[SlotRange]) {
        let nodes: BTreeSet<_> = slots.iter().map(|(_, _, primary)| primary.clone()).collect();
        if !nodes.is_empty() {
            self.learned().nodes = nodes.into_iter().take(MOST_LEARNED).collect();
        }
    }
}

/// The slot, of 16384, of all keys with this hash tag: CRC-16/XMODEM, which is polynomial 0x1021,
/// nothing reflected, beginning with 0 (Redis Cluster specification, "Key distribution model").
pub(super) fn slot_of(tag: &[u8]) -> u16 {
    let crc16 = tag.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc16 % 16384
}

/// The primaries in the answer of `CLUSTER SLOTS`; what cannot be read is left out.
pub(super) fn read_slots(answer: &Value, asked: &NodeAddress) -> Vec<SlotRange> {
    let read = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice()
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // "" and "?": the node does not know its own host, it is where the question went; so is
        // nothing (CLUSTER SLOTS).
        let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
        let host = host.filter(|host| host != "?").unwrap_or_default();
        let primary = with_host(NodeAddress::new(host, u16::try_from(*port).ok()?), asked);
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, primary))
    };
    let Value::Array(ranges) = answer else { return Vec::new() };
    ranges.iter().filter_map(read).collect()
}

/// An address without a host is on the host that was asked.
fn with_host(address: NodeAddress, asked: &NodeAddress) -> NodeAddress {
    if address.host.is_empty() {
        return NodeAddress::new(asked.host.clone(), address.port);
    }
    address
}
