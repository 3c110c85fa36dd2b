//! The one normal form of a path: what is routed by is what is forwarded.
//!
//! Percent-encoded unreserved characters are decoded, other escapes get upper-case digits (RFC
//! 3986, section 6.2.2), characters that a URI may not hold but clients send as they are (`|`, `^`,
//! `{`, `}`, `"`, `` ` ``, `<`, `>`; see the WHATWG URL standard) are percent-encoded, runs of
//! slashes become one, and dot segments are resolved. What an upstream could still read in another
//! way is refused: see [`PathFault`].

use std::borrow::Cow;

use crate::domain::hex;

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// `%` without two hexadecimal digits behind it.
    #[error("the path has a broken percent-encoding")]
    BrokenEscape,
    /// An encoded or plain slash, backslash, NUL or other control character where it could mean two
    /// things.
    #[error("the path has a character that could be read in two ways")]
    Ambiguous,
    /// Dot segments that climb above the root, or hide behind a `;`.
    #[error("the path has dot segments that cannot be resolved")]
    DotSegments,
}

/// The normal form of `path`, borrowed if it is in it already.
///
/// # Errors
///
/// See [`PathFault`]: the client's fault.
pub fn normal_form(path: &str) -> Result<Cow<'_, str>, PathFault> {
    if !path.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    resolve(&decode(path)?).map(Cow::Owned)
}

/// The common case, decided in one pass: nothing in the path that could need a second look.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'/' | b'.' if after_slash => return false,
            b'/' => after_slash = true,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => after_slash = false,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b'=' | b':' | b'@' => after_slash = false,
            _ => return false,
        }
    }
    true
}

fn decode(path: &str) -> Result<String, PathFault> {
    let mut decoded = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) =
                    (bytes.next().and_then(hex::value), bytes.next().and_then(hex::value))
                else {
                    return Err(PathFault::BrokenEscape);
                };
                match high << 4 | low {
                    0..=0x1f | 0x7f | b'/' | b'\\' => return Err(PathFault::Ambiguous),
                    plain if is_unreserved(plain) => decoded.push(char::from(plain)),
                    other => push_escaped(&mut decoded, other),
                }
            }
            0..=0x20 | 0x7f..=0xff | b'\\' | b'#' | b'?' => return Err(PathFault::Ambiguous),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                push_escaped(&mut decoded, byte)
            }
            plain => decoded.push(char::from(plain)),
        }
    }
    Ok(decoded)
}

/// Removes dot segments (RFC 3986, section 5.2.4) and empty ones. A segment is also a dot segment
/// when a `;` follows its dots, as some servers cut parameters off before they resolve; that one is
/// refused.
fn resolve(path: &str) -> Result<String, PathFault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        let name = segment.split(';').next().unwrap_or_default();
        // Also for a server that decodes before it cuts the parameters off.
        let name = name.split("%3B").next().unwrap_or_default();
        ends_open = matches!(segment, "" | "." | "..");
        match name {
            "." | ".." if name != segment => return Err(PathFault::DotSegments),
            // `;x` alone is an empty segment for a server that cuts parameters off, and not for
            // others.
            "" if name != segment => return Err(PathFault::Ambiguous),
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(PathFault::DotSegments)?;
            }
            _ => kept.push(segment),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        normal.push('/');
    }
    Ok(normal)
}

fn push_escaped(to: &mut String, byte: u8) {
    to.push('%');
    to.extend(hex::pair(byte).map(|digit| char::from(digit.to_ascii_uppercase())));
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The name of the parameter that a segment of a pattern is, as in `{name}`; `None` for other
/// segments, the rest (`{*name}`) among them.
#[must_use]
pub fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}').filter(|name| !name.starts_with('*'))
}

/// A path segment, decoded; `None` if that is not UTF-8.
#[must_use]
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            bytes.next().and_then(hex::value)? << 4 | bytes.next().and_then(hex::value)?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// A text as one segment of a path in normal form: everything but unreserved characters is
/// percent-encoded.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            push_escaped(&mut encoded, byte);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form_and_it_is_stable() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/%7Euser/%41", "/~user/A"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a%252fb", "/a%252fb"),
            ("/a%3fb%23c", "/a%3Fb%23c"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b", "/a..b"),
            ("/a|b^c", "/a%7Cb%5Ec"),
            ("/a%7cb%5ec", "/a%7Cb%5Ec"),
            ("/{\"a\":1}", "/%7B%22a%22:1%7D"),
            ("/`<>", "/%60%3C%3E"),
            ("/%60%3c%3e", "/%60%3C%3E"),
            ("/..|/a", "/..%7C/a"),
        ] {
            let found = normal_form(path).expect(path);
            assert_eq!(found, normal, "{path}");
            assert_eq!(normal_form(&found).expect("stable"), found, "{path} again");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use PathFault::{Ambiguous, BrokenEscape, DotSegments, NotAbsolute};
        for (path, fault) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            ("*", NotAbsolute),
            ("/..", DotSegments),
            ("/../a", DotSegments),
            ("/a/../../b", DotSegments),
            ("/%2e%2e/a", DotSegments),
            ("/a/..;/b", DotSegments),
            ("/a/..;x=y/b", DotSegments),
            ("/a/.;/b", DotSegments),
            ("/a/%2e%2e;/b", DotSegments),
            ("/a/..%3b/b", DotSegments),
            ("/a/%2e%2e%3Bx/b", DotSegments),
            ("/a/%3b/b", Ambiguous),
            ("/a/;x/b", Ambiguous),
            ("/a%2fb", Ambiguous),
            ("/a%2Fb", Ambiguous),
            ("/a%5cb", Ambiguous),
            ("/a\\b", Ambiguous),
            ("/a%00", Ambiguous),
            ("/a%0d%0ab", Ambiguous),
            ("/a%7f", Ambiguous),
            ("/a%zz", BrokenEscape),
            ("/a%2", BrokenEscape),
            ("/a%", BrokenEscape),
            ("/a b", Ambiguous),
            ("/a#b", Ambiguous),
            ("/a\tb", Ambiguous),
            ("/é", Ambiguous),
        ] {
            assert_eq!(normal_form(path), Err(fault), "{path}");
        }
    }

    /// Every byte after a slash, after a letter and before a letter: a normal form or a refusal,
    /// and then stable.
    #[test]
    fn no_single_byte_makes_an_unstable_form() {
        for byte in 0x21..0x7f_u8 {
            for path in [
                format!("/{}", byte as char),
                format!("/a{}b", byte as char),
                format!("/a/%{byte:02x}/b"),
            ] {
                if let Ok(normal) = normal_form(&path) {
                    assert_eq!(normal_form(&normal).as_deref(), Ok(&*normal), "{path}");
                    assert!(!normal.contains("/../") && !normal.contains("//"), "{path}");
                }
            }
        }
    }

    #[test]
    fn a_segment_stands_for_its_text() {
        assert_eq!(decode_segment("a%20b%C3%A9").as_deref(), Some("a bé"));
        assert_eq!(decode_segment("%FF"), None);
    }
}
