//! The credentials of the scheme Basic (RFC 7617), in which a token stands for the password.
//!
//! The username is free, and says nothing of the caller. Where the password is empty, or is
//! `x-oauth-basic` as clients of GitHub send it, the username is the token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::gateway::refusal::Refusal;
use crate::tokens::authenticator::Refused;

/// The longest username, in bytes.
const USERNAME_LIMIT: usize = 255;

/// The token in `encoded`, what follows the scheme. `token_limit`: the longest token, in bytes.
/// `is_token`: whether a text has the form of a token.
///
/// # Errors
///
/// The client's fault: it is too long, is not base64, is not a username and a password, or both
/// are tokens.
pub(super) fn token(
    encoded: &[u8],
    token_limit: usize,
    is_token: impl Fn(&[u8]) -> bool,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let malformed = |what| Refusal::BadCredential(Refused::Malformed(what));
    let encoded = encoded.trim_ascii();
    let length = encoded.len() / 4 * 3;
    if length > token_limit.saturating_add(USERNAME_LIMIT + 3) {
        return Err(Refusal::CredentialTooLong { length, limit: token_limit });
    }
    // As large as it may get, so that it never moves and leaves no copy behind.
    let capacity = base64::decoded_len_estimate(encoded.len());
    let mut user_info = Zeroizing::new(Vec::with_capacity(capacity));
    BASE64
        .decode_vec(encoded, &mut user_info)
        .map_err(|_| malformed("what follows \"Basic\" is not base64"))?;
    if user_info.iter().any(u8::is_ascii_control) {
        return Err(malformed("the username or password of Basic holds a control character"));
    }
    let Some(colon) = user_info.iter().position(|&byte| byte == b':') else {
        return Err(malformed("the username of Basic is not followed by a colon"));
    };
    let (username, password) = (
        user_info.get(..colon).unwrap_or_default(),
        user_info.get(colon + 1..).unwrap_or_default(),
    );
    if matches!(password, b"" | b"x-oauth-basic") {
        user_info.truncate(colon);
    } else if is_token(username) && is_token(password) {
        let cause = "the username and the password of Basic both have the form of a token";
        return Err(Refusal::AmbiguousCredential { cause: cause.into() });
    } else {
        user_info.drain(..=colon);
    }
    if user_info.is_empty() {
        return Err(malformed("the username and the password of Basic are empty"));
    }
    Ok(user_info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoded: &str) -> Result<String, &'static str> {
        let is_token = |text: &[u8]| text.starts_with(b"sk-");
        match token(encoded.as_bytes(), 64, is_token) {
            Ok(token) => Ok(String::from_utf8(token.to_vec()).expect("UTF-8")),
            Err(refusal) => Err(refusal.reason().as_str()),
        }
    }

    fn pair(user_info: &str) -> Result<String, &'static str> {
        read(&BASE64.encode(user_info))
    }

    #[test]
    fn the_token_is_the_password_or_the_username_alone() {
        for user_info in [
            "ann:sk-1",
            ":sk-1",
            "x-access-token:sk-1",
            "__token__:sk-1",
            "sk-1:",
            "sk-1:x-oauth-basic",
            "J\u{f6}rg:sk-1",
        ] {
            assert_eq!(pair(user_info), Ok("sk-1".to_owned()), "{user_info}");
        }
        // All behind the first colon is the password.
        assert_eq!(pair("ann:a:b"), Ok("a:b".to_owned()));
        // A username that only looks like a token does not make the password another one.
        assert_eq!(pair("sk-ann:secret"), Ok("secret".to_owned()));
        assert_eq!(pair("sk-1:sk-2"), Err("ambiguous_credential"));
        assert_eq!(pair("sk-1:sk-1"), Err("ambiguous_credential"));
    }

    #[test]
    fn what_is_not_the_one_spelling_of_a_username_and_a_password_is_no_credential() {
        for user_info in ["", ":", "sk-1", "ann:sk-\n1", "a\0nn:sk-1", "ann:sk-1\u{7f}"] {
            assert_eq!(pair(user_info), Err("bad_credential"), "{user_info:?}");
        }
        // Without padding, with too much, with bits behind the end, in the other alphabet, in two
        // pieces, with white space.
        for encoded in
            ["YW5uOmE", "YW5uOmE==", "YW5uOmF=", "YW5uOnNr-w==", "YW5u OmE=", "=", "YW5uOmE=\n="]
        {
            assert_eq!(read(encoded), Err("bad_credential"), "{encoded:?}");
        }
        assert_eq!(read("YW5uOmE="), Ok("a".to_owned()));
        assert_eq!(pair(&format!("ann:{}", "a".repeat(1000))), Err("bad_credential"));
    }
}
