//! A master with replicas under sentinels.

use std::time::{Duration, Instant};

use super::super::linearizability::drive;
use super::super::{Fleet, LEASE};
use super::{replication, urls, wait_for_followers, wait_for_followers_of};
use crate::support::lateness::slack;
use crate::support::redis::{RedisServer, Reply, sentinels, wait_until};
use crate::support::{Random, TestUser};

/// When the sentinels begin to doubt a master.
const DOWN_AFTER: Duration = Duration::from_secs(1);

/// A master with two replicas, three sentinels, and three instances whose changes wait for
/// replicas.
pub(in crate::fleet) struct Watched {
    pub(in crate::fleet) servers: Vec<RedisServer>,
    pub(in crate::fleet) sentinels: Vec<RedisServer>,
    pub(in crate::fleet) fleet: Fleet,
}

impl Watched {
    pub(in crate::fleet) fn start(acks: usize) -> Self {
        Self::with_replicas(2, acks, LEASE)
    }

    fn with_replicas(replicas: usize, acks: usize, lease: Duration) -> Self {
        let lines = "appendfsync always\nrepl-diskless-sync-delay 0\nmin-replicas-to-write 1\n\
                     min-replicas-max-lag 2";
        let master = RedisServer::start_with(lines);
        let mut servers = vec![master];
        for _ in 0..replicas {
            servers.push(RedisServer::start_with(&format!(
                "{lines}\nreplicaof 127.0.0.1 {}",
                servers[0].port
            )));
        }
        wait_for_followers(&servers[0], replicas);
        let sentinels = sentinels(3, &servers[0], DOWN_AFTER);
        wait_until("the sentinels know every replica", || {
            sentinels.iter().all(|sentinel| {
                let known = sentinel.command(&["SENTINEL", "REPLICAS", "fleet"]);
                matches!(known, Reply::Array(known) if known.len() == replicas)
            })
        });
        let urls = urls(&sentinels);
        let fleet = Fleet::start_with(&[&urls, &urls, &urls], |plan| {
            plan.set("store", "topology", "\"sentinel\"")
                .set("store", "sentinel_master", "\"fleet\"")
                .set("store", "revoke_acks", &acks.to_string())
                .set("store", "coherence_lease", &format!("\"{}ms\"", lease.as_millis()))
        });
        Self { servers, sentinels, fleet }
    }
}

/// Of the latest failover that a sentinel knows of.
fn epoch(sentinel: &RedisServer) -> Option<String> {
    let Reply::Array(facts) = sentinel.command(&["SENTINEL", "MASTER", "fleet"]) else {
        return None;
    };
    facts.iter().skip_while(|fact| fact.text() != "config-epoch").nth(1).map(|epoch| epoch.text())
}

fn names_another(sentinel: &RedisServer, port: u16) -> bool {
    named_by(sentinel).is_some_and(|named| named != port)
}

/// The port of the master that a sentinel names.
fn named_by(sentinel: &RedisServer) -> Option<u16> {
    let Reply::Array(named) = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet"])
    else {
        return None;
    };
    named.get(1)?.text().parse().ok()
}

/// Which of the servers is the master, as all of the sentinels say; waits until they do.
pub(in crate::fleet) fn master_of(servers: &[RedisServer], sentinels: &[RedisServer]) -> usize {
    let mut found = None;
    wait_until("the sentinels agree on one of the servers", || {
        found = sentinels.first().and_then(named_by);
        sentinels.iter().all(|sentinel| named_by(sentinel) == found)
    });
    servers.iter().position(|server| Some(server.port) == found).expect("one of the servers")
}

/// A failover on request; returns when all sentinels name another master.
pub(in crate::fleet) fn failover(servers: &[RedisServer], sentinels: &[RedisServer]) {
    let old = servers[master_of(servers, sentinels)].port;
    let is_named = |sentinel: &RedisServer| names_another(sentinel, old);
    wait_until("the sentinels name another master", || {
        // Soon after another one they know no replica that is good enough yet, and one that takes
        // too long they give up.
        if !is_named(&sentinels[0]) {
            sentinels[0].command(&["SENTINEL", "FAILOVER", "fleet"]);
        }
        sentinels.iter().all(is_named)
    });
}

#[test]
fn r6_a_failover_by_sentinels_loses_no_acknowledged_answer_and_the_old_master_is_not_believed() {
    let mut random = Random::seeded("sentinel");
    let mut watched = Watched::start(1);
    let Watched { servers, sentinels, fleet } = &mut watched;
    let root = fleet.root();
    let (mut named, mut away, mut late) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let old = servers[0].port;
    let seen = drive(fleet, 16, &mut random, |history| {
        history.carry_on();
        history.during("the master is killed", || {
            let killed = Instant::now();
            servers[0].kill();
            wait_until("the sentinels name another master", || {
                sentinels.iter().all(|sentinel| names_another(sentinel, old))
            });
            named = killed.elapsed();
            wait_until("tokens are issued again", || {
                fleet.worlds[0].api(TestUser::ALICE).issue(&root, "").status == 200
            });
            away = killed.elapsed();
            late = slack(killed + named, Instant::now());
            wait_until("every instance is ready again", || fleet.are_ready());
        });
        history.carry_on();
        // One sentinel is enough to find the master, if it knows of the latest failover:
        // there may have been two.
        wait_until("the sentinels know of the same failover", || {
            let epochs: Vec<_> = sentinels.iter().map(epoch).collect();
            epochs[0].is_some() && epochs.iter().all(|epoch| *epoch == epochs[0])
        });
        history.during("two sentinels are killed, and the old master comes back", || {
            for sentinel in &mut sentinels[1..] {
                sentinel.kill();
            }
            servers[0].restart();
            let role = servers[0].command(&["INFO", "replication"]).text();
            eprintln!("the old master says {:?}", role.lines().nth(1));
            wait_until("every instance is ready again", || fleet.are_ready());
        });
        history.carry_on();
    });
    eprintln!(
        "sentinel: {} revocations; after {named:?} there was another master, after {away:?} it was \
         used",
        seen.revocations
    );
    assert!(seen.revocations > 20, "only {} revocations", seen.revocations);
    // How long the sentinels take is theirs.
    assert!(
        away - named < Duration::from_secs(3) + LEASE + late,
        "named after {named:?}, used after {away:?}"
    );
}

/// A failover on request. The old master goes on taking writes, with the other replica,
/// until the sentinels tell them, and what it has taken meanwhile is lost: only if every change
/// waits for all replicas is nothing acknowledged that is lost.
#[test]
#[ignore = "takes long, because the sentinels do: make soak"]
fn soak_r6_a_planned_failover_undoes_nothing_that_all_replicas_have_acknowledged() {
    let mut random = Random::seeded("sentinel");
    let watched = Watched::start(2);
    let (servers, fleet) = (&watched.servers, &watched.fleet);
    let seen = drive(fleet, 16, &mut random, |history| {
        history.carry_on();
        history.during("a planned failover", || {
            let asked = Instant::now();
            failover(servers, &watched.sentinels);
            let named = asked.elapsed();
            wait_for_followers_of(|| &servers[master_of(servers, &watched.sentinels)], 2);
            wait_until("every instance is ready again", || fleet.are_ready());
            eprintln!(
                "planned failover: another master after {named:?}, used after {:?}",
                asked.elapsed()
            );
        });
        history.carry_on();
    });
    eprintln!("planned failover: {} revocations", seen.revocations);
}

/// How many instances have their link to a server.
fn links(server: &RedisServer) -> usize {
    let clients = server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
    clients.lines().filter(|line| line.contains("name=keyward")).count()
}

/// As a host that freezes: the master and the sentinel beside it. A heartbeat to it is not answered,
/// and is not overdue for a long while.
#[test]
fn a_master_that_hangs_with_a_sentinel_is_left_for_the_new_one_however_long_the_lease_is() {
    let lease = Duration::from_secs(20);
    let Watched { servers, sentinels, fleet } = &Watched::with_replicas(2, 1, lease);
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    let old = &servers[0];
    // Not the first one, which begins the failover.
    let (others, beside) = (&sentinels[..2], &sentinels[2]);
    old.freeze();
    beside.freeze();
    wait_until("the other sentinels name another master", || {
        others.iter().all(|sentinel| names_another(sentinel, old.port))
    });
    let new = &servers[master_of(servers, others)];
    let named = Instant::now();
    wait_until("every instance has its link to the new master", || links(new) == 3);
    let (linked, slack) = (named.elapsed(), slack(named, Instant::now()));
    eprintln!("every instance had left the old master {linked:?} after another was named");
    wait_until("every instance is ready", || fleet.are_ready());
    assert_eq!(fleet.statuses(&good.token), [200, 200, 200]);
    // The next heartbeat, a look at the sentinels, and another link.
    assert!(linked < lease / 4 + Duration::from_secs(3) + slack, "{linked:?}, slack {slack:?}");
    beside.thaw();
    old.thaw();
    wait_until("the old master is told", || {
        old.command(&["INFO", "replication"]).text().contains("role:slave")
    });
    assert_eq!(fleet.statuses(&good.token), [200, 200, 200]);
}

/// Its only replica has become the master, and for some ten seconds it is not told: it still takes
/// itself for one, but lacks the replica without which it refuses heartbeats.
#[test]
fn r6_an_old_master_that_refuses_heartbeats_is_left_for_the_new_one_at_once() {
    let Watched { servers, sentinels, fleet } = &Watched::with_replicas(1, 0, LEASE);
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    wait_for_followers(&servers[0], 1);
    // The new master has no replica.
    servers[1].command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    failover(servers, sentinels);
    let named = Instant::now();
    wait_until("every instance has its link to the new master", || links(&servers[1]) == 3);
    let (linked, slack) = (named.elapsed(), slack(named, Instant::now()));
    let old = replication(&servers[0]);
    wait_until("every instance is ready", || fleet.are_ready());
    eprintln!("every instance had left the old master {linked:?} after another was named");
    assert!(old.contains("role:master"), "it has been told, so this shows nothing: {old}");
    // A heartbeat, a look around, and another link.
    assert!(
        linked < LEASE / 4 + Duration::from_secs(1) + slack,
        "after {linked:?}, slack {slack:?}"
    );
    wait_until("what the old master was told is known", || {
        fleet.statuses(&good.token) == [200, 200, 200]
    });
}
