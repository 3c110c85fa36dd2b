//! Answers that begin before their request has ended (RFC 9112, section 9.3): both go on, and
//! neither waits for the other.

use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Act, Gate, Plan, Reply, TIMEOUT, Upstream, Wire, eventually, lateness};

const MUCH: usize = 8 << 20;

/// Reads a head, and then a body of this many bytes, while it writes an answer of as many.
fn swap(stream: TcpStream) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut writer = Wire::new(stream.try_clone().expect("a second handle"), TIMEOUT);
        let mut reader = Wire::new(stream, TIMEOUT);
        reader.request_head().expect("a head");
        let writes = std::thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n");
            let answer = [head.into_bytes(), vec![b'a'; MUCH]].concat();
            writer.try_send(&answer).expect("the answer leaves");
        });
        let read = reader.exactly(MUCH).expect("the body arrives").len();
        writes.join().expect("the answer has left");
        read
    })
}

/// Far more than all buffers between them hold: a client that reads nothing before it has sent
/// everything.
#[test]
fn a_client_may_send_its_whole_body_before_it_reads_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let world = Plan::bare()
        .upstream("app", listener.local_addr().expect("it is bound"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let mut client = world.client();
    client.send(format!(
        "POST /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {MUCH}\r\n\r\n"
    ));
    let upstream = swap(listener.accept().expect("a connection").0);
    client.send(vec![b'b'; MUCH]);
    let (response, _) = client.final_response("POST").expect("the answer");
    assert_eq!((response.status, response.body.len()), (200, MUCH));
    assert_eq!(upstream.join().expect("it has ended"), MUCH);
}

/// Answers before it has read a byte of the body, and then reads this many bytes of it, or fewer if
/// the connection ends.
fn answer_first(listener: TcpListener, length: usize) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut wire = Wire::new(stream, TIMEOUT);
        wire.request_head().expect("a head");
        wire.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .expect("the answer leaves");
        let mut body = Vec::new();
        while body.len() < length {
            match wire.some() {
                Ok(more) if !more.is_empty() => body.extend(more),
                _ => break,
            }
        }
        body
    })
}

/// A connection that is closed behind its answer is closed behind its request, too, which is read
/// to its end for the upstream.
#[test]
fn an_upload_reaches_the_upstream_whole_though_its_connection_is_to_be_closed() {
    let body: Vec<u8> = (0..MUCH).map(|at| u8::try_from(at % 251).expect("small")).collect();
    for connection in ["close", "keep-alive"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let world = Plan::bare()
            .upstream("app", listener.local_addr().expect("it is bound"))
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .start();
        let upstream = answer_first(listener, MUCH);
        let mut client = world.client();
        client.send(format!(
            "POST /public/x HTTP/1.1\r\nHost: a.example\r\nConnection: {connection}\r\n\
             Content-Length: {MUCH}\r\n\r\n"
        ));
        let (response, _) = client.final_response("POST").expect("the answer");
        assert_eq!((response.status, &*response.body), (200, &b"ok"[..]));
        // The server may end the upload at any time: a client that had not been told would send its
        // next request.
        assert_eq!(response.fields.all("connection"), ["close"], "{connection}: {response}");
        let (first, second) = body.split_at(MUCH / 2);
        client.send(first);
        // A timeout of keyward has to pass: a connection that is idle for a second is taken down to
        // its socket. This one is not idle.
        lateness::pass(Duration::from_millis(1300));
        client.send(second);
        assert!(
            upstream.join().expect("it has ended") == body,
            "{connection}: what arrived is not what was sent"
        );
    }
}

/// A client that stops in the middle of its upload is cut in its time, and the upstream learns of
/// it.
#[test]
fn an_upload_that_stops_behind_its_answer_ends_on_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let world = Plan::bare()
        .set("timeouts", "body", "\"400ms\"")
        .set("timeouts", "response_head", "\"400ms\"")
        .upstream("app", listener.local_addr().expect("it is bound"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let upstream = answer_first(listener, MUCH);
    let mut client = world.client();
    client.send(format!(
        "POST /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: {MUCH}\r\n\r\nhello"
    ));
    let (response, _) = client.final_response("POST").expect("the answer");
    assert_eq!(response.status, 200);
    client.rest().expect("the connection ends");
    assert_eq!(upstream.join().expect("it ends, too"), b"hello");
}

/// The answer to half a request is not completed.
#[test]
fn an_answer_ends_with_the_upload_that_breaks_off() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for (head, end) in
        [("Content-Length: 10", "-last"), ("Transfer-Encoding: chunked", "5\r\n-last\r\n0\r\n\r\n")]
    {
        let gate = Gate::default();
        let start = match head {
            "Content-Length: 10" => format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nfirst"),
            _ => format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nfirst\r\n"),
        };
        let acts = [Act::Send(start.into()), Act::Wait(gate.clone()), Act::Send(end.into())];
        upstream.answer("/public/early", Reply::acts(acts).early());
        let mut client = world.client();
        client.send(
            "POST /public/early HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n",
        );
        while !String::from_utf8_lossy(client.seen()).contains("first") {
            assert!(!client.some().expect("the answer begins").is_empty(), "cut before it began");
        }
        client.send("not a chunk\r\n");
        let fault = client.rest();
        assert!(!String::from_utf8_lossy(client.seen()).contains("-last"), "{fault:?}");
        gate.open();
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "the next one is served");
        assert!(
            !upstream.take().requests.iter().any(|request| request.method == "POST"),
            "half a request is none"
        );
    }
}

/// What a refusal does not wait for, a client need not send.
#[test]
fn an_early_refusal_is_passed_on_and_the_next_request_is_served() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let refusal =
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    upstream.answer("/public/early", Reply::bytes(refusal).then(Act::Close).early());
    for _ in 0..10 {
        let mut client = world.client();
        client.send(
            "POST /public/early HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n\
             start",
        );
        match client.final_response("POST") {
            Ok((response, _)) => {
                assert_eq!((response.status, response.text().as_str()), (413, "no"))
            }
            Err(fault) => panic!("{fault:?}"),
        }
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
}

/// Bytes that no request asked for come while the connection is idle: it is not used again, and no
/// client gets them.
#[test]
fn what_an_idle_upstream_sends_unasked_is_never_an_answer() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).set("server", "workers", "1").start();
    let gate = Gate::default();
    let fine = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into());
    let late = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".into());
    upstream.answer("/public/late", Reply::acts([fine, Act::Wait(gate.clone()), late]));
    assert_eq!(world.ask("GET", "/public/late", "", "").text(), "ok");
    gate.open();
    // They have to arrive before the next request leaves, or any client would take them for its
    // answer.
    assert!(eventually(|| upstream.open_connections() == 0), "the connection is given up");
    for _ in 0..3 {
        let response = world.ask("GET", "/public/x", "", "");
        assert!(response.status == 200 && !response.text().contains("evil"), "{response}");
    }
}

#[test]
fn chunked_bodies_of_any_size_pass_both_ways_unchanged() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for (pieces, size) in [(1, 1), (1000, 1), (3, 4095), (3, 4096), (5, 70_001), (2, 1 << 20)] {
        let body: Vec<u8> = (0..pieces * size).map(|n| (n % 251) as u8).collect();
        let chunked: Vec<u8> = body
            .chunks(size)
            .flat_map(|piece| {
                [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
            })
            .chain(*b"0\r\n\r\n")
            .collect();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        upstream.answer("/public/big", Reply::bytes([head.as_slice(), &chunked].concat()));
        let mut client = world.client();
        client.send(
            b"POST /public/big HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        client.send(&chunked);
        let (response, _) = client.final_response("POST").expect("an answer");
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{pieces} of {size} bytes come back");
        assert!(
            upstream.take().requests.pop().is_some_and(|request| request.body == body),
            "{pieces} of {size} go out"
        );
    }
}
