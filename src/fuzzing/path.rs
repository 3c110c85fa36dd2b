//! The normal form of a path has one reading, for every reader.

use crate::wire::path::{PathFault, decode_segment, encode_segment, normal_form, readings};

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    segments_are_what_they_were(text);
    what_may_be_forwarded_as_it_came_stays_where_it_is(text);
    let Ok(normal) = normal_form(text) else { return false };
    has_one_reading(&normal);
    assert_eq!(
        normal_form(&normal).as_deref(),
        Ok(&*normal),
        "the normal form of {text:?} is not stable"
    );
    assert_eq!(by_hand(text), meaning(&normal), "{text:?} became another path: {normal:?}");
    for respelled in [encoded(text), in_other_case(text), text.replace('/', "//")] {
        assert_eq!(
            normal_form(&respelled).as_deref(),
            Ok(&*normal),
            "{text:?} and {respelled:?} are one path in two spellings"
        );
    }
    true
}

/// A path that may be forwarded as it came has no dot segment, whatever a server decodes and splits
/// first, and each way to read it is known.
fn what_may_be_forwarded_as_it_came_stays_where_it_is(text: &str) {
    let found = match readings(text) {
        Ok(found) => found,
        Err(fault) => {
            assert_ne!(fault, PathFault::OtherRoute, "{text:?}: there is no route yet");
            return;
        }
    };
    let decoded = decode(text);
    assert!(text.starts_with('/') && !decoded.iter().any(u8::is_ascii_control), "{text:?}");
    assert!(!decoded.contains(&b'\\'), "{text:?} has a backslash");
    for segment in decoded.split(|&byte| byte == b'/') {
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        assert!(!matches!(name, b"." | b".."), "{text:?} has a dot segment");
    }
    let encoded_kept = text.replace("%2f", "%252F").replace("%2F", "%252F");
    let is_slash =
        |decoded: &[u8]| decoded.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
    // With every escape decoded, and with that of a slash left as it is.
    let both: [Vec<Vec<u8>>; 2] = [is_slash(&decoded), is_slash(&decode(&encoded_kept))];
    for unmerged in both {
        let is_open = unmerged.last().is_some_and(Vec::is_empty);
        let mut merged: Vec<_> =
            unmerged.iter().skip(1).filter(|segment| !segment.is_empty()).cloned().collect();
        if is_open || merged.is_empty() {
            merged.push(Vec::new());
        }
        let known = |segments: &[Vec<u8>]| {
            let is_it = |reading: &String| {
                let read = reading.replace("%2F", "%252F");
                meaning(&read) == segments
            };
            found.all.iter().any(is_it)
        };
        let unmerged = unmerged.get(1..).unwrap_or_default();
        assert!(known(unmerged) && known(&merged), "{text:?} can be read otherwise: {found:?}");
    }
    let one_slash = text.replace("%2f", "x").replace("%2F", "x");
    assert!(normal_form(&one_slash).is_ok(), "{text:?} is refused for more than its slashes");
    if let Ok(normal) = normal_form(text) {
        assert_eq!(normal, found.normal, "{text:?} has two normal forms");
    }
}

/// Nothing that a server, a file system or a second decoding could read in another way.
fn has_one_reading(normal: &str) {
    assert!(normal.starts_with('/'), "{normal:?} is not absolute");
    assert!(!normal.contains("//"), "{normal:?} has an empty segment");
    let is_plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !b"\\#?\"<>^`{|}".contains(&byte);
    assert!(normal.bytes().all(is_plain), "{normal:?} has a character that belongs in no path");
    for segment in normal.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        let name = name.split("%3B").next().unwrap_or_default();
        assert!(!matches!(name, "." | ".."), "{normal:?} has a dot segment");
        assert!(
            !name.is_empty() || segment.is_empty(),
            "{normal:?} has an empty segment with parameters"
        );
    }
    for escape in normal.split('%').skip(1) {
        let digits = escape.as_bytes().get(..2).unwrap_or_default();
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
        assert!(digits.len() == 2 && digits.iter().all(is_digit), "{normal:?} has a broken escape");
        let value = u8::from_str_radix(std::str::from_utf8(digits).unwrap_or_default(), 16)
            .unwrap_or_default();
        let is_hidden =
            value < 0x20 || value == 0x7f || b"/\\".contains(&value) || is_unreserved(value);
        assert!(!is_hidden, "{normal:?} hides a character behind an escape");
    }
}

/// The segments of a path in normal form, decoded.
fn meaning(normal: &str) -> Vec<Vec<u8>> {
    normal.split('/').skip(1).map(decode).collect()
}

/// The same of any path, step by step: decode, drop empty segments, resolve dots.
fn by_hand(path: &str) -> Vec<Vec<u8>> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1).map(decode) {
        ends_open = false;
        match segment.as_slice() {
            b"" | b"." => ends_open = true,
            b".." => {
                kept.pop();
                ends_open = true;
            }
            _ => kept.push(segment),
        }
    }
    if ends_open || kept.is_empty() {
        kept.push(Vec::new());
    }
    kept
}

fn decode(segment: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = segment.as_bytes();
    loop {
        rest = match rest {
            [] => return decoded,
            [b'%', high, low, rest @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default();
                decoded.push(u8::try_from(digit(*high) << 4 | digit(*low)).unwrap_or_default());
                rest
            }
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        };
    }
}

/// Every unreserved character behind an escape, but for those that are digits of one.
fn encoded(path: &str) -> String {
    let mut out = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            out.push('%');
            out.extend(bytes.by_ref().take(2).map(char::from));
        } else if is_unreserved(byte) {
            out.push_str(&format!("%{byte:02x}"));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

/// The digits of every escape in the other case.
fn in_other_case(path: &str) -> String {
    let mut digits = 0_u8;
    path.chars()
        .map(|letter| {
            let is_digit = digits > 0;
            digits = if letter == '%' && !is_digit { 2 } else { digits.saturating_sub(1) };
            match letter {
                'a'..='f' if is_digit => letter.to_ascii_uppercase(),
                'A'..='F' if is_digit => letter.to_ascii_lowercase(),
                _ => letter,
            }
        })
        .collect()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A text that is put into a segment comes out of it, and cannot leave it.
fn segments_are_what_they_were(text: &str) {
    let segment = encode_segment(text);
    assert_eq!(decode_segment(&segment).as_deref(), Some(text));
    assert!(
        segment.bytes().all(|byte| is_unreserved(byte) || byte == b'%'),
        "{segment:?} leaves its segment"
    );
    if let Some(decoded) = decode_segment(text) {
        let again = encode_segment(&decoded);
        assert_eq!(decode_segment(&again), Some(decoded));
    }
}
