//! One parameter of a query (RFC 6750, section 2.3): its value, and the target without it.
//!
//! Names are compared as upstreams read them: with percent-encoding decoded, and `+` for a space.

use http::Uri;
use http::header::{self, Entry, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The values of all parameters of this name, decoded.
pub(super) fn values<'a>(
    query: &'a str,
    name: &'a str,
) -> impl Iterator<Item = Zeroizing<Vec<u8>>> + 'a {
    query.split('&').filter(|pair| is_of(pair, name)).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        decoded(value)
    })
}

/// Whether a parameter of this name is there only for a reader that also takes `;` for a separator.
pub(super) fn is_behind_semicolon(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split(';').skip(1).any(|part| is_of(part, name)))
}

/// What a query has under a name.
pub(in crate::gateway) enum Parameter {
    Absent,
    /// Once, with this value, decoded.
    Once(Zeroizing<Vec<u8>>),
    Several,
    /// It depends on whether a reader takes `;` for a separator, too.
    Unclear,
}

/// The one parameter of this name.
pub(in crate::gateway) fn parameter(query: &str, name: &str) -> Parameter {
    let has_semicolon = |pair: &str| {
        let mut parts = pair.split(';');
        let begins = parts.next().is_some_and(|part| is_of(part, name));
        begins && parts.next().is_some()
    };
    if is_behind_semicolon(query, name) || query.split('&').any(has_semicolon) {
        return Parameter::Unclear;
    }
    let mut found = values(query, name);
    match (found.next(), found.next()) {
        (None, _) => Parameter::Absent,
        (Some(value), None) => Parameter::Once(value),
        (Some(_), Some(_)) => Parameter::Several,
    }
}

/// Removes all parameters of this name and leaves the others as they are.
pub(super) fn remove(target: &mut Uri, name: &str) {
    remove_pairs(target, |pair| is_of(pair, name));
}

/// Removes the parameters of this name whose value is such a one, for every reader of queries.
pub(super) fn remove_where(target: &mut Uri, name: &str, is_one: impl Fn(&[u8]) -> bool) {
    remove_pairs(target, |pair| pair.split(';').any(|part| is_of_such(part, name, &is_one)));
}

fn remove_pairs(target: &mut Uri, is_removed: impl Fn(&str) -> bool) {
    let Some(query) = target.query() else { return };
    if !query.split('&').any(&is_removed) {
        return;
    }
    let others: Vec<_> = query.split('&').filter(|pair| !is_removed(pair)).collect();
    let path = target.path();
    let rest = match others.join("&") {
        others if others.is_empty() => path.to_owned(),
        others => format!("{path}?{others}"),
    };
    // A part of a target is one, too; otherwise the whole query goes.
    let rest = PathAndQuery::try_from(rest).or_else(|_| PathAndQuery::try_from(path));
    *target = Uri::from(rest.unwrap_or_else(|_| PathAndQuery::from_static("/")));
}

/// Removes the query of `Referer` where it has a parameter of this name with such a value: the page
/// whose address had the token tells it to the server.
pub(super) fn remove_from_referer(
    headers: &mut HeaderMap,
    name: &str,
    is_one: impl Fn(&[u8]) -> bool,
) {
    let changed = |value: &HeaderValue| {
        let text = value.to_str().ok()?;
        let (page, query) = text.split_once('?')?;
        let query = query.split('#').next().unwrap_or_default();
        let has_it = query.split(['&', ';']).any(|pair| is_of_such(pair, name, &is_one));
        has_it.then(|| HeaderValue::try_from(page).ok()).flatten()
    };
    let Entry::Occupied(mut field) = headers.entry(header::REFERER) else { return };
    for value in field.iter_mut() {
        if let Some(changed) = changed(value) {
            *value = changed;
        }
    }
}

fn is_of_such(pair: &str, name: &str, is_one: impl Fn(&[u8]) -> bool) -> bool {
    is_of(pair, name) && is_one(&decoded(pair.split_once('=').map_or("", |(_, value)| value)))
}

fn is_of(pair: &str, name: &str) -> bool {
    let found = pair.split_once('=').map_or(pair, |(found, _)| found);
    **decoded(found) == *name.as_bytes()
}

fn decoded(text: &str) -> Zeroizing<Vec<u8>> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let mut bytes = Zeroizing::new(Vec::with_capacity(spaced.len()));
    bytes.extend(percent_decode_str(&spaced));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<String> {
        let text = |value: Zeroizing<Vec<u8>>| String::from_utf8_lossy(&value).into_owned();
        values(query, "access_token").map(text).collect()
    }

    #[test]
    fn the_values_of_one_name_are_found_in_every_spelling() {
        for (query, expected) in [
            ("access_token=a", &["a"][..]),
            ("x=1&access_token=a&y", &["a"]),
            ("%61ccess%5Ftoken=a%2Eb%3d", &["a.b="]),
            ("%61%63%63%65%73%73%5f%74%6f%6b%65%6e=a", &["a"]),
            ("access_token=a&access_token=b", &["a", "b"]),
            ("access_token=a+b%2B", &["a b+"]),
            ("access_token", &[""]),
            ("access_token=", &[""]),
            ("access_token=a=b", &["a=b"]),
            // Decoded once, not twice.
            ("%2561ccess_token=a", &[]),
            ("Access_token=a&access_tokens=a&x=access_token=a&access+token=a", &[]),
            ("", &[]),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }

    #[test]
    fn a_parameter_that_only_some_readers_see_is_noticed() {
        for (query, expected) in [
            ("x=1;access_token=a", true),
            ("x=1;y;%61ccess_token=a&z", true),
            (";access_token=a", true),
            ("access_token=a;access_token=b", true),
            ("access_token=a;x=1", false),
            ("x=1;y=2", false),
        ] {
            assert_eq!(is_behind_semicolon(query, "access_token"), expected, "{query}");
        }
    }

    #[test]
    fn the_address_of_the_page_goes_on_without_the_token() {
        for (referer, left) in [
            ("https://a.example/p?access_token=x&b=1", "https://a.example/p"),
            ("https://a.example/p?b=1;%61ccess_token=x", "https://a.example/p"),
            ("https://a.example/p?b=1", "https://a.example/p?b=1"),
            ("https://a.example/access_token=x", "https://a.example/access_token=x"),
        ] {
            let value = HeaderValue::from_static(referer);
            let mut headers = HeaderMap::from_iter([(header::REFERER, value)]);
            remove_from_referer(&mut headers, "access_token", |_| true);
            assert_eq!(headers[header::REFERER], left);
        }
    }

    #[test]
    fn only_the_parameter_of_this_name_is_removed() {
        for (target, left) in [
            ("/a?access_token=x", "/a"),
            ("/a?access_token=x&b=1", "/a?b=1"),
            ("/a?b=%201+2&%61ccess_token=x&&c", "/a?b=%201+2&&c"),
            ("/a?access_token=x&access_token", "/a"),
            ("/a?b=1", "/a?b=1"),
            ("/a?", "/a?"),
            ("/access_token=x", "/access_token=x"),
        ] {
            let mut uri: Uri = target.parse().expect("a target");
            remove(&mut uri, "access_token");
            assert_eq!(uri.to_string(), left, "{target}");
        }
    }
}
