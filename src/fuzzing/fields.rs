//! Names that look like others are the same name, and what ends at a hop goes no further.

use http::header::{HeaderMap, HeaderName};

use super::field_lines::{cgi_name, field_lines, is_ours, names_method};
use crate::gateway::fuzzing::Gateway;
use crate::wire::fields::{FoldedNames, HopByHop, lists, strip_hop_by_hop, visible};

pub(super) fn run(input: &[u8]) -> bool {
    let headers = field_lines(input);
    names_fold(&headers);
    hops_are_stripped(&headers);
    for line in input.split(|&byte| byte == b'\n') {
        if let Ok(text) = std::str::from_utf8(line) {
            a_value_is_one_line(text);
        }
    }
    !headers.is_empty()
}

/// Every spelling of a name is that name, to the folding as to a CGI program; and no other is.
fn names_fold(headers: &HeaderMap) {
    let gateway = Gateway::new();
    let Ok(gateway) = gateway else { return };
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    for name in &names {
        assert_eq!(
            gateway.judged().matches(name),
            is_ours(name) || names_method(name),
            "{name:?} by the rules of the gateway"
        );
        for spelling in spellings(name) {
            assert_eq!(
                gateway.judged().matches(&spelling),
                gateway.judged().matches(name),
                "{name:?} and {spelling:?} are one name to an upstream"
            );
        }
    }
    // The same with names of the input as those that only keyward may set: whole ones and
    // beginnings.
    let (exact, prefixes) = names.split_at(names.len() / 2);
    let folded = FoldedNames::new(exact.iter().copied(), prefixes.iter().copied());
    for name in names.iter().copied().chain(["", "x", "host"]) {
        let is_one = |ours: &&str| cgi_name(ours) == cgi_name(name);
        let begins_so = |ours: &&str| cgi_name(name).starts_with(&cgi_name(ours));
        let expected = exact.iter().any(is_one) || prefixes.iter().any(begins_so);
        assert_eq!(folded.matches(name), expected, "{name:?} among {exact:?} and {prefixes:?}");
    }
}

/// The same name with other letters and other marks.
fn spellings(name: &str) -> Vec<String> {
    let with = |mark: char| {
        name.chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { mark })
            .collect::<String>()
    };
    let mut all = vec![name.to_ascii_uppercase(), name.to_ascii_lowercase()];
    all.extend("-_.~!|'".chars().map(with));
    all
}

/// No field that ends at this hop goes on, whichever line names it; everything else does, as it
/// was.
fn hops_are_stripped(headers: &HeaderMap) {
    let mut stripped = headers.clone();
    let mut hops = HopByHop::default();
    for (name, value) in headers {
        hops.note(name, value);
    }
    let accepts_trailers = hops.strip(&mut stripped);
    for name in headers.keys() {
        let is_gone = FIXED.contains(&name.as_str())
            || is_named(headers, name) && !STAYS.contains(&name.as_str());
        if is_gone {
            assert!(!stripped.contains_key(name), "{name} goes past its hop");
        } else {
            let (before, after) = (headers.get_all(name), stripped.get_all(name));
            assert!(before.iter().eq(after.iter()), "{name} was changed at a hop");
        }
    }
    assert!(stripped.keys().all(|name| headers.contains_key(name)), "a field came out of nothing");
    if accepts_trailers {
        let said = headers.get_all("te").iter().any(|value| {
            value.as_bytes().to_ascii_lowercase().windows(8).any(|found| found == b"trailers")
        });
        assert!(said, "trailers were never asked for");
    } else {
        assert!(!lists(headers, &http::header::TE, "trailers"), "trailers were asked for");
    }
    let once = stripped.clone();
    strip_hop_by_hop(&mut stripped);
    assert_eq!(once, stripped, "a second look finds more to strip");
}

/// RFC 9110, section 7.6.1, and what has been seen beside it.
const FIXED: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What the message would be another without.
const STAYS: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "authorization",
    "cache-control",
];

fn is_named(headers: &HeaderMap, name: &HeaderName) -> bool {
    let named =
        |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes());
    headers
        .get_all("connection")
        .iter()
        .any(|value| value.as_bytes().split(|&byte| byte == b',').any(named))
}

/// A value from outside cannot end its line, and says what it said.
fn a_value_is_one_line(text: &str) {
    let value = visible(text);
    assert!(
        value.as_bytes().iter().all(|byte| matches!(byte, 0x21..=0x7e)),
        "{text:?} became {value:?}"
    );
    let decoded: Vec<u8> = percent_encoding::percent_decode(value.as_bytes()).collect();
    assert_eq!(decoded, text.as_bytes(), "{text:?} became {value:?}");
}
