//! Several servers together: sentinels that watch a master, and a Cluster.

use std::time::Duration;

use super::{RedisServer, Reply, wait_until};

/// So many sentinels that watch `master` under the name `fleet`. A majority of them agrees on a
/// failover, which the first one begins when the master has been silent for `down_after`: the
/// others need more votes than there are. When two begin one at the same time, two replicas become
/// masters, and it takes ten seconds until one of them gives up. Returns when they know each other.
pub(crate) fn sentinels(
    count: usize,
    master: &RedisServer,
    down_after: Duration,
) -> Vec<RedisServer> {
    let lines = |quorum| {
        format!(
            "sentinel monitor fleet 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds fleet {}\nsentinel failover-timeout fleet 5000\n",
            master.port,
            down_after.as_millis()
        )
    };
    let quorums = (0..count).map(|index| if index == 0 { count / 2 + 1 } else { count + 1 });
    let sentinels: Vec<_> =
        quorums.map(|quorum| RedisServer::start_sentinel(&lines(quorum))).collect();
    let all_met = || {
        sentinels.iter().all(|sentinel| {
            let Reply::Array(known) = sentinel.command(&["SENTINEL", "SENTINELS", "fleet"]) else {
                return false;
            };
            let Reply::Array(replicas) = sentinel.command(&["SENTINEL", "REPLICAS", "fleet"])
            else {
                return false;
            };
            known.len() + 1 == count && !replicas.is_empty()
        })
    };
    wait_until("the sentinels know each other and a replica", all_met);
    sentinels
}

/// A Cluster of so many masters without replicas; each has an equal part of the slots, in order.
pub(crate) fn cluster(masters: u16) -> Vec<RedisServer> {
    let lines = "cluster-enabled yes\ncluster-node-timeout 2000\nrepl-diskless-sync-delay 0\n\
                 appendfsync always\n";
    let nodes: Vec<_> = (0..masters).map(|_| RedisServer::start_with(lines)).collect();
    let part = 16384 / masters;
    for (node, index) in nodes.iter().zip(0..) {
        let (first, after) =
            (index * part, if index + 1 == masters { 16384 } else { (index + 1) * part });
        let slots = (first..after).map(|slot: u16| slot.to_string());
        let words: Vec<String> =
            ["CLUSTER", "ADDSLOTS"].map(str::to_owned).into_iter().chain(slots).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(node.command(&words), Reply::Simple("OK".to_owned()));
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        let port = nodes[0].port.to_string();
        node.command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
    }
    wait_until("the Cluster is up", || {
        nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]).text();
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{masters}"))
        })
    });
    nodes
}

/// As [`cluster`], and each master has a replica: those are behind all masters, in the same order.
pub(crate) fn cluster_with_replicas(masters: u16) -> Vec<RedisServer> {
    let mut nodes = cluster(masters);
    let lines = "cluster-enabled yes\ncluster-node-timeout 2000\nrepl-diskless-sync-delay 0\n\
                 appendfsync always\n";
    for master in 0..usize::from(masters) {
        let replica = RedisServer::start_with(lines);
        let (id, port) =
            (nodes[master].command(&["CLUSTER", "MYID"]).text(), nodes[master].port.to_string());
        replica.command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        // It must have heard of the master before.
        wait_until("it follows its master", || {
            replica.command(&["CLUSTER", "REPLICATE", &id]).text() == "OK"
        });
        nodes.push(replica);
    }
    wait_until("every node knows the others, and each replica has its copy", || {
        let knows_all = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]).text();
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{}", 2 * masters))
        };
        let has_copy = |node: &RedisServer| {
            node.command(&["INFO", "replication"]).text().contains("master_link_status:up")
        };
        nodes.iter().all(knows_all) && nodes[usize::from(masters)..].iter().all(has_copy)
    });
    nodes
}
