//! The origins that a route or a token API lets in, and whether a request is of one of them.
//!
//! A browser sends the origin of a page in `Origin`, in one form: scheme, host and port in lower
//! case, without the scheme's default port (RFC 6454, section 6.2). What is configured and what a
//! request names are both brought into that form, and then compared byte for byte: there is one
//! comparison, for CORS and for credentials that browsers send of their own accord.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::wire::authority::host_of;

/// One item of `origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`: every origin, `null` included.
    Any,
    /// One origin, as browsers send it.
    Exact(String),
    /// The origins whose host ends in a name, without that name itself.
    Subdomains {
        /// The scheme, as `https://`.
        scheme: String,
        /// The end of the host and the port, as `.example.com:8443`.
        end: String,
    },
}

/// The origin of the page that made a request, in the form that browsers send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageOrigin(String);

impl PageOrigin {
    /// What a value of `Origin` names; `None`: no origin that could be listed, such as `null`.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        // An origin that is configured may be copied from an address line, with its slash.
        let text = str::from_utf8(value).ok().filter(|text| !text.ends_with('/'))?;
        match text.parse().ok()? {
            AllowedOrigin::Exact(exact) => Some(Self(exact)),
            AllowedOrigin::Any | AllowedOrigin::Subdomains { .. } => None,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl AllowedOrigin {
    /// The origin with this scheme and authority; `None`: it is none, or a pattern.
    pub(crate) fn exact(text: &str) -> Option<Self> {
        text.parse().ok().filter(|origin| matches!(origin, Self::Exact(_)))
    }

    /// Whether it holds the origin of a page.
    pub(crate) fn holds(&self, page: &PageOrigin) -> bool {
        let origin = page.as_str();
        match self {
            Self::Any => true,
            Self::Exact(exact) => origin == exact,
            Self::Subdomains { scheme, end } => origin
                .strip_prefix(scheme)
                .and_then(|host| host.strip_suffix(end))
                .is_some_and(|labels| is_labels(labels.as_bytes())),
        }
    }
}

/// Labels of a host with dots between them: no other character may stand before the end of a
/// pattern, or the end could belong to a path or to a port.
fn is_labels(text: &[u8]) -> bool {
    let fits = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    text.split(|&byte| byte == b'.').all(|label| !label.is_empty() && label.iter().all(fits))
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => f.write_str(origin),
            Self::Subdomains { scheme, end } => write!(f, "{scheme}*{end}"),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.eq_ignore_ascii_case("null") {
            return Err("files and sandboxed frames have the origin null, so any page can have it"
                .to_owned());
        }
        let (scheme, authority) = text
            .split_once("://")
            .ok_or("it begins with a scheme, as in \"https://app.example.com\"")?;
        let scheme = scheme.to_ascii_lowercase();
        check_scheme(&scheme)?;
        // As an address line shows it.
        let authority = authority.strip_suffix('/').unwrap_or(authority).to_ascii_lowercase();
        if authority.contains(['/', '?', '#']) {
            return Err("an origin has no path: leave out what stands behind the host".to_owned());
        }
        if authority.contains('@') {
            return Err("an origin has no user".to_owned());
        }
        if !authority.is_ascii() {
            return Err("write the name as browsers send it, which begins with \"xn--\"".to_owned());
        }
        let (is_pattern, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*authority),
        };
        if authority.contains('*') {
            return Err("\"*\" stands alone, or for the first part of a name, as in \
                        \"https://*.example.com\""
                .to_owned());
        }
        let host = host_of(authority.as_bytes()).ok_or_else(String::new)?;
        let port = authority.get(host.len()..).unwrap_or_default();
        let (host, port) = (host_form(host, is_pattern)?, port_form(&scheme, port)?);
        let scheme = format!("{scheme}://");
        Ok(if is_pattern {
            Self::Subdomains { scheme, end: format!(".{host}{port}") }
        } else {
            Self::Exact(format!("{scheme}{host}{port}"))
        })
    }
}

fn check_scheme(scheme: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if scheme == "file" {
        return Err("pages from files have the origin null, so any page can have it".to_owned());
    }
    // Apps in a web view have schemes of their own, such as "capacitor".
    if scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(fits) {
        Ok(())
    } else {
        Err("it begins with a scheme, as in \"https://app.example.com\"".to_owned())
    }
}

/// The host as browsers write it.
fn host_form(host: &str, is_pattern: bool) -> Result<String, String> {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let last = host.rsplit('.').next().unwrap_or_default();
    // So they tell an IPv4 address from a name (WHATWG URL, "ends in a number").
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if is_pattern && (bracketed.is_some() || is_number) {
        return Err("an address has no subdomains".to_owned());
    }
    if let Some(address) = bracketed {
        let address: Ipv6Addr = address.parse().map_err(|_| String::new())?;
        return Ok(match (address.to_ipv4_mapped(), address.segments()) {
            // Rust writes the last four bytes with dots.
            (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
            _ => format!("[{address}]"),
        });
    }
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err("an IPv4 address has four decimal numbers".to_owned());
    }
    Ok(host.to_owned())
}

/// The port with the colon before it; empty for the default one.
fn port_form(scheme: &str, port: &str) -> Result<String, String> {
    let Some(digits) = port.strip_prefix(':').filter(|digits| !digits.is_empty()) else {
        return Ok(String::new());
    };
    let port: u16 = digits.parse().map_err(|_| String::new())?;
    Ok(match (scheme, port) {
        ("http" | "ws", 80) | ("https" | "wss", 443) | ("ftp", 21) => String::new(),
        _ => format!(":{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AllowedOrigin {
        text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn what_is_configured_is_brought_into_the_form_that_browsers_send() {
        for (text, form) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.COM:443/", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:0443", "http://localhost:443"),
            ("https://localhost:80", "https://localhost:80"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]"),
            ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
            ("https://*.Example.com:443", "https://*.example.com"),
            ("http://*.localhost:3000", "http://*.localhost:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("https://example.com:", "https://example.com"),
            ("*", "*"),
        ] {
            assert_eq!(read(text).to_string(), form);
            assert_eq!(read(form), read(text), "a form is read as itself");
        }
    }

    #[test]
    fn what_no_page_has_for_an_origin_is_refused_with_the_reason() {
        for (text, part) in [
            ("app.example.com", "scheme"),
            ("*.example.com", "scheme"),
            ("//app.example.com", "scheme"),
            ("://app.example.com", "scheme"),
            ("https://", ""),
            ("https://app.example.com/api", "no path"),
            ("https://app.example.com?x", "no path"),
            ("https://user@app.example.com", "no user"),
            ("https://münchen.example", "xn--"),
            ("https://*", "stands alone"),
            ("https://*.*.example.com", "stands alone"),
            ("https://app*.example.com", "stands alone"),
            ("https://*example.com", "stands alone"),
            ("https://*.", ""),
            ("https://*.127.0.0.1", "subdomains"),
            ("https://*.[::1]", ""),
            ("https://127.1", "four"),
            ("https://0x7f.0.0.0x1", "four"),
            ("https://a..example", ""),
            ("https://a:99999", ""),
            ("https://a b", ""),
            ("null", "any page"),
            ("file:///x", "any page"),
            ("", "scheme"),
        ] {
            let fault = text.parse::<AllowedOrigin>().expect_err(text);
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    fn holds(rule: &AllowedOrigin, origin: &str) -> bool {
        PageOrigin::read(origin.as_bytes()).is_some_and(|page| rule.holds(&page))
    }

    #[test]
    fn an_exact_origin_holds_itself_alone_however_it_is_written() {
        let rule = read("https://app.example.com");
        for origin in [
            "https://app.example.com",
            "https://app.example.com:443",
            "HTTPS://APP.EXAMPLE.COM",
            "https://App.example.com:0443",
        ] {
            assert!(holds(&rule, origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com:80",
            "http://app.example.com:443",
            "https://app.example.com.",
            "https://app.example.com/",
            "https://app.example.com.evil.example",
            "https://evilapp.example.com",
            "https://app.example.com@evil.example",
            "https://*.example.com",
            "https://app.example.com https://evil.example",
            "https://evil.example,https://app.example.com",
            "null",
            "*",
            "",
        ] {
            assert!(!holds(&rule, origin), "{origin}");
        }
    }

    #[test]
    fn a_pattern_holds_subdomains_alone() {
        let rule = read("https://*.example.com");
        for origin in [
            "https://a.example.com",
            "https://a.b-c.d_e.example.com",
            "https://a.example.com:443",
            "https://A.example.com",
        ] {
            assert!(holds(&rule, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://a..example.com",
            "https://.a.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.example",
            "https://evil.example/.example.com",
            "https://evil.example:80/a.example.com",
            "https://evil.example#.example.com",
            "https://evil.example?a.example.com",
            "https://evil.example\\.example.com",
            "https://u@a.example.com",
            "https://a.example.com ",
            "https://a.example.com:80",
            "https://*.example.com",
            "https://*.a.example.com",
            "null",
            "*",
        ] {
            assert!(!holds(&rule, origin), "{origin}");
        }
        let rule = read("https://*.example.com:8443");
        assert!(holds(&rule, "https://a.example.com:8443"));
        for origin in ["https://a.example.com", "https://a.example.com:443", "https://a:8443"] {
            assert!(!holds(&rule, origin), "{origin}");
        }
    }
}
