//! A Cluster whose masters have a replica each.

use std::time::{Duration, Instant};

use super::super::Fleet;
use super::super::linearizability::drive;
use super::{replication, urls, wait_for_followers};
use crate::support::Random;
use crate::support::lateness::slack;
use crate::support::redis::{RedisServer, Reply, cluster_with_replicas, wait_until};

/// Three masters, each with a replica.
pub(in crate::fleet) struct Clustered {
    pub(in crate::fleet) nodes: Vec<RedisServer>,
    ids: Vec<String>,
    slot: u16,
}

impl Clustered {
    pub(in crate::fleet) fn start() -> Self {
        let nodes = cluster_with_replicas(3);
        let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", "{keyward}:meta"]).integer();
        let ids = nodes.iter().map(|node| node.command(&["CLUSTER", "MYID"]).text()).collect();
        Self { nodes, ids, slot: u16::try_from(slot).expect("a slot") }
    }

    /// So many instances, whose changes wait for the replica.
    pub(in crate::fleet) fn fleet(&self, count: usize) -> Fleet {
        let urls = urls(&self.nodes);
        Fleet::start_with(&vec![urls.as_str(); count], |plan| {
            plan.set("store", "topology", "\"cluster\"").set("store", "revoke_acks", "1").set(
                "store",
                "revoke_acks_timeout",
                "\"900ms\"",
            )
        })
    }

    fn find_owner(&self) -> Option<usize> {
        // All other nodes answer MOVED, or not at all.
        let owns = |node: &RedisServer| {
            matches!(node.try_command(&[b"EXISTS", b"{keyward}:meta"]), Ok(Reply::Integer(_)))
        };
        self.nodes.iter().position(owns)
    }

    /// Which node has the slot of the fleet; waits until one has.
    pub(in crate::fleet) fn owner(&self) -> usize {
        let mut owner = None;
        wait_until("a node has the slot", || {
            owner = self.find_owner();
            owner.is_some()
        });
        owner.expect("found")
    }

    fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| replication(&self.nodes[node]).contains("role:master"))
            .collect()
    }

    /// Gives the fleet's slot to another master.
    pub(in crate::fleet) fn move_slot(&self) {
        self.move_slots(self.slot..=self.slot);
    }

    /// Gives these slots to another master, one after the other, as `redis-cli --cluster reshard`
    /// does. All belong to the fleet's node, and only the fleet's has keys.
    fn move_slots(&self, slots: std::ops::RangeInclusive<u16>) {
        let (from, masters) = (self.owner(), self.masters());
        let to = *masters.iter().find(|&&master| master != from).expect("another master");
        for slot in slots {
            self.move_one(slot, from, to, &masters);
        }
        wait_for_followers(&self.nodes[to], 1);
    }

    fn move_one(&self, slot: u16, from: usize, to: usize, masters: &[usize]) {
        let name = slot.to_string();
        let ok = |node: usize, words: &[&str]| {
            assert_eq!(self.nodes[node].command(words).text(), "OK", "{words:?}")
        };
        ok(to, &["CLUSTER", "SETSLOT", &name, "IMPORTING", &self.ids[from]]);
        ok(from, &["CLUSTER", "SETSLOT", &name, "MIGRATING", &self.ids[to]]);
        if slot == self.slot {
            self.migrate_keys(&name, from, to);
        }
        ok(to, &["CLUSTER", "SETSLOT", &name, "NODE", &self.ids[to]]);
        for &master in masters.iter().filter(|&&master| master != to) {
            ok(master, &["CLUSTER", "SETSLOT", &name, "NODE", &self.ids[to]]);
        }
    }

    fn migrate_keys(&self, slot: &str, from: usize, to: usize) {
        let port = self.nodes[to].port.to_string();
        loop {
            let Reply::Array(keys) =
                self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", slot, "20"])
            else {
                panic!("no keys")
            };
            if keys.is_empty() {
                return;
            }
            let keys: Vec<String> = keys.iter().map(Reply::text).collect();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let answer = self.nodes[from].command(&words).text();
            assert!(matches!(answer.as_str(), "OK" | "NOKEY"), "{answer}");
        }
    }

    /// Kills the node that has the slot; returns which it was, when its replica has taken its
    /// place.
    pub(in crate::fleet) fn kill_owner(&mut self) -> usize {
        let owner = self.owner();
        self.nodes[owner].kill();
        self.owner();
        owner
    }

    /// Starts a killed node again; returns when it follows the one that has taken its place.
    pub(in crate::fleet) fn restart(&mut self, node: usize) {
        self.nodes[node].restart();
        wait_for_followers(&self.nodes[self.owner()], 1);
    }
}

#[test]
fn r8_a_thousand_slots_that_move_and_a_master_that_is_killed_cost_no_wrong_answer() {
    let mut random = Random::seeded("cluster");
    let mut cluster = Clustered::start();
    let fleet = cluster.fleet(3);
    // It was not asked for before, so the instance has asked the new master for it.
    let unseen = fleet.mint(0, &fleet.root());
    let (mut promoted, mut used, mut late) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let seen = drive(&fleet, 16, &mut random, |history| {
        let ready = || wait_until("every instance is ready", || fleet.are_ready());
        history.carry_on();
        history.during("a thousand slots move", || {
            cluster.move_slots(cluster.slot - 500..=cluster.slot + 499);
            ready();
        });
        history.carry_on();
        history.during("the master is killed", || {
            let began = Instant::now();
            let killed = cluster.kill_owner();
            promoted = began.elapsed();
            wait_until("every instance asks the new master", || {
                fleet.statuses(&unseen.token) == [200, 200, 200]
            });
            used = began.elapsed();
            late = slack(began + promoted, Instant::now());
            cluster.restart(killed);
            ready();
        });
        history.carry_on();
        history.during("the slot moves", || {
            cluster.move_slot();
            ready();
        });
        history.carry_on();
    });
    eprintln!(
        "cluster: {} revocations; after {promoted:?} there was another master, after {used:?} it \
         was used",
        seen.revocations
    );
    assert!(seen.revocations > 20, "only {} revocations", seen.revocations);
    // How long the nodes take to agree on another one is theirs.
    assert!(
        used - promoted < Duration::from_secs(1) + late,
        "promoted after {promoted:?}, used after {used:?}"
    );
}
