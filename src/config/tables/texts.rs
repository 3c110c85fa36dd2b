//! Kinds of text that several tables have.

use std::sync::Arc;

use http::Method;

use crate::settings::kind::{Text, text};
use crate::settings::list::{At, Placed, at};

/// A name that is taken once, and where it stands.
pub(crate) type Name = Placed<Arc<str>>;

/// A name that logs, metrics and headers can carry as it is.
pub(super) const NAME: At<Text<Arc<str>>> =
    at(text("a name of 1 to 64 letters, digits, \"-\", \"_\" or \".\"", |text| {
        if (1..=64).contains(&text.len()) && is_word(text) { Ok(text.into()) } else { refused() }
    }));

/// The name of something else, which is checked against what there is; `what` says of what.
pub(super) const fn reference(what: &'static str) -> At<Text<Arc<str>>> {
    at(text(what, |text| if text.is_empty() { empty() } else { Ok(text.into()) }))
}

/// Letters, digits, `-`, `_` and `.`: nothing that would have to be escaped anywhere.
pub(super) fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Visible characters, of 1 to so many bytes.
pub(super) fn visible_up_to(text: &str, most: usize) -> Result<String, String> {
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    if (1..=most).contains(&text.len()) && text.chars().all(is_visible) {
        Ok(text.to_owned())
    } else {
        refused()
    }
}

/// The name of a method.
pub(super) fn method(text: &str) -> Result<Method, String> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        // RFC 9110 §9.1: methods are case-sensitive, so "get" would never match.
        return Err(format!("methods are in upper case: {:?}", text.to_ascii_uppercase()));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("CONNECT makes a tunnel, which is not forwarded".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => refused(),
    }
}

/// What the kind says is all there is to say.
pub(super) fn refused<T>() -> Result<T, String> {
    Err(String::new())
}

pub(super) fn empty<T>() -> Result<T, String> {
    Err("it is empty".to_owned())
}
