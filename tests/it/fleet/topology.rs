//! The master changes: a failover by sentinels, a slot that moves in a Cluster, both under load.

use std::time::{Duration, Instant};

use super::linearizability::drive;
use super::{Fleet, LEASE};
use crate::support::redis::{RedisServer, Reply, cluster, sentinels, wait_until};
use crate::support::{Person, Random};

/// When the sentinels begin to doubt a master.
const DOWN_AFTER: Duration = Duration::from_secs(1);

fn urls(servers: &[RedisServer]) -> String {
    servers.iter().map(RedisServer::url).collect::<Vec<_>>().join(",")
}

fn is_linked(replica: &RedisServer) -> bool {
    replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
}

/// A master with two replicas, three sentinels, and three instances whose changes wait for replicas.
struct Watched {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    fleet: Fleet,
}

impl Watched {
    fn start(acks: usize) -> Self {
        let lines = "appendfsync always\nrepl-diskless-sync-delay 0\nmin-replicas-to-write 1\nmin-replicas-max-lag 2";
        let master = RedisServer::start_with(lines);
        let mut servers = vec![master];
        for _ in 0..2 {
            servers.push(RedisServer::start_with(&format!("{lines}\nreplicaof 127.0.0.1 {}", servers[0].port)));
        }
        wait_until("the replicas have their copies", || servers[1..].iter().all(is_linked));
        let sentinels = sentinels(3, &servers[0], DOWN_AFTER);
        wait_until("the sentinels know both replicas", || {
            sentinels.iter().all(|sentinel| {
                matches!(sentinel.command(&["SENTINEL", "REPLICAS", "fleet"]), Reply::Array(known) if known.len() == 2)
            })
        });
        let urls = urls(&sentinels);
        let fleet = Fleet::start_with(&[&urls, &urls, &urls], |plan| {
            plan.set("store", "topology", "\"sentinel\"")
                .set("store", "sentinel_master", "\"fleet\"")
                .set("store", "revoke_acks", &acks.to_string())
                .set("store", "revoke_acks_timeout", "\"900ms\"")
        });
        Self { servers, sentinels, fleet }
    }
}

fn names_another(sentinel: &RedisServer, port: u16) -> bool {
    match sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet"]) {
        Reply::Array(named) => named.get(1).is_some_and(|named| named.text() != port.to_string()),
        _ => false,
    }
}

#[test]
fn r6_a_failover_by_sentinels_loses_no_acknowledged_answer_and_the_old_master_is_not_believed() {
    let mut random = Random::seeded("sentinel");
    let mut watched = Watched::start(1);
    let Watched { servers, sentinels, fleet } = &mut watched;
    let root = fleet.root();
    let (mut named, mut away) = (Duration::ZERO, Duration::ZERO);
    let old = servers[0].port;
    let revocations = drive(fleet, 16, &mut random, |history| {
        std::thread::sleep(Duration::from_secs(1));
        history.during("the master is killed", || {
            let killed = Instant::now();
            servers[0].kill();
            wait_until("the sentinels name another master", || {
                sentinels.iter().all(|sentinel| names_another(sentinel, old))
            });
            named = killed.elapsed();
            wait_until("tokens are issued again", || fleet.worlds[0].api(Person::ALICE).issue(&root, "").status == 200);
            away = killed.elapsed();
            wait_until("every instance is ready again", || fleet.are_ready());
        });
        std::thread::sleep(Duration::from_secs(1));
        // One sentinel is enough to hear who is master.
        history.during("two sentinels are killed, and the old master comes back", || {
            for sentinel in &mut sentinels[1..] {
                sentinel.kill();
            }
            servers[0].restart();
            let role = servers[0].command(&["INFO", "replication"]).text();
            eprintln!("the old master says {:?}", role.lines().nth(1));
            wait_until("every instance is ready again", || fleet.are_ready());
        });
        std::thread::sleep(Duration::from_secs(1));
    });
    eprintln!(
        "sentinel: {revocations} revocations; after {named:?} there was another master, after {away:?} it was used"
    );
    assert!(revocations > 20, "only {revocations} revocations");
    // How long the sentinels take is theirs.
    assert!(away - named < Duration::from_secs(3) + LEASE, "named after {named:?}, used after {away:?}");
}

/// A failover that somebody asks for. The old master goes on taking writes, with the other replica, until the sentinels tell them,
/// and what it has taken meanwhile is lost: only if every change waits for all replicas is nothing acknowledged that is lost.
#[test]
#[ignore = "takes long, because the sentinels do: make soak"]
fn soak_r6_a_planned_failover_undoes_nothing_that_all_replicas_have_acknowledged() {
    let mut random = Random::seeded("sentinel");
    let watched = Watched::start(2);
    let (servers, fleet) = (&watched.servers, &watched.fleet);
    let revocations = drive(fleet, 16, &mut random, |history| {
        std::thread::sleep(Duration::from_secs(1));
        history.during("a planned failover", || {
            assert_eq!(watched.sentinels[0].command(&["SENTINEL", "FAILOVER", "fleet"]).text(), "OK");
            let asked = Instant::now();
            wait_until("the sentinels name another master", || {
                watched.sentinels.iter().all(|sentinel| names_another(sentinel, servers[0].port))
            });
            let named = asked.elapsed();
            wait_until("both replicas follow it", || {
                servers[1..]
                    .iter()
                    .any(|server| server.command(&["INFO", "replication"]).text().contains("min_slaves_good_slaves:2"))
            });
            wait_until("every instance is ready again", || fleet.are_ready());
            eprintln!("planned failover: another master after {named:?}, used after {:?}", asked.elapsed());
        });
        std::thread::sleep(Duration::from_secs(2));
    });
    eprintln!("planned failover: {revocations} revocations");
}

#[test]
fn r8_a_slot_that_moves_under_load_costs_no_wrong_answer() {
    let mut random = Random::seeded("cluster");
    let nodes = cluster(3);
    let urls = urls(&nodes);
    let fleet = Fleet::start_with(&[&urls, &urls, &urls], |plan| plan.set("store", "topology", "\"cluster\""));
    let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", "{keyward}:meta"]).integer();
    let ids: Vec<String> = nodes.iter().map(|node| node.command(&["CLUSTER", "MYID"]).text()).collect();
    let slot_name = slot.to_string();
    let mut owner = usize::try_from(slot / (16384 / 3)).expect("a slot").min(2);
    let revocations = drive(&fleet, 16, &mut random, |history| {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_secs(1));
            let target = (owner + 1) % 3;
            history.during("the slot moves", || move_slot(&nodes, &ids, &slot_name, owner, target));
            history.during("the instances find it", || wait_until("every instance is ready", || fleet.are_ready()));
            owner = target;
        }
        std::thread::sleep(Duration::from_secs(1));
    });
    eprintln!("cluster: {revocations} revocations");
    assert!(revocations > 20, "only {revocations} revocations");
}

/// As `redis-cli --cluster reshard` does it.
fn move_slot(nodes: &[RedisServer], ids: &[String], slot: &str, from: usize, to: usize) {
    let ok = |node: usize, words: &[&str]| assert_eq!(nodes[node].command(words).text(), "OK", "{words:?}");
    ok(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[from]]);
    ok(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[to]]);
    let port = nodes[to].port.to_string();
    loop {
        let Reply::Array(keys) = nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", slot, "20"]) else {
            panic!("no keys")
        };
        if keys.is_empty() {
            break;
        }
        let keys: Vec<String> = keys.iter().map(Reply::text).collect();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        let answer = nodes[from].command(&words).text();
        assert!(matches!(answer.as_str(), "OK" | "NOKEY"), "{answer}");
    }
    for node in [to, from, 3 - to - from] {
        ok(node, &["CLUSTER", "SETSLOT", slot, "NODE", &ids[to]]);
    }
}

#[test]
fn a_revocation_that_no_replica_has_is_not_acknowledged_however_often_it_is_asked_for() {
    let master = RedisServer::start_with("repl-diskless-sync-delay 0");
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_until("the replica has its copy", || is_linked(&replica));
    let fleet = Fleet::start_with(&[&master.url()], |plan| {
        plan.set("store", "revoke_acks", "1").set("store", "revoke_acks_timeout", "\"300ms\"")
    });
    let root = fleet.root();
    let victim = fleet.mint(0, &root);
    let api = fleet.worlds[0].api(Person::ALICE);
    replica.freeze();
    for _ in 0..3 {
        let refused = api.revoke_by_jti(&root, &victim.jti);
        assert_eq!(refused.status, 503, "{refused}");
        // It is gone from the master, so it is not accepted: only the promise cannot be made.
        assert_eq!(fleet.status(0, &victim.token), 401);
    }
    replica.thaw();
    wait_until("it is acknowledged", || api.revoke_by_jti(&root, &victim.jti).status == 200);
}
