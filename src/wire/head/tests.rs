use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, target: 256, lines: 10 };

fn judge(head: &str) -> Result<Option<Head>, HeadFault> {
    examine(head.as_bytes(), LIMITS)
}

#[test]
fn a_good_head_passes_in_one_piece_and_byte_by_byte() {
    let head = "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nX: \t v \r\n\r\n";
    let whole = Some(Head { length: head.len(), framing: Framing::Length(5) });
    assert_eq!(judge(&format!("{head}hello")), Ok(whole));
    for cut in 0..head.len() {
        assert_eq!(judge(&head[..cut]), Ok(None), "{cut}");
    }
    assert_eq!(judge(&format!("\r\n{head}")), Ok(Some(Head { length: head.len() + 2, framing: Framing::Length(5) })));
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
    assert!(judge("GET / HTTP/1.0\r\nExpect: anything\r\n\r\n").is_ok());
    assert!(judge("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n").is_ok());
}

/// Whatever passes here, the parser behind must take too, or the two would not agree on where the message ends.
#[test]
fn what_passes_is_taken_by_the_parser_behind() {
    let mut seed = 1_u64;
    let base = b"POST /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut head = base.to_vec();
        for _ in 0..2 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).expect("small") % head.len();
            head[at] = seed.to_le_bytes()[7];
        }
        if let Ok(Some(found)) = examine(&head, LIMITS) {
            passed += 1;
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut fields);
            let parsed = request.parse(&head);
            assert_eq!(parsed, Ok(httparse::Status::Complete(found.length)), "{:?}", String::from_utf8_lossy(&head));
            let target = request.path.expect("a target");
            assert!(target.parse::<http::Uri>().is_ok(), "{target}");
        } else {
            refused += 1;
        }
    }
    assert!(passed > 5_000 && refused > 5_000, "{passed} passed, {refused} refused");
}
