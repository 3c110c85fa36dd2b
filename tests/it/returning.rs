//! An endpoint that was out and is back: single requests try it, and one of them that takes long
//! keeps no other one from it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{
    Act, Client, ClosedPort, Gate, Plan, Reply, Response, Upstream, World, eventually,
};

/// An upstream of these endpoints; `lines`: more keys.
fn plan(endpoints: &[SocketAddr], lines: &str) -> Plan {
    let listed: Vec<_> = endpoints.iter().map(|address| format!("\"http://{address}\"")).collect();
    let listed = listed.join(", ");
    Plan::bare()
        .set("server", "workers", "1")
        .set("timeouts", "connect", "\"1s\"")
        // What takes long is not ended.
        .set("timeouts", "body", "\"1h\"")
        .set("timeouts", "response_head", "\"1h\"")
        .table("upstream", &format!("name = \"app\"\nendpoints = [{listed}]\n{lines}"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn get(world: &World) -> Response {
    world.ask("GET", "/public/x", "", "")
}

/// Sends this on connections of their own until one of them has reached the upstream. All stay
/// open.
fn send_until_it_arrives(world: &World, upstream: &Upstream, head: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    let target = head.split(' ').nth(1).expect("a target");
    let arrived = eventually(|| {
        let mut client = world.client();
        client.send(format!("{head} HTTP/1.1\r\nHost: a\r\n"));
        let is_upload = head.starts_with("POST");
        client.send(if is_upload { "Content-Length: 10\r\n\r\nx" } else { "\r\n" });
        clients.push(client);
        std::thread::park_timeout(Duration::from_millis(50));
        upstream.take().heads.iter().any(|one| one == target)
    });
    assert!(arrived, "{}", world.output());
    clients
}

/// An upstream that was down and is back, with a circuit, and what is answered when the gate opens.
fn back(lines: &str) -> (World, Upstream, Gate) {
    let closed = ClosedPort::reserve();
    let world = plan(&[closed.address()], &format!("circuit = true\n{lines}")).start();
    assert_eq!(get(&world).status, 502);
    assert_eq!(get(&world).status, 503, "the circuit is open");
    let (upstream, gate) = (closed.listen(), Gate::default());
    let late = Reply::acts([Act::Wait(gate.clone()), Act::Send(Vec::new())]);
    upstream.answer("/public/late", late);
    (world, upstream, gate)
}

const ONCE: &str = "ejection = { failures = 1, for = \"300ms\", slow_return = \"0s\" }";

#[test]
fn an_upload_that_does_not_end_does_not_keep_a_circuit_open() {
    let (world, upstream, _gate) = back(ONCE);
    let _clients = send_until_it_arrives(&world, &upstream, "POST /public/upload");
    assert!(eventually(|| get(&world).status == 200), "{}", world.output());
    for _ in 0..10 {
        assert_eq!(get(&world).status, 200, "it is back");
    }
}

#[test]
fn an_answer_that_takes_long_does_not_keep_a_circuit_open() {
    let (world, upstream, gate) = back(ONCE);
    let _clients = send_until_it_arrives(&world, &upstream, "GET /public/late");
    assert_eq!(get(&world).status, 503, "one at a time");
    let retry_after = get(&world).fields.one("retry-after").expect("one");
    assert_eq!(retry_after, "1", "the next one tries it then");
    assert!(eventually(|| get(&world).status == 200), "{}", world.output());
    gate.open();
}

#[test]
fn an_endpoint_that_is_back_gets_its_share_also_where_its_first_answer_takes_long() {
    let (closed, other) = (ClosedPort::reserve(), Upstream::start());
    let world = plan(&[closed.address(), other.address()], ONCE).start();
    assert!(eventually(|| {
        get(&world);
        world.metric("keyward_upstream_endpoint_ejected", "") == 1.0
    }));
    let (upstream, gate) = (closed.listen(), Gate::default());
    let late = Reply::acts([Act::Wait(gate.clone()), Act::Send(Vec::new())]);
    upstream.answer("/public/late", late);
    let _clients = send_until_it_arrives(&world, &upstream, "GET /public/late");
    assert!(eventually(|| {
        assert_eq!(get(&world).status, 200);
        upstream.take().heads.iter().any(|target| target == "/public/x")
    }));
    gate.open();
}

#[test]
fn a_health_check_that_succeeds_lets_all_requests_through_when_the_time_of_an_endpoint_is_over() {
    let upstream = Upstream::start();
    upstream.answer("/public/broken", Reply::acts([Act::Reset]));
    let gate = Gate::default();
    let late = Reply::acts([Act::Wait(gate.clone()), Act::Send(Vec::new())]);
    upstream.answer("/public/late", late);
    let check = "health_check = { path = \"/health\", interval = \"100ms\", healthy_after = 1 }";
    let world = plan(&[upstream.address()], &format!("circuit = true\n{ONCE}\n{check}"))
        // So long would the next request have to wait for the first.
        .set("timeouts", "connect", "\"1h\"")
        .start();
    assert_eq!(world.ask("POST", "/public/broken", "", "hello").status, 502);
    assert_eq!(get(&world).status, 503, "the circuit is open");
    let _clients = send_until_it_arrives(&world, &upstream, "GET /public/late");
    assert!(eventually(|| get(&world).status == 200), "{}", world.output());
    gate.open();
}
