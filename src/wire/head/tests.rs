use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, target: 256, lines: 10 };

fn judge(head: &str) -> Result<Option<Head>, HeadFault> {
    examine(head.as_bytes(), LIMITS, &mut Vec::new())
}

/// The fields of a head, as text.
fn fields(head: &str) -> Vec<(&str, &str)> {
    let mut lines = Vec::new();
    examine(head.as_bytes(), LIMITS, &mut lines).expect("good").expect("whole");
    lines.iter().map(|line| (&head[line.name.range()], &head[line.value.range()])).collect()
}

#[test]
fn a_good_head_passes_in_one_piece_and_byte_by_byte() {
    let head = "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nX: \t v \r\n\r\n";
    for start in ["", "\r\n"] {
        let head = format!("{start}{head}");
        let found = judge(&format!("{head}hello")).expect("good").expect("whole");
        assert_eq!((found.length, found.framing, found.version), (head.len(), Framing::Length(5), Version::HTTP_11));
        let of = |span: Span| &head[span.range()];
        assert_eq!((of(found.method), of(found.target)), ("POST", "/a?b=c"));
        assert_eq!(fields(&head), [("Host", "example.com"), ("Content-Length", "5"), ("X", "v")]);
    }
    for cut in 0..head.len() {
        assert_eq!(judge(&head[..cut]), Ok(None), "{cut}");
    }
}

#[test]
fn what_is_around_a_value_is_not_of_it() {
    let head = "GET / HTTP/1.1\r\nhost:x\r\nA:\r\nB: \t \r\nC:\t\" a, b \" \r\n\r\n";
    assert_eq!(fields(head), [("host", "x"), ("A", ""), ("B", ""), ("C", "\" a, b \"")]);
}

#[test]
fn the_connection_is_kept_as_the_client_wishes() {
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "close", false),
        ("1.1", "x, CLOSE ,y", false),
        ("1.1", "closed", true),
        ("1.1", "keep-alive, close", false),
        ("1.0", "", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "keep-alive, close", false),
    ] {
        let head = judge(&format!("GET / HTTP/{version}\r\nHost: x\r\nConnection: {connection}\r\n\r\n"));
        assert_eq!(head.expect("good").expect("whole").keeps_alive, kept, "{version} {connection}");
    }
}

#[test]
fn what_a_client_waits_for_and_takes_is_told() {
    let told = |fields: &str| {
        let head = judge(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n")).expect("good").expect("whole");
        (head.expects_continue, head.takes_trailers)
    };
    assert_eq!(told("A: b"), (false, false));
    assert_eq!(told("Expect: 100-Continue"), (true, false));
    assert_eq!(told("TE: gzip;q=0.5, Trailers;q=1"), (false, true));
    assert_eq!(told("TE: trailer"), (false, false));
}

#[test]
fn every_form_of_a_target_that_keyward_takes() {
    for line in [
        "GET / HTTP/1.1",
        "GET /?a={b}|c^`\\ HTTP/1.1",
        "get / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://example.com HTTP/1.1",
        "GET HTTP://example.com/a HTTP/1.1",
        "GET https://example.com:443?x HTTP/1.1",
    ] {
        assert!(judge(&format!("{line}\r\nhost: x\r\n\r\n")).is_ok(), "{line}");
    }
    assert!(judge("GET / HTTP/1.0\r\n\r\n").is_ok_and(|head| head.is_some()));
}

#[test]
fn faults_are_named() {
    use HeadFault::{Expectation, Field, Framing, Host, LineEnding, Method, RequestLine, Target, TooLarge, Version};
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
    let line = |line: &str| format!("{line}\r\nHost: x\r\n\r\n");
    for (head, fault) in [
        (line("GET /#f HTTP/1.1"), Target),
        (line("GET /a?b#f HTTP/1.1"), Target),
        (line("GET /é HTTP/1.1"), Target),
        (line("GET /\u{1} HTTP/1.1"), Target),
        (line("GET example.com HTTP/1.1"), Target),
        (line("GET * HTTP/1.1"), Target),
        (line("GET /a|b HTTP/1.1"), Target),
        (line("GET ftp://x/ HTTP/1.1"), Target),
        (line("GET http:///a HTTP/1.1"), Target),
        (line("GET http://u@x/ HTTP/1.1"), Target),
        (line("GET  / HTTP/1.1"), RequestLine),
        (line("GET / HTTP/1.1 "), RequestLine),
        (line(" GET / HTTP/1.1"), RequestLine),
        (line("GET /"), RequestLine),
        (line("GET / http/1.1"), RequestLine),
        (line("GET\t/ HTTP/1.1"), RequestLine),
        (line("G(T / HTTP/1.1"), RequestLine),
        (line("\u{16}\u{3}\u{1}"), RequestLine),
        (line("GET / HTTP/1.2"), Version),
        (line("GET / HTTP/2.0"), Version),
        (line("PRI * HTTP/1.1"), Version),
        (line("CONNECT x:80 HTTP/1.1"), Method),
        (line("TRACE / HTTP/1.1"), Method),
        ("GET / HTTP/1.1\r\n\r\n".into(), Host),
        (with("Host: x"), Host),
        (with("HOST: y"), Host),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), Host),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), Host),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".into(), Host),
        (with("Content-Length: +5"), Framing),
        (with("Content-Length: "), Framing),
        (with("Content-Length: 5, 5"), Framing),
        (with("Content-Length: 5\r\nContent-Length: 5"), Framing),
        (with("Content-Length: 0x5"), Framing),
        (with("Content-Length: 1234567890123456789"), Framing),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 5"), Framing),
        (with("Content-Length: 5\r\nTransfer-Encoding: chunked"), Framing),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Framing),
        (with("Transfer-Encoding: gzip, chunked"), Framing),
        (with("Transfer-Encoding: identity"), Framing),
        (with("Transfer-Encoding: xchunked"), Framing),
        (with("Transfer-Encoding:"), Framing),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Framing),
        (with("Expect: y 100-continue"), Expectation),
        (with("Expect: 100-continue, x"), Expectation),
        (with("Name : v"), Field),
        (with(": v"), Field),
        (with("no colon"), Field),
        (with("nocolon"), Field),
        (with("A: b\r\n folded"), Field),
        (with("A: b\u{0}"), Field),
        (with("A: b\u{7f}"), Field),
        (with("\u{212a}: kelvin"), Field),
        (with("A: b\rc"), LineEnding),
        (with("A: b\nC: d"), LineEnding),
        ("GET / HTTP/1.1\nHost: x\n\n".into(), LineEnding),
        (with(&"A: b\r\n".repeat(10)), TooLarge),
        (with(&format!("A: {}", "b".repeat(5000))), TooLarge),
        (line(&format!("GET /{} HTTP/1.1", "a".repeat(256))), HeadFault::TargetTooLong),
        (format!("GET /{}", "a".repeat(400)), HeadFault::TargetTooLong),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), RequestLine),
    ] {
        assert_eq!(judge(&head), Err(fault), "{head:?}");
    }
}

#[test]
fn an_expectation_is_ignored_from_http_1_0() {
    let old = judge("GET / HTTP/1.0\r\nExpect: anything\r\n\r\n").expect("good").expect("whole");
    assert!(!old.expects_continue);
    assert!(judge("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n").is_ok());
}

/// Whatever passes here, a parser in wide use takes too, and finds the same in it.
#[test]
fn what_passes_is_what_another_parser_reads() {
    let mut seed = 1_u64;
    let base = b"POST /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut passed, mut refused) = (0, 0);
    let mut lines = Vec::new();
    for _ in 0..200_000 {
        let mut head = base.to_vec();
        for _ in 0..2 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).expect("small") % head.len();
            head[at] = seed.to_le_bytes()[7];
        }
        if let Ok(Some(found)) = examine(&head, LIMITS, &mut lines) {
            passed += 1;
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut fields);
            let parsed = request.parse(&head);
            assert_eq!(parsed, Ok(httparse::Status::Complete(found.length)), "{:?}", String::from_utf8_lossy(&head));
            assert_eq!(found.method.of(&head), request.method.expect("a method").as_bytes());
            let target = request.path.expect("a target");
            assert_eq!(found.target.of(&head), target.as_bytes());
            assert!(target.parse::<http::Uri>().is_ok(), "{target}");
            let ours = lines.iter().map(|line| (line.name.of(&head), line.value.of(&head)));
            assert!(ours.eq(request.headers.iter().map(|field| (field.name.as_bytes(), field.value.trim_ascii()))));
        } else {
            refused += 1;
        }
    }
    assert!(passed > 5_000 && refused > 5_000, "{passed} passed, {refused} refused");
}
