//! Redis as several servers: a failover by sentinels, a slot that moves in a Cluster, a node of it
//! that dies, all under load.

mod cluster;
mod sentinels;

use std::time::{Duration, Instant};

use super::Fleet;
use crate::support::TestUser;
use crate::support::redis::{RedisServer, wait_until};
pub(super) use cluster::Clustered;
pub(super) use sentinels::{Watched, failover, master_of};

pub(super) fn urls(servers: &[RedisServer]) -> String {
    servers.iter().map(RedisServer::url).collect::<Vec<_>>().join(",")
}

fn replication(server: &RedisServer) -> String {
    server.try_command(&[b"INFO", b"replication"]).map(|reply| reply.text()).unwrap_or_default()
}

/// Waits until so many replicas of a master have all that it has now.
pub(super) fn wait_for_followers(master: &RedisServer, count: usize) {
    wait_for_followers_of(|| master, count);
}

/// As [`wait_for_followers`], where another server may become the master meanwhile.
pub(super) fn wait_for_followers_of<'s>(find_master: impl Fn() -> &'s RedisServer, count: usize) {
    let offset = |text: &str, name: &str, end: char| {
        let (_, rest) = text.split_once(name)?;
        rest.split(end).next()?.trim().parse::<u64>().ok()
    };
    // A disk that is busy makes a copy slow: no more is asked of it than that it ends.
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut known, mut written) = (0, 0);
    loop {
        let master = find_master();
        let info = replication(master);
        if master.port != known {
            written =
                offset(&info, "master_repl_offset:", '\n').expect("a master says how much it has");
            known = master.port;
        }
        let up_to_date =
            info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online"));
        if up_to_date
            .filter(|line| offset(line, "offset=", ',').is_some_and(|has| has >= written))
            .count()
            >= count
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the replicas have not got {written} of the master:\n{info}\n{}",
            master.log()
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_revocation_that_no_replica_has_is_not_acknowledged_however_often_it_is_asked_for() {
    let master = RedisServer::start_with("repl-diskless-sync-delay 0");
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_for_followers(&master, 1);
    let fleet = Fleet::start_with(&[&master.url()], |plan| {
        plan.set("store", "revoke_acks", "1").set("store", "revoke_acks_timeout", "\"300ms\"")
    });
    let root = fleet.root();
    let victim = fleet.mint(0, &root);
    let api = fleet.worlds[0].api(TestUser::ALICE);
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
