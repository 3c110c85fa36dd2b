//! Host and port as a request may name them (RFC 9110, section 7.2; RFC 3986, section 3.2.2).

use std::net::Ipv6Addr;

/// The host part of a valid authority, as written; `None`, if it is not valid.
///
/// Valid is `host`, `host:` or `host:port`: a registered name or an IPv4 address of letters,
/// digits, `-`, `.`, `_` and `~`, or an IPv6 address in brackets; a port of up to five digits. No
/// user information, no percent-encoding, no empty host: what two servers could read in two ways is
/// refused (cf. CVE-2025-47912).
///
/// `!`, `$`, `&`, `'`, `(`, `)`, `*`, `+`, `,`, `;` and `=`, which the grammar allows in a name,
/// are refused: no host that can be reached has one of them, and they have a meaning in `Forwarded`
/// and `X-Forwarded-Host` and where an upstream puts its host into a pattern, a shell or a page.
#[must_use]
pub fn host_of(authority: &[u8]) -> Option<&str> {
    std::str::from_utf8(host_in(authority)?).ok()
}

/// As [`host_of`], in bytes, all of which are ASCII.
#[must_use]
pub fn host_in(authority: &[u8]) -> Option<&[u8]> {
    let host_length = if authority.starts_with(b"[") {
        let end = authority.iter().position(|&byte| byte == b']')?;
        std::str::from_utf8(authority.get(1..end)?).ok()?.parse::<Ipv6Addr>().ok()?;
        end + 1
    } else {
        let length = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
        is_name(authority.get(..length)?).then_some(length)?
    };
    let (host, port) = authority.split_at_checked(host_length)?;
    let has_good_port = match port {
        [] => true,
        // An empty port is the default one (RFC 3986, section 3.2.3).
        [b':'] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    has_good_port.then_some(host)
}

/// The normal form of a valid authority: without the colon of an empty port (RFC 3986, section
/// 6.2.3).
#[must_use]
pub fn normal_form(authority: &[u8]) -> &[u8] {
    authority.strip_suffix(b":").unwrap_or(authority)
}

/// Labels of letters, digits, `-`, `_` and `~`, none of them empty; one trailing dot is the root.
fn is_name(host: &[u8]) -> bool {
    let labels = host.strip_suffix(b".").unwrap_or(host);
    let mut before = LabelByte::Dot;
    for &byte in labels {
        // A table: this is asked of every byte of every `Host`.
        #[expect(clippy::indexing_slicing, reason = "a byte indexes a table of 256")]
        let kind = LABEL_BYTES[byte as usize];
        if kind == LabelByte::Bad || kind == LabelByte::Dot && before == LabelByte::Dot {
            return false;
        }
        before = kind;
    }
    before != LabelByte::Dot && labels.len() <= 253
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LabelByte {
    Bad,
    Good,
    Dot,
}

static LABEL_BYTES: [LabelByte; 256] = label_bytes();

#[expect(clippy::indexing_slicing, reason = "computed when compiling: the indices are in range")]
const fn label_bytes() -> [LabelByte; 256] {
    let mut table = [LabelByte::Bad; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'.' => LabelByte::Dot,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => LabelByte::Good,
            _ => LabelByte::Bad,
        };
        byte += 1;
    }
    table
}

/// 1 to 65535, without a sign and without more digits than that takes.
fn is_port(digits: &[u8]) -> bool {
    if digits.len() > 5 {
        return false;
    }
    let number = digits.iter().try_fold(0_u32, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    });
    number.is_some_and(|number| (1..=65_535).contains(&number))
}

/// A host without its trailing dot, which makes no other host (cf. CVE-2022-23632).
#[must_use]
pub fn trim_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_as_written() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "Example.COM"),
            ("example.com.", "example.com."),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:db8::1]:65535", "[2001:db8::1]"),
            ("my_service", "my_service"),
            ("~x", "~x"),
            ("localhost:", "localhost"),
            ("[::1]:", "[::1]"),
        ] {
            assert_eq!(host_of(authority.as_bytes()), Some(host), "{authority}");
        }
    }

    #[test]
    fn an_empty_port_is_no_part_of_the_normal_form() {
        for (authority, normal) in [
            ("a:", "a"),
            ("a.:", "a."),
            ("[::1]:", "[::1]"),
            ("a", "a"),
            ("a:80", "a:80"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(normal_form(authority.as_bytes()), normal.as_bytes());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_authority() {
        for authority in [
            "",
            ":",
            ":80",
            "a::",
            "a:0",
            "a:65536",
            "a:80808080808080808080",
            "a:+80",
            "a:80:80",
            "a:8o",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "u:p@a",
            "[::1",
            "::1",
            "[::1]evil",
            "[::1]::",
            "[::1]:x",
            "[evil]",
            "[]",
            "a,b",
            "a;b",
            "a!b",
            "a=b",
            "a$b",
            "a&b",
            "a'b",
            "(a)",
            "*.a",
            "a+b",
            "a..b",
            ".",
            "..",
            ".a",
            "a%2eb",
            "a\tb",
            "a\0b",
            "a\r",
            "<a>",
            "a\\b",
            "a:000080",
        ] {
            assert_eq!(host_of(authority.as_bytes()), None, "{authority:?}");
        }
        assert_eq!(host_of(b"\xff.example"), None);
    }
}
