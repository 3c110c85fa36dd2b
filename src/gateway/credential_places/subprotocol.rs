//! A token among the protocols that a WebSocket client offers: `bearer`, then the token. The API of
//! browsers sets no other field of a handshake.

use http::header::{self, HeaderMap, HeaderValue};

use crate::gateway::refusal::Refusal;
use crate::tokens::authenticator::Refused;
use crate::wire::fields::tokens;

/// The protocol in front of the token. Names of protocols are compared exactly (RFC 6455, section
/// 11.5).
const BEARER: &str = "bearer";

/// The token, if one is offered.
///
/// # Errors
///
/// The client's fault: there are several, or `bearer` is not followed by one.
pub(super) fn token(headers: &HeaderMap) -> Option<Result<&[u8], Refusal>> {
    let mut offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(tokens)
        .skip_while(is_other);
    offered.next()?;
    let Some(token) = offered.next() else {
        let what = "\"bearer\" in Sec-WebSocket-Protocol is not followed by a token";
        return Some(Err(Refusal::BadCredential(Refused::Malformed(what))));
    };
    if offered.any(|protocol| !is_other(&protocol)) {
        let cause = "Sec-WebSocket-Protocol has \"bearer\" more than once";
        return Some(Err(Refusal::AmbiguousCredential { cause: cause.into() }));
    }
    Some(Ok(token))
}

/// Removes `bearer` and the token from the protocols that are offered.
pub(super) fn remove(headers: &mut HeaderMap) {
    remove_where(headers, |_| true);
}

/// Removes `bearer` and what follows it, where that is such a one.
pub(super) fn remove_where(headers: &mut HeaderMap, is_one: impl Fn(&[u8]) -> bool) {
    let offered: Vec<&[u8]> =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().flat_map(tokens).collect();
    if offered.iter().all(is_other) {
        return;
    }
    let mut others = Vec::new();
    let mut offered = offered.into_iter().peekable();
    while let Some(protocol) = offered.next() {
        if is_other(&protocol) || !offered.peek().is_none_or(|token| is_one(token)) {
            others.push(protocol);
        } else {
            offered.next();
        }
    }
    let others = HeaderValue::from_bytes(&others.join(&b", "[..]));
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Ok(others) = others
        && !others.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
    }
}

/// Selects `bearer` where the upstream selected no protocol: a browser that has offered some breaks
/// off without one.
pub(super) fn select(headers: &mut HeaderMap) {
    headers
        .entry(header::SEC_WEBSOCKET_PROTOCOL)
        .or_insert(const { HeaderValue::from_static(BEARER) });
}

fn is_other(protocol: &&[u8]) -> bool {
    **protocol != *BEARER.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::try_from(*line).expect("a value");
        lines.iter().map(|line| (header::SEC_WEBSOCKET_PROTOCOL, value(line))).collect()
    }

    #[test]
    fn the_token_follows_bearer_and_the_other_protocols_stay() {
        for (lines, expected, left) in [
            (&["bearer, a.b"][..], Some(Ok("a.b")), &[][..]),
            (&["bearer,a", "chat"], Some(Ok("a")), &["chat"]),
            (&["chat, bearer, a, mqtt"], Some(Ok("a")), &["chat, mqtt"]),
            (&["bearer", "a"], Some(Ok("a")), &[]),
            (&["bearer , , a"], Some(Ok("a")), &[]),
            (&["chat, bearer"], Some(Err("bad_credential")), &["chat"]),
            (&["bearer, a, bearer, b"], Some(Err("ambiguous_credential")), &[]),
            (&["chat, mqtt"], None, &["chat, mqtt"]),
            (&["Bearer, a"], None, &["Bearer, a"]),
            (&[], None, &[]),
        ] {
            let mut headers = offers(lines);
            let read = token(&headers);
            let read = read.map(|read| read.map_err(|refusal| refusal.reason().as_str()));
            let expected = expected.map(|expected| expected.map(str::as_bytes));
            assert_eq!(read, expected, "{lines:?}");
            remove(&mut headers);
            assert_eq!(headers, offers(left), "{lines:?}");
        }
    }
}
