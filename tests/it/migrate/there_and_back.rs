//! A store is migrated to another and back, and each copy serves.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{BACK, EMBEDDED, MigrationWorld, REDIS, counts, fill, keys, refused, summary, words};
use crate::support::redis::{RedisServer, cluster, sentinels, wait_until};
use crate::support::{Plan, TestUser, Upstream};

#[test]
fn there_and_back_nothing_is_lost_and_nothing_is_added() {
    let (mut world, (bootstrap, key, revoked)) = MigrationWorld::of(fill);
    let before = world.listed(EMBEDDED);
    assert!(
        before[0].as_array().expect("a list").iter().any(|key| key["last_used_at"].is_string()),
        "{before}"
    );
    let there = world.migrate(EMBEDDED, REDIS);
    let found = summary(&there, 0);
    assert_eq!(counts(&found, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(counts(&found, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!((&found["differing"], &found["differences"]), (&json!(0), &json!([])));
    assert!(words(&there).contains("copied 5 of 5"), "{}", words(&there));
    assert_eq!(world.listed(REDIS), before);
    let again = summary(&world.migrate(EMBEDDED, REDIS), 0);
    assert_eq!(counts(&again, "api_keys"), [3, 0, 3, 0, 3], "a second run has nothing to do");
    assert_eq!(world.listed(EMBEDDED), before, "nothing is taken away");

    let back = summary(&world.migrate(REDIS, BACK), 0);
    assert_eq!(counts(&back, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!(world.listed(BACK), before);

    // Each of the copies serves: keys open, what was revoked does not, and the bootstrap token has
    // one left.
    for serve in [MigrationWorld::serve_from_redis, MigrationWorld::serve_from_back] {
        serve(&mut world);
        let (keyward, api) = (&world.keyward, world.keyward.api(TestUser::ALICE));
        let statuses = [&key, &revoked].map(|issued| keyward.status_with(&issued.token));
        assert_eq!(statuses, [200, 401]);
        assert_eq!(api.jtis(&key.token).len(), 2);
        assert_eq!(
            (api.issue(&bootstrap, "").status, api.issue(&bootstrap, "").status),
            (200, 401)
        );
        world.keyward.stop();
    }
}

/// To a store in this Redis, and back; what was revoked stays so, and each copy serves.
fn there_and_back_by_way_of(in_redis: impl Fn(Plan) -> Plan) {
    let (mut world, (_, key, revoked)) = MigrationWorld::of(fill);
    let plan = |upstream: &Upstream| in_redis(MigrationWorld::plan(upstream));
    world.keyward.write(REDIS, &plan(&world.upstream));
    let before = world.listed(EMBEDDED);
    let there = summary(&world.migrate(EMBEDDED, REDIS), 0);
    assert_eq!(counts(&there, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(counts(&there, "bootstrap_tokens"), [2, 0, 0, 2, 2]);
    assert_eq!(world.listed(REDIS), before);
    let back = summary(&world.migrate(REDIS, BACK), 0);
    assert_eq!(counts(&back, "api_keys"), [3, 0, 0, 3, 3]);
    assert_eq!(world.listed(BACK), before);
    world.keyward.configure(&plan(&world.upstream));
    world.keyward.restart();
    assert_eq!(
        (world.keyward.status_with(&key.token), world.keyward.status_with(&revoked.token)),
        (200, 401)
    );
    world.keyward.write("embedded.toml", &MigrationWorld::plan(&world.upstream));
    refused(&world.migrate("embedded.toml", REDIS), "a keyward is running");
}

fn urls(servers: &[RedisServer]) -> String {
    format!(
        "[{}]",
        servers.iter().map(|server| format!("{:?}", server.url())).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn there_and_back_by_way_of_a_master_under_sentinels() {
    let master = RedisServer::start_with("repl-diskless-sync-delay 0\nmin-replicas-to-write 1");
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_until("the replica has its copy", || {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    });
    let sentinels = sentinels(3, &master, Duration::from_secs(5));
    there_and_back_by_way_of(|plan| {
        plan.redis(&master.url())
            .set("store", "url", &urls(&sentinels))
            .set("store", "topology", "\"sentinel\"")
            .set("store", "sentinel_master", "\"fleet\"")
            .set("store", "revoke_acks", "1")
    });
}

#[test]
fn there_and_back_by_way_of_a_cluster() {
    let nodes = cluster(3);
    there_and_back_by_way_of(|plan| {
        plan.redis(&nodes[0].url()).set("store", "url", &urls(&nodes)).set(
            "store",
            "topology",
            "\"cluster\"",
        )
    });
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next() {
    let (mut world, key) = MigrationWorld::of(|world| {
        let api = world.api(TestUser::ALICE);
        let bootstrap = world.bootstrap(TestUser::ALICE, 400);
        let keys: Vec<_> = (0..400).map(|_| api.mint(&bootstrap)).collect();
        keys.into_iter().next_back().expect("a key")
    });
    let folder = world.keyward.folder();
    let mut first = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["store", "migrate", "--from", EMBEDDED, "--to", REDIS])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    wait_until("something has been copied", || {
        world.redis.command(&["HLEN", "{keyward}:catalog"]).integer() > 0
    });
    first.kill().expect("killed");
    first.wait().expect("it has ended");
    // One more that is missing for certain, by an operator's hand.
    let Some(record) = keys(&world.redis, "{keyward}:r:*").pop() else {
        panic!("nothing was copied")
    };
    assert_eq!(world.redis.command(&["DEL", &record]).integer(), 1);
    let found = summary(&world.migrate(EMBEDDED, REDIS), 0);
    let [all, expired, there, copied, verified] = counts(&found, "api_keys")[..] else {
        panic!("{found}")
    };
    assert_eq!((all, expired, there + copied, verified), (400, 0, 400, 400), "{found}");
    assert_eq!(world.listed(REDIS), world.listed(EMBEDDED));
    world.serve_from_redis();
    assert_eq!(world.keyward.status_with(&key.token), 200);
}
