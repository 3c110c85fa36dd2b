//! What is recorded of an exchange: one line of the access log and one count, however it ends
//! (FIELD.md, F22).

use serde_json::Value;

use crate::support::{Act, Client, Gate, Plan, Reply, TestUser, Upstream, World, eventually};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How many requests are counted with this status.
fn counted(world: &World, status: u16) -> f64 {
    world.metric("keyward_requests_total", &format!("status=\"{status}\""))
}

/// Has the upstream answer this path when the gate is opened.
fn hold(upstream: &Upstream, path: &str) -> Gate {
    let gate = Gate::default();
    upstream.answer(path, Reply::acts([Act::Wait(gate.clone()), Act::Send(ANSWER.into())]));
    gate
}

/// Sends a POST, and waits until the upstream has all of it.
#[track_caller]
fn post(world: &World, upstream: &Upstream, path: &str) -> Client {
    let mut client = world.client();
    client
        .send(format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"));
    assert!(
        upstream.wait_until(|log| log.requests.iter().any(|request| request.target == path)),
        "it arrives"
    );
    client
}

#[track_caller]
fn is_client_gone(world: &World, path: &str) {
    let line = world.access_line(path);
    assert_eq!(line["status"], 499, "{line}");
    assert_eq!(line["refusal"], "client_gone", "{line}");
    assert_eq!(line["cause"], "the client left", "{line}");
    assert_eq!(
        (&line["method"], &line["complete"]),
        (&Value::from("POST"), &Value::from(false)),
        "{line}"
    );
}

#[test]
fn a_post_whose_client_resets_its_connection_leaves_one_line_and_one_count_of_499() {
    let upstream = Upstream::start();
    let gate = hold(&upstream, "/public/reset");
    let world = Plan::usual(&upstream).start();
    post(&world, &upstream, "/public/reset").reset();
    // The upstream has not answered.
    is_client_gone(&world, "/public/reset");
    assert_eq!(counted(&world, 499), 1.0);
    gate.open();
    assert_eq!(world.ask("GET", "/public/after", "", "").status, 200);
    world.access_line("/public/after");
    is_client_gone(&world, "/public/reset");
    assert_eq!(counted(&world, 499), 1.0);
}

/// A close looks like that of a client which still reads, until something is sent to it.
#[test]
fn a_post_whose_client_closes_its_connection_leaves_one_line_and_one_count_of_499() {
    let upstream = Upstream::start();
    let gate = hold(&upstream, "/public/closed");
    let world = Plan::usual(&upstream).start();
    drop(post(&world, &upstream, "/public/closed"));
    gate.open();
    is_client_gone(&world, "/public/closed");
    assert_eq!(counted(&world, 499), 1.0);
    assert_eq!(counted(&world, 200), 0.0);
}

/// FIELD.md, F10: it is not gone.
#[test]
fn a_half_closed_client_that_gets_its_answer_leaves_a_line_of_200() {
    let upstream = Upstream::start();
    let gate = hold(&upstream, "/public/half");
    let world = Plan::usual(&upstream).start();
    let mut client = post(&world, &upstream, "/public/half");
    client.finish();
    gate.open();
    let (response, _) = client.final_response("POST").expect("an answer");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(client.rest().expect("the end"), b"");
    drop(client);
    let line = world.access_line("/public/half");
    assert_eq!((&line["status"], &line["bytes"]), (&Value::from(200), &Value::from(2)), "{line}");
    assert_eq!([&line["refusal"], &line["cause"], &line["complete"]], [&Value::Null; 3], "{line}");
    assert_eq!(counted(&world, 200), 1.0);
    assert_eq!(counted(&world, 499), 0.0);
}

#[test]
fn a_websocket_leaves_its_line_at_its_end_with_the_bytes_of_both_directions() {
    let upstream = Upstream::start();
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.answer(
        "/public/ws",
        Reply::bytes(switching).then(Act::Send(b"welcome".into())).then(Act::Echo),
    );
    let world = Plan::usual(&upstream).start();
    let mut client = world.client();
    client.send(
        "GET /public/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let (response, _) = client.final_response("GET").expect("an answer");
    assert_eq!(response.status, 101, "{response}");
    assert_eq!(client.exactly(7).expect("the first bytes"), b"welcome");
    client.send("hello");
    assert_eq!(client.exactly(5).expect("the echo"), b"hello");
    assert_eq!(counted(&world, 101), 0.0, "it is not over");
    client.finish();
    assert_eq!(client.rest().expect("the end"), b"");
    let line = world.access_line("/public/ws");
    assert_eq!(line["status"], 101, "{line}");
    assert_eq!(
        (&line["bytes"], &line["bytes_received"]),
        (&Value::from(12), &Value::from(5)),
        "{line}"
    );
    assert_eq!([&line["refusal"], &line["complete"]], [&Value::Null; 2], "{line}");
    assert!(eventually(|| counted(&world, 101) == 1.0));
}

/// hyper drops what it has not written yet when a body fails: the client would see a closed
/// connection where the log says 200.
#[test]
fn what_came_before_an_upstream_broke_off_reaches_the_client() {
    let upstream = Upstream::start();
    let three_of_ten = Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    for round in 0..10 {
        upstream.answer(&format!("/public/closed/{round}"), three_of_ten.clone().then(Act::Close));
    }
    upstream.answer("/public/reset", three_of_ten.then(Act::Reset));
    let world = Plan::usual(&upstream).start();
    for round in 0..10 {
        let mut client = world.client();
        client.send(format!("GET /public/closed/{round} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        let came = String::from_utf8(client.rest().expect("all that came")).expect("text");
        assert!(came.starts_with("HTTP/1.1 200 OK\r\n") && came.ends_with("\r\n\r\nabc"), "{came}");
    }
    let line = world.access_line("/public/closed/0");
    assert_eq!(
        (&line["status"], &line["bytes"], &line["complete"]),
        (&200.into(), &3.into(), &false.into()),
        "{line}"
    );
    // A reset may overtake what was sent before it: then it is 502.
    let mut client = world.client();
    client.send("GET /public/reset HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let came = String::from_utf8(client.rest().expect("all that came")).expect("text");
    assert!(came.starts_with("HTTP/1.1 200 OK\r\n") || came.starts_with("HTTP/1.1 502 "), "{came}");
}

/// A client that has finished sending, and whose second request is none, leaves a line for each.
#[test]
fn a_request_before_a_malformed_one_leaves_its_own_line() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut client = world.client();
    client.send("GET /public/first HTTP/1.1\r\nHost: a.example\r\n\r\nnonsense\r\n\r\n");
    client.finish();
    assert_eq!(client.response().expect("an answer").status, 200);
    assert_eq!(client.response().expect("another").status, 400);
    assert_eq!(world.access_line("/public/first")["status"], 200);
    assert!(eventually(|| counted(&world, 400) == 1.0));
}

/// Its body is not sent (RFC 9110, section 9.3.2), so nothing of it is missing.
#[test]
fn an_answer_of_keyward_to_head_is_recorded_as_whole() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let list = world.api(TestUser::ALICE).path("/auth/tokens");
    for (target, fields, status) in [
        ("/.well-known/jwks.json", String::new(), 200),
        (list.as_str(), format!("Authorization: Bearer {}\r\n", alice.token), 200),
        ("/private/refused", String::new(), 401),
        ("/no%00path", String::new(), 400),
    ] {
        let answer = world.ask("HEAD", target, &fields, "");
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{target}: {answer}");
        let path = if status == 400 { "-" } else { target };
        let line = world.access_line(path);
        assert_eq!((&line["status"], &line["complete"]), (&status.into(), &Value::Null), "{line}");
    }
}

#[test]
fn every_refusal_is_recorded_with_its_cause() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).set("limits", "token", "\"256B\"").start();
    let long = format!("Authorization: Bearer {}\r\n", "a".repeat(300));
    let two = "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n".to_owned();
    for (target, fields, cause) in [
        ("/private/none", String::new(), "a bearer token is required"),
        (
            "/private/long",
            long,
            "it has 300 bytes, more than the 256 that \"token\" in [limits] allows",
        ),
        ("/private/two", two, "it has Authorization more than once"),
        ("/nowhere", String::new(), "no route matches this request"),
    ] {
        world.ask("GET", target, &fields, "");
        let line = world.access_line(target);
        assert_eq!(line["cause"], cause, "{line}");
    }
}
