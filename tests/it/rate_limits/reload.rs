//! What a reload keeps of what has been counted.

use super::{passes, plan, rates, slow};
use crate::support::{Ongoing, TestUser, Upstream, open};

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
    world.configure(&crate::support::Plan::usual(&upstream).route(other).route(&format!(
        "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{another}"
    )));
    world.reload();
    assert_eq!(passes(5, ask), 2, "three of five were used up before");
    // Another burst is another limit, with all its permits; that of the holder has counted on.
    world.configure(&plan(&upstream, &rates(&[slow("token", 6), slow("subject", 9)])));
    world.reload();
    assert_eq!(passes(8, ask), 4, "five of nine were used up before");
    world.configure(&plan(&upstream, ""));
    world.reload();
    assert_eq!(passes(20, ask), 20, "a limit that is gone limits nothing");
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
