//! How large the body of a request may be: `max_body` of its route, or else `body` in `[limits]`.

use crate::support::h2::{Connection, Head, data, flag};
use crate::support::http2_upstream::{Http2Upstream, Progress};
use crate::support::{Act, Gate, Plan, Reply, TestUser, Upstream, World, eventually};

/// `/public` with a limit of 10 bytes, `/large` without one, `/private` for tokens.
fn start() -> (Upstream, World) {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .set("limits", "body", "\"10B\"")
        .route("path = \"/large/{*rest}\"\nupstream = \"app\"\npublic = true\nmax_body = \"off\"")
        .route("path = \"/small/{*rest}\"\nupstream = \"app\"\npublic = true\nmax_body = \"4B\"")
        .start();
    (upstream, world)
}

fn post(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.example\r\n{more}\r\n")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[track_caller]
fn is_logged(world: &World, path: &str, status: u16, limit: &str) {
    let line = world.access_line(path);
    let cause = format!("the request body is larger than {limit}");
    assert_eq!((&line["status"], &line["cause"]), (&status.into(), &cause.into()), "{line}");
}

#[test]
fn a_body_whose_stated_length_is_too_large_is_refused_before_the_upstream_sees_it() {
    let (upstream, world) = start();
    let mut client = world.client();
    client.send(post("/public/one", "Content-Length: 11\r\n") + "hello world");
    let (answer, _) = client.final_response("POST").expect("a refusal");
    assert_eq!((answer.status, answer.fields.all("connection").len()), (413, 1), "{answer}");
    client.rest().expect("the connection ends in good order");
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    let head = Head::post("/small/two").with("content-length", "5");
    h2.send(head.with_body(id, "hello"));
    assert_eq!(h2.answer(id).status, 413);
    // The others of the connection go on.
    let id = h2.next_id();
    h2.send(Head::post("/small/three").with("content-length", "4").with_body(id, "four"));
    assert_eq!(h2.answer(id).status, 200);
    assert_eq!(upstream.take().heads, ["/small/three"]);
    is_logged(&world, "/public/one", 413, "10B (\"body\" in [limits])");
    is_logged(&world, "/small/two", 413, "4B (\"max_body\" of the route)");
    assert_eq!(world.access_line("/small/two")["refusal"], "body_too_large");
    assert!(world.metric("keyward_refusals_total", "body_too_large") >= 2.0);
}

#[test]
fn an_expectation_is_answered_with_413_and_not_with_100() {
    let (upstream, world) = start();
    let mut client = world.client();
    let expecting = |length: usize| {
        post("/public/one", &format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"))
    };
    client.send(expecting(11));
    let (answer, interim) = client.final_response("POST").expect("a refusal");
    assert_eq!((answer.status, interim.len()), (413, 0), "{answer}");
    assert!(upstream.take().heads.is_empty());
    let mut client = world.client();
    client.send(expecting(10));
    assert_eq!(client.response().expect("an interim response").status, 100);
    client.send("0123456789");
    assert_eq!(client.response().expect("an answer").status, 200);
}

#[test]
fn a_body_of_unknown_length_is_cut_off_where_it_grows_too_large() {
    let (upstream, world) = start();
    let mut client = world.client();
    client.send(post("/public/one", CHUNKED) + "5\r\nhello\r\n");
    client.send("6\r\n world\r\n");
    let (answer, _) = client.final_response("POST").expect("a refusal");
    assert_eq!(answer.status, 413, "{answer}");
    client.rest().expect("the connection ends in good order");
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    h2.send(Head::post("/public/two").frame(id, flag::END_HEADERS));
    h2.send(data(id, 0, "hello"));
    h2.send(data(id, 0, " world"));
    assert_eq!(h2.answer(id).status, 413);
    assert!(eventually(|| upstream.open_connections() == 0), "both exchanges are broken off");
    assert!(upstream.take().requests.is_empty(), "half a request is none");
    is_logged(&world, "/public/one", 413, "10B (\"body\" in [limits])");
    is_logged(&world, "/public/two", 413, "10B (\"body\" in [limits])");
    // A large body that is still coming does not take the refusal with it.
    let mut client = world.client();
    client.send(post("/public/three", CHUNKED));
    for _ in 0..100 {
        if client.try_send(format!("4000\r\n{}\r\n", "x".repeat(0x4000))).is_err() {
            break;
        }
    }
    let (answer, _) = client.final_response("POST").expect("a refusal");
    assert_eq!(answer.status, 413, "{answer}");
}

#[test]
fn a_body_may_be_as_large_as_the_limit() {
    let (upstream, world) = start();
    for (head, body) in [
        ("Content-Length: 10\r\n", "0123456789"),
        (CHUNKED, "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"),
    ] {
        let mut client = world.client();
        assert_eq!(client.ask(post("/public/x", head) + body).status, 200);
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!(request.body, b"0123456789");
        // The limit is that of one request, not of the connection.
        assert_eq!(client.ask(post("/public/x", head) + body).status, 200);
    }
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    h2.send(Head::post("/public/x").with_body(id, "0123456789"));
    assert_eq!(h2.answer(id).status, 200);
    let body = "x".repeat(100_000);
    assert_eq!(world.ask("POST", "/large/x", "", &body).status, 200);
}

/// The upstream has begun to answer: what it has said has gone out, and its response does not look
/// complete.
#[test]
fn a_body_that_grows_too_large_behind_the_head_of_the_response_breaks_the_exchange_off() {
    let (upstream, world) = start();
    let gate = Gate::default();
    let start = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
    let acts = [Act::Send(start.into()), Act::Wait(gate.clone()), Act::Send(b"-last".into())];
    upstream.answer("/public/one", Reply::acts(acts.clone()).early());
    upstream.answer("/public/two", Reply::acts(acts).early());
    let mut client = world.client();
    client.send(post("/public/one", CHUNKED) + "5\r\nhello\r\n");
    while !String::from_utf8_lossy(client.seen()).contains("first") {
        assert!(!client.some().expect("the answer begins").is_empty(), "cut before it began");
    }
    client.send("6\r\n world\r\n");
    let _ = client.rest();
    assert!(!String::from_utf8_lossy(client.seen()).contains("-last"));
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    h2.send(Head::post("/public/two").frame(id, flag::END_HEADERS));
    h2.send(data(id, 0, "hello"));
    assert!(h2.read_until(|state| state.stream(id).body == b"first"), "{:?}", h2.state);
    h2.send(data(id, 0, " world"));
    assert!(h2.read_until(|state| state.stream(id).reset.is_some()), "{:?}", h2.state);
    gate.open();
    is_logged(&world, "/public/one", 200, "10B (\"body\" in [limits])");
    is_logged(&world, "/public/two", 200, "10B (\"body\" in [limits])");
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "the next one is served");
}

#[test]
fn the_stream_of_an_upstream_of_http2_is_reset_and_its_connection_goes_on() {
    let upstream = Http2Upstream::start(100);
    let world = Plan::bare()
        .set("server", "workers", "1")
        .table(
            "upstream",
            &format!(
                "name = \"app\"\nendpoints = [\"http://{}\"]\nprotocol = \"http2\"",
                upstream.address()
            ),
        )
        .route("path = \"/{*rest}\"\nupstream = \"app\"\npublic = true\nmax_body = \"10B\"")
        .start();
    let mut client = world.client();
    client.send(post("/held", CHUNKED) + "5\r\nhello\r\n");
    assert!(eventually(|| upstream.arrivals().len() == 1), "it is forwarded");
    client.send("6\r\n world\r\n");
    let (answer, _) = client.final_response("POST").expect("a refusal");
    assert_eq!(answer.status, 413, "{answer}");
    assert!(
        eventually(|| {
            upstream.arrivals().first().is_some_and(|first| first.progress == Progress::GivenUp)
        }),
        "{:?}",
        upstream.arrivals()
    );
    assert_eq!(world.ask("POST", "/x", "", "0123456789").status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_grpc_call_that_is_too_large_has_the_status_of_an_exhausted_resource() {
    let (upstream, world) = start();
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    let head = Head::post("/public/x").with("content-type", "application/grpc");
    h2.send(head.with_body(id, b"\0\0\0\0\x08too long"));
    let answer = h2.answer(id);
    assert_eq!(answer.fields.all("grpc-status"), ["8"], "{answer}");
    assert!(upstream.take().requests.is_empty());
}

/// What is not permitted is not told how large it might be.
#[test]
fn a_request_without_a_credential_is_401_whatever_its_length() {
    let (upstream, world) = start();
    assert_eq!(world.ask("POST", "/private/x", "", "0123456789x").status, 401);
    let token = world.key(TestUser::ALICE).token;
    let fields = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(world.ask("POST", "/private/x", &fields, "0123456789x").status, 413);
    assert!(upstream.take().heads.is_empty());
    let url = "http://a.example/private/x";
    let fields = format!("{fields}Content-Length: 11\r\n");
    let output = world.run_reading(&["explain", "POST", url], &fields);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "status: 413",
        "reason: body_too_large",
        "cause: the request body is larger than 10B (\"body\" in [limits])",
    ] {
        assert!(said.lines().any(|known| known == line), "{line:?} is missing in\n{said}");
    }
}

/// Calls of token APIs have a limit of their own, also behind a forwarded request on the same
/// connection.
#[test]
fn a_token_api_takes_bodies_beyond_the_limit_of_routes() {
    let (_upstream, world) = start();
    let mut client = world.client();
    let full = post("/public/x", "Content-Length: 10\r\n") + "0123456789";
    assert_eq!(client.ask(full).status, 200);
    let body = "{\"name\": \"longer than ten bytes\"}";
    let answer = client.ask(format!(
        "POST /jarvispy/o/u/api/v1/auth/issue-token HTTP/1.1\r\nHost: a.example\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         {body}",
        world.key(TestUser::ALICE).token,
        body.len()
    ));
    assert_ne!(answer.status, 413, "{answer}");
}
