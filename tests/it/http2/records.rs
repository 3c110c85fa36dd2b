//! A line of the access log for each stream.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{connect, in_two_parts, private, wait_for_first};
use crate::support::h2::{Head, code, reset};
use crate::support::{Gate, Plan, TestUser, Upstream};

#[test]
fn each_stream_leaves_one_line_in_the_access_log_however_it_ends() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    for path in ["/private/whole", "/public/reset", "/private/revoked"] {
        upstream.answer(path, in_two_parts(&gate));
    }
    let world = Plan::usual(&upstream).start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    let mut connection = connect(&world);
    let whole = connection.request(&private("/private/whole", &alice.token));
    let reset_by_client = connection.request(&Head::get("/public/reset"));
    let revoked = connection.request(&private("/private/revoked", &bob.token));
    let refused = connection.request(&Head::get("/private/refused"));
    wait_for_first(&mut connection, &[whole, reset_by_client, revoked]);
    assert_eq!(connection.answer(refused).status, 401);
    connection.send(reset(reset_by_client, code::CANCEL));
    assert_eq!(world.api(TestUser::BOB).revoke(&bob.token).status, 200);
    assert!(
        connection.read_until(|state| state.stream(revoked).reset.is_some()),
        "{:?}",
        connection.state
    );
    let line = world.access_line("/public/reset");
    assert_eq!(
        (&line["status"], &line["complete"]),
        (&Value::from(200), &Value::from(false)),
        "{line}"
    );
    assert_eq!(line["cause"], "the client left", "{line}");
    let line = world.access_line("/private/revoked");
    assert_eq!(line["complete"], false, "{line}");
    gate.open();
    assert_eq!(connection.answer(whole).text(), "firstmore");
    let line = world.access_line("/private/whole");
    assert_eq!((&line["status"], &line["complete"]), (&Value::from(200), &Value::Null), "{line}");
    assert!(line.to_string().contains(TestUser::ALICE.subject), "{line}");
    let line = world.access_line("/private/refused");
    assert_eq!(line["status"], 401, "{line}");
    let ids: BTreeSet<_> =
        world.access_lines().iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!(ids.len(), world.access_lines().len(), "each has an id of its own");
}
