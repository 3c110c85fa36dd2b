//! What is open already ends with its token (DESIGN.md, section 5): within a second of its
//! revocation.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::lateness::slack;
use crate::support::{Client, Ongoing, Plan, TestUser, Upstream, open};

/// How long what ended may take to be seen to end, from now: a second is promised, and a busy
/// machine may be late.
#[track_caller]
fn ends(clients: &mut [Client]) {
    let began = Instant::now();
    for client in clients {
        // Ended, with a reset or without: what counts is that nothing more comes.
        let _ = client.rest();
    }
    let ended = Instant::now();
    assert!(
        ended - began < Duration::from_secs(1) + slack(began, ended),
        "they ended after {:?}",
        ended - began
    );
}

#[test]
fn an_event_stream_and_a_websocket_end_within_a_second_of_the_revocation_and_others_go_on() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::ALICE));
    let open = |path, kept, token: &str| open(&world, &upstream, path, kept, token);
    let (stream, stream_gate) = open("/private/events", Ongoing::Events, &victim.token);
    let (socket, socket_gate) = open("/private/socket", Ongoing::WebSocket, &victim.token);
    let (mut others, others_gate) = open("/private/others", Ongoing::WebSocket, &other.token);

    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    ends(&mut [stream, socket]);
    stream_gate.open();
    socket_gate.open();

    // The other key's tunnel has been looked at as often, and still carries.
    others_gate.open();
    assert_eq!(others.exactly(4).expect("what the upstream says next"), b"more");
}

#[test]
fn what_is_open_on_a_token_whose_key_is_removed_ends_within_a_second_and_what_is_on_another_goes_on()
 {
    for (key, next) in [
        ("jwt-hs256-", "jwt-hs256-99991231T235959Z.key"),
        ("pepper", "pepper-99991231T235959Z.key"),
    ] {
        let upstream = Upstream::start();
        let world = Plan::usual(&upstream).start();
        let files =
            std::fs::read_dir(world.keys()).expect("keys").flatten().map(|file| file.path());
        let is_of_kind = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(key))
        };
        let first = files.into_iter().find(is_of_kind).expect("the first key of this kind");
        let old = world.key(TestUser::ALICE);
        world.add_key(next);
        world.reload();
        let new = world.key(TestUser::ALICE);
        let open = |path, kept, token: &str| open(&world, &upstream, path, kept, token);
        let (stream, stream_gate) = open("/private/events", Ongoing::Events, &old.token);
        let (socket, socket_gate) = open("/private/socket", Ongoing::WebSocket, &old.token);
        let (mut others, others_gate) = open("/private/others", Ongoing::WebSocket, &new.token);
        world.reload();
        assert_eq!(
            [&old, &new].map(|key| world.status_with(&key.token)),
            [200; 2],
            "nothing was removed yet"
        );
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
