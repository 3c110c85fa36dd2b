//! Upstreams that misbehave (RFC 9112, 6.3, 8): what is no response becomes 502, what breaks off is
//! cut at the client too, and nothing that one upstream sends too much is ever shown to another
//! request.

use super::snapshot::{Outcome, Suite};
use super::{Range, echoes, is_refusal};
use crate::support::{Act, Fault, Reply, Response};

/// What the client must get.
#[derive(Clone, Copy)]
enum Get {
    /// 502 by keyward.
    BadGateway,
    /// This status with this body.
    Passed(u16, &'static str),
    /// Either of both.
    PassedOrBad(u16, &'static str),
    /// The start of this status or 502, but never a complete message: or 502.
    CutOrBad,
}

struct Case {
    name: &'static str,
    /// What the upstream sends.
    reply: &'static [u8],
    /// It then closes.
    close: bool,
    expect: Get,
}

const fn open(name: &'static str, reply: &'static [u8], expect: Get) -> Case {
    Case { name, reply, close: false, expect }
}

const fn closed(name: &'static str, reply: &'static [u8], expect: Get) -> Case {
    Case { name, reply, close: true, expect }
}

use Get::{BadGateway, CutOrBad, Passed, PassedOrBad};

const CASES: &[Case] = &[
    open("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Passed(200, "ok")),
    open("a length of zero", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Passed(200, "")),
    open(
        "chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "chunks with extensions",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "a space before a chunk extension",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 ;a=b\r\nok\r\n0 \r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "chunked in odd case",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ChunkeD\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    closed("until close", b"HTTP/1.1 200 OK\r\n\r\nok", Passed(200, "ok")),
    closed("until close, HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nok", Passed(200, "ok")),
    open(
        "HTTP/1.0 with a length",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open("204", b"HTTP/1.1 204 No Content\r\n\r\n", Passed(204, "")),
    open("304", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", Passed(304, "")),
    open(
        "304 with a length",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        Passed(304, ""),
    ),
    open(
        "an unknown status",
        b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
        Passed(299, "ok"),
    ),
    open(
        "an error of the upstream's own",
        b"HTTP/1.1 503 Away\r\nContent-Length: 2\r\n\r\nno",
        Passed(503, "no"),
    ),
    open("no reason", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", Passed(200, "ok")),
    open(
        "no reason and no space",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "an empty line first",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open("bare LFs", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", PassedOrBad(200, "ok")),
    open(
        "the same length twice",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "two lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        BadGateway,
    ),
    open("two lengths in a list", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", BadGateway),
    open("a length with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", BadGateway),
    open("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", BadGateway),
    open("a length in hex", b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", BadGateway),
    open(
        "a length that is a word",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        BadGateway,
    ),
    open("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", BadGateway),
    open(
        "a length of 2^64",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a length and chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\
          0\r\n\r\n",
        BadGateway,
    ),
    open(
        "chunks and a length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n\
          0\r\n\r\n",
        BadGateway,
    ),
    closed("gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", BadGateway),
    open(
        "gzip, chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "chunked, gzip",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "identity",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    closed(
        "xchunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    open(
        "chunked twice",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\
          ok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "chunks on HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    open("no status line", b"garbage\r\n\r\n", BadGateway),
    closed("HTTP/0.9", b"<html>hello</html>", BadGateway),
    open("bytes of TLS", b"\x15\x03\x01\x00\x02\x02\x46", BadGateway),
    open("a bad version", b"HTTP/3.1 200 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of letters", b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of zeros", b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of 99", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open(
        "a NUL in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a bare CR in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a control byte in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\x07c\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a folded line",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a space before the colon",
        b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a space before the colon of a length",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open("an empty name", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open(
        "a line without a colon",
        b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "8-bit bytes in a value",
        b"HTTP/1.1 200 OK\r\nX-A: \xe4\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a status line with a NUL",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "204 with a body",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        PassedOrBad(204, ""),
    ),
    open(
        "204 with chunks",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        PassedOrBad(204, ""),
    ),
    open(
        "204 and a response behind",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(204, ""),
    ),
    open(
        "304 with a body",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        PassedOrBad(304, ""),
    ),
    open(
        "bytes behind the body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokevil",
        Passed(200, "ok"),
    ),
    open(
        "a response behind the body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
          Content-Length: 4\r\n\r\nevil",
        Passed(200, "ok"),
    ),
    open(
        "a response behind a length of zero",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\
          evil",
        Passed(200, ""),
    ),
    open(
        "a response behind the chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(200, "ok"),
    ),
    closed(
        "a body that breaks off",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        CutOrBad,
    ),
    closed("a body that never starts", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", CutOrBad),
    closed(
        "chunks that break off inside one",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf",
        CutOrBad,
    ),
    closed(
        "chunks that break off between two",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        CutOrBad,
    ),
    closed(
        "chunks without the last CRLF",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        CutOrBad,
    ),
    closed(
        "chunks that never start",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a bad chunk size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\nevil\r\n\
          0\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a chunk size that overflows",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nhalf\r\n\
          0\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a chunk with a bare LF",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nhalf\n0\n\n",
        CutOrBad,
    ),
    open(
        "no CRLF behind a chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfevil0\r\n\r\n",
        CutOrBad,
    ),
    closed("a head that breaks off", b"HTTP/1.1 200 OK\r\nContent-Le", BadGateway),
    closed(
        "a head without its empty line",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        BadGateway,
    ),
    closed("half a status line", b"HTTP/1.", BadGateway),
    open(
        "100 before",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "103 before",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "102 before",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "199 before",
        b"HTTP/1.1 199 Odd\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "100 with a length before",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    closed("100 and nothing behind", b"HTTP/1.1 100 Continue\r\n\r\n", BadGateway),
    closed(
        "101 that nobody asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
          evil",
        BadGateway,
    ),
    closed("nothing", b"", BadGateway),
    open(
        "hop-by-hop fields",
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Proxy-Connection: x\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nUpgrade: h2c\r\n\
          X-Stays: 1\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
];

pub(super) fn names() -> impl Iterator<Item = String> {
    CASES.iter().map(|case| case.name.to_owned())
}

/// What no client may see of any answer in the table.
fn is_clean(response: &Response) -> Result<(), String> {
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        if response.fields.has(name) {
            return Err(format!("{name} came through: {response}"));
        }
    }
    if response.text().contains("evil") {
        return Err(format!("bytes of no answer came through: {response}"));
    }
    Ok(())
}

fn play(range: &Range, case: &Case) -> Result<Outcome, String> {
    let mut reply = Reply::bytes(case.reply);
    if case.close {
        reply = reply.then(Act::Close);
    }
    range.upstream.answer("/public/case", reply);
    range.upstream.take();
    let mut client = range.client();
    client.send("GET /public/case HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let bad = |response: &Response| {
        if response.status == 502 {
            is_refusal(response)
        } else {
            Err(format!("not 502 but {response}"))
        }
    };
    let (answer, is_kept) = match (client.final_response("GET"), case.expect) {
        (Ok((response, interim)), expect) => {
            if let Some(odd) = interim.iter().find(|one| !matches!(one.status, 100 | 103)) {
                return Err(format!("{} came through", odd.status));
            }
            is_clean(&response)?;
            match expect {
                Passed(status, body) | PassedOrBad(status, body) if response.status == status => {
                    if response.text() != body {
                        return Err(format!("another body: {response}"));
                    }
                    if !response.fields.has("via") {
                        return Err(format!("no Via: {response}"));
                    }
                }
                BadGateway | PassedOrBad(..) | CutOrBad => bad(&response)?,
                Passed(..) => return Err(format!("not passed: {response}")),
            }
            let mut is_kept = false;
            if !response.until_close {
                client.send(
                    "GET /public/after HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
                );
                match client.final_response("GET") {
                    Err(Fault::Closed) => {}
                    Ok((response, _)) => {
                        echoes(&response, "/public/after")?;
                        is_kept = true;
                    }
                    Err(fault) => return Err(format!("the connection is out of step: {fault:?}")),
                }
            }
            (response.status.to_string(), is_kept)
        }
        (Err(Fault::Closed | Fault::Truncated(_)), CutOrBad) => {
            if String::from_utf8_lossy(client.seen()).contains("evil") {
                return Err("bytes behind the fault came through".into());
            }
            ("cut".to_owned(), false)
        }
        (Err(fault), _) => return Err(format!("no answer: {fault:?}")),
    };
    // More sentinels than pooled connections: whatever the upstream sent too much must show in none
    // of them.
    for _ in 0..4 {
        range.sentinel()?;
    }
    let log = range.upstream.take();
    let served: Vec<_> =
        log.requests.iter().filter(|request| request.target == "/public/case").collect();
    if served.len() > 2 || !log.broken.is_empty() {
        return Err(format!("the upstream saw it {} times, and {:?}", served.len(), log.broken));
    }
    if matches!(case.expect, BadGateway | CutOrBad) {
        for bad in served {
            if log
                .requests
                .iter()
                .any(|other| other.connection == bad.connection && other.nth > bad.nth)
            {
                return Err("the connection was used again".into());
            }
        }
    }
    // A GET that nothing answered on a reused connection may be sent again, so it is not counted.
    Ok(Outcome { answer, is_kept, forwarded: 1 })
}

#[test]
fn what_an_upstream_does_wrong_is_never_the_clients_to_see() {
    let range = Range::open();
    let mut suite = Suite::new("http1", "responses");
    let mut wrong = Vec::new();
    for case in CASES {
        match play(&range, case) {
            Ok(outcome) => suite.note(case.name, &outcome),
            Err(what) => {
                suite.note_wrong(case.name);
                let sent = String::from_utf8_lossy(case.reply);
                wrong.push(format!("- {}: {what}\n    the upstream sent: {sent:?}", case.name));
            }
        }
    }
    let differences = suite.check();
    let (wrongs, total) = (wrong.len(), CASES.len());
    assert!(
        wrong.is_empty(),
        "{wrongs} of {total} cases are wrong\n{}\n{differences:?}",
        wrong.join("\n")
    );
    differences.unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn interim_answers_end_at_keyward() {
    let range = Range::open();
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\n\
                 X-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 150 Odd\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    range.upstream.answer("/public/hints", Reply::bytes(reply));
    let mut client = range.client();
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
    let range = Range::open();
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    range.upstream.answer("/public/ten", Reply::bytes(reply));
    let mut client = range.client();
    client.send("GET /public/ten HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let (response, interim) = client.final_response("GET").expect("an answer");
    assert!(interim.is_empty());
    assert!(!response.fields.has("transfer-encoding"), "{response}");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn a_thousand_interim_answers_end_in_an_answer() {
    let range = Range::open();
    let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
    let reply = Reply::bytes(many + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    range.upstream.answer("/public/many", reply);
    let response = range.client().ask("GET /public/many HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!([200, 502].contains(&response.status), "{response}");
    range.sentinel().expect("the next client is served");
}

#[test]
fn a_huge_head_becomes_502() {
    let range = Range::open();
    for fields in [format!("X-A: {}\r\n", "a".repeat(4 << 20)), "X-A: b\r\n".repeat(20_000)] {
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        range.upstream.answer("/public/huge", Reply::bytes(reply));
        let response = range.client().ask("GET /public/huge HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(response.status, 502, "{}", response.status);
        range.sentinel().expect("the next client is served");
    }
}

/// Warms a connection up, so that the next request goes out on one that was used before.
fn warm(range: &Range) {
    for _ in 0..4 {
        range.sentinel().expect("served");
    }
    range.upstream.take();
}

#[test]
fn a_post_is_never_sent_twice() {
    let range = Range::open();
    for act in [Act::Close, Act::Reset] {
        for warmed in [false, true] {
            if warmed {
                warm(&range);
            }
            range.upstream.take();
            range.upstream.answer("/public/post", Reply::acts([act.clone()]));
            let mut client = range.client();
            let head =
                "POST /public/post HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
            client.send(head);
            let (response, _) = client.final_response("POST").expect("an answer");
            assert_eq!(response.status, 502, "{response}");
            let seen = range.upstream.take().heads;
            assert_eq!(seen, ["/public/post"], "the upstream saw it once");
        }
    }
}

#[test]
fn a_get_is_tried_again_at_most_once_and_only_on_a_reused_connection() {
    let range = Range::open();
    range.upstream.answer("/public/get", Reply::acts([Act::Close]));
    let mut client = range.client();
    client.send("GET /public/get HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let (response, _) = client.final_response("GET").expect("an answer");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(
        range.upstream.take().heads,
        ["/public/get"],
        "a fresh connection is no reason to try again"
    );
    for _ in 0..4 {
        warm(&range);
        let mut client = range.client();
        client.send("GET /public/get HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let (response, _) = client.final_response("GET").expect("an answer");
        assert_eq!(response.status, 502, "{response}");
        let seen = range.upstream.take().requests;
        assert!(seen.len() <= 2, "the upstream saw it {} times", seen.len());
        assert!(seen.len() == 1 || seen[0].nth > 0, "tried again behind a fresh connection");
    }
}

/// Part of an answer is an answer: nothing is tried again behind it.
#[test]
fn nothing_is_tried_again_once_the_upstream_has_begun_to_answer() {
    let range = Range::open();
    warm(&range);
    range.upstream.answer("/public/half", Reply::bytes("HTTP/1.1 200 OK\r\nX-").then(Act::Close));
    let response = range.client().ask("GET /public/half HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(range.upstream.take().heads, ["/public/half"]);
}

/// A HEAD's answer announces a body that it does not have.
#[test]
fn the_answer_to_head_has_no_body() {
    let range = Range::open();
    range
        .upstream
        .answer("/public/head", Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"));
    let mut client = range.client();
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
    let range = Range::open();
    let reply = "HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\
                 ok\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 99\r\nConnection: close\r\n\r\n";
    range.upstream.answer("/public/grpc", Reply::bytes(reply));
    let response = range.client().ask(
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
    let range = Range::open();
    let reply = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\
                 0\r\nX-Sum: 7\r\n\r\n";
    range.upstream.answer("/public/sum", Reply::bytes(reply));
    for te in ["", "TE: gzip\r\nConnection: TE\r\n"] {
        let response =
            range.client().ask(format!("GET /public/sum HTTP/1.1\r\nHost: a.example\r\n{te}\r\n"));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert!(!response.fields.has("trailer"), "{response}");
        assert!(response.trailers.0.is_empty(), "{:?}", response.trailers);
    }
    let old =
        range.client().ask("GET /public/sum HTTP/1.0\r\nHost: a.example\r\nTE: trailers\r\n\r\n");
    assert_eq!((old.status, old.text().as_str()), (200, "ok"));
    assert!(!old.fields.has("trailer"), "{old}");
}

/// As nginx, which limits the bytes of a head and not its lines.
#[test]
fn a_response_of_110_fields_passes_whole() {
    let range = Range::open();
    let lines: String = (0..110).map(|n| format!("X-Line-{n}: {n}\r\n")).collect();
    range.upstream.answer(
        "/public/many",
        Reply::bytes(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok")),
    );
    let response = range.client().ask("GET /public/many HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    for n in 0..110 {
        assert_eq!(response.fields.all(&format!("x-line-{n}")), [n.to_string()]);
    }
}

#[test]
fn identity_fields_of_a_response_are_the_upstreams_own_affair_but_its_date_and_server_pass_once() {
    let range = Range::open();
    let reply = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: app\r\n\
                 Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok";
    range.upstream.answer("/public/plain", Reply::bytes(reply));
    let response = range.client().ask("GET /public/plain HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(response.fields.all("date"), ["Thu, 01 Jan 2026 00:00:00 GMT"]);
    assert_eq!(response.fields.all("server"), ["app"]);
    assert_eq!(response.fields.all("set-cookie"), ["a=b", "c=d"]);
}
