//! Header fields that are not the message's but the connection's, and names that look like others.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// hyper's default limit of header lines in HTTP/1. With any other limit it allocates memory for
/// that many lines for each head.
pub const HYPERS_LINES: usize = 100;

/// The fields that end at each hop, whether `Connection` names them or not (RFC 9110, section
/// 7.6.1).
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION, // the first: see `note`
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

const CLOSE: HeaderName = HeaderName::from_static("close");

/// Which fields of the fixed set a message has: one bit each. One more: whether `Connection` may
/// name others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopByHop(u16);

const MAY_NAME_OTHERS: u16 = 1 << HOP_BY_HOP.len();

/// Fields that are the message's own and stay though `Connection` names them: the framing, the
/// credential and what tells how to read the content.
const PROTECTED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
];

impl HopByHop {
    /// Notes a field; false: one of this name goes on.
    pub fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        // The lengths first: they tell most names apart from all of these.
        if !matches!(name.as_str().len(), 2 | 7 | 10 | 14 | 16 | 17 | 19) {
            return false;
        }
        let Some(at) = HOP_BY_HOP.iter().position(|known| known == name) else { return false };
        self.0 |= 1 << at;
        // Most often it says only this.
        if at == 0 && !value.as_bytes().eq_ignore_ascii_case(b"keep-alive") {
            self.0 |= MAY_NAME_OTHERS;
        }
        true
    }

    /// Removes the noted fields, and those that `Connection` names on any of its lines. Says
    /// whether `TE: trailers` was among them. What `Connection` must not remove is to be set
    /// afterwards (cf. CVE-2024-45410).
    pub fn strip(self, headers: &mut HeaderMap) -> bool {
        let mut accepts_trailers = false;
        let noted = HOP_BY_HOP.iter().enumerate().filter(|(at, _)| self.0 >> at & 1 == 1);
        for (_, name) in noted {
            if *name == header::CONNECTION && self.0 & MAY_NAME_OTHERS != 0 && names_fields(headers)
            {
                let named: Vec<HeaderName> = headers
                    .get_all(header::CONNECTION)
                    .iter()
                    .flat_map(tokens)
                    .filter_map(|token| HeaderName::from_bytes(token).ok())
                    .filter(|name| !PROTECTED.contains(name) && *name != header::TE)
                    .collect();
                for name in named {
                    headers.remove(name);
                }
            }
            if *name == header::TE {
                accepts_trailers = takes_trailers(headers);
            }
            headers.remove(name);
        }
        accepts_trailers
    }
}

/// Whether `TE` has `trailers` (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let is_trailers = |token: &[u8]| {
        let name = token.split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"trailers")
    };
    headers.get_all(header::TE).iter().flat_map(tokens).any(is_trailers)
}

/// [`HopByHop::strip`] of a message of which nothing has been noted.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut hops = HopByHop::default();
    for (name, value) in &*headers {
        hops.note(name, value);
    }
    hops.strip(headers);
}

/// Whether `Connection` names a field: often it is only `close` or `keep-alive`.
fn names_fields(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        let value = value.as_bytes();
        // A field `Keep-Alive` is removed anyway; a field `Close` is not (RFC 9110, section 18.4).
        !value.eq_ignore_ascii_case(b"keep-alive")
            && (!value.eq_ignore_ascii_case(b"close") || headers.contains_key(CLOSE))
    })
}

/// The elements of a comma-separated list, empty ones left out (RFC 9110, section 5.6.1).
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Whether a list field has this element, on any of its lines, in any case.
#[must_use]
pub fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens = headers.get_all(name).iter().flat_map(tokens);
    tokens.any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Names under which an upstream might read a field of keyward's. Case makes no difference, nor do
/// characters other than letters and digits, as CGI, WSGI and PHP fold them (cf. CVE-2025-64484).
///
/// Most names that are asked for are none of them: that is seen by two of their bytes, however many
/// names there are.
#[derive(Clone, Debug, Default)]
pub struct FoldedNames {
    /// In the order of their slots.
    names: Vec<FoldedName>,
    /// A bit for each slot that has a name.
    slots: [u64; 4],
    /// Beginnings that are too short for a slot.
    short: Vec<Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct FoldedName {
    slot: u8,
    folded: Box<[u8]>,
    /// It is the beginning of names.
    begins: bool,
}

/// Whether a server behind CGI or WSGI could take one name for the other: `x_api_key` is
/// `X-API-Key` to it.
#[must_use]
pub fn are_alike(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

impl FoldedNames {
    /// Names, and beginnings of names.
    #[must_use]
    pub fn new<'a>(
        exact: impl IntoIterator<Item = &'a str>,
        prefixes: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let folded = |name: &str| name.bytes().map(fold).collect::<Box<[u8]>>();
        let (begins, short) =
            prefixes.into_iter().map(folded).partition::<Vec<_>, _>(|name| name.len() > 2);
        let exact = exact.into_iter().map(|name| (folded(name), false));
        let mut names: Vec<_> = exact
            .chain(begins.into_iter().map(|name| (name, true)))
            .map(|(folded, begins)| FoldedName { slot: slot(&folded), folded, begins })
            .collect();
        names.sort_by_key(|name| name.slot);
        let mut slots = [0_u64; 4];
        for name in &names {
            if let Some(part) = slots.get_mut(usize::from(name.slot >> 6)) {
                *part |= 1 << (name.slot & 63);
            }
        }
        Self { names, slots, short }
    }

    /// Whether `name` folds to one of them.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let slot = slot(name);
        let part = self.slots.get(usize::from(slot >> 6));
        part.is_some_and(|part| part >> (slot & 63) & 1 == 1) && self.has(slot, name)
            || self.short.iter().any(|short| begins_with(name, short))
    }

    #[cold]
    fn has(&self, slot: u8, name: &[u8]) -> bool {
        let first = self.names.partition_point(|known| known.slot < slot);
        let known = self.names.iter().skip(first).take_while(|known| known.slot == slot);
        known
            .filter(|known| known.begins || known.folded.len() == name.len())
            .any(|known| begins_with(name, &known.folded))
    }
}

/// A number of the first and the third byte, which tell most names apart that begin with `x-`.
fn slot(name: &[u8]) -> u8 {
    let byte = |at: usize| name.get(at).copied().map_or(0, fold);
    byte(0).wrapping_mul(31) ^ byte(2).wrapping_mul(7)
}

fn begins_with(name: &[u8], folded: &[u8]) -> bool {
    name.get(..folded.len())
        .is_some_and(|start| folded.iter().zip(start).all(|(ours, theirs)| *ours == fold(*theirs)))
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// A field value of visible ASCII: everything else, and `%` itself, is percent-encoded as UTF-8, so
/// that a value cannot end its line and decodes to exactly what it was.
#[must_use]
pub fn visible(text: &str) -> HeaderValue {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
    let encoded = utf8_percent_encode(text, ENCODED).to_string();
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).expect("a name"),
                    HeaderValue::try_from(*value).expect("a value"),
                )
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
        let mut hops = HopByHop::default();
        for (name, value) in &fields {
            hops.note(name, value);
        }
        assert!(hops.strip(&mut fields));
        assert_eq!(fields, headers(&[("x-three", "3")]));
    }

    #[test]
    fn connection_close_names_a_field_of_that_name() {
        let mut fields = headers(&[("connection", "close"), ("close", "1"), ("closed", "2")]);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("closed", "2")]));
    }

    #[test]
    fn every_hop_by_hop_name_is_known_by_its_length() {
        let is_noted = |name| HopByHop::default().note(name, &HeaderValue::from_static("x"));
        assert!(HOP_BY_HOP.iter().all(is_noted));
        assert!(!is_noted(&header::CONTENT_LENGTH));
    }

    #[test]
    fn connection_takes_no_field_that_is_the_messages_own() {
        let mut fields = headers(&[
            ("connection", "host, content-length"),
            ("host", "a"),
            ("content-length", "1"),
        ]);
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
        for other in [
            "remote-users",
            "remoteuser",
            "x-keywar",
            "x-keyword-subject",
            "xkeyward-subject",
            "forwarded-for",
            "",
        ] {
            assert!(!names.matches(other), "{other}");
        }
    }

    #[test]
    fn short_names_and_short_beginnings_are_known_too() {
        let names = FoldedNames::new(["a", "b-", "c-d"], ["e", "f_", "g-h"]);
        for name in ["a", "A", "b.", "c_d", "e", "efg", "f-", "f-anything", "g~h", "g-hi"] {
            assert!(names.matches(name), "{name}");
        }
        for other in ["", "ab", "b", "b-c", "c-", "c-de", "f", "fa", "g-", "g-i"] {
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
