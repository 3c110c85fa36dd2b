//! A stream ends with its token, and the other streams of its connection go on.

use std::time::Instant;

use super::{ENDS_WITHIN, connect, in_two_parts, private, wait_for_first};
use crate::support::h2::{Head, Stream};
use crate::support::lateness::slack;
use crate::support::{Gate, Plan, Reply, TestUser, Upstream};

/// DESIGN.md, section 5, where it is hardest: streams end, and the connection goes on.
#[test]
fn of_100_streams_with_100_tokens_the_50_that_are_revoked_end_within_a_second_and_the_others_go_on()
{
    let (upstream, gate) = (Upstream::start(), Gate::default());
    let world = Plan::usual(&upstream).start();
    let api = world.api(TestUser::ALICE);
    let bootstrap = world.bootstrap(TestUser::ALICE, 100);
    let tokens: Vec<_> = (0..100).map(|_| api.mint(&bootstrap).token).collect();
    upstream.answer("/private/stream", in_two_parts(&gate));
    let mut connection = connect(&world);
    let heads = tokens.iter().map(|token| private("/private/stream", token));
    let streams: Vec<u32> = heads.map(|head| connection.request(&head)).collect();
    wait_for_first(&mut connection, &streams);

    let (mut victims, mut others) = (Vec::new(), Vec::new());
    for (nth, (&stream, token)) in streams.iter().zip(&tokens).enumerate() {
        if nth % 2 == 0 {
            assert_eq!(api.revoke(token).status, 200);
            victims.push(stream);
        } else {
            others.push(stream);
        }
    }
    let revoked = Instant::now();
    let all_end = connection.read_until(|state| victims.iter().all(|&id| state.is_over(id)));
    let ended = Instant::now();
    assert!(all_end, "{:?}", connection.state);
    assert!(
        ended - revoked < ENDS_WITHIN + slack(revoked, ended),
        "ended after {:?}",
        ended - revoked
    );
    for &id in &victims {
        let Stream { is_ended, reset, .. } = connection.state.stream(id);
        assert!(!is_ended && reset.is_some(), "stream {id} is cut and not called complete");
    }
    // The others have been looked at as often, and still carry.
    assert!(others.iter().all(|&id| !connection.state.is_over(id)));
    gate.open();
    for id in others {
        let response = connection.answer(id);
        assert_eq!((response.status, response.text().as_str()), (200, "firstmore"));
    }
    assert_eq!(connection.ask(&Head::get("/public/x")).status, 200, "the connection lives on");
    assert!(connection.state.goaways.is_empty(), "{:?}", connection.state.goaways);
}

/// hyper does not poll a body while its stream has no window. The end of a stream must not wait for
/// that.
#[test]
fn a_stream_that_waits_for_its_window_ends_with_its_token_as_well() {
    let upstream = Upstream::start();
    let size = 1 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    upstream.answer("/private/large", Reply::bytes([head.as_bytes(), &vec![b'a'; size]].concat()));
    let world = Plan::usual(&upstream).start();
    let issued = world.key(TestUser::ALICE);
    let mut connection = connect(&world).without_grants();
    let id = connection.request(&private("/private/large", &issued.token));
    let starved = connection.read_until(|state| state.stream(id).body.len() == 65_535);
    assert!(starved, "{} bytes", connection.state.stream(id).body.len());
    assert_eq!(world.api(TestUser::ALICE).revoke(&issued.token).status, 200);
    let revoked = Instant::now();
    assert!(connection.read_until(|state| state.stream(id).reset.is_some()), "the stream is reset");
    let seen = Instant::now();
    assert!(
        seen - revoked < ENDS_WITHIN + slack(revoked, seen),
        "ended after {:?}",
        seen - revoked
    );
    // The window of the connection is used up, and a head needs none.
    assert_eq!(connection.ask(&Head::new("HEAD", "/public/x")).status, 200);
}

/// A revoked token opens no new stream of a connection on which it was good before.
#[test]
fn a_revoked_token_is_refused_on_a_connection_that_remembers_it() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let (victim, other) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    let mut connection = connect(&world);
    let mut status = |token: &str| connection.ask(&private("/private/x", token)).status;
    assert_eq!([status(&victim.token), status(&other.token), status(&victim.token)], [200; 3]);
    assert_eq!(world.api(TestUser::ALICE).revoke(&victim.token).status, 200);
    assert_eq!([status(&victim.token), status(&other.token)], [401, 200]);
}
