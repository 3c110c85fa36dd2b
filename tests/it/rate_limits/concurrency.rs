//! Requests of one token that are under way at the same time.

use super::world;
use crate::support::h2::{Connection, Head};
use crate::support::{
    Act, Gate, Ongoing, Plan, Reply, TestUser, Upstream, World, eventually, open,
};

/// An upstream whose answer on this path waits for the gate.
fn held(upstream: &Upstream, path: &str) -> Gate {
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    upstream.answer(path, Reply::acts([Act::Wait(gate.clone()), Act::Send(answer.into())]));
    gate
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn status(world: &World, token: &str) -> u16 {
    world.get_with("/limited/free", token).status
}

#[test]
fn no_more_requests_of_a_token_are_under_way_than_it_may_have() {
    let upstream = Upstream::start();
    let world = world(&upstream, "concurrent_requests = 2");
    let (alice, bob) = (world.key(TestUser::ALICE).token, world.key(TestUser::BOB).token);
    let gate = held(&upstream, "/limited/slow");
    let mut clients = [world.client(), world.client()];
    for client in &mut clients {
        client.send(get("/limited/slow", &alice));
    }
    assert!(upstream.wait_until(|log| log.heads.len() == 2));
    let refused = world.get_with("/limited/third", &alice);
    assert_eq!(refused.status, 429, "{refused}");
    assert_eq!(refused.fields.one("retry-after").as_deref(), Some("1"));
    assert_eq!(
        refused.fields.one("ratelimit-policy").as_deref(),
        Some("\"concurrent\";q=2;qu=\"concurrent-requests\"")
    );
    assert_eq!(status(&world, &bob), 200, "another token has places of its own");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().expect("an answer").status, 200);
    }
    assert!(eventually(|| status(&world, &alice) == 200), "the places are free again");
    let line = world.access_line("/limited/third");
    assert_eq!(line["refusal"], "too_many_concurrent", "{line}");
    assert_eq!(
        line["cause"],
        "2 requests of the token are under way, as many as \"concurrent_requests\" allows"
    );
    assert!(world.metric("keyward_rate_limited_total", "by=\"concurrent\"") >= 1.0);
}

#[test]
fn requests_one_after_the_other_never_exceed_one() {
    let upstream = Upstream::start();
    let world = world(&upstream, "concurrent_requests = 1");
    let token = world.key(TestUser::ALICE).token;
    let mut client = world.client();
    for _ in 0..50 {
        assert_eq!(client.ask(get("/limited/x", &token)).status, 200);
    }
}

#[test]
fn streams_of_one_connection_count_one_by_one() {
    let upstream = Upstream::start();
    let world = world(&upstream, "concurrent_requests = 2");
    let token = world.key(TestUser::ALICE).token;
    let gate = held(&upstream, "/limited/slow");
    let mut connection = Connection::open(world.address());
    let head = |path: &str| Head::get(path).with("authorization", format!("Bearer {token}"));
    let slow = [(); 2].map(|()| connection.request(&head("/limited/slow")));
    assert!(upstream.wait_until(|log| log.heads.len() == 2));
    assert_eq!(connection.ask(&head("/limited/x")).status, 429);
    gate.open();
    for id in slow {
        assert_eq!(connection.answer(id).status, 200);
    }
    assert!(eventually(|| connection.ask(&head("/limited/x")).status == 200));
}

#[test]
fn websockets_and_event_streams_hold_their_places_until_they_end() {
    for kept in [Ongoing::WebSocket, Ongoing::Events] {
        let upstream = Upstream::start();
        let world = world(&upstream, "concurrent_requests = 1");
        let token = world.key(TestUser::ALICE).token;
        let (client, gate) = open(&world, &upstream, "/limited/open", kept, &token);
        for _ in 0..3 {
            assert_eq!(status(&world, &token), 429, "{kept:?}");
        }
        client.reset();
        assert!(eventually(|| status(&world, &token) == 200), "{kept:?}: the client has gone");
        gate.open();
    }
}

#[test]
fn a_client_that_disappears_frees_its_place() {
    let upstream = Upstream::start();
    let world = world(&upstream, "concurrent_requests = 1");
    let token = world.key(TestUser::ALICE).token;
    let gate = held(&upstream, "/limited/slow");
    let mut client = world.client();
    client.send(get("/limited/slow", &token));
    assert!(upstream.wait_until(|log| log.heads.len() == 1));
    assert_eq!(status(&world, &token), 429);
    client.reset();
    assert!(eventually(|| status(&world, &token) == 200));
    gate.open();
}

#[test]
fn a_request_that_a_rate_refuses_holds_no_place() {
    let upstream = Upstream::start();
    let world = world(
        &upstream,
        "concurrent_requests = 1\nrate_limits = [{ per = \"token\", rate = \"1/h\" }]",
    );
    let token = world.key(TestUser::ALICE).token;
    assert_eq!(status(&world, &token), 200);
    for _ in 0..5 {
        let refused = world.get_with("/limited/refused", &token);
        assert_eq!(refused.status, 429);
    }
    let written = || {
        let lines = world.access_lines();
        lines.into_iter().filter(|line| line["path"] == "/limited/refused").collect::<Vec<_>>()
    };
    assert!(eventually(|| written().len() == 5));
    let lines = written();
    assert!(lines.iter().all(|line| line["refusal"] == "rate_limited"), "{lines:?}");
}

#[test]
fn the_places_of_a_token_api_are_those_on_all_routes_together() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .in_every("token_api", "concurrent_requests = 1")
        .route("path = \"/more/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
        .start();
    let token = world.key(TestUser::ALICE).token;
    let gate = held(&upstream, "/private/slow");
    let mut client = world.client();
    client.send(get("/private/slow", &token));
    assert!(upstream.wait_until(|log| log.heads.len() == 1));
    assert_eq!(world.get_with("/more/x", &token).status, 429);
    assert_eq!(world.api(TestUser::ALICE).list(&token).status, 429);
    gate.open();
    assert_eq!(client.response().expect("an answer").status, 200);
    assert!(eventually(|| world.get_with("/more/x", &token).status == 200));
}
