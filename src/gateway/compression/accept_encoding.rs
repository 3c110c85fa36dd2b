//! `Accept-Encoding` (RFC 9110, section 12.5.3): which of some codings a client prefers.

use http::header::{self, HeaderMap};

use super::encoder::Coding;
use crate::wire::fields;

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acceptance {
    /// The coding to use; `None`: none of those that are there.
    pub(super) coding: Option<Coding>,
    /// Whether a response without a coding is acceptable.
    pub(super) takes_identity: bool,
}

/// What a client takes that says nothing: to some, a coding would be news.
impl Default for Acceptance {
    fn default() -> Self {
        Self { coding: None, takes_identity: true }
    }
}

/// In thousandths.
type Weight = u16;

/// The coding with the highest weight; of several, the first one that is offered. A response
/// without a coding is preferred only where it has a weight of its own that is higher. An element
/// that cannot be read counts for nothing.
pub(super) fn choose(headers: &HeaderMap, offered: &[Coding]) -> Acceptance {
    let (mut weights, mut identity, mut others) = ([None; Coding::COUNT], None, None);
    for element in headers.get_all(header::ACCEPT_ENCODING).iter().flat_map(fields::tokens) {
        let Some((name, weight)) = element_of(element) else { continue };
        if name == b"*" {
            others = others.or(Some(weight));
        } else if name.eq_ignore_ascii_case(b"identity") {
            identity = identity.or(Some(weight));
        } else if let Some(coding) = Coding::named(name)
            && let Some(known) = weights.get_mut(coding as usize)
        {
            *known = known.or(Some(weight));
        }
    }
    let weight_of = |coding: Coding| {
        let own = weights.get(coding as usize).copied().flatten();
        own.or(others).unwrap_or_default()
    };
    let best = offered.iter().copied().filter(|&coding| weight_of(coding) > 0);
    // Of several with the same weight, `max_by_key` takes the last.
    let best = best.rev().max_by_key(|&coding| weight_of(coding));
    let takes_identity = identity.or(others) != Some(0);
    let prefers_identity =
        best.is_some_and(|best| identity.is_some_and(|identity| identity > weight_of(best)));
    Acceptance { coding: best.filter(|_| !prefers_identity), takes_identity }
}

/// A coding with its weight; `None`: it is malformed.
fn element_of(element: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => {
            let (key, value) = parameter.split_at_checked(2)?;
            if !key.eq_ignore_ascii_case(b"q=") {
                return None;
            }
            weight_of(value)?
        }
    };
    parts.next().is_none().then_some((name, weight))
}

/// `0`, `1`, or a fraction with at most three digits (RFC 9110, section 12.4.2).
fn weight_of(text: &[u8]) -> Option<Weight> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + Weight::from(digit - b'0'));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn chosen(lines: &[&'static str]) -> (&'static str, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        let Acceptance { coding, takes_identity } = choose(&headers, &ALL);
        (coding.map_or("", Coding::name), takes_identity)
    }

    #[test]
    fn the_highest_weight_wins_and_then_the_order_of_the_route() {
        for (line, coding) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "br"),
            ("gzip", "gzip"),
            ("GZip", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", "gzip"),
            ("gzip;q=0.001", "gzip"),
            ("gzip ; Q=0.5 , br;q=0.6", "br"),
            ("br;q=0, gzip", "gzip"),
            ("br;q=0.000, *;q=0.5", "zstd"),
            ("zstd;q=0.1, *;q=0.5", "br"),
            ("*", "zstd"),
            ("*;q=0", ""),
            ("*;q=0, br", "br"),
            ("deflate, compress", ""),
            ("identity", ""),
            ("identity, gzip", "gzip"),
            ("identity;q=1, gzip;q=0.5", ""),
            ("identity;q=0.5, gzip;q=0.5", "gzip"),
            ("gzip;q=0.5", "gzip"),
            ("", ""),
        ] {
            assert_eq!(chosen(&[line]).0, coding, "{line:?}");
        }
        assert_eq!(chosen(&[]), ("", true));
        assert_eq!(chosen(&["gzip;q=0.5", "br"]).0, "br");
    }

    #[test]
    fn identity_is_acceptable_unless_it_is_excluded() {
        for (line, takes) in [
            ("gzip", true),
            ("identity;q=0", false),
            ("gzip, identity;q=0.0", false),
            ("gzip, *;q=0", false),
            ("*;q=0, identity;q=0.1", true),
            ("*;q=0.5", true),
        ] {
            assert_eq!(chosen(&[line]).1, takes, "{line}");
        }
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        for line in [
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=.5",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;q",
            "gzip;x=1",
            "gzip;q=1;q=1",
            "gzip/1",
            ";q=1",
            "gz ip",
        ] {
            assert_eq!(chosen(&[line]), ("", true), "{line}");
        }
    }
}
