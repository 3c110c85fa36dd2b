//! What is open already ends with its token (DESIGN.md, section 5): within a second of its revocation.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::lateness::slack;
use crate::support::{Act, Client, Gate, Person, Plan, Reply, Upstream, World};

const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nfirst\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst";

/// An exchange that stays open: the upstream has said "first", and waits.
fn open(world: &World, upstream: &Upstream, path: &str, start: &[u8], token: &str, fields: &str) -> (Client, Gate) {
    let gate = Gate::default();
    let acts = [Act::Send(start.into()), Act::Wait(gate.clone()), Act::Send(b"more".into())];
    upstream.answer(path, Reply::acts(acts));
    let mut client = world.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"));
    while !String::from_utf8_lossy(client.seen()).contains("first") {
        let more = client.some().expect("the exchange opens");
        assert!(!more.is_empty(), "closed after {:?}", String::from_utf8_lossy(client.seen()));
        if String::from_utf8_lossy(&more).contains("first") {
            break;
        }
    }
    (client, gate)
}

/// How long what ended may take to be seen to end, from now: a second is promised, and a busy machine may be late.
#[track_caller]
fn ends(clients: &mut [Client]) {
    let began = Instant::now();
    for client in clients {
        // Ended, with a reset or without: what counts is that nothing more comes.
        let _ = client.rest();
    }
    let ended = Instant::now();
    assert!(ended - began < Duration::from_secs(1) + slack(began, ended), "they ended after {:?}", ended - began);
}

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn an_event_stream_and_a_websocket_end_within_a_second_of_the_revocation_and_others_go_on() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let (victim, other) = (world.key(Person::ALICE), world.key(Person::ALICE));
    let open = |path, start, token: &str, fields| open(&world, &upstream, path, start, token, fields);
    let (stream, stream_gate) = open("/private/events", EVENTS, &victim.token, "");
    let (socket, socket_gate) = open("/private/socket", SWITCHED, &victim.token, UPGRADE);
    let (mut others, others_gate) = open("/private/others", SWITCHED, &other.token, UPGRADE);

    assert_eq!(world.api(Person::ALICE).revoke(&victim.token).status, 200);
    ends(&mut [stream, socket]);
    stream_gate.open();
    socket_gate.open();

    // The other key's tunnel has been looked at as often, and still carries.
    others_gate.open();
    assert_eq!(others.exactly(4).expect("what the upstream says next"), b"more");
}

#[test]
fn what_is_open_on_a_token_whose_key_is_removed_ends_within_a_second_and_what_is_on_another_goes_on() {
    for (key, next) in [("jwt-hs256-", "jwt-hs256-99991231T235959Z.key"), ("pepper", "pepper-99991231T235959Z.key")] {
        let upstream = Upstream::start();
        let world = Plan::usual(&upstream).start();
        let files = std::fs::read_dir(world.keys()).expect("keys").flatten().map(|file| file.path());
        let is_of_kind = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(key));
        let first = files.into_iter().find(is_of_kind).expect("the first key of this kind");
        let old = world.key(Person::ALICE);
        world.add_key(next);
        world.reload();
        let new = world.key(Person::ALICE);
        let open = |path, start, token: &str, fields| open(&world, &upstream, path, start, token, fields);
        let (stream, stream_gate) = open("/private/events", EVENTS, &old.token, "");
        let (socket, socket_gate) = open("/private/socket", SWITCHED, &old.token, UPGRADE);
        let (mut others, others_gate) = open("/private/others", SWITCHED, &new.token, UPGRADE);
        world.reload();
        assert_eq!([&old, &new].map(|key| world.status_with(&key.token)), [200; 2], "nothing was removed yet");
        std::fs::remove_file(first).expect("removed");
        world.reload();
        ends(&mut [stream, socket]);
        stream_gate.open();
        socket_gate.open();
        others_gate.open();
        assert_eq!(others.exactly(4).expect("what the upstream says next"), b"more", "{key}");
        assert_eq!([&old, &new].map(|key| world.status_with(&key.token)), [401, 200], "{key}");
    }
}
