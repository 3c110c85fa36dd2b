//! The trace that a request says it belongs to: unchanged to the upstream, and in the access log,
//! where it is well formed.

use serde_json::Value;

use crate::support::h2::{Connection, Head};
use crate::support::{Plan, TestUser, Upstream, World};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn parent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

fn start(upstream: &Upstream) -> World {
    Plan::usual(upstream).start()
}

/// What the access log says of the trace: its id, the span and the state.
#[track_caller]
fn logged(world: &World, path: &str) -> [Value; 3] {
    let line = world.access_line(path);
    ["trace_id", "span_id", "tracestate"].map(|member| line[member].clone())
}

#[test]
fn a_trace_goes_on_as_it_came_and_is_in_the_log_over_both_versions() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let states = ["vendor=a\"b\\c ,  other@x=1", "third=2"];
    let fields = format!(
        "TraceParent: {}\r\ntracestate: {}\r\nTracestate: {}\r\n",
        parent(),
        states[0],
        states[1]
    );
    assert_eq!(world.ask("GET", "/public/1", &fields, "").status, 200);
    let head = Head::get("/public/2")
        .with("traceparent", parent())
        .with("tracestate", states[0])
        .with("tracestate", states[1]);
    assert_eq!(Connection::open(world.address()).ask(&head).status, 200);
    let requests = upstream.take().requests;
    assert_eq!(requests.len(), 2);
    for (request, path) in requests.iter().zip(["/public/1", "/public/2"]) {
        assert_eq!(request.target, path);
        assert_eq!(request.fields.all("traceparent"), [parent()]);
        assert_eq!(request.fields.all("tracestate"), states);
        let state = "vendor=a\"b\\c,other@x=1,third=2";
        assert_eq!(logged(&world, path), [TRACE, SPAN, state].map(Value::from));
    }
}

#[test]
fn a_request_without_a_trace_gets_none() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    assert_eq!(world.ask("GET", "/public/y", "tracestate: a=b\r\n", "").status, 200);
    let requests = upstream.take().requests;
    assert!(requests.iter().all(|request| !request.fields.has("traceparent")));
    assert_eq!(requests[1].fields.all("tracestate"), ["a=b"]);
    for path in ["/public/x", "/public/y"] {
        assert_eq!(logged(&world, path), [Value::Null, Value::Null, Value::Null]);
    }
}

#[test]
fn refused_requests_have_their_trace_in_the_log() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let fields = format!("traceparent: {}\r\ntracestate: a=b\r\n", parent());
    let traced = [Value::from(TRACE), SPAN.into(), "a=b".into()];
    assert_eq!(world.ask("GET", "/private/x", &fields, "").status, 401);
    assert_eq!(world.ask("GET", "/nowhere", &fields, "").status, 404);
    let call = world.api(TestUser::ALICE).path("/auth/tokens");
    assert_eq!(world.ask("GET", &call, &fields, "").status, 401);
    for path in ["/private/x", "/nowhere", &call] {
        assert_eq!(logged(&world, path), traced, "{path}");
    }
    // Refused by its head.
    assert_eq!(world.ask("GET", "/a%00", &fields, "").status, 400);
    assert_eq!(logged(&world, "-"), traced);
    assert!(upstream.take().requests.is_empty());
}

#[test]
fn what_is_malformed_goes_on_as_it_came_and_puts_nothing_into_the_log() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let upper = parent().to_ascii_uppercase();
    let injected = format!("00-{}\",\"x\":\"{}-{SPAN}-01", &TRACE[..16], &TRACE[25..]);
    let long = format!("a={}", "b".repeat(600));
    for (at, (parents, state, expected)) in [
        (vec![upper.as_str()], "a=b", [Value::Null, Value::Null, Value::Null]),
        (vec![injected.as_str()], "a=b", [Value::Null, Value::Null, Value::Null]),
        (vec![&*parent(), &*parent()], "a=b", [Value::Null, Value::Null, Value::Null]),
        (vec![&*parent()], &long, [TRACE.into(), SPAN.into(), Value::Null]),
        (vec![&*parent()], "no state", [TRACE.into(), SPAN.into(), Value::Null]),
    ]
    .into_iter()
    .enumerate()
    {
        let lines: Vec<_> =
            parents.iter().map(|value| format!("traceparent: {value}\r\n")).collect();
        let fields = format!("{}tracestate: {state}\r\n", lines.concat());
        let path = format!("/public/{at}");
        assert_eq!(world.ask("GET", &path, &fields, "").status, 200, "{fields}");
        let request = upstream.take().requests.remove(0);
        assert_eq!(request.fields.all("traceparent"), parents);
        assert_eq!(request.fields.all("tracestate"), [state]);
        assert_eq!(logged(&world, &path), expected, "{fields}");
        assert_eq!(world.access_line(&path)["x"], Value::Null);
    }
}
