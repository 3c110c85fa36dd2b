//! Interim answers of upstreams end at keyward.

use super::super::HostileWorld;
use crate::support::Reply;

#[test]
fn interim_answers_end_at_keyward() {
    let world = HostileWorld::start();
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\n\
                 X-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 150 Odd\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    world.upstream.answer("/public/hints", Reply::bytes(reply));
    let mut client = world.client();
    client.send("GET /public/hints HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (response, interim) = client.final_response("GET").expect("an answer");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    // hyper's server sends none but 100.
    assert!(interim.is_empty(), "{}", interim.len());
    assert!(!response.fields.has("link"), "{response}");
}

/// HTTP/1.0 knows no interim answers (RFC 9110, 15.2) and no chunks.
#[test]
fn a_client_of_http_1_0_gets_neither_interim_answers_nor_chunks() {
    let world = HostileWorld::start();
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    world.upstream.answer("/public/ten", Reply::bytes(reply));
    let mut client = world.client();
    client.send("GET /public/ten HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let (response, interim) = client.final_response("GET").expect("an answer");
    assert!(interim.is_empty());
    assert!(!response.fields.has("transfer-encoding"), "{response}");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn a_thousand_interim_answers_end_in_an_answer() {
    let world = HostileWorld::start();
    let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
    let reply = Reply::bytes(many + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    world.upstream.answer("/public/many", reply);
    let response = world.client().ask("GET /public/many HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!([200, 502].contains(&response.status), "{response}");
    world.sentinel().expect("the next client is served");
}
