//! The master is found, and an old one is not taken for it.

use redis::Value;

use super::cluster::{read_slots, slot_of};
use super::sentinel::{Named, choose, is_agreed};
use super::*;
use crate::store::redis::server::{RedisServer, Reply, cluster, sentinels, wait_until};
use crate::store::redis::settings::RedisSettings;

fn address(server: &RedisServer) -> NodeAddress {
    NodeAddress::new("127.0.0.1", server.port)
}

fn nodes_of(servers: Servers) -> Nodes {
    let unused = RedisSettings::single(NodeAddress::new("unused", 1));
    Nodes::new(RedisSettings { servers, ..unused }).unwrap()
}

/// The way to the servers of a fleet that these sentinels watch.
fn watched_by(sentinels: &[RedisServer]) -> Nodes {
    nodes_of(Servers::Sentinel {
        sentinels: sentinels.iter().map(address).collect(),
        master: "fleet".to_owned(),
        username: None,
        password: None,
    })
}

fn named(port: u16, epoch: u64) -> Named {
    Named { address: NodeAddress::new("a", port), epoch }
}

#[test]
fn the_newest_configuration_wins_and_then_the_majority() {
    let chosen = |named: &[Named], floor| {
        choose(named, floor)
            .map(|(list, epoch)| (list.iter().map(|a| a.port).collect::<Vec<_>>(), epoch))
    };
    assert_eq!(chosen(&[], 0), None);
    assert_eq!(chosen(&[named(1, 1), named(1, 1), named(2, 2)], 0), Some((vec![2], 2)));
    assert_eq!(chosen(&[named(1, 2), named(2, 2), named(2, 2)], 0), Some((vec![2, 1], 2)));
    assert_eq!(chosen(&[named(1, 1)], 2), None, "older than what is known");
    assert_eq!(chosen(&[named(1, 2)], 2), Some((vec![1], 2)));
}

#[test]
fn sentinels_agree_when_more_than_half_of_all_name_one_address_with_one_epoch() {
    let agreed = |named: &[Named], sentinels| is_agreed(named.iter(), sentinels);
    assert!(agreed(&[named(1, 1)], 1));
    assert!(agreed(&[named(1, 1), named(1, 1)], 3));
    assert!(agreed(&[named(2, 2), named(1, 1), named(1, 1)], 3));
    assert!(!agreed(&[], 1));
    assert!(!agreed(&[named(1, 1)], 2));
    assert!(!agreed(&[named(1, 1), named(1, 1)], 4), "a half is not enough");
    assert!(!agreed(&[named(1, 1), named(2, 1)], 3));
    assert!(!agreed(&[named(1, 1), named(1, 2)], 3));
}

#[test]
fn slots_are_those_that_redis_says() {
    // CLUSTER KEYSLOT of Redis 7.0; the last one is the checksum in the specification.
    for (tag, slot) in [
        ("foo", 12182),
        ("bar", 5061),
        ("somekey", 11058),
        ("hash_tag", 2515),
        ("123456789", 0x31c3),
    ] {
        assert_eq!(slot_of(tag.as_bytes()), slot, "{tag}");
    }
}

#[test]
fn slots_are_read_whatever_is_announced() {
    let asked = NodeAddress::new("asked", 1);
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let range = |first, last, host: Value, port| {
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(vec![host, Value::Int(port), text("id")]),
            Value::Array(vec![text("replica"), Value::Int(9), text("id")]),
        ])
    };
    let answer = Value::Array(vec![
        range(0, 1, text("h1"), 7),
        range(2, 3, Value::Nil, 8),
        range(4, 5, text(""), 8),
        range(6, 7, text("?"), 8),
        range(8, 9, text("::1"), 8),
        range(-1, 9, text("bad"), 8),
        range(10, 11, text("bad"), 99_999),
        Value::Array(vec![Value::Int(1)]),
        Value::Nil,
    ]);
    let found: Vec<String> = read_slots(&answer, &asked)
        .iter()
        .map(|(first, last, master)| format!("{first}-{last} {master}"))
        .collect();
    assert_eq!(found, ["0-1 h1:7", "2-3 asked:8", "4-5 asked:8", "6-7 asked:8", "8-9 [::1]:8"]);
    assert_eq!(read_slots(&Value::Nil, &asked), []);
}

#[tokio::test]
async fn after_a_failover_the_new_master_is_found_and_never_the_old_one() {
    let mut old = RedisServer::start();
    let new = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", old.port));
    wait_until("the replica has its copy", || {
        new.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let mut watch = sentinels(3, &old, Duration::from_millis(500));
    let nodes = watched_by(&watch);
    assert_eq!(nodes.discover().await, Ok(address(&old)));
    old.kill();
    let mut found = Err(DiscoveryError::Crowded);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while found != Ok(address(&new)) {
        assert!(std::time::Instant::now() < deadline, "{found:?}");
        assert_ne!(found, Ok(address(&old)), "the old one is dead");
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = nodes.discover().await;
    }
    // The old master comes back and takes itself for the master until the sentinels tell it
    // otherwise. One sentinel that has missed the failover would name it: it is not believed,
    // because the newer configuration is known.
    for sentinel in &mut watch {
        sentinel.kill();
    }
    let lines = format!("sentinel monitor fleet 127.0.0.1 {} 2\n", old.port);
    let stale = RedisServer::start_as(true, watch[0].port, &lines);
    old.restart();
    assert_eq!(old.command(&["ROLE"]), old.command(&["ROLE"]));
    let found = nodes.discover().await.unwrap_err();
    assert!(found.to_string().contains("missed the latest failover"), "{found}");
    drop(stale);
    let stranger = [RedisServer::start_sentinel("")];
    let fault = watched_by(&stranger).discover().await.unwrap_err();
    assert!(
        matches!(fault, DiscoveryError::Unsuitable { .. } | DiscoveryError::MasterUnknown { .. }),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_single_sentinel_that_is_left_is_enough() {
    let master = RedisServer::start();
    let _replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    let mut watch = sentinels(3, &master, Duration::from_secs(5));
    let nodes = watched_by(&watch);
    watch[0].kill();
    watch[1].freeze();
    assert_eq!(nodes.discover().await, Ok(address(&master)));
    watch[1].thaw();
}

/// Connections that a server has ever accepted, this one included.
fn accepted_by(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "stats"]).text();
    let count = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[tokio::test]
async fn a_master_that_hangs_together_with_a_sentinel_is_known_to_be_replaced() {
    let old = RedisServer::start();
    let new = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", old.port));
    let watch = sentinels(3, &old, Duration::from_millis(500));
    let nodes = watched_by(&watch);
    // While it is named, it is not connected to: only the sentinels may, once in a while.
    let before = accepted_by(&old);
    for _ in 0..20 {
        assert!(!nodes.is_elsewhere(&address(&old)).await);
    }
    assert!(accepted_by(&old) - before < 20);
    watch[2].freeze();
    // Two of three agree: the third is not waited for until it counts as silent. Any one of some
    // tries shows that, as a busy machine may be slow.
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        assert_eq!(nodes.discover().await, Ok(address(&old)));
        shortest = shortest.min(begun.elapsed());
        if shortest < TIMEOUT {
            break;
        }
    }
    assert!(shortest < TIMEOUT, "{shortest:?}");
    old.freeze();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !nodes.is_elsewhere(&address(&old)).await {
        assert!(std::time::Instant::now() < deadline, "no other one is seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(nodes.discover().await, Ok(address(&new)));
    assert!(!nodes.is_elsewhere(&address(&new)).await);
}

#[tokio::test]
async fn in_a_cluster_the_master_of_the_slot_is_found_also_after_it_has_moved() {
    let nodes = cluster(3);
    let slot = slot_of(b"keyward");
    let owner = usize::from(slot / (16384 / 3)).min(2);
    // Only one node is known at first, and not the one that is looked for.
    let known = (owner + 1) % 3;
    let found = nodes_of(Servers::Cluster(vec![address(&nodes[known])]));
    assert_eq!(found.discover().await, Ok(address(&nodes[owner])));
    // The slot moves to the third node; only source and target have been told.
    let target = (owner + 2) % 3;
    let id = nodes[target].command(&["CLUSTER", "MYID"]).text();
    for node in [target, owner] {
        let answer = nodes[node].command(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
        assert_eq!(answer, Reply::Simple("OK".to_owned()));
    }
    assert_eq!(found.discover().await, Ok(address(&nodes[target])));
    assert_eq!(found.learned().nodes.len(), 3, "the others were learned");
    // To those that use the source, and to no others, it is elsewhere: as the target says, once it
    // is asked.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !found.is_elsewhere(&address(&nodes[owner])).await {
        assert!(std::time::Instant::now() < deadline, "the move is not seen");
    }
    assert!(!found.is_elsewhere(&address(&nodes[target])).await);
}
