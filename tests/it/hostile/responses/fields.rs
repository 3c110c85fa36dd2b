//! Heads and trailers of responses: how large they may be, and which of their fields pass.

use super::super::{HostileWorld, echoes};
use crate::support::Reply;

#[test]
fn a_huge_head_becomes_502() {
    let world = HostileWorld::start();
    for fields in [format!("X-A: {}\r\n", "a".repeat(4 << 20)), "X-A: b\r\n".repeat(20_000)] {
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        world.upstream.answer("/public/huge", Reply::bytes(reply));
        let response = world.client().ask("GET /public/huge HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(response.status, 502, "{}", response.status);
        world.sentinel().expect("the next client is served");
    }
}

/// A HEAD's answer announces a body that it does not have.
#[test]
fn the_answer_to_head_has_no_body() {
    let world = HostileWorld::start();
    world
        .upstream
        .answer("/public/head", Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"));
    let mut client = world.client();
    client.send(
        "HEAD /public/head HTTP/1.1\r\nHost: a.example\r\n\r\nGET /public/next HTTP/1.1\r\n\
         Host: a.example\r\n\r\n",
    );
    let (response, _) = client.final_response("HEAD").expect("an answer");
    assert_eq!(response.fields.all("content-length"), ["50"]);
    let (next, _) = client.final_response("GET").expect("the next answer");
    echoes(&next, "/public/next").expect("its own answer");
}

/// gRPC needs them; framing and hop-by-hop fields have no place among them.
#[test]
fn trailers_of_a_response_pass() {
    let world = HostileWorld::start();
    let reply = "HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\
                 ok\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 99\r\nConnection: close\r\n\r\n";
    world.upstream.answer("/public/grpc", Reply::bytes(reply));
    let response = world.client().ask(
        "GET /public/grpc HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    );
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.fields.all("trailer"), ["Grpc-Status"]);
    assert_eq!(response.trailers.all("grpc-status"), ["0"], "{:?}", response.trailers);
    assert!(
        !response.trailers.has("content-length") && !response.trailers.has("connection"),
        "{:?}",
        response.trailers
    );
}

/// A client of HTTP/1.1 that does not ask for trailers gets none, and none are announced to it.
#[test]
fn trailers_that_are_dropped_are_not_announced() {
    let world = HostileWorld::start();
    let reply = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\
                 0\r\nX-Sum: 7\r\n\r\n";
    world.upstream.answer("/public/sum", Reply::bytes(reply));
    for te in ["", "TE: gzip\r\nConnection: TE\r\n"] {
        let response =
            world.client().ask(format!("GET /public/sum HTTP/1.1\r\nHost: a.example\r\n{te}\r\n"));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert!(!response.fields.has("trailer"), "{response}");
        assert!(response.trailers.0.is_empty(), "{:?}", response.trailers);
    }
    let old =
        world.client().ask("GET /public/sum HTTP/1.0\r\nHost: a.example\r\nTE: trailers\r\n\r\n");
    assert_eq!((old.status, old.text().as_str()), (200, "ok"));
    assert!(!old.fields.has("trailer"), "{old}");
}

/// As nginx, which limits the bytes of a head and not its lines.
#[test]
fn a_response_of_110_fields_passes_whole() {
    let world = HostileWorld::start();
    let lines: String = (0..110).map(|n| format!("X-Line-{n}: {n}\r\n")).collect();
    world.upstream.answer(
        "/public/many",
        Reply::bytes(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok")),
    );
    let response = world.client().ask("GET /public/many HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    for n in 0..110 {
        assert_eq!(response.fields.all(&format!("x-line-{n}")), [n.to_string()]);
    }
}

#[test]
fn identity_fields_of_a_response_are_the_upstreams_own_affair_but_its_date_and_server_pass_once() {
    let world = HostileWorld::start();
    let reply = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: app\r\n\
                 Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok";
    world.upstream.answer("/public/plain", Reply::bytes(reply));
    let response = world.client().ask("GET /public/plain HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.fields.all("date"), ["Thu, 01 Jan 2026 00:00:00 GMT"]);
    assert_eq!(response.fields.all("server"), ["app"]);
    assert_eq!(response.fields.all("set-cookie"), ["a=b", "c=d"]);
}
