//! Compression of responses: what is compressed, for whom, and that a decoder gets back every byte,
//! piece by piece as they come, and no end that the upstream did not send.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use compression_codecs::core::util::PartialBuffer;
use compression_codecs::{BrotliDecoder, Decode, GzipDecoder, ZstdDecoder};

use crate::support::h2::{Connection, Head};
use crate::support::{
    Act, Fields, Gate, Plan, Reply, Response, TIMEOUT, Upstream, World, eventually,
};

/// The usual world, with `/packed/` in front of the upstream, whose responses are compressed.
fn world(upstream: &Upstream) -> World {
    world_with(upstream, "compression = {}")
}

fn world_with(upstream: &Upstream, compression: &str) -> World {
    let route = "path = \"/packed/{*rest}\"\nupstream = \"app\"\npublic = true\n";
    Plan::usual(upstream).route(&format!("{route}{compression}")).start()
}

/// A text that shrinks, and is not all alike.
fn text(bytes: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|nth| format!("line {nth} of {}\n", nth % 97).into_bytes());
    lines.take(bytes).collect()
}

const TEXT: &str = "Content-Type: text/plain\r\n";
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

fn accept(codings: &str) -> String {
    format!("Accept-Encoding: {codings}\r\n")
}

/// Decodes what comes: what can be read of it by now, and whether that was the end.
type Decoding = Box<dyn FnMut(&[u8]) -> (Vec<u8>, bool)>;

/// The decoder of a coding.
fn decoder(coding: &str) -> Decoding {
    fn run(mut decoder: impl Decode + 'static) -> Decoding {
        // More than any body here, so that each step takes all of its input.
        let mut output = PartialBuffer::new(vec![0; 4 << 20]);
        Box::new(move |bytes| {
            let (mut input, mut is_over) = (PartialBuffer::new(bytes), false);
            output.reset();
            while !is_over && !input.unwritten().is_empty() {
                is_over = decoder.decode(&mut input, &mut output).expect("it can be decoded");
            }
            if !is_over {
                decoder.flush(&mut output).expect("it can be decoded");
            }
            (output.written().to_vec(), is_over)
        })
    }
    match coding {
        "zstd" => run(ZstdDecoder::new()),
        "br" => run(BrotliDecoder::new()),
        "gzip" => run(GzipDecoder::new()),
        _ => panic!("{coding} is none of them"),
    }
}

/// The whole body of a response that has one of the codings.
#[track_caller]
fn decoded(response: &Response) -> Vec<u8> {
    let coding = response.fields.one("content-encoding").expect("a coding");
    let (decoded, is_over) = decoder(&coding)(&response.body);
    assert!(is_over, "{coding}: the end is missing");
    decoded
}

/// The answers over both versions of HTTP.
fn ask(world: &World, method: &str, target: &str, fields: &[(&str, &str)]) -> [Response; 2] {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let first = world.ask(method, target, &lines, "");
    let head =
        fields.iter().fold(Head::new(method, target), |head, (name, value)| head.with(name, value));
    [first, Connection::open(world.address()).ask(&head)]
}

fn get(world: &World, target: &str, codings: &str) -> [Response; 2] {
    ask(world, "GET", target, &[("accept-encoding", codings)])
}

fn is_packed(response: &Response) -> bool {
    response.fields.has("content-encoding")
}

#[test]
fn every_coding_gives_back_every_byte_over_either_version_of_http() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let mut noise = text(3_000_000);
    noise.iter_mut().enumerate().for_each(|(at, byte)| {
        *byte ^= u8::try_from(at.wrapping_mul(2_654_435_761) >> 13 & 0xff).expect("a byte");
    });
    for (path, body) in [
        ("/packed/small", text(1024)),
        ("/packed/large", text(3_000_000)),
        ("/packed/noise", noise),
    ] {
        let fields = format!("{TEXT}ETag: \"abc\"\r\nAccept-Ranges: bytes\r\n");
        upstream.answer(path, Reply::of("200 OK", &fields, &body));
        for coding in CODINGS {
            for response in get(&world, path, coding) {
                let one = |name: &str| response.fields.one(name);
                assert_eq!(response.status, 200);
                assert_eq!(one("content-encoding").as_deref(), Some(coding), "{path}");
                assert_eq!(one("vary").as_deref(), Some("Accept-Encoding"));
                assert_eq!(one("etag").as_deref(), Some("W/\"abc\""));
                assert!(!response.fields.has("accept-ranges"));
                assert!(!response.fields.has("content-length"));
                assert!(decoded(&response) == body, "{coding} {path}");
                assert!(path != "/packed/large" || response.body.len() < body.len() / 2);
            }
        }
    }
    let of_large = || {
        let lines = world.access_lines().into_iter();
        lines.filter(|line| line["path"] == "/packed/large").collect::<Vec<_>>()
    };
    assert!(eventually(|| of_large().len() == 6), "{:?}", of_large());
    for line in of_large() {
        let bytes = line["bytes"].as_u64().expect("bytes");
        assert!(bytes < 1_500_000, "as they were sent: {bytes}");
    }
}

#[test]
fn curl_reads_each_coding() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let body = text(200_000);
    upstream.answer("/packed/x", Reply::of("200 OK", TEXT, &body));
    let address = format!("http://{}/packed/x", world.address());
    for coding in CODINGS {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let header = format!("Accept-Encoding: {coding}");
            let curl = Command::new("curl")
                .args(["-sS", "--fail", "--compressed", "--max-time", "30", version])
                .args(["-H", &header, &address])
                .stdin(Stdio::null())
                .output()
                .expect("curl runs");
            let words = String::from_utf8_lossy(&curl.stderr);
            assert!(curl.status.success() && words.is_empty(), "{coding} {version}: {words}");
            assert!(curl.stdout == body, "{coding} {version}");
        }
    }
}

#[test]
fn the_client_chooses_and_what_it_accepts_goes_on_to_the_upstream() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    upstream.answer("/packed/x", Reply::of("200 OK", TEXT, text(5000)));
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip;q=1, br;q=0.5", Some("gzip")),
        ("br;q=0, *", Some("zstd")),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0", None),
        ("deflate", None),
        ("", None),
        ("gzip;q=0", None),
        ("gzip;q=nonsense", None),
    ] {
        for response in get(&world, "/packed/x", accepted) {
            let found = response.fields.one("content-encoding");
            assert_eq!(found.as_deref(), coding, "{accepted}");
            assert_eq!(response.fields.one("vary").as_deref(), Some("Accept-Encoding"));
            if coding.is_none() {
                assert_eq!(response.fields.one("content-length").as_deref(), Some("5000"));
                assert!(response.body == text(5000));
            }
        }
        for request in upstream.take().requests {
            assert_eq!(request.fields.all("accept-encoding"), [accepted]);
        }
    }
    let [first, second] = ask(&world, "GET", "/packed/x", &[]);
    assert!(!is_packed(&first) && !is_packed(&second), "without the field, nothing is sure");
    // A response that breaks off could not be told from one that ends.
    let mut old = world.client();
    old.send(format!("GET /packed/x HTTP/1.0\r\n{}\r\n", accept("gzip")));
    let old = old.response().expect("an answer");
    assert!(!is_packed(&old) && old.body == text(5000), "{old}");
}

#[test]
fn a_route_says_which_codings_sizes_and_types_and_others_are_passed_on_as_they_are() {
    let upstream = Upstream::start();
    let world = world_with(
        &upstream,
        "compression = { algorithms = [\"gzip\", \"br\"], min_size = \"100B\", types = \
         [\"text/html\"] }",
    );
    for (path, media_type, size, coding, varies) in [
        ("/packed/a", "text/html; charset=utf-8", 100, Some("gzip"), true),
        ("/packed/b", "Text/HTML", 99, None, true),
        ("/packed/c", "text/plain", 5000, None, false),
        ("/public/d", "text/html", 5000, None, false),
    ] {
        let fields = format!("Content-Type: {media_type}\r\nETag: \"x\"\r\n");
        upstream.answer(path, Reply::of("200 OK", &fields, text(size)));
        for response in get(&world, path, "zstd, br, gzip") {
            assert_eq!(response.fields.one("content-encoding").as_deref(), coding, "{path}");
            assert_eq!(response.fields.has("vary"), varies, "{path}");
            if coding.is_none() {
                assert!(response.body == text(size), "{path}");
                assert_eq!(response.fields.one("etag").as_deref(), Some("\"x\""), "{path}");
            }
        }
    }
    // Who refuses what is not compressed gets what is small compressed, too.
    let [small, _] = get(&world, "/packed/b", "gzip, identity;q=0");
    assert_eq!(decoded(&small), text(99));
}

#[test]
fn what_must_stay_as_it_is_is_not_compressed() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    for (nth, (status, fields)) in [
        ("200 OK", "Content-Encoding: gzip\r\n"),
        ("200 OK", "Content-Encoding: identity\r\n"),
        ("200 OK", "Cache-Control: max-age=1, No-Transform\r\n"),
        ("206 Partial Content", "Content-Range: bytes 0-4999/9999\r\n"),
        ("200 OK", "Content-Range: bytes 0-4999/9999\r\n"),
        ("200 OK", "Content-Digest: sha-256=:AAAA:\r\n"),
        ("200 OK", "Signature: sig1=:AAAA:\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/packed/{nth}");
        let fields = format!("{TEXT}{fields}ETag: \"x\"\r\n");
        upstream.answer(&path, Reply::of(status, &fields, text(5000)));
        for response in get(&world, &path, "zstd, br, gzip") {
            assert!(response.body == text(5000), "{fields}");
            assert_eq!(response.fields.one("content-length").as_deref(), Some("5000"), "{fields}");
            assert_eq!(response.fields.one("etag").as_deref(), Some("\"x\""), "{fields}");
            assert!(!response.fields.has("vary"), "{fields}");
        }
    }
    upstream.answer("/packed/none", Reply::bytes("HTTP/1.1 204 No Content\r\n\r\n"));
    upstream.answer("/packed/empty", Reply::of("200 OK", TEXT, ""));
    let bare = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    upstream.answer("/packed/typeless", Reply::bytes([bare.as_bytes(), &text(5000)].concat()));
    for path in ["/packed/none", "/packed/empty", "/packed/typeless"] {
        for response in get(&world, path, "gzip") {
            assert!(!is_packed(&response), "{path}: {:?}", response.fields);
        }
    }
}

#[test]
fn a_head_has_the_fields_of_the_get_and_no_body() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}ETag: \"x\"\r\nContent-Length: 5000\r\n\r\n");
    upstream.answer("/packed/x", Reply::bytes(&head));
    for response in ask(&world, "HEAD", "/packed/x", &[("accept-encoding", "br")]) {
        let one = |name: &str| response.fields.one(name);
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(one("content-encoding").as_deref(), Some("br"));
        assert_eq!(one("etag").as_deref(), Some("W/\"x\""));
        assert_eq!(one("vary").as_deref(), Some("Accept-Encoding"));
        assert!(!response.fields.has("content-length"), "{response}");
    }
}

#[test]
fn the_tag_of_a_304_is_the_one_that_the_client_has() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    upstream.answer(
        "/packed/x",
        Reply::bytes("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nVary: Cookie\r\n\r\n"),
    );
    for (known, tag) in [("W/\"x\"", "W/\"x\""), ("\"a\", W/\"x\"", "W/\"x\""), ("\"x\"", "\"x\"")]
    {
        let fields = [("accept-encoding", "gzip"), ("if-none-match", known)];
        for response in ask(&world, "GET", "/packed/x", &fields) {
            assert_eq!(response.status, 304);
            assert_eq!(response.fields.one("etag").as_deref(), Some(tag), "{known}");
            assert_eq!(response.fields.all("vary"), ["Cookie", "Accept-Encoding"]);
        }
        for request in upstream.take().requests {
            assert_eq!(request.fields.all("if-none-match"), [known], "as it came");
        }
    }
}

/// Reads the chunks of a response over HTTP/1.1 that stays open, until they decode to this text.
struct Stream {
    client: crate::support::Client,
    decode: Decoding,
    taken: usize,
    text: Vec<u8>,
    is_over: bool,
}

impl Stream {
    fn open(world: &World, path: &str, coding: &str) -> Self {
        let mut client = world.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{}\r\n", accept(coding)));
        let head_end = |seen: &[u8]| seen.windows(4).position(|four| four == b"\r\n\r\n");
        while head_end(client.seen()).is_none() {
            assert!(!client.some().expect("a head").is_empty());
        }
        let taken = head_end(client.seen()).expect("an end") + 4;
        let head = String::from_utf8_lossy(&client.seen()[..taken]).to_lowercase();
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{head}");
        Self { client, decode: decoder(coding), taken, text: Vec::new(), is_over: false }
    }

    /// Decodes the chunks that have come whole.
    fn decode(&mut self) {
        loop {
            let seen = &self.client.seen()[self.taken..];
            let Some(line) = seen.windows(2).position(|two| two == b"\r\n") else { return };
            let size = std::str::from_utf8(&seen[..line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 || seen.len() < line + 2 + size + 2 {
                return;
            }
            let (text, is_over) = (self.decode)(&seen[line + 2..line + 2 + size]);
            self.text.extend(text);
            self.is_over |= is_over;
            self.taken += line + 2 + size + 2;
        }
    }

    #[track_caller]
    fn reads(&mut self, expected: &[u8]) {
        let began = Instant::now();
        self.decode();
        while self.text.len() < expected.len() {
            let more = self.client.some().expect("more comes");
            assert!(
                !more.is_empty() && began.elapsed() < TIMEOUT,
                "it ended after {:?}",
                self.text
            );
            self.decode();
        }
        assert_eq!(self.text, expected);
        self.text.clear();
    }
}

/// A response in chunks, each behind a gate of its own.
fn gated(upstream: &Upstream, path: &str, fields: &str, pieces: &[&str]) -> Vec<Gate> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let gates: Vec<Gate> = pieces.iter().map(|_| Gate::default()).collect();
    let mut reply = Reply::bytes(head);
    for (piece, gate) in pieces.iter().zip(&gates) {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        reply = reply.then(Act::Wait(gate.clone())).then(Act::Send(chunk.into()));
    }
    upstream.answer(path, reply);
    gates
}

#[test]
fn each_event_arrives_when_it_is_sent_and_so_does_each_piece_of_a_slow_text() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let pieces = ["data: first\n\n", "data: second\n\n", ": \n\n"];
    for coding in CODINGS {
        for (kind, fields) in [("events", "Content-Type: text/event-stream\r\n"), ("text", TEXT)] {
            let path = format!("/packed/{kind}-{coding}");
            let gates = gated(&upstream, &path, fields, &pieces);
            let mut stream = Stream::open(&world, &path, coding);
            for (piece, gate) in pieces.iter().zip(gates) {
                gate.open();
                // The next one is not sent before this one was read.
                stream.reads(piece.as_bytes());
            }
        }
    }
}

#[test]
fn a_digest_in_the_trailers_is_of_the_body_that_comes_with_it() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let body = text(2000);
    let fields = [("accept-encoding", "gzip"), ("te", "trailers")];
    for (name, announced) in [
        ("Content-Digest", "Trailer: X-Sum, content-digest\r\n"),
        ("Repr-Digest", "Trailer: X-Sum\r\nTrailer: Repr-Digest\r\n"),
        ("Digest", "Trailer: DIGEST,X-Sum\r\n"),
        ("Content-MD5", "Trailer: Content-MD5\r\n"),
        ("Signature", "Trailer: Signature\r\n"),
        ("Content-Digest", "Trailer: X-Sum\r\n"),
        ("Repr-Digest", ""),
    ] {
        let head =
            format!("HTTP/1.1 200 OK\r\n{TEXT}{announced}Transfer-Encoding: chunked\r\n\r\n");
        let end = format!("\r\n0\r\n{name}: of the body\r\nX-Sum: 5\r\n\r\n");
        let answer = [head.as_bytes(), b"7d0\r\n", &body, end.as_bytes()].concat();
        upstream.answer("/packed/x", Reply::bytes(answer));
        let is_announced = announced.to_lowercase().contains(&name.to_lowercase());
        let over_http1 = {
            let mut client = world.client();
            let lines = "Accept-Encoding: gzip\r\nTE: trailers\r\nConnection: TE";
            client.ask(format!("GET /packed/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"))
        };
        let over_http2 = ask(&world, "GET", "/packed/x", &fields)[1].clone();
        for response in [over_http1, over_http2] {
            assert_eq!(is_packed(&response), !is_announced, "{name}, {announced}: {response}");
            assert_eq!(response.trailers.has(name), is_announced, "{name}, {announced}");
            if is_announced {
                assert!(response.body == body, "{name}, {announced}");
            } else {
                assert!(decoded(&response) == body, "{name}, {announced}");
            }
        }
    }
}

#[test]
fn trailers_come_behind_the_end_of_a_compressed_body() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    upstream.answer(
        "/packed/x",
        Reply::bytes(format!(
            "HTTP/1.1 200 OK\r\n{TEXT}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"
        )),
    );
    let fields = [("accept-encoding", "gzip"), ("te", "trailers")];
    let lines = "Accept-Encoding: gzip\r\nTE: trailers\r\n";
    let first = world.client().ask(format!(
        "GET /packed/x HTTP/1.1\r\nHost: a.example\r\nConnection: close, TE\r\n{lines}\r\n"
    ));
    let [_, second] = ask(&world, "GET", "/packed/x", &fields);
    for response in [first, second] {
        assert_eq!(decoded(&response), b"hello");
        let trailers: &Fields = &response.trailers;
        assert_eq!(trailers.one("x-sum").as_deref(), Some("5"), "{response:?}");
    }
}

#[test]
fn a_response_that_the_upstream_breaks_off_never_looks_complete() {
    let upstream = Upstream::start();
    let world = world(&upstream);
    let body = text(100_000);
    let chunked = format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n186a0\r\n");
    let sized = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 100001\r\n\r\n");
    for (nth, (head, end)) in
        [(&chunked, Act::Close), (&chunked, Act::Reset), (&sized, Act::Close), (&sized, Act::Reset)]
            .into_iter()
            .enumerate()
    {
        for coding in CODINGS {
            let (path, gate) = (format!("/packed/{nth}-{coding}"), Gate::default());
            let acts = [
                Act::Send([head.as_bytes(), &body].concat()),
                Act::Wait(gate.clone()),
                end.clone(),
            ];
            upstream.answer(&path, Reply::acts(acts));
            let mut stream = Stream::open(&world, &path, coding);
            // All that came is flushed before the end is known.
            stream.reads(&body);
            gate.open();
            let _ = stream.client.rest();
            let seen = stream.client.seen();
            assert!(!seen.ends_with(b"0\r\n\r\n"), "{coding}: it ends as if it were whole");
            stream.decode();
            assert!(!stream.is_over, "{coding}: a decoder would take it for whole");
            let line = world.access_line(&path);
            assert_eq!(line["complete"], false, "{line}");
        }
    }
    // Over HTTP/2 the stream is reset.
    let gate = Gate::default();
    let acts =
        [Act::Send([chunked.as_bytes(), &body].concat()), Act::Wait(gate.clone()), Act::Close];
    upstream.answer("/packed/h2", Reply::acts(acts));
    let mut connection = Connection::open(world.address());
    let id = connection.request(&Head::get("/packed/h2").with("accept-encoding", "br"));
    assert!(connection.read_until(|state| !state.stream(id).body.is_empty()));
    gate.open();
    assert!(connection.read_until(|state| state.is_over(id)));
    let stream = connection.state.stream(id);
    assert!(!stream.is_ended && stream.reset.is_some(), "{:?}", connection.state);
}

#[test]
fn a_client_that_stops_reading_is_cut_and_holds_no_more_than_before() {
    let upstream = Upstream::start();
    let route = "path = \"/packed/{*rest}\"\nupstream = \"app\"\npublic = true\ncompression = {}";
    let world = Plan::usual(&upstream).route(route).set("timeouts", "body", "\"500ms\"").start();
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 30_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.write_all(&state.to_le_bytes()[3..]).expect("memory takes it");
    }
    upstream.answer("/packed/x", Reply::of("200 OK", TEXT, &noise));
    let mut client = world.client().with_timeout(Duration::from_secs(60));
    client.send(format!("GET /packed/x HTTP/1.1\r\nHost: a.example\r\n{}\r\n", accept("gzip")));
    let line = world.access_line("/packed/x");
    assert_eq!(line["complete"], false, "{line}");
    assert!(line["bytes"].as_u64().expect("bytes") < 29_000_000, "{line}");
}
