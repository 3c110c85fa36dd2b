//! What opens one route is not for the upstreams of the others: browsers send a cookie to all paths
//! of a host, and clients their header or parameter.

use crate::support::h2::{Connection, Head};
use crate::support::{Plan, Request, TIMEOUT, TestUser, Upstream, WebSocketServer, World, json};

/// A key of another maker's, which begins like one of ours.
const FOREIGN: &str = "sk-proj-0123456789012345678901234567890123456789";

/// The usual world, with `/live/`, which takes credentials from everywhere, and `/kept/`, which is
/// public and forwards credentials.
fn plan(upstream: &Upstream) -> Plan {
    Plan::usual(upstream)
        .route(
            "path = \"/live/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             credentials = { cookie = \"token\", headers = [\"X-API-Key\", \"Private-Token\"], \
             query = \"access_token\", ticket = \"ticket\", websocket_protocol = true }",
        )
        .route(
            "path = \"/kept/{*rest}\"\nupstream = \"app\"\npublic = true\n\
             forward_credential = true",
        )
}

/// What arrives of a GET, over HTTP/1.1 and over HTTP/2.
#[track_caller]
fn arrived(
    world: &World,
    upstream: &Upstream,
    target: &str,
    fields: &[(&str, &str)],
) -> Vec<Request> {
    let lines: String =
        fields.iter().map(|field| format!("{}: {}\r\n", field.0, field.1)).collect();
    assert_eq!(world.ask("GET", target, &lines, "").status, 200, "{target}");
    let head = fields.iter().fold(Head::get(target), |head, field| head.with(field.0, field.1));
    assert_eq!(Connection::open(world.address()).ask(&head).status, 200, "{target}");
    let requests = upstream.take().requests;
    assert_eq!(requests.len(), 2, "{target}");
    requests
}

fn text(request: &Request) -> String {
    format!("{} {:?}", request.target, request.fields)
}

#[test]
fn a_credential_of_one_route_does_not_reach_the_upstreams_of_others() {
    let upstream = Upstream::start();
    let world = plan(&upstream).start();
    let (key, other) = (world.key(TestUser::ALICE).token, world.key(TestUser::ALICE).token);
    let made = json(&world.api(TestUser::ALICE).call("POST", "/tickets", &key, ""));
    let ticket = made["ticket"].as_str().expect("a ticket");
    let cookies = format!("a=1; token={key}; b=2");
    let referer = format!("http://a.example/live/x?access_token={key}");
    let bearer = format!("Bearer {other}");
    let fields = [
        ("authorization", &*bearer),
        ("cookie", &*cookies),
        ("x-api-key", &*key),
        ("private_token", &*key),
        ("referer", &*referer),
    ];
    let target = format!("x?access_token={key}&q=%201&%74icket={ticket}");
    for route in ["/public/", "/private/"] {
        for request in arrived(&world, &upstream, &format!("{route}{target}"), &fields) {
            let text = text(&request);
            for secret in [&key, &other, ticket] {
                assert!(!text.contains(secret), "{route}: {text}");
            }
            // What is beside it stays.
            assert_eq!(request.target, format!("{route}x?q=%201"));
            assert_eq!(request.fields.all("cookie"), ["a=1; b=2"], "{text}");
            assert_eq!(request.fields.all("referer"), ["http://a.example/live/x"], "{text}");
        }
    }
    // Where the route forwards credentials, all but the ticket goes on.
    for request in arrived(&world, &upstream, &format!("/kept/{target}"), &fields) {
        assert_eq!(request.target, format!("/kept/x?access_token={key}&q=%201"));
        for (name, value) in fields {
            assert_eq!(request.fields.all(name), [value], "{name}");
        }
    }
}

#[test]
fn what_has_not_the_form_of_a_credential_is_the_upstreams_unless_it_is_the_cookie() {
    let upstream = Upstream::start();
    let world = plan(&upstream).start();
    let fields = [
        ("x-api-key", FOREIGN),
        ("private-token", "mine"),
        ("referer", "http://a.example/?access_token=mine"),
        ("cookie", "token=mine; a=1"),
    ];
    let target = "/public/x?access_token=mine&ticket=of-the-theatre";
    for request in arrived(&world, &upstream, target, &fields) {
        assert_eq!(request.target, target);
        for (name, value) in &fields[..3] {
            assert_eq!(request.fields.all(name), [*value], "{name}");
        }
        assert_eq!(request.fields.all("cookie"), ["a=1"]);
    }
    // Where no route names a place, nothing is looked for.
    let world = Plan::usual(&upstream).start();
    let key = world.key(TestUser::ALICE).token;
    let fields = [("cookie", &*format!("token={key}")), ("private-token", &*key)];
    let target = format!("/public/x?access_token={key}");
    for request in arrived(&world, &upstream, &target, &fields) {
        assert_eq!(request.target, target);
        assert_eq!(request.fields.all("cookie"), [fields[0].1]);
        assert_eq!(request.fields.all("private-token"), [&*key]);
    }
}

#[test]
fn neither_the_protocols_of_a_websocket_nor_a_destination_carry_it_on() {
    let (upstream, sockets) = (Upstream::start(), WebSocketServer::start());
    let world = plan(&upstream)
        .upstream("sockets", sockets.address)
        .route("path = \"/sockets/{*rest}\"\nupstream = \"sockets\"\npublic = true")
        .start();
    let key = world.key(TestUser::ALICE).token;
    for (offered, left) in
        [(format!("chat, bearer, {key}"), "chat"), ("bearer, chat".to_owned(), "bearer, chat")]
    {
        let fields = format!(
            "GET /sockets/x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {offered}\r\n\r\n"
        );
        assert_eq!(world.client().ask(fields).status, 101, "{offered}");
        let asked = sockets.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
        assert_eq!(asked.fields.all("sec-websocket-protocol"), [left]);
    }
    let destination = format!("Destination: /public/b?access_token={key}&a=1\r\n");
    assert_eq!(world.ask("MOVE", "/public/a", &destination, "").status, 200);
    let request = upstream.take().requests.pop().expect("it was forwarded");
    assert_eq!(request.fields.all("destination"), ["/public/b?a=1"]);
}
