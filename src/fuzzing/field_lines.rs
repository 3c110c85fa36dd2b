//! What several targets share: field lines as input, and the names that only keyward may set.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Reads field lines. What is no field line is left out: the targets that use this are about what
/// follows.
pub(super) fn field_lines(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// A name as CGI, WSGI and PHP pass it on: upper-case letters and digits stay, anything else
/// becomes `_`.
pub(super) fn cgi_name(name: &str) -> String {
    let fold = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }
    };
    name.chars().map(fold).collect()
}

/// Whether a name is one that only keyward may set, by a reading of its own.
pub(super) fn is_ours(name: &str) -> bool {
    let name = cgi_name(name);
    name.starts_with("X_KEYWARD_")
        || name.starts_with("X_FORWARDED_")
        || ["REMOTE_USER", "X_REQUEST_ID", "FORWARDED", "X_REAL_IP", "X_FORWARDED"]
            .contains(&&*name)
}
