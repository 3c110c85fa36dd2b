//! An origin that is let in has the scheme, the host and the port of the rule that lets it in.

use crate::gateway::AllowedOrigin;
use crate::gateway::fuzzing::PageOrigin;

/// The first line is the rule, all that follows the origin of a request.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Some((rule, origin)) = text.split_once('\n') else { return false };
    let Ok(rule) = rule.parse::<AllowedOrigin>() else { return false };
    let spelled = rule.to_string();
    assert_eq!(spelled.parse().as_ref(), Ok(&rule), "{spelled:?} is not read as itself");
    if !spelled.contains('*') {
        let itself = PageOrigin::read(spelled.as_bytes());
        assert!(itself.is_some_and(|page| rule.holds(&page)), "{spelled:?} does not hold itself");
    }
    let Some(page) = PageOrigin::read(origin.as_bytes()).filter(|page| rule.holds(page)) else {
        return false;
    };
    let origin = page.as_str();
    assert_eq!(PageOrigin::read(origin.as_bytes()).as_ref(), Some(&page), "{origin:?}");
    if rule != AllowedOrigin::Any {
        let (wanted, found) = (parts(&spelled), parts(origin));
        assert_eq!((wanted.0, wanted.2), (found.0, found.2), "{spelled:?} holds {origin:?}");
        let is_host = match wanted.1.strip_prefix('*') {
            Some(end) => found.1.len() > end.len() && found.1.ends_with(end),
            None => found.1 == wanted.1,
        };
        assert!(is_host, "{spelled:?} holds {origin:?}");
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._~".contains(c);
        assert!(found.1.starts_with('[') || found.1.chars().all(is_plain), "{origin:?} is held");
    }
    true
}

/// Scheme, host, and the port with its colon.
fn parts(origin: &str) -> (&str, &str, &str) {
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    let host = authority.rfind(']').map_or(0, |end| end + 1);
    let end =
        authority.get(host..).unwrap_or_default().find(':').map_or(authority.len(), |at| host + at);
    let (host, port) = authority.split_at_checked(end).unwrap_or_default();
    (scheme, host, port)
}
