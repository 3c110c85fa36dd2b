//! What the names of identity headers must be.

/// Names that an identity header must not have: HTTP or the proxies on the way give them a meaning
/// of their own (RFC 9110 §7.6, RFC 9112 §6, RFC 7239).
const TAKEN: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Names that a header with a credential must not have besides: browsers and keyward itself read
/// other things from them, or the credential is read from them in a way of its own.
const NO_CREDENTIAL: &[&str] = &["cookie", "origin", "sec-fetch-site", "sec-websocket-protocol"];

/// Reads the name of a header that holds a credential. `Authorization` is free for that.
pub(super) fn parse_credential_name(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("authorization") {
        return Ok("authorization".to_owned());
    }
    if NO_CREDENTIAL.contains(&folded(text).as_str()) {
        return Err("that name has a meaning of its own".to_owned());
    }
    Ok(parse_name(text)?.unwrap_or_default())
}

/// Reads the name of an identity header: a token of RFC 9110 §5.6.2 that is free; empty: not sent.
pub(super) fn parse_name(text: &str) -> Result<Option<String>, String> {
    const LONGEST: usize = 128;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} characters"));
    }
    if let Some(wrong) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(*c)))
    {
        return Err(format!("{wrong:?} cannot stand in a header name"));
    }
    if TAKEN.contains(&folded(text).as_str()) {
        return Err("that name has a meaning of its own on the way to the upstream".to_owned());
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// The name as the most careless upstream sees it: CGI and WSGI make no difference between `-`, `_`
/// and the like.
pub(super) fn folded(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{IdentityNames, Preset};

    #[test]
    fn presets_keep_the_rules_that_overrides_must_keep() {
        for (_, preset) in Preset::WORDS {
            let headers = IdentityNames::preset(*preset);
            let names: Vec<&str> =
                headers.fields().into_iter().filter_map(|(_, name)| name).collect();
            for name in &names {
                assert_eq!(parse_name(name), Ok(Some((*name).to_owned())));
                assert_eq!(names.iter().filter(|other| folded(other) == folded(name)).count(), 1);
            }
            assert_eq!(headers.request_id.as_deref(), Some("x-request-id"));
        }
    }

    #[test]
    fn names_are_tokens_in_lower_case_and_free() {
        assert_eq!(parse_name("X-User"), Ok(Some("x-user".to_owned())));
        assert_eq!(parse_name(""), Ok(None));
        for (name, why) in [
            ("a b", "cannot stand"),
            ("a:", "cannot stand"),
            ("ü", "cannot stand"),
            ("a\r\nb", "cannot stand"),
            ("Authorization", "meaning of its own"),
            ("transfer_encoding", "meaning of its own"),
            ("X-Forwarded-For", "meaning of its own"),
            ("X_Real_IP", "meaning of its own"),
            ("Via", "meaning of its own"),
        ] {
            let reason = parse_name(name).unwrap_err();
            assert!(reason.contains(why), "{name}: {reason}");
        }
        assert!(parse_name(&"a".repeat(129)).is_err());
    }
}
