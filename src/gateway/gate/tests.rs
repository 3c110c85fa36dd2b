//! The gate as a table: what passes and its normal form, what is refused and as what.

use http::{HeaderMap, HeaderName, Request};

use super::*;
use crate::wire::path::PathFault;

const LIMITS: HeadLimits = HeadLimits { bytes: 32 * 1024, target: 100, lines: 10 };

const HTTP_10: Version = Version::HTTP_10;
const HTTP_11: Version = Version::HTTP_11;
const HTTP_2: Version = Version::HTTP_2;

/// Fields as they came, in order.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// A host, and no other field.
const HOST: Fields<'static> = &[("host", "a.example")];

/// A head as hyper hands it over.
fn head(version: Version, method: &str, target: &str, fields: Fields<'_>) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
    *request.uri_mut() = Uri::try_from(target).expect("a target that hyper takes");
    *request.version_mut() = version;
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value that hyper takes");
        // What hyper reads names by in each version.
        let name = match version {
            HTTP_2 => HeaderName::from_lowercase(name.as_bytes()),
            _ => HeaderName::from_bytes(name.as_bytes()),
        };
        request.headers_mut().append(name.expect("a name"), value);
    }
    request.into_parts().0
}

/// An extended CONNECT (RFC 8441) to `/ws` of `a.example`.
fn connect(protocol: &'static str, versions: &[&str]) -> Parts {
    let fields: Vec<_> =
        versions.iter().map(|version| ("sec-websocket-version", *version)).collect();
    let mut head = head(HTTP_2, "CONNECT", "http://a.example/ws", &fields);
    head.extensions.insert(Protocol::from_static(protocol));
    head
}

/// What a head is refused as, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Refused {
    Head(HeadFault),
    Path(PathFault),
    Upgrade,
    NoRoute,
}

fn judge_without_body(head: &mut Parts) -> Result<Passed, Refused> {
    judged(head, false)
}

fn judged(head: &mut Parts, has_body: bool) -> Result<Passed, Refused> {
    let ours = FoldedNames::new(["x-user"], ["x-keyward-"]);
    judge(head, has_body, LIMITS, &ours, RawPaths::Unused).map_err(|refusal| match refusal {
        Refusal::Head(fault) => Refused::Head(fault),
        Refusal::Path(fault) => Refused::Path(fault),
        Refusal::Upgrade => Refused::Upgrade,
        Refusal::NoRoute => Refused::NoRoute,
        other => panic!("the gate refuses nothing as {other:?}"),
    })
}

/// Asserts that a head passes, and returns it as it is then.
#[track_caller]
fn passes(mut head: Parts) -> (Parts, Passed) {
    let shown = format!("{} {} {:?} {:?}", head.method, head.uri, head.version, head.headers);
    match judge_without_body(&mut head) {
        Ok(passed) => (head, passed),
        Err(refused) => panic!("refused as {refused:?}: {shown}"),
    }
}

/// Asserts that a head is refused as this.
#[track_caller]
fn is_refused(mut head: Parts, expected: Refused) {
    let shown = format!("{} {} {:?} {:?}", head.method, head.uri, head.version, head.headers);
    match judge_without_body(&mut head) {
        Err(refused) => assert_eq!(refused, expected, "{shown}"),
        Ok(passed) => panic!("passed, as {passed:?}: {shown}"),
    }
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn a_target_passes_in_its_normal_form_and_keeps_its_query() {
    for (version, target, normal) in [
        (HTTP_10, "/", "/"),
        (HTTP_11, "/a/b", "/a/b"),
        (HTTP_11, "/a/b?c=%2f..", "/a/b?c=%2f.."),
        (HTTP_11, "/a?", "/a?"),
        (HTTP_11, "/%61/./b/../c//d", "/a/c/d"),
        (HTTP_11, "/a%e4", "/a%E4"),
        (HTTP_11, "/a|b?c|d", "/a%7Cb?c|d"),
        (HTTP_11, "http://b.example/a/./b?c", "/a/b?c"),
        (HTTP_11, "https://b.example", "/"),
        (HTTP_11, "http://b.example?c", "/?c"),
        (HTTP_2, "http://b.example/a", "/a"),
        (HTTP_2, "https://b.example/%61?c", "/a?c"),
        (HTTP_2, "/a", "/a"),
    ] {
        let (head, _) = passes(head(version, "GET", target, HOST));
        assert_eq!(head.uri.to_string(), normal, "{version:?} {target}");
        assert_eq!(
            (head.uri.scheme(), head.uri.authority()),
            (None, None),
            "origin form: {target}"
        );
    }
}

#[test]
fn a_path_without_one_reading_is_refused() {
    for (target, fault) in [
        ("/a%2fb", PathFault::Ambiguous),
        ("/a%5cb", PathFault::Ambiguous),
        ("/a%00", PathFault::Ambiguous),
        ("/a/..;/b", PathFault::DotSegments),
        ("/../a", PathFault::DotSegments),
        ("/%", PathFault::BrokenEscape),
        ("/%zz", PathFault::BrokenEscape),
        ("http://b.example/a%2fb", PathFault::Ambiguous),
    ] {
        for version in [HTTP_10, HTTP_11, HTTP_2] {
            is_refused(head(version, "GET", target, HOST), Refused::Path(fault));
        }
    }
}

#[test]
fn a_target_of_another_form_is_refused() {
    for (method, target, refused) in [
        ("OPTIONS", "*", Refused::NoRoute),
        ("GET", "*", Refused::Head(HeadFault::Target)),
        ("GET", "b.example:80", Refused::Head(HeadFault::Target)),
        ("GET", "ftp://b.example/a", Refused::Head(HeadFault::Target)),
        ("GET", "/a?\u{e4}", Refused::Head(HeadFault::Target)),
        ("CONNECT", "b.example:80", Refused::Head(HeadFault::Method)),
    ] {
        is_refused(head(HTTP_11, method, target, HOST), refused);
    }
    // hyper's parser takes bytes of UTF-8 in a path.
    is_refused(head(HTTP_11, "GET", "/\u{e4}", HOST), Refused::Head(HeadFault::Target));
}

#[test]
fn a_target_is_as_long_as_the_limit_at_most() {
    let path = format!("/{}", "a".repeat(99));
    let query = format!("/a?{}", "b".repeat(97));
    for target in [&path, &query] {
        passes(head(HTTP_11, "GET", target, HOST));
        // The authority of the absolute form is not counted.
        passes(head(HTTP_2, "GET", &format!("http://b.example{target}"), &[]));
        let longer = format!("{target}a");
        is_refused(head(HTTP_11, "GET", &longer, HOST), Refused::Head(HeadFault::TargetTooLong));
    }
}

#[test]
fn there_is_one_host_and_the_target_has_the_last_word() {
    for (version, target, fields, host) in [
        (HTTP_11, "/", HOST, "a.example"),
        (HTTP_11, "/", &[("host", "A.example.:8080")][..], "A.example.:8080"),
        (HTTP_11, "/", &[("host", "[::1]:80")], "[::1]:80"),
        (HTTP_11, "http://b.example/", HOST, "b.example"),
        (HTTP_11, "https://b.example:8443/", HOST, "b.example:8443"),
        (HTTP_10, "/", HOST, "a.example"),
        (HTTP_10, "http://b.example/", &[], "b.example"),
        (HTTP_2, "http://b.example/", &[], "b.example"),
        (HTTP_2, "http://b.example/", HOST, "b.example"),
        (HTTP_2, "/", HOST, "a.example"),
    ] {
        let (head, _) = passes(head(version, "GET", target, fields));
        assert_eq!(all(&head.headers, "host"), [host], "{version:?} {target} {fields:?}");
    }
    // HTTP/1.0 has no Host of its own.
    let (head, _) = passes(head(HTTP_10, "GET", "/", &[]));
    assert_eq!(all(&head.headers, "host"), [""; 0]);
}

#[test]
fn no_host_several_or_a_malformed_one_is_refused() {
    let two: Fields<'_> = &[("host", "a.example"), ("host", "a.example")];
    for (version, target, fields) in [
        (HTTP_11, "/", &[][..]),
        (HTTP_11, "http://b.example/", &[]),
        (HTTP_11, "/", two),
        (HTTP_11, "http://b.example/", two),
        (HTTP_10, "/", two),
        (HTTP_2, "http://b.example/", two),
        (HTTP_2, "/", &[]),
        (HTTP_11, "/", &[("host", "")]),
        (HTTP_11, "/", &[("host", "a b")]),
        (HTTP_11, "/", &[("host", "u@a.example")]),
        (HTTP_11, "/", &[("host", "a.example:99999")]),
        (HTTP_11, "/", &[("host", "a.example, b.example")]),
        (HTTP_10, "/", &[("host", "a/b")]),
        // A Host that is not used has to be one all the same.
        (HTTP_11, "http://b.example/", &[("host", "a b")]),
        (HTTP_11, "http://u@b.example/", HOST),
        (HTTP_2, "http://b.example:0/", &[]),
    ] {
        is_refused(head(version, "GET", target, fields), Refused::Head(HeadFault::Host));
    }
}

#[test]
fn cookies_that_http_2_splits_are_joined_in_their_order() {
    let cookies: Fields<'_> =
        &[("cookie", "a=1"), ("host", "a.example"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    let (joined, _) = passes(head(HTTP_2, "GET", "/", cookies));
    assert_eq!(all(&joined.headers, "cookie"), ["a=1; b=2; c=3; d=4"]);
    let (one, _) = passes(head(HTTP_2, "GET", "http://b.example/", &[("cookie", "a=1")]));
    assert_eq!(all(&one.headers, "cookie"), ["a=1"]);
    // HTTP/1.1 does not split them: what comes twice stays as it came.
    let (kept, _) = passes(head(HTTP_11, "GET", "/", cookies));
    assert_eq!(all(&kept.headers, "cookie"), ["a=1", "b=2; c=3", "d=4"]);
}

#[test]
fn what_a_head_has_is_noted() {
    let hops = |name, value| {
        let mut hops = HopByHop::default();
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        assert!(hops.note(&name, &value), "{name}");
        hops
    };
    let none = Passed::default();
    for (version, field, expected) in [
        (HTTP_11, ("accept", "*/*"), none),
        (HTTP_11, ("x-user", "evil"), Passed { has_judged: true, ..none }),
        (HTTP_11, ("x_keyward.subject", "evil"), Passed { has_judged: true, ..none }),
        (HTTP_11, ("x-users", "fine"), none),
        (HTTP_2, ("x-api-key", "k"), Passed { has_api_key: true, ..none }),
        (HTTP_11, ("content-length", "0"), Passed { has_length: true, ..none }),
        (HTTP_11, ("content-length", "007"), Passed { has_length: true, ..none }),
        (HTTP_2, ("content-length", "5"), Passed { has_length: true, ..none }),
        (HTTP_11, ("expect", "100-Continue"), Passed { expects: true, ..none }),
        (HTTP_2, ("expect", "100-continue"), Passed { expects: true, ..none }),
        (HTTP_10, ("expect", "x-magic"), Passed { expects: true, ..none }),
        (
            HTTP_11,
            ("transfer-encoding", "Chunked"),
            Passed { hops: hops("transfer-encoding", "chunked"), ..none },
        ),
        (HTTP_11, ("connection", "x-a"), Passed { hops: hops("connection", "x-a"), ..none }),
        (HTTP_11, ("te", "trailers"), Passed { hops: hops("te", "trailers"), ..none }),
        (
            HTTP_11,
            ("keep-alive", "timeout=5"),
            Passed { hops: hops("keep-alive", "timeout=5"), ..none },
        ),
        (
            HTTP_11,
            ("proxy-authorization", "Basic x"),
            Passed { hops: hops("proxy-authorization", "Basic x"), ..none },
        ),
    ] {
        let fields = [("host", "a.example"), field];
        let (_, passed) = passes(head(version, "POST", "/", &fields));
        assert_eq!(passed, expected, "{version:?} {field:?}");
    }
}

#[test]
fn framing_with_two_readings_is_refused() {
    let length = ("content-length", "5");
    let chunked = ("transfer-encoding", "chunked");
    for (version, framing) in [
        (HTTP_11, &[length, chunked][..]),
        (HTTP_11, &[chunked, length]),
        (HTTP_11, &[length, length]),
        (HTTP_11, &[length, ("content-length", "6")]),
        (HTTP_11, &[chunked, chunked]),
        (HTTP_11, &[("transfer-encoding", "gzip, chunked")]),
        (HTTP_11, &[("transfer-encoding", "chunked, chunked")]),
        (HTTP_11, &[("transfer-encoding", "identity")]),
        (HTTP_11, &[("transfer-encoding", "")]),
        (HTTP_11, &[("content-length", "")]),
        (HTTP_11, &[("content-length", "+5")]),
        (HTTP_11, &[("content-length", "5, 5")]),
        (HTTP_11, &[("content-length", "0x5")]),
        (HTTP_11, &[("content-length", "1234567890123456789")]),
        (HTTP_10, &[chunked]),
        (HTTP_10, &[length, length]),
        (HTTP_2, &[chunked]),
        (HTTP_2, &[length, length]),
    ] {
        let fields = [HOST, framing].concat();
        is_refused(head(version, "POST", "/", &fields), Refused::Head(HeadFault::Framing));
    }
}

#[test]
fn an_expectation_other_than_100_continue_is_refused() {
    for value in ["x-magic", "100-continue, 100-continue", "100-continue;a=b", "", "100"] {
        for version in [HTTP_11, HTTP_2] {
            let fields = [("host", "a.example"), ("expect", value)];
            is_refused(head(version, "POST", "/", &fields), Refused::Head(HeadFault::Expectation));
        }
    }
}

#[test]
fn a_head_has_as_many_lines_as_the_limit_at_most() {
    let lines = |count: usize| [HOST, &[("x-a", "b")].repeat(count)].concat();
    for version in [HTTP_11, HTTP_2] {
        passes(head(version, "GET", "/", &lines(9)));
        is_refused(head(version, "GET", "/", &lines(10)), Refused::Head(HeadFault::TooLarge));
    }
}

#[test]
fn a_quotation_mark_in_a_name_of_http_2_is_malformed() {
    let fields = [("host", "a.example"), ("x\"a", "b")];
    is_refused(head(HTTP_2, "GET", "/", &fields), Refused::Head(HeadFault::Malformed));
}

#[test]
fn methods_pass_but_for_connect_and_trace_and_very_long_ones() {
    for method in
        ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND", "get", "MAKE-COFFEE", &"A".repeat(32)]
    {
        let (head, _) = passes(head(HTTP_11, method, "/", HOST));
        assert_eq!(head.method.as_str(), method);
    }
    for version in [HTTP_10, HTTP_11, HTTP_2] {
        is_refused(head(version, "TRACE", "/", HOST), Refused::Head(HeadFault::Method));
        is_refused(head(version, "CONNECT", "/", HOST), Refused::Head(HeadFault::Method));
    }
    is_refused(head(HTTP_11, &"A".repeat(33), "/", HOST), Refused::Head(HeadFault::Malformed));
}

/// The fields of a handshake (RFC 6455, section 4.1), with this `Upgrade`.
fn handshake(upgrade: &str) -> [(&str, &str); 5] {
    [
        ("host", "a.example"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", upgrade),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
}

#[test]
fn a_websocket_handshake_is_noted_in_either_form() {
    for upgrade in ["websocket", "WebSocket"] {
        let (head, passed) = passes(head(HTTP_11, "GET", "/ws", &handshake(upgrade)));
        assert_eq!(passed.websocket, Some(WebSocketForm::Upgrade), "{upgrade}");
        assert_eq!((head.method, head.uri.path()), (Method::GET, "/ws"));
    }
    let (head, passed) = passes(connect("websocket", &["13"]));
    assert_eq!(passed.websocket, Some(WebSocketForm::Connect));
    assert_eq!(head.uri.to_string(), "/ws");
    assert_eq!(all(&head.headers, "host"), ["a.example"]);
}

#[test]
fn an_extended_connect_is_of_websocket_13_or_refused() {
    for versions in
        [&[][..], &["12"], &["777"], &[""], &["13, 12"], &["013"], &["13", "13"], &["13", "8"]]
    {
        is_refused(connect("websocket", versions), Refused::Upgrade);
    }
    for protocol in ["connect-udp", "webtransport", "h2c", "", "WebSocket", "websocket, h2c"] {
        is_refused(connect(protocol, &["13"]), Refused::Head(HeadFault::Method));
    }
    let mut get = connect("websocket", &["13"]);
    get.method = Method::GET;
    is_refused(get, Refused::Head(HeadFault::Method));
}

/// Its 426 is the upstream's to give (RFC 6455, section 4.4).
#[test]
fn a_handshake_of_http_1_1_of_another_version_goes_on() {
    let mut fields = handshake("websocket");
    fields[3].1 = "777";
    let (head, passed) = passes(head(HTTP_11, "GET", "/ws", &fields));
    assert_eq!(passed.websocket, Some(WebSocketForm::Upgrade));
    assert_eq!(all(&head.headers, "sec-websocket-version"), ["777"]);
}

#[test]
fn a_malformed_websocket_handshake_is_refused() {
    for (version, method, upgrade) in [
        (HTTP_11, "POST", "websocket"),
        (HTTP_10, "GET", "websocket"),
        (HTTP_11, "GET", "websocket, h2c"),
        (HTTP_11, "GET", "h2c, websocket"),
        (HTTP_11, "GET", "websocket,"),
    ] {
        is_refused(head(version, method, "/ws", &handshake(upgrade)), Refused::Upgrade);
    }
    let two = [&handshake("websocket")[..], &[("upgrade", "h2c")]].concat();
    is_refused(head(HTTP_11, "GET", "/ws", &two), Refused::Upgrade);
    let mut with_body = head(HTTP_11, "GET", "/ws", &handshake("websocket"));
    assert_eq!(judged(&mut with_body, true), Err(Refused::Upgrade));
}

#[test]
fn an_offer_of_another_protocol_is_no_websocket_and_passes() {
    for upgrade in ["h2c", "TLS/1.2", "TLS/1.2, HTTP/1.1", "websocketx", "websocket/13", ""] {
        for method in ["GET", "POST"] {
            let (_, passed) = passes(head(HTTP_11, method, "/", &handshake(upgrade)));
            assert_eq!(passed.websocket, None, "{upgrade}");
        }
    }
    // Without `Connection: upgrade` it is no handshake, and HTTP/2 has none of this form.
    for (version, connection) in
        [(HTTP_11, "keep-alive"), (HTTP_11, "upgraded"), (HTTP_2, "upgrade")]
    {
        let fields = [("host", "a.example"), ("connection", connection), ("upgrade", "websocket")];
        let (_, passed) = passes(head(version, "GET", "/", &fields));
        assert_eq!(passed.websocket, None, "{version:?} {connection}");
    }
}

#[test]
fn a_grpc_call_is_told_by_its_content_type_over_http_2() {
    for (content_type, is_grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc ; x=y", true),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/json", false),
        ("text/plain; application/grpc", false),
        ("", false),
    ] {
        let fields = [("host", "a.example"), ("content-type", content_type)];
        let call = head(HTTP_2, "POST", "/s.S/M", &fields);
        assert_eq!(super::is_grpc(&call), is_grpc, "{content_type}");
        let other = head(HTTP_11, "POST", "/s.S/M", &fields);
        assert!(!super::is_grpc(&other), "gRPC is HTTP/2: {content_type}");
    }
    assert!(!is_grpc(&head(HTTP_2, "POST", "/s.S/M", HOST)));
}
