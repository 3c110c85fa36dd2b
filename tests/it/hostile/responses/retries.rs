//! When a request is sent to an upstream again, and when it is not.

use super::super::HostileWorld;
use crate::support::{Act, Reply};

/// Warms a connection up, so that the next request goes out on one that was used before.
fn warm(world: &HostileWorld) {
    for _ in 0..4 {
        world.sentinel().expect("served");
    }
    world.upstream.take();
}

#[test]
fn a_post_is_never_sent_twice() {
    let world = HostileWorld::start();
    for act in [Act::Close, Act::Reset] {
        for warmed in [false, true] {
            if warmed {
                warm(&world);
            }
            world.upstream.take();
            world.upstream.answer("/public/post", Reply::acts([act.clone()]));
            let mut client = world.client();
            let head =
                "POST /public/post HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
            client.send(head);
            let (response, _) = client.final_response("POST").expect("an answer");
            assert_eq!(response.status, 502, "{response}");
            let seen = world.upstream.take().heads;
            assert_eq!(seen, ["/public/post"], "the upstream saw it once");
        }
    }
}

#[test]
fn a_get_is_tried_again_at_most_once_and_only_on_a_reused_connection() {
    let world = HostileWorld::start();
    world.upstream.answer("/public/get", Reply::acts([Act::Close]));
    let mut client = world.client();
    client.send("GET /public/get HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (response, _) = client.final_response("GET").expect("an answer");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(
        world.upstream.take().heads,
        ["/public/get"],
        "a fresh connection is no reason to try again"
    );
    for _ in 0..4 {
        warm(&world);
        let mut client = world.client();
        client.send("GET /public/get HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let (response, _) = client.final_response("GET").expect("an answer");
        assert_eq!(response.status, 502, "{response}");
        let seen = world.upstream.take().requests;
        assert!(seen.len() <= 2, "the upstream saw it {} times", seen.len());
        assert!(seen.len() == 1 || seen[0].nth > 0, "tried again behind a fresh connection");
    }
}

/// Part of an answer is an answer: nothing is tried again behind it.
#[test]
fn nothing_is_tried_again_once_the_upstream_has_begun_to_answer() {
    let world = HostileWorld::start();
    warm(&world);
    world.upstream.answer("/public/half", Reply::bytes("HTTP/1.1 200 OK\r\nX-").then(Act::Close));
    let response = world.client().ask("GET /public/half HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(world.upstream.take().heads, ["/public/half"]);
}
