//! Tickets: each opens one WebSocket or event stream, in the name of the token that it was made
//! for, and nothing else.

use std::time::{Duration, Instant};

use crate::support::h2::{Connection, Head, flag};
use crate::support::lateness::slack;
use crate::support::{
    Issued, Ongoing, Plan, Response, TIMEOUT, TestUser, Upstream, WebSocketServer, World,
    eventually, json, open_at,
};

const EVENTS: &str = "Accept: text/event-stream\r\n";
const HANDSHAKE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The usual world, with `/live/` in front of the upstream, which takes tickets. So do `/kept/`,
/// which forwards credentials, `/admins/`, which Alice may not use, and `/others/`, which accepts
/// another token API.
fn world(upstream: &Upstream) -> World {
    plan(upstream).start()
}

fn plan(upstream: &Upstream) -> Plan {
    let route = |path: &str, more: &str| {
        format!(
            "path = \"{path}/{{*rest}}\"\nupstream = \"app\"\ncredentials.ticket = \"ticket\"\n\
             {more}"
        )
    };
    Plan::usual(upstream)
        .table("token_api", "name = \"others\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
        .route(&route("/live", "accept = [\"jarvispy\"]\ncredentials.query = \"access_token\""))
        .route(&route("/kept", "accept = [\"jarvispy\"]\nforward_credential = true"))
        .route(&route("/admins", "accept = [\"jarvispy\"]\nrequire.role = [\"admin\"]"))
        .route(&route("/others", "accept = [\"others\"]"))
}

fn ask_for_ticket(world: &World, key: &Issued) -> Response {
    world.api(TestUser::ALICE).call("POST", "/tickets", &key.token, "")
}

/// A new ticket of this key.
#[track_caller]
fn ticket(world: &World, key: &Issued) -> String {
    let answer = ask_for_ticket(world, key);
    assert_eq!(answer.status, 201, "{answer}");
    assert_eq!(answer.fields.one("cache-control").as_deref(), Some("no-store"));
    let body = json(&answer);
    assert_eq!(body["expires_in"], 30);
    body["ticket"].as_str().expect("a ticket").to_owned()
}

/// The status of a GET for events with this ticket.
fn events(world: &World, path: &str, ticket: &str) -> u16 {
    world.ask("GET", &format!("{path}?ticket={ticket}"), EVENTS, "").status
}

#[test]
fn a_ticket_opens_one_event_stream_over_either_version_of_http_and_does_not_reach_the_upstream() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    for over_http2 in [false, true] {
        for path in ["/live/x", "/kept/x"] {
            let ticket = ticket(&world, &alice);
            let target = format!("{path}?a=%201&%74icket={ticket}&b");
            let ask = || {
                if over_http2 {
                    let head = Head::get(&target).with("accept", "text/event-stream");
                    Connection::open(world.address()).ask(&head)
                } else {
                    world.ask("GET", &target, EVENTS, "")
                }
            };
            let answer = ask();
            assert_eq!(answer.status, 200, "{answer}");
            // It stood in an address.
            assert_eq!(answer.fields.one("referrer-policy").as_deref(), Some("no-referrer"));
            assert_eq!(answer.fields.one("cache-control").as_deref(), Some("private"));
            let seen = upstream.take().requests.pop().expect("it was forwarded");
            assert_eq!(seen.target, format!("{path}?a=%201&b"));
            assert!(!format!("{:?}", seen.fields).contains(&ticket), "{:?}", seen.fields);
            assert_eq!(seen.fields.one("x-keyward-subject").as_deref(), Some("auth0|alice"));
            assert_eq!(seen.fields.one("x-keyward-token-id").as_deref(), Some(&*alice.jti));
            let again = ask();
            assert_eq!(again.status, 401, "{again}");
            assert!(upstream.take().requests.is_empty());
        }
    }
    let causes = || {
        let lines = world.access_lines().into_iter().filter(|line| line["status"] == 401);
        lines.map(|line| line["cause"].to_string()).collect::<Vec<_>>()
    };
    assert!(eventually(|| causes().len() == 4), "{:?}", causes());
    assert!(causes().iter().all(|cause| cause.contains("used up")), "{:?}", causes());
}

#[test]
fn a_ticket_opens_one_websocket_over_either_version_of_http() {
    let (upstream, sockets) = (Upstream::start(), WebSocketServer::start());
    let world = plan(&upstream)
        .upstream("sockets", sockets.address)
        .route(
            "path = \"/sockets/{*rest}\"\nupstream = \"sockets\"\naccept = [\"jarvispy\"]\n\
             credentials.ticket = \"ticket\"",
        )
        .start();
    let alice = world.key(TestUser::ALICE);
    let target = |ticket: &str| format!("/sockets/x?ticket={ticket}");

    let first = target(&ticket(&world, &alice));
    let head = format!("GET {first} HTTP/1.1\r\nHost: a.example\r\n{HANDSHAKE}\r\n");
    let mut client = world.client();
    assert_eq!(client.ask(&head).status, 101);
    client.send("ping");
    assert_eq!(client.exactly(4).expect("an echo"), b"ping");
    let mut again = world.client();
    again.send(&head);
    assert_eq!(again.response().expect("an answer").status, 401);

    let second = target(&ticket(&world, &alice));
    let head = Head::new("CONNECT", &second)
        .with(":protocol", "websocket")
        .with("sec-websocket-version", "13");
    let mut connection = Connection::open(world.address());
    let mut status = || {
        let id = connection.next_id();
        connection.send(head.frame(id, flag::END_HEADERS));
        connection.read_until(|state| state.stream(id).status.is_some() || state.is_over(id));
        connection.state.stream(id).status
    };
    assert_eq!([status(), status()], [Some(200), Some(401)]);
    for _ in 0..2 {
        let asked = sockets.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
        assert_eq!(asked.target, "/sockets/x");
        assert_eq!(asked.fields.one("x-keyward-subject").as_deref(), Some("auth0|alice"));
    }
}

#[test]
fn of_many_that_come_with_one_ticket_at_the_same_time_exactly_one_is_let_in() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    for _ in 0..10 {
        let ticket = ticket(&world, &alice);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let askers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| events(&world, "/live/x", &ticket))).collect();
            askers.into_iter().map(|asker| asker.join().expect("an answer")).collect()
        });
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    }
    assert_eq!(upstream.take().requests.len(), 10);
}

#[test]
fn what_a_ticket_cannot_open_does_not_use_it_up() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    let ticket = ticket(&world, &alice);
    let at = |path: &str| format!("{path}?ticket={ticket}");
    let bearer = format!("Authorization: Bearer {}\r\n{EVENTS}", alice.token);
    for (method, target, fields, status) in [
        // Neither a WebSocket nor an event stream.
        ("GET", at("/live/x"), "", 401),
        ("GET", at("/live/x"), "Accept: */*\r\n", 401),
        ("POST", at("/live/x"), EVENTS, 401),
        ("HEAD", at("/live/x"), EVENTS, 401),
        // A route that takes none.
        ("GET", at("/private/x"), EVENTS, 401),
        ("GET", format!("/live/x?access_token={ticket}"), EVENTS, 401),
        // Another credential beside it, or another reading.
        ("GET", at("/live/x"), &*bearer, 400),
        ("GET", format!("{}&ticket={ticket}", at("/live/x")), EVENTS, 400),
        ("GET", format!("/live/x?a;ticket={ticket}"), EVENTS, 400),
        ("GET", format!("/live/x?ticket={ticket}&access_token={}", alice.token), EVENTS, 400),
        // What is made up.
        ("GET", "/live/x?ticket=".to_owned(), EVENTS, 401),
        ("GET", format!("/live/x?ticket={ticket}a"), EVENTS, 401),
        ("GET", format!("/live/x?ticket={}", alice.token), EVENTS, 401),
    ] {
        let answer = world.ask(method, &target, fields, "");
        assert_eq!(answer.status, status, "{method} {target} {fields}: {answer}");
    }
    let as_token = format!("Authorization: Bearer {ticket}\r\n{EVENTS}");
    assert_eq!(world.ask("GET", "/live/x", &as_token, "").status, 401);
    assert_eq!(world.api(TestUser::ALICE).list(&ticket).status, 401);
    let explained = world.run(&["explain", &format!("http://a.example/live/x?ticket={ticket}")]);
    assert!(!String::from_utf8_lossy(&explained.stdout).contains(&ticket));
    assert!(upstream.take().requests.is_empty());
    assert_eq!(events(&world, "/live/x", &ticket), 200);
}

#[test]
fn a_ticket_opens_no_more_than_the_token_that_it_was_made_for() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    assert_eq!(events(&world, "/admins/x", &ticket(&world, &alice)), 403);
    assert_eq!(events(&world, "/others/x", &ticket(&world, &alice)), 401);
    assert_eq!(world.access_line("/admins/x")["refusal"], "forbidden");
    assert_eq!(world.access_line("/others/x")["refusal"], "not_accepted");
    assert!(upstream.take().requests.is_empty());
}

#[test]
fn a_ticket_of_a_token_that_is_revoked_in_between_opens_nothing() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let (of_victim, of_other) = (ticket(&world, &victim), ticket(&world, &other));
    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    assert_eq!(events(&world, "/live/x", &of_victim), 401);
    assert_eq!(events(&world, "/live/x", &of_other), 200);
    assert_eq!(ask_for_ticket(&world, &victim).status, 401);
}

/// How long what ended may take to be seen to end: a second is promised.
#[track_caller]
fn ends(client: &mut crate::support::Client) {
    let began = Instant::now();
    let _ = client.rest();
    let ended = Instant::now();
    assert!(
        ended - began < Duration::from_secs(1) + slack(began, ended),
        "it ended after {:?}",
        ended - began
    );
}

#[test]
fn what_a_ticket_opened_ends_within_a_second_of_the_revocation_of_its_token_and_others_go_on() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let open = |path: &str, kept, key: &Issued| {
        let target = format!("{path}?ticket={}", ticket(&world, key));
        open_at(&world, &upstream, path, &target, kept, EVENTS)
    };
    let (mut stream, stream_gate) = open("/live/events", Ongoing::Events, &victim);
    let (mut socket, socket_gate) = open("/live/socket", Ongoing::WebSocket, &victim);
    let (mut others, others_gate) = open("/live/others", Ongoing::WebSocket, &other);
    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    ends(&mut stream);
    ends(&mut socket);
    stream_gate.open();
    socket_gate.open();
    // A revocation that may have been theirs, and was not.
    others_gate.open();
    assert_eq!(others.exactly(4).expect("what the upstream says next"), b"more");
}

#[test]
fn when_a_key_is_taken_away_what_tickets_opened_ends_and_a_reload_alone_ends_nothing() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    world.add_key("jwt-hs256-99991231T235959Z.key");
    world.reload();
    let alice = world.key(TestUser::ALICE);
    let open = |path: &str| {
        let target = format!("{path}?ticket={}", ticket(&world, &alice));
        open_at(&world, &upstream, path, &target, Ongoing::WebSocket, "")
    };
    let (mut kept, kept_gate) = open("/live/kept");
    world.reload();
    kept_gate.open();
    assert_eq!(kept.exactly(4).expect("what the upstream says next"), b"more");
    let (mut ended, ended_gate) = open("/live/ended");
    let before = ticket(&world, &alice);
    let keys = std::fs::read_dir(world.keys()).expect("keys").flatten().map(|file| file.path());
    let first = keys.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("jwt-hs256-") && !name.contains("9999")
    });
    std::fs::remove_file(first.expect("the first key")).expect("removed");
    world.reload();
    ends(&mut ended);
    ended_gate.open();
    assert_eq!(events(&world, "/live/x", &before), 401);
    // Made with the other key, it is good still.
    assert_eq!(events(&world, "/live/x", &ticket(&world, &alice)), 200);
}

#[test]
fn the_open_tickets_of_one_token_are_bounded_and_one_that_is_redeemed_makes_room() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let (alice, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let open: Vec<String> = (0..32).map(|_| ticket(&world, &alice)).collect();
    let refused = ask_for_ticket(&world, &alice);
    assert_eq!(refused.status, 429, "{refused}");
    let seconds: u64 = refused.fields.one("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=30).contains(&seconds), "{seconds}");
    ticket(&world, &other);
    assert_eq!(events(&world, "/live/x", &open[7]), 200);
    ticket(&world, &alice);
}

/// The bound of a subject is exact in the tests of the stores; here, tickets may expire meanwhile.
#[test]
fn a_holder_with_many_keys_leaves_tickets_to_others_and_is_refused_in_the_form_of_the_api() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    let path = world.api(TestUser::ALICE).path("/tickets");
    // All that one key may have, on one connection.
    let thirty_two = |key: &Issued| {
        let call = format!(
            "POST {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {}\r\n\
             Content-Length: 0\r\n\r\n",
            key.token
        );
        let mut client = world.client();
        client.send(call.repeat(32));
        (0..32).map(|_| client.response().expect("an answer")).collect::<Vec<_>>()
    };
    let mut opened = Vec::new();
    let refused = loop {
        assert!(opened.len() < 5_000, "they are not bounded");
        let key = world.api(TestUser::ALICE).mint(&alice.token);
        let (made, refused): (Vec<_>, Vec<_>) =
            thirty_two(&key).into_iter().partition(|answer| answer.status == 201);
        opened.extend(made.iter().map(|answer| json(answer)["ticket"].clone()));
        if let Some(refused) = refused.into_iter().next() {
            break refused;
        }
    };
    assert!(opened.len() >= 1000, "{}", opened.len());
    assert_eq!(refused.status, 429, "{refused}");
    assert_eq!(refused.fields.one("cache-control").as_deref(), Some("no-store"));
    let seconds: u64 = refused.fields.one("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=30).contains(&seconds), "{seconds}");
    let body = json(&refused);
    let said = (&body["status"], &body["message"]);
    assert_eq!(said, (&"error".into(), &"Too many attempts; please try again later".into()));
    // Another holder of the same organization has its own.
    let bob = world.key(TestUser::BOB);
    let made = world.api(TestUser::BOB).call("POST", "/tickets", &bob.token, "");
    assert_eq!(made.status, 201, "{made}");
    // And there is room again as soon as one is redeemed.
    let last = opened.last().and_then(|ticket| ticket.as_str()).expect("a ticket");
    assert_eq!(events(&world, "/live/x", last), 200);
    ticket(&world, &alice);
}

#[test]
fn a_restart_of_a_single_instance_leaves_no_ticket_open() {
    let upstream = Upstream::start();
    let mut world = world(&upstream);
    let alice = world.key(TestUser::ALICE);
    let before = ticket(&world, &alice);
    world.stop();
    world.restart();
    assert_eq!(events(&world, "/live/x", &before), 401);
    assert_eq!(events(&world, "/live/x", &ticket(&world, &alice)), 200);
}
