//! HEAD gets the fields of a GET and no content (RFC 9110, section 9.3.2), whoever answers. Over
//! HTTP/2 content is a breach of the protocol, and clients report it instead of the answer.

use crate::support::h2::{Connection, Head, data, flag};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::tls::{handshake, self_signed};
use crate::support::{ClosedPort, Plan, Reply, Response, TestUser, Upstream, World, eventually};

/// The answer to a HEAD, the same over HTTP/1.1 and over HTTP/2, and over HTTP/2 one frame.
#[track_caller]
fn head(world: &World, target: &str, fields: &[(&str, &str)]) -> Response {
    let head =
        fields.iter().fold(Head::new("HEAD", target), |head, field| head.with(field.0, field.1));
    let mut connection = Connection::open(world.address());
    let second = connection.ask(&head);
    let stream = connection.state.stream(1);
    assert!(stream.is_head_only, "{target}: {:?}", connection.state);
    let lines: String =
        fields.iter().map(|field| format!("{}: {}\r\n", field.0, field.1)).collect();
    let first = world.ask("HEAD", target, &lines, "");
    let of = |response: &Response| {
        let field = |name: &str| response.fields.all(name).join("|");
        (response.status, field("content-length"), field("content-type"), field("allow"))
    };
    assert_eq!(of(&first), of(&second), "{target}: both versions are answered alike");
    second
}

fn length(response: &Response) -> Option<usize> {
    response.fields.one("content-length").map(|length| length.parse().expect("a length"))
}

#[test]
fn no_answer_to_head_has_content_and_each_says_the_length_that_get_would_have() {
    let (upstream, closed) = (Upstream::start(), ClosedPort::reserve());
    let world = Plan::usual(&upstream)
        .upstream("closed", closed.address())
        .route("path = \"/fixed\"\npublic = true\nrespond.body = \"hello world\"")
        .route("path = \"/failed\"\npublic = true\nrespond = { status = 503, body = \"later\" }")
        .route("path = \"/closed\"\npublic = true\nupstream = \"closed\"")
        .route("path = \"/posts\"\npublic = true\nmethods = [\"POST\"]\nupstream = \"app\"")
        .start();
    let key = world.key(TestUser::ALICE);
    let bearer = format!("Bearer {}", key.token);
    let list = world.api(TestUser::ALICE).path("/auth/tokens");
    for (target, status, fields) in [
        ("/fixed", 200, &[][..]),
        ("/failed", 503, &[]),
        ("/private/x", 401, &[]),
        ("/private/x", 401, &[("authorization", "Bearer x")]),
        ("/nowhere", 404, &[]),
        ("/public/a%2fb", 400, &[]),
        ("/posts", 405, &[]),
        ("/closed", 502, &[]),
        ("/.well-known/jwks.json", 200, &[]),
        (&*list, 401, &[]),
        (&*list, 200, &[("authorization", &*bearer)]),
    ] {
        let found = head(&world, target, fields);
        assert_eq!(found.status, status, "{target}: {found}");
        let lines: String =
            fields.iter().map(|field| format!("{}: {}\r\n", field.0, field.1)).collect();
        let get = world.ask("GET", target, &lines, "");
        assert_eq!(length(&found), Some(get.body.len()), "{target}: {found}");
        assert_eq!(found.fields.one("content-type"), get.fields.one("content-type"), "{target}");
    }
    let heads = || {
        let lines = world.access_lines().into_iter();
        lines.filter(|line| line["method"] == "HEAD").collect::<Vec<_>>()
    };
    // All but the malformed one, over both versions. Each worker writes its lines in its own time.
    assert!(eventually(|| heads().len() == 20), "{:?}", heads());
    for line in heads() {
        assert_eq!(line["bytes"], 0, "{line}");
        assert!(line["status"] != 499, "{line}");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_without_content() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route("path = \"/small\"\npublic = true\nupstream = \"app\"\nmax_body = \"1B\"")
        .start();
    let mut connection = Connection::open(world.address());
    let id = connection.next_id();
    let head = Head::new("HEAD", "/small").with("content-length", "5");
    connection.send(head.frame(id, flag::END_HEADERS));
    connection.send(data(id, flag::END_STREAM, "hello"));
    let answer = connection.answer(id);
    assert_eq!((answer.status, answer.body.len()), (413, 0), "{answer}");
    assert!(connection.state.stream(id).is_head_only, "{:?}", connection.state);
}

#[test]
fn what_is_forwarded_has_the_length_that_the_upstream_says() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route("path = \"/packed/x\"\npublic = true\nupstream = \"app\"\ncompression = {}")
        .start();
    let said = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n";
    upstream.answer("/public/long", Reply::bytes(said));
    upstream.answer("/packed/x", Reply::bytes(said));
    upstream.answer("/public/unsaid", Reply::bytes("HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n"));
    assert_eq!(length(&head(&world, "/public/long", &[])), Some(5000));
    assert_eq!(length(&head(&world, "/public/unsaid", &[])), None);
    let packed = head(&world, "/packed/x", &[("accept-encoding", "br")]);
    assert_eq!(packed.fields.all("content-encoding"), ["br"], "{packed}");
    // One that speaks HTTP/2 may end its answer by a frame of its own.
    let two = Http2Upstream::start(10);
    let endpoint = format!("http://{}", two.address());
    let world = Plan::bare()
        .table(
            "upstream",
            &format!("name = \"two\"\nendpoints = [{endpoint:?}]\nprotocol = \"http2\""),
        )
        .route("path = \"/{*rest}\"\npublic = true\nupstream = \"two\"")
        .start();
    assert_eq!(head(&world, "/x", &[]).status, 200);
}

/// A connection that is more than keyward takes is told so in the same way.
#[test]
fn a_connection_beyond_the_limit_gets_no_content_for_head() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let certificate = self_signed(folder.path(), "a.example");
    let world = Plan::usual(&upstream)
        .set("limits", "connections", "1")
        .listener(&format!("tls = {}", certificate.line))
        .start();
    let open = || {
        let stream = handshake(world.address(), "a.example", &[&certificate], None, &["h2"]);
        let mut connection = Connection::over(stream.expect("a connection"));
        connection.begin(&[]);
        connection
    };
    let mut first = open();
    assert_eq!(first.ask(&Head::get("/public/x")).status, 200);
    let mut second = open();
    let answer = second.ask(&Head::new("HEAD", "/public/x"));
    assert_eq!(answer.status, 503, "{answer}");
    assert!(second.state.stream(1).is_head_only, "{:?}", second.state);
}
