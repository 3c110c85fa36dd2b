//! Host and port as a request may name them (RFC 9110, section 7.2; RFC 3986, section 3.2.2).

use std::net::Ipv6Addr;

/// The host part of a valid authority, as written; or nothing, if it is no authority that keyward would route by.
///
/// Valid is `host` or `host:port`: a registered name or an IPv4 address of letters, digits, `-`, `.` and `_`, or an IPv6
/// address in brackets; a port of up to five digits. No user information, no percent-encoding, no empty host: what two
/// servers could read in two ways is refused (cf. CVE-2025-47912).
#[must_use]
pub fn host_of(authority: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at_checked(end + 1)?;
        let inner = host.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        // An empty label is nobody's name; one trailing dot is the root.
        let labels = host.strip_suffix('.').unwrap_or(host);
        if !named || labels.is_empty() || labels.len() > 253 || labels.split('.').any(str::is_empty) {
            return None;
        }
        (host, port)
    };
    match port {
        None => Some(host),
        Some(port) => {
            let number = port.parse::<u16>().ok()?;
            (port.len() <= 5 && number != 0 && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
        }
    }
}

/// Whether two hosts are one: no regard to case or a trailing dot (cf. CVE-2022-23632).
#[must_use]
pub fn same_host(a: &str, b: &str) -> bool {
    trim_dot(a).eq_ignore_ascii_case(trim_dot(b))
}

/// A host without its trailing dot.
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
        ] {
            assert_eq!(host_of(authority.as_bytes()), Some(host), "{authority}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_authority() {
        for authority in [
            "",
            ":",
            ":80",
            "a:",
            "a:0",
            "a:65536",
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
            "[::1]:",
            "[::1]:x",
            "[evil]",
            "[]",
            "a,b",
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

    #[test]
    fn case_and_the_root_dot_make_no_other_host() {
        assert!(same_host("APP.example.", "app.example"));
        assert!(!same_host("app.example", "app.example.org"));
    }
}
