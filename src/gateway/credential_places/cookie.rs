//! One cookie of a request (RFC 6265, section 4.2): its value, and the request without it.

use http::header::{self, HeaderMap, HeaderValue};

/// The values of all cookies of this name, on all lines.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |pair| value_of(pair, name))
}

/// The value of a pair of this name, without the quotes that may be around it.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (found, value) = pair.split_at_checked(pair.iter().position(|&byte| byte == b'=')?)?;
    if found.trim_ascii() != name.as_bytes() {
        return None;
    }
    let value = value.strip_prefix(b"=")?.trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value))
}

/// Removes the cookies of this name and leaves the others as they are.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    if values(headers, name).next().is_none() {
        return;
    }
    let rest = |line: &HeaderValue| {
        let pairs = line.as_bytes().split(|&byte| byte == b';');
        let others: Vec<_> = pairs.filter(|pair| value_of(pair, name).is_none()).collect();
        let others = others.join(&b';');
        let others = HeaderValue::from_bytes(others.trim_ascii()).ok();
        others.filter(|others| !others.is_empty())
    };
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().filter_map(rest).collect();
    headers.remove(header::COOKIE);
    for line in lines {
        headers.append(header::COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::try_from(*line).expect("a value");
        lines.iter().map(|line| (header::COOKIE, value(line))).collect()
    }

    #[test]
    fn the_values_of_one_name_are_found_on_all_lines() {
        for (lines, expected) in [
            (&["token=a"][..], &["a"][..]),
            (&["x=1; token=a; y=2"], &["a"]),
            (&["token=a;token=b"], &["a", "b"]),
            (&["x=1", "token=a"], &["a"]),
            (&[" token = \"a=b\" "], &["a=b"]),
            (&["token="], &[""]),
            (&["token", "xtoken=a", "token2=a", "Token=a", "x=token=a", "=token"], &[]),
        ] {
            let headers = cookies(lines);
            let found: Vec<_> = values(&headers, "token").collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn only_the_cookie_of_this_name_is_removed() {
        for (lines, left) in [
            (&["token=a"][..], &[][..]),
            (&["token=a; x=1"], &["x=1"]),
            (&["x=1; token=a"], &["x=1"]),
            (&["x=1; token=a; y= 2;z"], &["x=1; y= 2;z"]),
            (&["token=a; token=b"], &[]),
            (&["token=a", "x=1; token=b", "y"], &["x=1", "y"]),
            (&["x=\"a;b\""], &["x=\"a;b\""]),
        ] {
            let mut headers = cookies(lines);
            remove(&mut headers, "token");
            assert_eq!(headers, cookies(left), "{lines:?}");
        }
    }
}
