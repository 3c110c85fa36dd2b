//! What routes change in the headers of requests and answers, and that nothing of keyward's own is
//! changed.

use crate::support::h2::{Connection, Head};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::{Plan, Reply, TestUser, Upstream, WebSocketServer, World};

const CHANGES: &str = "request_headers.set = { X-Set = \"ours\", \
                       Authorization = \"Basic ${UPSTREAM_KEY:-canary-key}\" }\n\
                       request_headers.add = { X-Add = [\"one\", \"two\"], X-Both = \"added\" }\n\
                       request_headers.remove = [\"X-Gone\", \"X-Both\"]\n\
                       response_headers.set = { Strict-Transport-Security = \"max-age=1\", \
                       Cache-Control = \"public\" }\n\
                       response_headers.add = { Vary = \"X-A\", X-New = \"new\" }\n\
                       response_headers.remove = [\"Server\", \"X-Powered-By\"]";

fn changing(path: &str, more: &str) -> String {
    format!("path = {path:?}\n{more}\n{CHANGES}")
}

fn start(upstream: &Upstream) -> World {
    Plan::usual(upstream)
        .route(&changing("/changed/{*rest}", "upstream = \"app\"\naccept = [\"jarvispy\"]"))
        .route(&changing("/open/{*rest}", "upstream = \"app\"\npublic = true"))
        .start()
}

#[test]
fn a_request_is_changed_before_the_upstream_and_the_clients_token_is_not_there() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let alice = world.key(TestUser::ALICE);
    let fields = format!(
        "Authorization: Bearer {}\r\nX-Set: theirs\r\nX-Set: theirs\r\nX-Add: zero\r\n\
         X-Both: theirs\r\nX-Gone: 1\r\nX-Kept: 1\r\nX-Keyward-Subject: forged\r\n",
        alice.token
    );
    assert_eq!(world.ask("GET", "/changed/x", &fields, "").status, 200);
    let head = fields.lines().fold(Head::get("/changed/x"), |head, line| {
        let (name, value) = line.split_once(": ").expect("a field");
        head.with(name.to_ascii_lowercase(), value)
    });
    assert_eq!(Connection::open(world.address()).ask(&head).status, 200);
    let requests = upstream.take().requests;
    assert_eq!(requests.len(), 2);
    for request in &requests {
        for (name, values) in [
            ("authorization", &["Basic canary-key"][..]),
            ("x-set", &["ours"]),
            ("x-add", &["zero", "one", "two"]),
            ("x-both", &["added"]),
            ("x-gone", &[]),
            ("x-kept", &["1"]),
            ("x-keyward-subject", &["auth0|alice"]),
        ] {
            assert_eq!(request.fields.all(name), values, "{name}: {request:?}");
        }
    }
}

#[test]
fn an_upstream_of_http2_gets_the_changed_request_too() {
    let upstream = Http2Upstream::start(100);
    let endpoint = format!("http://{}", upstream.address());
    let world = Plan::bare()
        .table(
            "upstream",
            &format!("name = \"app\"\nendpoints = [{endpoint:?}]\nprotocol = \"http2\""),
        )
        .route(&changing("/{*rest}", "upstream = \"app\"\npublic = true"))
        .start();
    for _ in 0..2 {
        assert_eq!(world.ask("GET", "/x", "X-Gone: 1\r\n", "").status, 200);
    }
    let arrivals = upstream.arrivals();
    assert_eq!(arrivals.len(), 2);
    for arrival in arrivals {
        let all = |name: &str| arrival.headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("authorization"), ["Basic canary-key"]);
        assert_eq!(all("x-add"), ["one", "two"]);
        assert!(!arrival.headers.contains_key("x-gone"));
    }
}

#[test]
fn an_answer_of_the_upstream_is_changed_before_the_client() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let fields = "Server: x\r\nX-Powered-By: y\r\nCache-Control: no-cache\r\nVary: Accept\r\n\
                  Strict-Transport-Security: max-age=0\r\nETag: \"1\"\r\n";
    upstream.answer("/open/x", Reply::of("404 Not Found", fields, "gone"));
    let response = world.ask("GET", "/open/x", "", "");
    assert_eq!((response.status, response.text().as_str()), (404, "gone"));
    for (name, values) in [
        ("server", &[][..]),
        ("x-powered-by", &[]),
        ("cache-control", &["public"]),
        ("vary", &["Accept", "X-A"]),
        ("strict-transport-security", &["max-age=1"]),
        ("x-new", &["new"]),
        ("etag", &["\"1\""]),
    ] {
        assert_eq!(response.fields.all(name), values, "{name}: {response}");
    }
    let response = Connection::open(world.address()).ask(&Head::get("/open/x"));
    assert_eq!(response.fields.all("strict-transport-security"), ["max-age=1"]);
    assert!(!response.fields.has("server"));
}

#[test]
fn a_refusal_gets_what_is_set_and_keeps_what_it_says_itself() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    let refused = world.ask("GET", "/changed/x", "", "");
    upstream.answer("/open/broken", Reply::bytes("no HTTP\r\n\r\n"));
    let broken = world.ask("GET", "/open/broken", "", "");
    assert_eq!((refused.status, broken.status), (401, 502));
    for response in [&refused, &broken] {
        assert_eq!(response.fields.all("strict-transport-security"), ["max-age=1"], "{response}");
        assert_eq!(response.fields.all("cache-control"), ["no-store"], "{response}");
        assert_eq!(response.fields.all("x-new"), ["new"], "{response}");
        assert_eq!(response.fields.all("content-type"), ["application/problem+json"]);
    }
    assert!(refused.fields.has("www-authenticate"), "{refused}");
    // A request that is refused before its route is known has nothing of a route.
    let unknown = world.ask("GET", "/elsewhere", "", "");
    assert!(!unknown.fields.has("strict-transport-security"), "{unknown}");
    let grpc =
        Head::post("/changed/x").with("content-type", "application/grpc").with("te", "trailers");
    let response = Connection::open(world.address()).ask(&grpc);
    assert_eq!(response.fields.all("grpc-status"), ["16"]);
    assert_eq!(response.fields.all("strict-transport-security"), ["max-age=1"]);
    assert_eq!(response.fields.all("cache-control"), ["no-store"]);
}

#[test]
fn the_answers_of_keyward_along_a_route_and_the_switch_to_websocket_are_changed_too() {
    let server = WebSocketServer::start();
    let changes = "response_headers.set = { X-New = \"new\", Content-Type = \"text/html\" }";
    let world = Plan::bare()
        .upstream("sockets", server.address)
        .route(&format!("path = \"/f\"\npublic = true\nrespond.body = \"x\"\n{changes}"))
        .route(&format!("path = \"/r\"\npublic = true\nredirect.to = \"/f\"\n{changes}"))
        .route(&format!("path = \"/s\"\nupstream = \"sockets\"\npublic = true\n{changes}"))
        .start();
    for (path, status) in [("/f", 200), ("/r", 308)] {
        let response = world.ask("GET", path, "", "");
        assert_eq!(response.status, status);
        assert_eq!(response.fields.all("x-new"), ["new"], "{response}");
        assert_eq!(response.fields.all("content-type"), ["text/html"], "{response}");
    }
    let mut client = world.client();
    client.send(
        "GET /s HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.response().expect("a switch");
    assert_eq!((response.status, response.fields.all("x-new")), (101, vec!["new".to_owned()]));
    client.send("echo");
    assert_eq!(client.exactly(4).expect("an echo"), b"echo");
}

#[test]
fn trailers_are_left_as_they_are() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    upstream.answer(
        "/open/x",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Powered-By\r\n\r\n\
             1\r\nx\r\n0\r\nX-Powered-By: trailer\r\n\r\n",
        ),
    );
    let response = world.ask("GET", "/open/x", "TE: trailers\r\n", "");
    assert_eq!(response.trailers.all("x-powered-by"), ["trailer"], "{response}");
    assert!(!response.trailers.has("strict-transport-security"), "{response}");
}

#[test]
fn no_value_of_a_request_is_shown_by_explain_or_the_logs() {
    let upstream = Upstream::start();
    let world = start(&upstream);
    assert_eq!(world.ask("GET", "/open/x", "", "").status, 200);
    let url = "http://a.example/open/x";
    let output = world.run_reading(&["explain", "GET", url, "--json"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("requests: sets authorization"), "{said}");
    assert!(said.contains("answers: removes server"), "{said}");
    let output = world.output();
    for text in [&said, &output] {
        assert!(!text.contains("canary-key"), "{text}");
    }
}
