//! Many streams on one connection: their bodies, their trailers and their ends.

use rustix::process::Signal;

use super::{connect, in_two_parts, wait_for_first};
use crate::support::h2::{Head, code, data, flag, reset};
use crate::support::{Gate, Plan, Reply, Upstream, eventually, json};

#[test]
fn many_requests_at_once_share_a_connection_and_each_gets_its_own_answer() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    for _ in 0..3 {
        let asked: Vec<_> = (0..100)
            .map(|nth| {
                (connection.request(&Head::get(format!("/public/{nth}"))), format!("/public/{nth}"))
            })
            .collect();
        for (id, target) in asked {
            let response = connection.answer(id);
            assert_eq!(response.status, 200, "{response}");
            assert_eq!(json(&response)["target"], target);
        }
    }
    assert_eq!(upstream.take().requests.len(), 300);
}

#[test]
fn sigterm_says_goaway_and_finishes_the_streams_that_are_under_way() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/slow", in_two_parts(&gate));
    let mut world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let streams = [0; 3].map(|_| connection.request(&Head::get("/public/slow")));
    wait_for_first(&mut connection, &streams);
    let mut idle = connect(&world);
    assert_eq!(idle.ask(&Head::get("/public/x")).status, 200);

    world.signal(Signal::TERM);
    assert!(connection.read_until(|state| !state.goaways.is_empty()), "{:?}", connection.state);
    assert!(idle.closes(), "an idle connection does not hold the end up");
    assert!(idle.state.goaways.iter().any(|&(_, code)| code == code::NO_ERROR), "{:?}", idle.state);
    gate.open();
    for id in streams {
        let response = connection.answer(id);
        assert_eq!((response.status, response.text().as_str()), (200, "firstmore"));
    }
    assert!(connection.closes());
    let (last, error) = *connection.state.goaways.last().expect("a GOAWAY");
    assert_eq!(
        (last, error),
        (streams[2], code::NO_ERROR),
        "the last stream that was served is named"
    );
    assert_eq!(world.ended().code(), Some(0));
}

#[test]
fn trailers_of_a_response_arrive() {
    let upstream = Upstream::start();
    upstream.answer(
        "/public/trailers",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n\
             0\r\nX-Sum: abc\r\n\r\n",
        ),
    );
    let world = Plan::usual(&upstream).start();
    let response = connect(&world).ask(&Head::get("/public/trailers").with("te", "trailers"));
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.trailers.all("x-sum"), ["abc"], "{response:?}");
}

/// The first half is at the upstream before the second exists, and both ways at once.
#[test]
fn bodies_are_streamed_both_ways() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/stream", in_two_parts(&gate).early());
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let id = connection.next_id();
    connection.send(
        [Head::post("/public/stream").frame(id, flag::END_HEADERS), data(id, 0, "hello")].concat(),
    );
    wait_for_first(&mut connection, &[id]);
    connection.send(data(id, flag::END_STREAM, "-more"));
    gate.open();
    assert_eq!(connection.answer(id).text(), "firstmore");
    assert!(
        upstream.wait_until(|log| log.requests.iter().any(|request| request.body == b"hello-more"))
    );
}

#[test]
fn a_large_body_passes_both_ways_within_the_windows() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let body: Vec<u8> = (0..4 << 20).map(|nth: u32| (nth % 251) as u8).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    upstream.answer("/public/large", Reply::bytes([head.as_bytes(), &body].concat()));
    let response = connect(&world).ask(&Head::get("/public/large"));
    assert!(
        response.status == 200 && response.body == body,
        "{} bytes came back",
        response.body.len()
    );
    // A client that keeps to its window is let go on when the upstream has read.
    let mut connection = connect(&world);
    let id = connection.next_id();
    connection.send(Head::post("/public/x").frame(id, flag::END_HEADERS));
    connection.send_body(id, &body);
    assert_eq!(connection.answer(id).status, 200);
    let received = upstream.take().requests.pop().expect("it was forwarded").body;
    assert!(received == body, "{} bytes went out", received.len());
}

/// A client that resets a stream takes its request along, and nothing else.
#[test]
fn a_reset_stream_ends_its_request_at_the_upstream_and_leaves_the_others_alone() {
    let (upstream, gate) = (Upstream::start(), Gate::default());
    upstream.answer("/public/slow", in_two_parts(&gate));
    let world = Plan::usual(&upstream).start();
    let mut connection = connect(&world);
    let streams = [0; 2].map(|_| connection.request(&Head::get("/public/slow")));
    wait_for_first(&mut connection, &streams);
    connection.send(reset(streams[0], code::CANCEL));
    let access =
        || world.access_lines().into_iter().filter(|line| line["path"] == "/public/slow").count();
    assert!(eventually(|| access() == 1), "the record of the one that ended");
    gate.open();
    assert_eq!(connection.answer(streams[1]).text(), "firstmore");
}
