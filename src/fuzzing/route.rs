//! A redirect leads to no other server than its template names, whatever is asked for; and a route
//! is chosen by a parameter of the query only where all readers find the same one.

use crate::gateway::fuzzing::{location, query_is};
use crate::gateway::{Redirect, RedirectPath, RedirectServer};
use crate::wire::path::normal_form;

/// The parameter that decides, and its value.
const NAME: &str = "beta";
const VALUE: &str = "1";

pub(super) fn run(input: &[u8]) -> bool {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return false };
    let (path, query) = input.split_at(end);
    let (Ok(path), Ok(query)) = (std::str::from_utf8(path), std::str::from_utf8(query)) else {
        return false;
    };
    let query = query.strip_prefix('\n').unwrap_or(query);
    let is_query = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"');
    if !query.bytes().all(is_query) {
        return false;
    }
    is_chosen_by_what_all_readers_find(query);
    let Ok(normal) = normal_form(path) else { return false };
    leads_to_its_server(&normal, query);
    true
}

fn leads_to_its_server(path: &str, query: &str) {
    let server = |host: Option<&str>| {
        Some(RedirectServer { scheme: "https", host: host.map(ToOwned::to_owned), port: None })
    };
    for (server, begin) in [
        (None, ""),
        (server(Some("www.example.com")), "https://www.example.com"),
        (server(None), "https://a.example"),
    ] {
        for (pattern, to) in [
            ("/{*rest}", RedirectPath::Same),
            ("/{*rest}", RedirectPath::Template("/{rest}".to_owned())),
            ("/{one}/{*rest}", RedirectPath::Template("/{rest}".to_owned())),
            ("/{one}/{*rest}", RedirectPath::Template("/{one}/x/{rest}".to_owned())),
        ] {
            let redirect = Redirect {
                status: http::StatusCode::PERMANENT_REDIRECT,
                server: server.clone(),
                path: to,
                query: None,
                keeps_query: true,
            };
            let Some(made) = location(&redirect, pattern, path, query, "a.example") else {
                continue;
            };
            let rest = made.strip_prefix(begin);
            assert!(rest.is_some(), "{path:?} leads to {made:?}");
            let rest = rest.unwrap_or_default();
            // To a browser, a backslash is a slash, and two of them begin a host.
            let second = rest.chars().nth(1);
            assert!(
                rest.starts_with('/') && !matches!(second, Some('/' | '\\')),
                "{path:?} leads to {made:?}"
            );
            assert!(made.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}: {made:?}");
        }
    }
}

fn is_chosen_by_what_all_readers_find(query: &str) {
    let by_ampersand = values(query.split('&'));
    let by_both = values(query.split(['&', ';']));
    let is_one = by_ampersand == by_both && by_ampersand.len() <= 1;
    let expected = is_one.then(|| by_ampersand == [VALUE.as_bytes()]);
    assert_eq!(query_is(NAME, VALUE, query), expected, "{query:?}: {by_ampersand:?} {by_both:?}");
}

/// The values of the parameter, in the order of a query's pairs.
fn values<'q>(pairs: impl Iterator<Item = &'q str>) -> Vec<Vec<u8>> {
    pairs
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name) == NAME.as_bytes()).then(|| decoded(value))
        })
        .collect()
}

/// By hand: `+` is a space, and what is no escape stays.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (other, ..) => decoded.push(*other),
        }
    }
    decoded
}
