//! Patterns of paths and hosts: what a route answers for.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::net::check_host_name;
use crate::gateway::HostRule;

/// A pattern of paths in normal form, such as `/api/{tenant_id}/{*rest}`.
///
/// A segment is literal or one whole `{name}`; the last may be `{*name}`, which stands for the rest
/// of the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

/// One part of a path pattern between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Matches itself; empty only at the end, for a trailing slash.
    Literal(String),
    /// `{name}`: matches one segment.
    Parameter(String),
    /// `{*name}`: matches everything that is left.
    Rest(String),
}

impl PathPattern {
    /// The pattern as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its segments, in order; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The pattern without the names of its parameters: two patterns of one shape match the same
    /// paths.
    pub fn shape(&self) -> String {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(literal) => format!("/{literal}"),
                Segment::Parameter(_) => "/{}".to_owned(),
                Segment::Rest(_) => "/{*}".to_owned(),
            })
            .collect()
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => f.write_str(literal),
            Self::Parameter(name) => write!(f, "{{{name}}}"),
            Self::Rest(name) => write!(f, "{{*{name}}}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PathPattern {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("it must begin with \"/\"".to_owned());
        };
        let count = path.split('/').count();
        let mut segments = Vec::with_capacity(count);
        let mut names: Vec<&str> = Vec::new();
        for (index, part) in path.split('/').enumerate() {
            let is_last = index + 1 == count;
            let segment = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(inner) => parameter(inner, is_last, &mut names)?,
                None if part.is_empty() && !is_last => {
                    return Err("\"//\" is not in normal form".to_owned());
                }
                None => Segment::Literal(literal(part)?.to_owned()),
            };
            segments.push(segment);
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

fn parameter<'t>(
    inner: &'t str,
    is_last: bool,
    names: &mut Vec<&'t str>,
) -> Result<Segment, String> {
    let (name, is_rest) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    {
        return Err(format!(
            "{{{inner}}}: the name of a parameter is lower-case letters, digits and \"_\""
        ));
    }
    if names.contains(&name) {
        return Err(format!("the parameter {name:?} stands in it twice"));
    }
    names.push(name);
    match is_rest {
        true if !is_last => Err(format!("{{*{name}}} can only be the last segment")),
        true => Ok(Segment::Rest(name.to_owned())),
        false => Ok(Segment::Parameter(name.to_owned())),
    }
}

/// Checks that a literal segment is in the normal form that requests are matched in: otherwise it
/// would never match.
fn literal(part: &str) -> Result<&str, String> {
    if part.contains(['{', '}']) {
        return Err("a parameter is a whole segment, as in \"/users/{name}\"".to_owned());
    }
    let name = part.split(';').next().unwrap_or(part);
    if name == "." || name == ".." {
        return Err("dot segments are not in normal form".to_owned());
    }
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        if first == '%' {
            let (hex, after) = rest.split_at_checked(2).ok_or("\"%\" needs two hex digits")?;
            check_escape(hex)?;
            rest = after;
        } else if !(is_unreserved(first) || "!$&'()*+,;=:@".contains(first)) {
            return Err(match first {
                '?' | '#' => format!("{first:?} is no part of a path"),
                _ => format!("{first:?} must be percent-encoded"),
            });
        }
    }
    Ok(part)
}

fn check_escape(hex: &str) -> Result<(), String> {
    let byte = u8::from_str_radix(hex, 16)
        .ok()
        .filter(|_| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or("\"%\" needs two hex digits")?;
    if is_unreserved(byte.into()) {
        return Err(format!("\"%{hex}\" is not in normal form: write {:?}", char::from(byte)));
    }
    if matches!(byte, b'/' | b'\\' | 0) {
        return Err(format!("no request with \"%{hex}\" is let in"));
    }
    if hex.bytes().any(|digit| digit.is_ascii_lowercase()) {
        return Err(format!(
            "\"%{hex}\" is not in normal form: write \"%{}\"",
            hex.to_ascii_uppercase()
        ));
    }
    Ok(())
}

/// RFC 3986 §2.3.
fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(end) => write!(f, "*{end}"),
        }
    }
}

impl FromStr for HostRule {
    type Err = String;

    /// Fails with the reason, for the operator.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Err("for any host leave the key out".to_owned());
        }
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address: Ipv6Addr =
                address.parse().map_err(|_| "between \"[\" and \"]\" stands an IPv6 address")?;
            return Ok(Self::Exact(format!("[{address}]")));
        }
        if text.contains(':') {
            return Err("a host has no port here: routes do not look at it".to_owned());
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("write it in lower case: {:?}", text.to_ascii_lowercase()));
        }
        match text.strip_prefix('*') {
            Some(end) => {
                let name = end
                    .strip_prefix('.')
                    .ok_or("after \"*\" comes a dot, as in \"*.example.com\"")?;
                check_host_name(name)?;
                Ok(Self::Suffix(end.to_owned()))
            }
            None => {
                check_host_name(text)?;
                Ok(Self::Exact(text.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_normal_form_parse() {
        for (text, shape) in [
            ("/", "/"),
            ("/api", "/api"),
            ("/api/", "/api/"),
            ("/api/{tenant_id}/{*rest}", "/api/{}/{*}"),
            ("/{*path}", "/{*}"),
            ("/a%20b/~c;v=1/@:!$&'()*+,=", "/a%20b/~c;v=1/@:!$&'()*+,="),
            ("/.well-known/...", "/.well-known/..."),
        ] {
            let pattern: PathPattern = text.parse().unwrap();
            assert_eq!(pattern.shape(), shape);
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn bad_paths_say_why() {
        for (text, why) in [
            ("", "begin with"),
            ("api", "begin with"),
            ("//", "\"//\""),
            ("/a//b", "\"//\""),
            ("/a/./b", "dot segments"),
            ("/a/..", "dot segments"),
            ("/a/..;x/b", "dot segments"),
            ("/%41", "write 'A'"),
            ("/%7e", "write '~'"),
            ("/a%2fb", "let in"),
            ("/a%5Cb", "let in"),
            ("/a%00b", "let in"),
            ("/a%c3", "write \"%C3\""),
            ("/a%2", "two hex digits"),
            ("/a%zz", "two hex digits"),
            ("/a%+1", "two hex digits"),
            ("/a%é", "two hex digits"),
            ("/a b", "percent-encoded"),
            ("/é", "percent-encoded"),
            ("/a\\b", "percent-encoded"),
            ("/a?b", "no part of a path"),
            ("/a#b", "no part of a path"),
            ("/a{b}", "whole segment"),
            ("/{a", "whole segment"),
            ("/{}", "name of a parameter"),
            ("/{*}", "name of a parameter"),
            ("/{A}", "name of a parameter"),
            ("/{1a}", "name of a parameter"),
            ("/{a}{b}", "name of a parameter"),
            ("/{a}/{a}", "twice"),
            ("/{*a}/b", "only be the last"),
        ] {
            let reason = text.parse::<PathPattern>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }

    #[test]
    fn hosts_parse() {
        let suffix: HostRule = "*.example.com".parse().unwrap();
        assert_eq!(suffix, HostRule::Suffix(".example.com".to_owned()));
        assert_eq!(suffix.to_string(), "*.example.com");
        assert_eq!("app.example.com".parse(), Ok(HostRule::Exact("app.example.com".to_owned())));
        assert_eq!("[::0:1]".parse(), Ok(HostRule::Exact("[::1]".to_owned())));
    }

    #[test]
    fn bad_hosts_say_why() {
        for (text, why) in [
            ("", "empty"),
            ("*", "leave the key out"),
            ("*example.com", "comes a dot"),
            ("*.", "empty"),
            ("a.*.com", "cannot stand"),
            ("Example.com", "lower case: \"example.com\""),
            ("example.com:80", "no port"),
            ("::1", "no port"),
            ("[x]", "IPv6"),
            ("example.com.", "1 to 63"),
            ("exämple.com", "cannot stand"),
            ("http://example.com", "no port"),
        ] {
            let reason = text.parse::<HostRule>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
