//! The one normal form of a path: what is routed by is what is forwarded.
//!
//! Percent-encoded unreserved characters are decoded, other escapes get upper-case digits (RFC
//! 3986, section 6.2.2), `|`, `^`, `{`, `}`, `"`, `` ` ``, `<` and `>`, which clients send as they
//! are (WHATWG URL standard), are percent-encoded, runs of slashes become one, and dot segments are
//! resolved. What an upstream could still read in another way is refused: see [`PathFault`].

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode_byte, utf8_percent_encode,
};

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
    /// An encoded slash, a backslash, a control character or an empty segment with parameters.
    #[error("the path has a character that could be read in two ways")]
    Ambiguous,
    /// Dot segments that climb above the root, or hide behind a `;`.
    #[error("the path has dot segments that cannot be resolved")]
    DotSegments,
    /// Of a path that would be forwarded in its normal form: `//` may be a part of a name to the
    /// upstream, as in the keys of object stores, and would be lost.
    #[error(
        "the path has an empty segment, which only a route with forward_path = \"raw\" forwards"
    )]
    EmptySegment,
    /// Of a path that would be forwarded as it came: it leads elsewhere for an upstream that reads
    /// `%2F` or `//` in its own way.
    #[error("the path could be read as one of another route")]
    OtherRoute,
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
    resolve(&decode(path, EncodedSlash::Refused)?).map(Cow::Owned)
}

/// A path that may be forwarded as it came, as an upstream may read it.
///
/// `%2F` stands for a slash to some servers and for a character of a name to others; some take runs
/// of slashes for one, and others do not. What has dot segments in one of these readings, however
/// they are encoded, has none; nor has a path with what [`normal_form`] refuses besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// `%2F` is a character, and runs of slashes are one: the normal form, but for `%2F`.
    pub normal: String,
    /// All of them, the normal form among them.
    pub all: Vec<String>,
}

/// How a path can be read.
///
/// # Errors
///
/// See [`PathFault`]: the client's fault.
pub fn readings(path: &str) -> Result<Readings, PathFault> {
    if !path.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    let kept = decode(path, EncodedSlash::Kept)?;
    let split = kept.replace(ENCODED_SLASH, "/");
    for segment in split.split('/') {
        match without_parameters(segment) {
            "." | ".." => return Err(PathFault::DotSegments),
            "" if !segment.is_empty() => return Err(PathFault::Ambiguous),
            _ => {}
        }
    }
    let normal = resolve(&kept)?;
    let mut all = vec![normal.clone(), resolve(&split)?, kept, split];
    all.dedup();
    Ok(Readings { normal, all })
}

/// Whether a path is in normal form by a look at single bytes: the common case.
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

const ENCODED_SLASH: &str = "%2F";

/// What becomes of `%2F`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EncodedSlash {
    Refused,
    Kept,
}

fn decode(path: &str, slash: EncodedSlash) -> Result<String, PathFault> {
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
                    b'/' if slash == EncodedSlash::Kept => decoded.push_str(ENCODED_SLASH),
                    0..=0x1f | 0x7f | b'/' | b'\\' => return Err(PathFault::Ambiguous),
                    plain if is_unreserved(plain) => decoded.push(char::from(plain)),
                    other => decoded.push_str(percent_encode_byte(other)),
                }
            }
            0..=0x20 | 0x7f..=0xff | b'\\' | b'#' | b'?' => return Err(PathFault::Ambiguous),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                decoded.push_str(percent_encode_byte(byte));
            }
            plain => decoded.push(char::from(plain)),
        }
    }
    Ok(decoded)
}

/// Removes dot segments (RFC 3986, section 5.2.4) and empty ones. One with a `;` behind its dots is
/// refused, as some servers cut parameters off before they resolve.
fn resolve(path: &str) -> Result<String, PathFault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        let name = without_parameters(segment);
        ends_open = matches!(segment, "" | "." | "..");
        match name {
            "." | ".." if name != segment => return Err(PathFault::DotSegments),
            // `;x` is an empty segment for a server that cuts parameters off.
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

/// A segment as servers see it that cut parameters off.
fn without_parameters(segment: &str) -> &str {
    let name = segment.split(';').next().unwrap_or_default();
    // For a server that decodes before it cuts them off.
    name.split("%3B").next().unwrap_or_default()
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// All characters of ASCII but the unreserved ones.
const NOT_UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The name of the parameter that a segment of a pattern is, as in `{name}`; `None` for other
/// segments, the rest (`{*name}`) among them.
#[must_use]
pub fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}').filter(|name| !name.starts_with('*'))
}

/// A segment of a path in normal form, decoded; `None` if that is not UTF-8.
#[must_use]
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// A text as one segment of a path in normal form: everything but unreserved characters is
/// percent-encoded.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, NOT_UNRESERVED).to_string()
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
    fn every_reading_of_a_path_that_may_be_forwarded_as_it_came_is_known() {
        for (path, all) in [
            ("/a/b", &["/a/b"][..]),
            ("/@scope%2fpkg", &["/@scope%2Fpkg", "/@scope/pkg", "/@scope%2Fpkg", "/@scope/pkg"]),
            ("/b/x//y", &["/b/x/y", "/b/x//y"]),
            ("/b//", &["/b/", "/b//"]),
            ("/b/%2fy", &["/b/%2Fy", "/b/y", "/b/%2Fy", "/b//y"]),
            ("/b/%61%7c|", &["/b/a%7C%7C"]),
            ("/b%252f..a", &["/b%252f..a"]),
        ] {
            assert_eq!(readings(path).expect(path).all, all, "{path}");
        }
    }

    #[test]
    fn dot_segments_in_any_reading_and_what_no_path_may_hold_are_never_forwarded_as_they_came() {
        use PathFault::{Ambiguous, BrokenEscape, DotSegments, NotAbsolute};
        for (path, fault) in [
            ("a", NotAbsolute),
            ("/a/../b", DotSegments),
            ("/a/./b", DotSegments),
            ("/a/%2E%2e/b", DotSegments),
            ("/a%2f..%2fb", DotSegments),
            ("/a/..%2fb", DotSegments),
            ("/a%2F%2e%2e", DotSegments),
            ("/a%2f.;x%2fb", DotSegments),
            ("/a/..%3bx%2fb", DotSegments),
            ("/a%2f;x", Ambiguous),
            ("/a/%3b%2fx", Ambiguous),
            ("/a%00", Ambiguous),
            ("/a%5c..", Ambiguous),
            ("/a\\b", Ambiguous),
            ("/a%0a", Ambiguous),
            ("/a%2", BrokenEscape),
        ] {
            assert_eq!(readings(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn a_segment_stands_for_its_text() {
        assert_eq!(decode_segment("a%20b%C3%A9").as_deref(), Some("a bé"));
        assert_eq!(decode_segment("%FF"), None);
    }
}
