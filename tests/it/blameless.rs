//! What is no fault of an endpoint does not put it out, and counts as a success where it is one.

use crate::support::h2::{Connection, Head, code, data, reset};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::{Act, Plan, Reply, Upstream, World, eventually};

/// Two endpoints, of which one failure puts one out for good.
fn plan(endpoints: &str, lines: &str) -> Plan {
    let ejection = "ejection = { failures = 1, for = \"1h\", longest = \"1h\" }";
    Plan::bare()
        .set("server", "workers", "1")
        .table(
            "upstream",
            &format!("name = \"app\"\nendpoints = [{endpoints}]\n{ejection}\n{lines}"),
        )
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn ejections(world: &World) -> f64 {
    world.metric("keyward_upstream_ejections_total", "")
}

#[test]
fn a_broken_upload_to_an_upstream_of_http2_puts_no_endpoint_out() {
    let upstreams = [Http2Upstream::start(100), Http2Upstream::start(100)];
    let endpoints = upstreams.each_ref().map(|each| format!("\"http://{}\"", each.address()));
    let world = plan(&endpoints.join(", "), "protocol = \"http2\"").start();
    let mut client = Connection::open(world.address());
    for _ in 0..4 {
        let before: usize = upstreams.iter().map(|each| each.arrivals().len()).sum();
        let id = client.next_id();
        client.send(Head::post("/public/held").frame(id, crate::support::h2::flag::END_HEADERS));
        client.send(data(id, 0, b"half of"));
        let arrived = || upstreams.iter().map(|each| each.arrivals().len()).sum::<usize>();
        assert!(eventually(|| arrived() > before));
        client.send(reset(id, code::CANCEL));
    }
    // Over HTTP/1.1 it breaks off with its connection.
    for _ in 0..4 {
        let mut broken = world.client();
        broken.send("POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        broken.finish();
        let _ = broken.final_response("POST");
    }
    assert_eq!(client.ask(&Head::get("/public/x")).status, 200);
    assert_eq!(ejections(&world), 0.0, "{}", world.output());
}

#[test]
fn a_grpc_call_with_a_short_deadline_puts_no_endpoint_out() {
    let upstreams = [Http2Upstream::start(100), Http2Upstream::start(100)];
    let endpoints = upstreams.each_ref().map(|each| format!("\"http://{}\"", each.address()));
    let world = plan(&endpoints.join(", "), "protocol = \"http2\"").start();
    let mut client = Connection::open(world.address());
    for _ in 0..2 {
        let call = Head::post("/public/held")
            .with("content-type", "application/grpc")
            .with("te", "trailers")
            .with("grpc-timeout", "10m");
        let id = client.next_id();
        client.send(call.with_body(id, b"\0\0\0\0\0"));
        let response = client.answer(id);
        assert_eq!(response.fields.all("grpc-status"), ["4"], "{response}");
    }
    assert_eq!(client.ask(&Head::get("/public/x")).status, 200);
    assert_eq!(ejections(&world), 0.0, "{}", world.output());
}

#[test]
fn a_websocket_that_opens_is_a_success() {
    let upstream = Upstream::start();
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                   Upgrade: websocket\r\n\r\n";
    upstream.answer("/public/socket", Reply::bytes(switch).then(Act::Close));
    upstream.answer("/public/broken", Reply::acts([Act::Reset]));
    let spare = Upstream::start();
    let endpoints = format!(
        "\"http://{}\", {{ url = \"http://{}\", draining = true }}",
        upstream.address(),
        spare.address()
    );
    // Two failures in a row would be one too many.
    let lines = format!(
        "name = \"app\"\nendpoints = [{endpoints}]\ncircuit = true\n\
         ejection = {{ failures = 2, for = \"1h\", longest = \"1h\" }}"
    );
    let world = Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &lines)
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    for _ in 0..4 {
        assert_eq!(world.ask("POST", "/public/broken", "", "x").status, 502);
        let mut client = world.client();
        client.send(
            "GET /public/socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert_eq!(client.response().expect("a response").status, 101);
    }
    assert_eq!(ejections(&world), 0.0, "{}", world.output());
}

#[test]
fn a_header_that_is_removed_before_the_upstream_chooses_the_endpoint_all_the_same() {
    let upstreams = [Upstream::start(), Upstream::start(), Upstream::start()];
    let endpoints = upstreams.each_ref().map(|each| format!("\"http://{}\"", each.address()));
    let lines = "balance = \"hash\"\nhash_by = \"header:X-Keyward-Subject\"";
    let world = plan(&endpoints.join(", "), lines).start();
    let mut chosen = std::collections::BTreeSet::new();
    for caller in 0..20 {
        let mut of_caller = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let field = format!("X-Keyward-Subject: {caller}\r\n");
            assert_eq!(world.ask("GET", "/public/x", &field, "").status, 200);
            for (at, upstream) in upstreams.iter().enumerate() {
                for request in upstream.take().requests {
                    assert!(!request.fields.has("x-keyward-subject"), "it is removed");
                    of_caller.insert(at);
                }
            }
        }
        assert_eq!(of_caller.len(), 1, "caller {caller}");
        chosen.extend(of_caller);
    }
    assert!(chosen.len() > 1, "{chosen:?}");
}
