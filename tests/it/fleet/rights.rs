//! The rights that docs/fleet.md names are all that a fleet needs, and let it empty no server.

use super::Fleet;
use super::topology::{Clustered, urls, wait_for_followers};
use crate::support::TestUser;
use crate::support::redis::{RedisServer, sentinels};

/// The rule of the page, as words.
fn rule() -> Vec<&'static str> {
    let page = include_str!("../../../docs/fleet.md");
    let (_, rest) = page.split_once("```text\n~{keyward}").expect("the rule");
    let start = page.len() - rest.len() - "~{keyward}".len();
    let rule = page[start..].split("\n```").next().unwrap_or_default();
    rule.split_ascii_whitespace().collect()
}

/// Makes the user of a fleet on this server.
fn allow(server: &RedisServer, more: &[&str]) {
    let words = [&["ACL", "SETUSER", "app", "on", ">open-sesame"], &*rule(), more].concat();
    assert_eq!(server.command(&words).text(), "OK");
    for words in [&["FLUSHALL"][..], &["FLUSHDB"], &["SCRIPT", "FLUSH"], &["SWAPDB", "0", "1"]] {
        let asked = [&["ACL", "DRYRUN", "app"], words].concat();
        assert_ne!(server.command(&asked).text(), "OK", "{words:?}");
    }
}

/// Issues, uses, lists and revokes on two instances, and looks at the store.
fn does_its_work(urls: &str, more: &'static [(&'static str, &'static str)]) {
    let fleet = Fleet::start_with(&[urls, urls], |plan| {
        let plan = plan
            .set("store", "username", "\"app\"")
            .set("store", "password", "\"open-sesame\"")
            .set("store", "timeout", "\"10s\"")
            .set("store", "read_timeout", "\"10s\"");
        more.iter().fold(plan, |plan, (key, value)| plan.set("store", key, value))
    });
    let root = fleet.root();
    let (good, victim) = (fleet.mint(0, &root), fleet.mint(1, &root));
    fleet.warm(&good);
    fleet.warm(&victim);
    let listed = fleet.worlds[1].api(TestUser::ALICE).list(&root);
    assert_eq!(listed.status, 200, "{listed}");
    fleet.revoke(0, &victim.token);
    assert_eq!(fleet.statuses(&victim.token), [401, 401]);
    assert_eq!(fleet.statuses(&good.token), [200, 200]);
    for world in &fleet.worlds {
        assert_eq!(world.ready(), Some(200));
        assert!(!world.output().contains("NOPERM"), "{}", world.output());
    }
    let checked = fleet.worlds[0].run(&["store", "check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && !said.contains("right to"), "{said}");
}

#[test]
fn of_one_server() {
    let redis = RedisServer::start();
    allow(&redis, &[]);
    does_its_work(&redis.url(), &[]);
}

#[test]
fn of_a_master_under_sentinels_with_acknowledgements() {
    let master = RedisServer::start_with("repl-diskless-sync-delay 0");
    let replica = RedisServer::start_with(&format!("replicaof 127.0.0.1 {}", master.port));
    wait_for_followers(&master, 1);
    for server in [&master, &replica] {
        allow(server, &["+wait"]);
    }
    let sentinels = sentinels(3, &master, std::time::Duration::from_secs(5));
    does_its_work(
        &urls(&sentinels),
        &[
            ("topology", "\"sentinel\""),
            ("sentinel_master", "\"fleet\""),
            ("revoke_acks", "1"),
            ("revoke_acks_timeout", "\"5s\""),
        ],
    );
}

#[test]
fn of_a_cluster() {
    let clustered = Clustered::start();
    for node in &clustered.nodes {
        allow(node, &["+wait", "+cluster|slots"]);
    }
    does_its_work(
        &urls(&clustered.nodes),
        &[("topology", "\"cluster\""), ("revoke_acks", "1"), ("revoke_acks_timeout", "\"5s\"")],
    );
}

#[test]
fn a_user_that_may_empty_the_server_is_warned_of_and_is_no_fault() {
    let redis = RedisServer::start();
    let fleet = Fleet::start(1, &redis);
    let checked = fleet.worlds[0].run(&["store", "check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("right to FLUSHALL"), "{said}");
}
