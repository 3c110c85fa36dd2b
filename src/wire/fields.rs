//! Header fields that are not the message's but the connection's, and names that look like others.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The fields that end at each hop, whether `Connection` names them or not (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // The part of an upgrade to h2c that is not in `Upgrade`.
    HeaderName::from_static("http2-settings"),
];

/// Which fields of a message end at this hop: what `Connection` names, on every one of its lines, and the fixed set.
///
/// What `Connection` must not take away is to be set afterwards (cf. CVE-2024-45410). `Host`, the framing and the credential
/// are not taken away by being named: they are the message's own.
#[derive(Debug, Default)]
pub struct HopByHop {
    has_any: bool,
    named: Vec<HeaderName>,
    /// Whether `TE: trailers` is among what ends: the one thing in `TE` that is worth saying to the next hop.
    pub accepts_trailers: bool,
}

impl HopByHop {
    /// As these fields say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        // Nearly always nothing ends: one look at the names tells.
        if !headers.keys().any(is_hop_by_hop) {
            return Self::default();
        }
        let says_trailers = |token: &[u8]| {
            token.split(|&byte| byte == b';').next().is_some_and(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        };
        let accepts_trailers = headers.keys().any(|name| *name == header::TE)
            && headers.get_all(header::TE).iter().any(|value| tokens(value).any(says_trailers));
        let named = if names_fields(headers) {
            headers
                .get_all(header::CONNECTION)
                .iter()
                .flat_map(tokens)
                .filter_map(|token| HeaderName::from_bytes(token).ok())
                .filter(|name| !PROTECTED.contains(name))
                .collect()
        } else {
            Vec::new()
        };
        Self { has_any: true, named, accepts_trailers }
    }

    /// Whether a field of this name ends here.
    #[must_use]
    pub fn has(&self, name: &HeaderName) -> bool {
        self.has_any && (is_hop_by_hop(name) || self.named.contains(name))
    }
}

/// Removes what ends at this hop.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let ending = HopByHop::of(headers);
    if !ending.has_any {
        return;
    }
    while let Some(name) = headers.keys().find(|name| ending.has(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether `Connection` could name a field: most often it says `close` or `keep-alive` and nothing else.
fn names_fields(headers: &HeaderMap) -> bool {
    headers.iter().filter(|(name, _)| **name == header::CONNECTION).any(|(_, value)| {
        let value = value.as_bytes();
        !value.eq_ignore_ascii_case(b"keep-alive") && !value.eq_ignore_ascii_case(b"close")
    })
}

/// The lengths first: they tell most names apart from all of these.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str().len(), 2 | 7 | 10 | 14 | 16 | 17 | 19) && HOP_BY_HOP.contains(name)
}

/// Whether a field of this name, in any case, ends at each hop.
#[must_use]
pub fn is_hop_by_hop_name(name: &[u8]) -> bool {
    matches!(name.len(), 2 | 7 | 10 | 14 | 16 | 17 | 19) && is_one_of(&HOP_BY_HOP, name)
}

/// Whether a field of this name is the message's own, and stays though `Connection` names it.
#[must_use]
pub fn is_protected_name(name: &[u8]) -> bool {
    is_one_of(&PROTECTED, name)
}

fn is_one_of(names: &[HeaderName], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

const PROTECTED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
];

/// The elements of a comma-separated list, empty ones left out (RFC 9110, section 5.6.1).
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Whether a list field has this element, on any of its lines, in any case.
#[must_use]
pub fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| tokens(value).any(|found| found.eq_ignore_ascii_case(token.as_bytes())))
}

/// Names under which somebody behind keyward might read a field of ours: letters of either case, and any other character
/// than a letter or digit as a hyphen, as CGI, WSGI and PHP fold them (cf. CVE-2025-64484).
#[derive(Clone, Debug, Default)]
pub struct FoldedNames {
    exact: Vec<Box<[u8]>>,
    prefixes: Vec<Box<[u8]>>,
    /// Whether a name may begin so, by its folded first byte.
    first: Vec<u8>,
}

impl FoldedNames {
    /// Names, and beginnings of names.
    #[must_use]
    pub fn new<'a>(exact: impl IntoIterator<Item = &'a str>, prefixes: impl IntoIterator<Item = &'a str>) -> Self {
        let folded = |name: &str| name.bytes().map(fold).collect::<Box<[u8]>>();
        let exact: Vec<_> = exact.into_iter().map(folded).collect();
        let prefixes: Vec<_> = prefixes.into_iter().map(folded).collect();
        let mut first: Vec<u8> = exact.iter().chain(&prefixes).filter_map(|name| name.first().copied()).collect();
        first.sort_unstable();
        first.dedup();
        Self { exact, prefixes, first }
    }

    /// Whether `name` folds to one of them.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let Some(first) = name.first() else { return false };
        if !self.first.contains(&fold(*first)) {
            return false;
        }
        let same = |ours: &[u8], theirs: &[u8]| {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| *ours == fold(*theirs))
        };
        self.prefixes.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|start| same(prefix, start)))
            || self.exact.iter().any(|exact| same(exact, name))
    }
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// A field value of visible ASCII: everything else, and `%` itself, percent-encoded as UTF-8, so that a value can neither end
/// its line nor be misread, and decodes to exactly what it was.
#[must_use]
pub fn visible(text: &str) -> HeaderValue {
    let is_visible = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b'%';
    let encoded = if text.bytes().all(is_visible) {
        text.to_owned()
    } else {
        text.bytes().fold(String::with_capacity(text.len() + 16), |mut out, byte| {
            if is_visible(byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
    };
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"))
            })
            .collect()
    }

    #[test]
    fn every_connection_line_is_read_in_any_case_and_the_fixed_set_goes() {
        let mut fields = headers(&[
            ("connection", ""),
            ("connection", "X-One , ,x-TWO"),
            ("connection", "close"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("te", "gzip, trailers;q=0.5"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "h2c"),
        ]);
        assert!(HopByHop::of(&fields).accepts_trailers);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("x-three", "3")]));
    }

    #[test]
    fn every_hop_by_hop_name_is_known_by_its_length() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
        assert!(HOP_BY_HOP.iter().all(|name| is_hop_by_hop_name(name.as_str().to_ascii_uppercase().as_bytes())));
        assert!(!is_hop_by_hop_name(b"content-length") && !is_hop_by_hop_name(b""));
    }

    #[test]
    fn connection_takes_no_field_that_is_the_messages_own() {
        let mut fields = headers(&[("connection", "host, content-length"), ("host", "a"), ("content-length", "1")]);
        assert!(!HopByHop::of(&fields).accepts_trailers);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("host", "a"), ("content-length", "1")]));
    }

    #[test]
    fn names_are_known_under_every_alias() {
        let names = FoldedNames::new(["Remote-User", "forwarded"], ["X-Keyward-", "x-forwarded-"]);
        for alias in [
            "remote_user",
            "REMOTE.USER",
            "Forwarded",
            "x_keyward_subject",
            "x.keyward.",
            "X-KEYWARD-anything",
            "x!forwarded~for",
        ] {
            assert!(names.matches(alias), "{alias}");
        }
        for other in
            ["remote-users", "remoteuser", "x-keywar", "x-keyword-subject", "xkeyward-subject", "forwarded-for", ""]
        {
            assert!(!names.matches(other), "{other}");
        }
    }

    #[test]
    fn a_value_is_visible_ascii_and_says_what_it_said() {
        for (text, value) in [
            ("ann", "ann"),
            ("a b", "a%20b"),
            ("100%", "100%25"),
            ("é\r\nX: y\0", "%C3%A9%0D%0AX:%20y%00"),
            ("auth0|x", "auth0|x"),
            ("", ""),
        ] {
            assert_eq!(visible(text), value, "{text:?}");
        }
    }
}
