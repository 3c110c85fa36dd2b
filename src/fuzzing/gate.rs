//! What passes the gate has one reading: one host, a target in origin form with a normal path, one
//! framing.

use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Uri, Version, header};

use super::exchange::{LIMITS, Received, from_client};
use super::field_lines::{is_ours, names_method};
use super::strict;
use crate::gateway::fuzzing::{Gateway, HeadLimits, Passed, WebSocketForm};
use crate::wire::authority::host_in;
use crate::wire::path;

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(gateway) = Gateway::new() else { return false };
    let Some(received) = from_client(input) else { return false };
    let mut head = received.head.clone();
    let judged = gateway.judge(&mut head, received.has_body, LIMITS);
    let passes = judged.is_ok();
    if let Ok(passed) = judged {
        assert!(matches!(head.version, Version::HTTP_10 | Version::HTTP_11), "{:?}", head.version);
        has_one_reading(&gateway, &head, passed);
        has_one_framing(&head, &received, passed);
        is_what_was_sent(input, &received, &head);
    }
    for_raw_paths(&gateway, &received, passes.then_some(&head));
    over_http2(&gateway, &received.head, received.has_body);
    passes
}

/// With a route that forwards paths as they came, the same passes in the same form, and paths with
/// `%2F` besides. `passed`: the head as it passed without such a route.
fn for_raw_paths(gateway: &Gateway, received: &Received, passed: Option<&Parts>) {
    let mut head = received.head.clone();
    let judged = gateway.judge_for_raw_paths(&mut head, received.has_body, LIMITS);
    if let Some(passed) = passed {
        assert!(judged.is_ok(), "{:?} is refused beside a raw route", received.head.uri);
        assert_eq!((&head.uri, &head.headers), (&passed.uri, &passed.headers));
    } else if judged.is_ok() {
        let path = head.uri.path();
        assert!(path.contains("%2F"), "{path:?} passes only beside a raw route");
        let read = path::readings(path).map(|readings| readings.normal);
        assert_eq!(read.as_deref(), Ok(path), "{path:?} is not in its form");
    }
}

fn is_upgrade(passed: Passed) -> bool {
    passed.websocket == Some(WebSocketForm::Upgrade)
}

fn has_one_reading(gateway: &Gateway, head: &Parts, passed: Passed) {
    let Parts { method, uri, headers, version, .. } = head;
    assert!(uri.scheme().is_none() && uri.authority().is_none(), "{uri:?} is not in origin form");
    assert!(uri.path().starts_with('/'), "{uri:?} has no absolute path");
    assert_eq!(
        path::normal_form(uri.path()).as_deref(),
        Ok(uri.path()),
        "{uri:?} is not in normal form"
    );
    let query = uri.query().unwrap_or_default();
    assert!(
        query.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#'),
        "{uri:?} has a bad query"
    );
    let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
    assert!(
        hosts.len() == 1 || hosts.is_empty() && *version == Version::HTTP_10,
        "the hosts are {hosts:?}"
    );
    assert!(hosts.iter().all(|host| host_in(host.as_bytes()).is_some()), "the host is {hosts:?}");
    assert!(
        hosts.iter().all(|host| host.as_bytes().iter().all(|byte| !b"@%/\\ \t,?#".contains(byte))),
        "{hosts:?}"
    );
    assert!(
        strict::is_token(method.as_str().as_bytes()) && method.as_str().len() <= 32,
        "{method:?}"
    );
    assert!(*method != Method::CONNECT && *method != Method::TRACE, "{method:?} passed");
    // `Host` may have been made of the target.
    assert!(headers.len() <= LIMITS.lines + 1, "{} lines passed", headers.len());
    let mut expectations = headers.get_all(header::EXPECT).iter();
    let is_met = expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    assert!(is_met || *version == Version::HTTP_10, "an expectation passed that is not met");
    assert_eq!(passed.expects, headers.contains_key(header::EXPECT));
    assert_eq!(passed.has_length, headers.contains_key(header::CONTENT_LENGTH));
    assert_eq!(
        passed.has_judged,
        headers.keys().any(|name| is_ours(name.as_str()) || names_method(name.as_str())),
        "fields that are not for every client were not seen"
    );
    if is_upgrade(passed) {
        assert!(
            *method == Method::GET && *version == Version::HTTP_11,
            "a handshake by {method} {version:?}"
        );
    }
    // What is in the normal form stays so. It may be longer than what it was made of.
    let longer = HeadLimits { target: 4 * LIMITS.target, lines: LIMITS.lines + 1, ..LIMITS };
    let mut again = head.clone();
    let second = gateway.judge(&mut again, false, longer);
    assert_eq!(second.ok(), Some(passed), "a second judgement is another");
    assert_eq!((&again.uri, &again.headers), (uri, headers), "a second judgement changes the head");
}

fn has_one_framing(head: &Parts, received: &Received, passed: Passed) {
    let lengths: Vec<_> = head.headers.get_all(header::CONTENT_LENGTH).iter().collect();
    let codings: Vec<_> = head.headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    assert!(lengths.len() + codings.len() <= 1, "two framings: {lengths:?} and {codings:?}");
    match (lengths.first(), codings.first()) {
        (Some(length), _) => {
            let number =
                length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = number.and_then(|text| text.parse::<u64>().ok());
            assert!(number.is_some(), "the length is {length:?}");
            assert_eq!(received.length, number, "hyper goes by another length than {length:?}");
            if let Some(body) = &received.body {
                assert_eq!(u64::try_from(body.len()).ok(), number, "the body has another length");
            }
        }
        (None, Some(coding)) => {
            assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"), "the coding is {coding:?}");
            assert_eq!(
                (head.version, received.length),
                (Version::HTTP_11, None),
                "chunked, and of a length"
            );
        }
        (None, None) => {
            assert!(!received.has_body && received.length == Some(0), "a body without framing");
        }
    }
    assert!(!(is_upgrade(passed) && received.has_body), "a handshake with a body");
}

/// By the letter of RFC 9112, the client sent that and nothing else.
fn is_what_was_sent(input: &[u8], received: &Received, head: &Parts) {
    let read = strict::head(input);
    assert!(read.is_some(), "what passed is no HTTP/1.1 by the letter");
    let Some((strict, rest)) = read else { return };
    assert_eq!(head.method.as_str().as_bytes(), strict.method);
    assert_eq!(head.version == Version::HTTP_11, strict.minor == 1);
    assert_eq!(received.head.headers.len(), strict.fields.len(), "not as many fields as lines");
    for name in received.head.headers.keys() {
        let values = received.head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        assert_eq!(values.collect::<Vec<_>>(), strict.all(name.as_str()), "{name}");
    }
    if let (Some(body), Some((strict, _))) = (&received.body, strict::body(&strict, rest)) {
        assert_eq!(body, &strict, "the body reads otherwise");
    }
}

/// The same request as hyper gives it when it came over HTTP/2.
fn over_http2(gateway: &Gateway, received: &Parts, has_body: bool) {
    let mut head = received.clone();
    let authority =
        head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target =
        head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let built =
        Uri::builder().scheme(Scheme::HTTPS).authority(authority).path_and_query(target).build();
    let Ok(uri) = built else { return };
    head.version = Version::HTTP_2;
    head.uri = uri;
    for name in
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"]
    {
        head.headers.remove(name);
    }
    // `:authority` instead of `Host` in every other request: what came there is no field.
    if head.headers.len().is_multiple_of(2) {
        head.headers.remove(header::HOST);
    }
    let Ok(passed) = gateway.judge(&mut head, has_body, LIMITS) else { return };
    has_one_reading(gateway, &head, passed);
    assert!(!is_upgrade(passed), "HTTP/2 has no Upgrade");
    assert!(
        head.headers.get_all(header::COOKIE).iter().count() <= 1,
        "the cookie crumbs were not joined"
    );
}
