//! Timeouts of routes: what an exchange may take is what its route says, or else `[timeouts]`; and
//! the access log names the key.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::h2::{Connection, Head, data, flag};
use crate::support::{Act, Fault, Gate, Plan, Reply, TIMEOUT, Upstream, Wire, World, lateness};

/// What the short limits are in these tests.
const SHORT: Duration = Duration::from_millis(400);

/// Longer than all of them: what is still under way after it has no short limit.
const LONG: Duration = Duration::from_millis(1200);

/// Lets a timeout of the product pass.
fn pause() {
    std::thread::sleep(LONG);
}

/// `/public` with short limits for all, `/model` that may think, `/off` without a limit, `/strict`
/// with short limits of its own, `/whole` with one for all of an exchange.
fn plan(upstream: SocketAddr) -> Plan {
    let route = |path: &str, more: &str| {
        format!("path = \"/{path}/{{*rest}}\"\nupstream = \"app\"\npublic = true\n{more}")
    };
    Plan::bare()
        .set("timeouts", "body", "\"400ms\"")
        .set("timeouts", "response_head", "\"400ms\"")
        .upstream("app", upstream)
        .route(&route("public", ""))
        .route(&route("model", "timeouts = { response_head = \"1m\" }"))
        .route(&route(
            "off",
            "timeouts = { response_head = \"off\", request_body = \"off\", response_body = \"off\", \
             request = \"off\" }",
        ))
        .route(&route(
            "strict",
            "timeouts = { response_head = \"400ms\", request_body = \"400ms\", \
             response_body = \"400ms\" }",
        ))
        .route(&route("whole", "timeouts = { request = \"400ms\", request_body = \"off\" }"))
}

fn start() -> (Upstream, World) {
    let upstream = Upstream::start();
    let world = plan(upstream.address()).start();
    (upstream, world)
}

fn head_of(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{more}\r\n")
}

/// It took at least the short limit, and not much longer.
#[track_caller]
fn ended_in_time(since: Instant) {
    assert!(since.elapsed() >= SHORT, "after {:?}", since.elapsed());
    assert!(!lateness::is_over(since, Duration::from_secs(5)), "after {:?}", since.elapsed());
}

#[track_caller]
fn is_logged(world: &World, path: &str, status: u16, cause: &str) {
    let line = world.access_line(path);
    assert_eq!((&line["status"], &line["cause"]), (&status.into(), &cause.into()), "{line}");
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An answer that is held until the gate is opened.
fn held(gate: &Gate) -> Reply {
    Reply::acts([Act::Wait(gate.clone()), Act::Send(OK.into())])
}

/// The upstream thinks for longer than the default: one line of the route allows it.
#[test]
fn an_upstream_may_think_for_as_long_as_its_route_allows() {
    let (upstream, world) = start();
    lateness::watch();
    let gate = Gate::default();
    for path in ["/public/one", "/public/two", "/model/one", "/model/two"] {
        upstream.answer(path, held(&gate));
    }
    let since = Instant::now();
    let mut slow = world.client();
    slow.send(head_of("GET", "/model/one", ""));
    let mut h2 = Connection::open(world.address());
    let allowed = h2.request(&Head::get("/model/two"));
    let refused = h2.request(&Head::get("/public/two"));
    assert_eq!(world.ask("GET", "/public/one", "", "").status, 504);
    ended_in_time(since);
    assert_eq!(h2.answer(refused).status, 504);
    pause();
    gate.open();
    assert_eq!(slow.response().expect("an answer").status, 200);
    assert_eq!(h2.answer(allowed).status, 200);
    let cause = "the upstream sent no response head for 400ms (\"response_head\" in [timeouts])";
    is_logged(&world, "/public/one", 504, cause);
    is_logged(&world, "/public/two", 504, cause);
    assert!(world.metric("keyward_refusals_total", "upstream_slow") >= 2.0);
}

fn in_two_parts(kind: &str, gate: &Gate) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nfirst\r\n"
    );
    let end = b"4\r\nlast\r\n0\r\n\r\n";
    Reply::acts([Act::Send(head.into()), Act::Wait(gate.clone()), Act::Send(end.into())])
}

#[test]
fn an_event_stream_pauses_for_as_long_as_it_likes_unless_its_route_says_otherwise() {
    let (upstream, world) = start();
    lateness::watch();
    let gate = Gate::default();
    for path in ["/public/one", "/public/two", "/strict/one", "/strict/two"] {
        upstream.answer(path, in_two_parts("text/event-stream", &gate));
    }
    upstream.answer("/public/plain", in_two_parts("text/plain", &gate));
    let mut h2 = Connection::open(world.address());
    let (open, strict) =
        (h2.request(&Head::get("/public/two")), h2.request(&Head::get("/strict/two")));
    let mut events = world.client();
    events.send(head_of("GET", "/public/one", ""));
    for path in ["/strict/one", "/public/plain"] {
        let since = Instant::now();
        let mut client = world.client();
        client.send(head_of("GET", path, ""));
        let fault = client.final_response("GET").expect_err("never complete");
        assert!(matches!(fault, Fault::Truncated(_)), "{fault:?}");
        ended_in_time(since);
    }
    assert!(h2.read_until(|state| state.stream(strict).reset.is_some()), "{:?}", h2.state);
    pause();
    gate.open();
    let (answer, _) = events.final_response("GET").expect("a whole stream");
    assert_eq!(answer.body, b"firstlast");
    assert_eq!(h2.answer(open).body, b"firstlast");
    let cause = "the upstream sent nothing of the response for 400ms (\"timeouts.response_body\" \
                 of the route)";
    is_logged(&world, "/strict/one", 200, cause);
    is_logged(&world, "/strict/two", 200, cause);
    let cause = "the upstream sent nothing of the response for 400ms (\"body\" in [timeouts])";
    is_logged(&world, "/public/plain", 200, cause);
}

#[test]
fn off_is_off_for_the_head_and_for_both_bodies() {
    let (upstream, world) = start();
    let (head, end) = (Gate::default(), Gate::default());
    for path in ["/off/one", "/off/two"] {
        let start = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst";
        upstream.answer(
            path,
            Reply::acts([
                Act::Wait(head.clone()),
                Act::Send(start.into()),
                Act::Wait(end.clone()),
                Act::Send(b"last".into()),
            ]),
        );
    }
    let mut client = world.client();
    client.send(head_of("POST", "/off/one", "Content-Length: 10\r\n") + "hello");
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    h2.send(Head::post("/off/two").frame(id, flag::END_HEADERS));
    h2.send(data(id, 0, "hello"));
    pause();
    client.send("world");
    h2.send(data(id, flag::END_STREAM, "world"));
    pause();
    head.open();
    assert!(h2.read_until(|state| state.stream(id).body == b"first"), "{:?}", h2.state);
    pause();
    end.open();
    let (answer, _) = client.final_response("POST").expect("a whole response");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"firstlast".as_slice()));
    assert_eq!(h2.answer(id).body, b"firstlast");
    let requests = upstream.take().requests;
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body == b"helloworld"), "{requests:?}");
}

/// Answers each connection's one request with a body that never ends, a byte at a time. It ends
/// when keyward breaks it off.
fn drips_for_ever(kind: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drip(stream, kind));
        }
    });
    address
}

fn drip(stream: TcpStream, kind: &str) {
    let mut wire = Wire::new(stream, TIMEOUT);
    if wire.request_head().is_err() {
        return;
    }
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut outcome = wire.try_send(head.as_bytes());
    while outcome.is_ok() {
        std::thread::sleep(Duration::from_millis(20));
        outcome = wire.try_send(b"1\r\nx\r\n");
    }
}

const WHOLE: &str = "the exchange took longer than 400ms (\"timeouts.request\" of the route)";

#[test]
fn a_response_that_drips_for_ever_ends_with_the_time_for_the_whole_request() {
    lateness::watch();
    let world = plan(drips_for_ever("text/plain")).start();
    let since = Instant::now();
    let mut h2 = Connection::open(world.address());
    let id = h2.request(&Head::get("/whole/two"));
    let mut client = world.client();
    client.send(head_of("GET", "/whole/one", ""));
    let fault = client.final_response("GET").expect_err("never complete");
    assert!(matches!(fault, Fault::Truncated(_)), "{fault:?}");
    ended_in_time(since);
    assert!(h2.read_until(|state| state.stream(id).reset.is_some()), "{:?}", h2.state);
    is_logged(&world, "/whole/one", 200, WHOLE);
    is_logged(&world, "/whole/two", 200, WHOLE);
}

#[test]
fn an_upload_that_drips_for_ever_ends_with_the_time_for_the_whole_request() {
    lateness::watch();
    let (upstream, world) = start();
    let since = Instant::now();
    let mut client = world.client().with_timeout(Duration::from_millis(20));
    client.send(head_of("POST", "/whole/one", "Transfer-Encoding: chunked\r\n"));
    let mut h2 = Connection::open(world.address()).with_timeout(Duration::from_millis(20));
    let id = h2.next_id();
    h2.send(Head::post("/whole/two").frame(id, flag::END_HEADERS));
    // What has come of an answer stays in what was seen.
    while !client.seen().ends_with(b"}") || !h2.state.is_over(id) {
        assert!(!lateness::is_over(since, Duration::from_secs(5)), "still open");
        if client.seen().is_empty() {
            let _ = client.try_send("1\r\nx\r\n");
        }
        let _ = client.some();
        h2.send(data(id, 0, "x"));
        h2.read_until(|state| state.is_over(id));
    }
    assert!(since.elapsed() >= SHORT, "after {:?}", since.elapsed());
    let answer = String::from_utf8_lossy(client.seen()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(h2.state.stream(id).status, Some(408), "{:?}", h2.state);
    is_logged(&world, "/whole/one", 408, WHOLE);
    is_logged(&world, "/whole/two", 408, WHOLE);
    assert!(upstream.take().requests.is_empty(), "half a request is none");
}

/// A limit for all requests is none for what does not end by itself.
#[test]
fn the_time_for_a_whole_request_of_all_routes_spares_event_streams() {
    lateness::watch();
    let plan = |address| plan(address).set("timeouts", "request", "\"400ms\"");
    let events = drips_for_ever("text/event-stream; charset=utf-8");
    let world = plan(events).start();
    let mut client = world.client();
    client.send(head_of("GET", "/public/events", ""));
    let since = Instant::now();
    while since.elapsed() < LONG {
        assert!(!client.some().expect("a piece").is_empty(), "cut after {:?}", since.elapsed());
    }
    let since = Instant::now();
    let mut client = world.client();
    client.send(head_of("GET", "/whole/events", ""));
    client.final_response("GET").expect_err("never complete");
    ended_in_time(since);
    is_logged(&world, "/whole/events", 200, WHOLE);
    let world = plan(drips_for_ever("text/plain")).start();
    let mut client = world.client();
    client.send(head_of("GET", "/public/plain", ""));
    client.final_response("GET").expect_err("never complete");
    let cause = "the exchange took longer than 400ms (\"request\" in [timeouts])";
    is_logged(&world, "/public/plain", 200, cause);
}

/// The time for the request's body runs also while the response keeps coming.
#[test]
fn an_upload_that_stops_ends_before_and_behind_the_head_of_the_response() {
    lateness::watch();
    let (_upstream, world) = start();
    let post = |path: &str| head_of("POST", path, "Content-Length: 10\r\n") + "hello";
    for (path, key) in [
        ("/public/one", "\"body\" in [timeouts]"),
        ("/strict/one", "\"timeouts.request_body\" of the route"),
    ] {
        let since = Instant::now();
        let mut client = world.client();
        client.send(post(path));
        let (answer, _) = client.final_response("POST").expect("a refusal");
        assert_eq!(answer.status, 408, "{answer}");
        ended_in_time(since);
        is_logged(
            &world,
            path,
            408,
            &format!("the client sent nothing of its body for 400ms ({key})"),
        );
    }
    let world = plan(drips_for_ever("text/plain")).start();
    let since = Instant::now();
    let mut h2 = Connection::open(world.address());
    let id = h2.next_id();
    h2.send(Head::post("/strict/two").frame(id, flag::END_HEADERS));
    h2.send(data(id, 0, "hello"));
    let mut client = world.client();
    client.send(post("/strict/one"));
    client.final_response("POST").expect_err("never complete");
    ended_in_time(since);
    assert!(h2.read_until(|state| state.stream(id).reset.is_some()), "{:?}", h2.state);
    let cause = "the client sent nothing of its body for 400ms (\"timeouts.request_body\" of the \
                 route)";
    is_logged(&world, "/strict/one", 200, cause);
    is_logged(&world, "/strict/two", 200, cause);
}

fn call(path: &str) -> Head {
    Head::post(path).with("content-type", "application/grpc").with("te", "trailers")
}

#[test]
fn a_grpc_call_is_silent_for_as_long_as_it_likes_unless_it_or_its_route_says_otherwise() {
    lateness::watch();
    let (upstream, world) = start();
    let gate = Gate::default();
    for path in ["/public/unary", "/strict/unary", "/public/stated"] {
        upstream.answer(path, held(&gate));
    }
    let mut h2 = Connection::open(world.address());
    let mut begin = |head: &Head, body_ends: bool| {
        let id = h2.next_id();
        h2.send(head.frame(id, flag::END_HEADERS));
        h2.send(data(id, if body_ends { flag::END_STREAM } else { 0 }, b"\0\0\0\0\0"));
        id
    };
    let free = begin(&call("/public/unary"), true);
    let uploading = begin(&call("/public/upload"), false);
    let stated = begin(&call("/public/stated").with("grpc-timeout", "100m"), true);
    let strict = begin(&call("/strict/unary"), true);
    let stopped = begin(&call("/strict/upload"), false);
    for id in [stated, strict, stopped] {
        let answer = h2.answer(id);
        // DEADLINE_EXCEEDED
        assert_eq!(answer.fields.all("grpc-status"), ["4"], "{answer}");
    }
    pause();
    assert!(!h2.state.is_over(free) && !h2.state.is_over(uploading), "{:?}", h2.state);
    gate.open();
    h2.send(data(uploading, flag::END_STREAM, b"\0\0\0\0\0"));
    assert_eq!(h2.answer(free).body, b"ok");
    assert_eq!(h2.answer(uploading).status, 200);
    is_logged(&world, "/public/stated", 200, "the call took longer than its own grpc-timeout");
    is_logged(
        &world,
        "/strict/unary",
        200,
        "the upstream sent no response head for 400ms (\"timeouts.response_head\" of the route)",
    );
    is_logged(
        &world,
        "/strict/upload",
        200,
        "the client sent nothing of its body for 400ms (\"timeouts.request_body\" of the route)",
    );
}

#[test]
fn a_websocket_is_silent_for_as_long_as_it_likes_unless_its_route_says_otherwise() {
    lateness::watch();
    let (upstream, world) = start();
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for path in ["/public/ws", "/strict/ws", "/whole/ws"] {
        upstream.answer(path, Reply::acts([Act::Send(switch.into()), Act::Echo]));
    }
    let open = |path: &str| {
        let mut client = world.client();
        client.send(head_of(
            "GET",
            path,
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ));
        assert_eq!(client.response().expect("a switch").status, 101);
        client
    };
    let mut silent = open("/public/ws");
    let mut strict = open("/strict/ws");
    // As long as something comes in both directions, it goes on.
    let begun = Instant::now();
    let mut since = begun;
    while begun.elapsed() < LONG {
        since = Instant::now();
        strict.send("x");
        assert_eq!(strict.exactly(1).expect("an echo"), b"x");
        std::thread::sleep(Duration::from_millis(20));
    }
    strict.rest().expect("the connection ends");
    ended_in_time(since);
    silent.send("x");
    assert_eq!(silent.exactly(1).expect("an echo"), b"x");
    let since = Instant::now();
    open("/whole/ws").rest().expect("the connection ends");
    ended_in_time(since);
    is_logged(&world, "/whole/ws", 101, WHOLE);
    let line = world.access_line("/strict/ws");
    let cause = line["cause"].as_str().expect("a cause");
    // Both directions fell silent at the same time: whichever was seen first is named.
    let named = ["request_body", "response_body"]
        .map(|name| format!("for 400ms (\"timeouts.{name}\" of the route)"));
    assert!(named.iter().any(|named| cause.ends_with(named)), "{line}");
}

/// A request goes by the plan that was in force when it came.
#[test]
fn a_reload_changes_the_times_of_the_next_request_and_not_of_those_under_way() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/model/one", held(&gate));
    upstream.answer("/model/two", held(&gate));
    let world = plan(upstream.address()).start();
    let mut client = world.client();
    client.send(head_of("GET", "/model/one", ""));
    assert!(
        crate::support::eventually(|| upstream.take().heads == ["/model/one"]),
        "the request is forwarded"
    );
    let strict = Plan::bare().upstream("app", upstream.address()).route(
        "path = \"/model/{*rest}\"\nupstream = \"app\"\npublic = true\n\
         timeouts.response_head = \"400ms\"",
    );
    world.configure(&strict);
    world.reload();
    assert_eq!(world.ask("GET", "/model/two", "", "").status, 504);
    pause();
    gate.open();
    assert_eq!(client.response().expect("an answer").status, 200);
}

#[test]
fn explain_says_each_limit_of_the_route_with_its_key() {
    let (_upstream, world) = start();
    let url = "http://a.example/model/x";
    let output = world.run_reading(&["explain", "GET", url], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "route's limit: response head: 1m (\"timeouts.response_head\" of the route)",
        "route's limit: request body: 400ms (\"body\" in [timeouts])",
        "route's limit: response body: 400ms (\"body\" in [timeouts])",
        "route's limit: whole request: off (\"request\" in [timeouts])",
        "route's limit: size of the body: off (\"body\" in [limits])",
    ] {
        assert!(said.lines().any(|known| known == line), "{line:?} is missing in\n{said}");
    }
}
