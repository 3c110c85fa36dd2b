//! Instances that join a fleet.

use super::Fleet;
use crate::support::redis::RedisServer;
use crate::support::{TestUser, issued};

#[test]
fn an_instance_with_other_keys_than_its_fleet_is_not_started_and_changes_nothing() {
    let redis = RedisServer::start();
    let fleet = Fleet::start(1, &redis);
    let root = fleet.root();
    let good = fleet.mint(0, &root);
    let mut other = Fleet::prepare(&[&redis.url()], |plan| plan);
    other.worlds[0].launch();
    assert!(!other.worlds[0].ended().success());
    let output = other.worlds[0].output();
    assert!(output.contains("the store belongs to other keys"), "{output}");
    assert_eq!(
        redis.command(&["HLEN", "{keyward}:instances"]).integer(),
        1,
        "it was never a member"
    );
    assert_eq!(fleet.status(0, &good.token), 200);
}

#[test]
fn an_instance_that_is_added_is_waited_for_like_the_others() {
    let redis = RedisServer::start();
    let url = redis.url();
    let mut fleet = Fleet::prepare(&[&url, &url, &url], |plan| plan);
    fleet.worlds[0].restart();
    let root = fleet.root();
    for added in 1..3 {
        let victim = issued(&fleet.worlds[0].api(TestUser::ALICE).issue(&root, ""));
        fleet.worlds[added].restart();
        assert_eq!(fleet.status(added, &victim.token), 200);
        fleet.revoke(0, &victim.token);
        assert_eq!(fleet.status(added, &victim.token), 401);
    }
}
