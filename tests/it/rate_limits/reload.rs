//! What a reload keeps of what has been counted.

use std::time::Instant;

use super::{passes, plan, rates, slow};
use crate::support::redis::RedisServer;
use crate::support::{Ongoing, Plan, TIMEOUT, TestUser, Upstream, eventually, lateness, open};

#[test]
fn a_reload_keeps_what_was_counted_by_limits_that_are_as_they_were() {
    let upstream = Upstream::start();
    let lines = rates(&[slow("token", 5), slow("subject", 9)]);
    let world = plan(&upstream, &lines).start();
    let token = world.key(TestUser::ALICE).token;
    let ask = || world.get_with("/limited/x", &token);
    assert_eq!(passes(3, ask), 3);
    // Another route before it, and another limit beside them: the places in the file change.
    let another = rates(&[slow("route", 100), slow("token", 5), slow("subject", 9)]);
    let other = "path = \"/a\"\nupstream = \"app\"\npublic = true\n";
    world.configure(&Plan::usual(&upstream).route(other).route(&format!(
        "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{another}"
    )));
    world.reload();
    assert_eq!(passes(5, ask), 2, "three of five were used up before");
    world.configure(&plan(&upstream, ""));
    world.reload();
    assert_eq!(passes(20, ask), 20, "a limit that is gone limits nothing");
}

#[test]
fn a_reload_that_changes_a_rate_keeps_what_is_used_up() {
    let upstream = Upstream::start();
    let rate = |rate: &str, burst: u32, more: &str| {
        let token = format!("{{ per = \"token\", rate = {rate:?}, burst = {burst}{more} }}");
        rates(&[token, slow("route", 100)])
    };
    let world = plan(&upstream, &rate("1/h", 5, "")).start();
    let token = world.key(TestUser::ALICE).token;
    let ask = || world.get_with("/limited/x", &token);
    let reload = |lines: &str| {
        world.configure(&plan(&upstream, lines));
        world.reload();
    };
    assert_eq!(passes(3, ask), 3);
    reload(&rate("1/h", 7, ""));
    assert_eq!(passes(9, ask), 4, "three of seven were used up before");
    reload(&rate("2/h", 7, ""));
    assert_eq!(passes(9, ask), 0, "the same permits come back sooner");
    reload(&rate("2/h", 8, ", shared = false"));
    assert_eq!(passes(9, ask), 1, "one instance counts by itself, whatever is said of a fleet");
    reload(&rate("2/h", 3, ""));
    assert_eq!(passes(9, ask), 0);
    reload(&rate("1/d", 3, ""));
    assert_eq!(passes(9, ask), 3, "another period is another limit");
    // All that have passed since the start.
    assert_eq!(ask().fields.all("ratelimit").len(), 1);
    let left = ask().fields.all("ratelimit").join(",");
    assert!(left.contains("\"route\";r=89;"), "{left}");
}

#[test]
fn a_reload_that_changes_the_methods_of_a_route_keeps_what_it_has_counted() {
    let upstream = Upstream::start();
    let limits = "concurrent_requests = 1";
    let lines = |methods: &str| format!("{methods}\n{limits}\n{}", rates(&[slow("token", 9)]));
    let world = plan(&upstream, &lines("methods = [\"GET\"]")).start();
    let token = world.key(TestUser::ALICE).token;
    let ask = || world.get_with("/limited/x", &token);
    let reload = |methods: &str| {
        world.configure(&plan(&upstream, &lines(methods)));
        world.reload();
    };
    assert_eq!(passes(2, ask), 2);
    reload("methods = [\"GET\", \"POST\"]");
    let (client, gate) = open(&world, &upstream, "/limited/open", Ongoing::WebSocket, &token);
    reload("methods = [\"POST\", \"GET\", \"PUT\"]");
    assert_eq!(ask().status, 429, "one is under way");
    drop(client);
    gate.open();
    assert!(eventually(|| ask().status == 200));
    reload("");
    assert_eq!(passes(9, ask), 5, "four of nine were used up before");
}

#[test]
fn in_a_fleet_a_reload_of_one_instance_keeps_what_all_have_used_up() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let lines =
        |methods: &str, burst: u32| format!("{methods}\n{}", rates(&[slow("token", burst)]));
    let fleet = |lines: &str| plan(&upstream, lines).redis(&redis.url());
    let first = fleet(&lines("methods = [\"GET\"]", 5)).start();
    let keys = format!("{:?}", first.keys().display().to_string());
    let second = |lines: &str| fleet(lines).set("keys", "directory", &keys);
    let other = second(&lines("methods = [\"GET\"]", 5)).start();
    let token = first.key(TestUser::ALICE).token;
    assert_eq!(passes(2, || first.get_with("/limited/x", &token)), 2);
    assert_eq!(passes(1, || other.get_with("/limited/x", &token)), 1);
    first.configure(&fleet(&lines("", 8)));
    first.reload();
    assert_eq!(passes(4, || first.get_with("/limited/x", &token)), 4, "of eight");
    // The other one still goes by five: seven are used up.
    assert_eq!(passes(2, || other.get_with("/limited/x", &token)), 0);
    other.configure(&second(&lines("", 8)));
    other.reload();
    assert_eq!(passes(9, || other.get_with("/limited/x", &token)), 1, "seven were used up");
    assert_eq!(passes(9, || first.get_with("/limited/x", &token)), 0);
}

/// In the middle of a rolling reload, or with a canary.
#[test]
fn instances_with_several_bursts_pass_no_more_than_the_largest_and_the_rate_however_asked() {
    let (upstream, redis) = (Upstream::start(), RedisServer::start());
    let fleet = |burst: u32| {
        let rate = format!("{{ per = \"token\", rate = \"2/s\", burst = {burst} }}");
        plan(&upstream, &rates(&[rate])).redis(&redis.url())
    };
    let wide = fleet(40).start();
    let keys = format!("{:?}", wide.keys().display().to_string());
    let narrow = fleet(2).set("keys", "directory", &keys).start();
    let token = wide.key(TestUser::ALICE).token;
    let (begun, mut passed) = (Instant::now(), 0);
    passed += passes(40, || wide.get_with("/limited/x", &token));
    assert_eq!(passed, 40, "the burst of the wide one");
    while passed < 46 {
        assert!(!lateness::is_over(begun, TIMEOUT), "{passed}: nothing comes back");
        passed += passes(1, || narrow.get_with("/limited/x", &token));
        passed += passes(5, || wide.get_with("/limited/x", &token));
    }
    // The narrow one counts by itself when the store is slow.
    let most = 40 + begun.elapsed().as_millis() / 500 + 2;
    assert!(passed as u128 <= most, "{passed} passed, {most} at most");
}

#[test]
fn a_reload_that_says_the_same_of_a_route_in_another_way_keeps_what_it_has_counted() {
    let upstream = Upstream::start();
    let plan = |path: &str, when: &str| {
        Plan::usual(&upstream).route(&format!(
            "path = {path:?}\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{}\n\
             [route.when.headers]\n{when}",
            rates(&[slow("token", 5)])
        ))
    };
    let world = plan("/limited/{name}/{*rest}", "X-A = \"1\"\nX-B = true").start();
    let token = world.key(TestUser::ALICE).token;
    let fields = format!("Authorization: Bearer {token}\r\nX-A: 1\r\nX-B: 2\r\n");
    let ask = || world.ask("GET", "/limited/x/y", &fields, "");
    assert_eq!(passes(2, ask), 2);
    world.configure(&plan("/limited/{other}/{*all}", "x-b = true\nx-a = \"1\""));
    world.reload();
    assert_eq!(passes(9, ask), 3, "two of five were used up before");
    world.configure(&plan("/limited/{other}/{*all}", "x-b = true\nx-a = [\"1\", \"2\"]"));
    world.reload();
    assert_eq!(passes(9, ask), 5, "another condition makes another route");
}

/// Which of them is which is told by their order.
#[test]
fn routes_that_differ_by_their_methods_alone_count_by_themselves() {
    let upstream = Upstream::start();
    let route = |methods: &str, burst: u32| {
        format!(
            "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             methods = [{methods}]\n{}",
            rates(&[slow("token", burst)])
        )
    };
    let plan = |first: &str, second: &str| {
        Plan::usual(&upstream).route(&route(first, 3)).route(&route(second, 3))
    };
    let world = plan("\"GET\"", "\"POST\"").start();
    let token = world.key(TestUser::ALICE).token;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let ask = |method: &'static str| || world.ask(method, "/limited/x", &bearer, "");
    assert_eq!(passes(2, ask("GET")), 2);
    assert_eq!(passes(9, ask("POST")), 3);
    world.configure(&plan("\"GET\", \"PUT\"", "\"POST\", \"PATCH\""));
    world.reload();
    assert_eq!(passes(9, ask("PATCH")), 0);
    assert_eq!(passes(9, ask("PUT")), 1);
    assert_eq!(passes(9, ask("GET")), 0);
}

#[test]
fn a_reload_does_not_forget_what_is_under_way() {
    let upstream = Upstream::start();
    let world = plan(&upstream, "concurrent_requests = 1").start();
    let token = world.key(TestUser::ALICE).token;
    let ask = || world.get_with("/limited/x", &token);
    let (client, gate) = open(&world, &upstream, "/limited/open", Ongoing::WebSocket, &token);
    world.reload();
    assert_eq!(ask().status, 429);
    world.configure(&plan(&upstream, "concurrent_requests = 2"));
    world.reload();
    assert_eq!(ask().status, 200, "one place more");
    drop(client);
    gate.open();
}
