//! Claims of an outside issuer's token: how one is named, and what it must say.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// The path of one claim: names from the outside in, written with dots as in `realm_access.roles`.
///
/// A name that holds a dot is quoted, as in `'https://id.example.com/roles'.main`; a text that
/// begins with `https://` or `http://` is one name as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(Vec<String>);

/// The placeholder for the tenant in the `iss` of issuers by template, and in the addresses of
/// their keys.
pub const TENANT: &str = "{tenant}";

/// In names: a longer path is a mistake.
const MOST_NAMES: usize = 16;
/// In bytes, of the whole text.
const LONGEST_PATH: usize = 512;

/// What a claim must be. A list meets the rule if one of its values does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The claim.
    pub path: ClaimPath,
    /// The values that are allowed, at least one.
    pub one_of: Vec<ClaimValue>,
}

/// A value that a rule allows. Types are kept apart: `"1"` is not `1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A string, to the letter.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
}

/// The claims that hold the identity; `None`: no claim does. Each is a string; `role`,
/// `organization` and `tenants` may also be lists, or objects of objects, whose names count. A
/// claim that cannot be used is left out, except the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// Required: a string, or an integer, which becomes its decimal digits. Default `sub`.
    pub subject: ClaimPath,
    /// Default `preferred_username`.
    pub username: Option<ClaimPath>,
    /// Default `email`.
    pub email: Option<ClaimPath>,
    /// Default `realm_access.roles`. Of a list, the first is the role; all count where a route asks
    /// for one.
    pub role: Option<ClaimPath>,
    /// Default `organization`. Of a list, the first; of an object, its first member's name.
    pub organization: Option<ClaimPath>,
    /// Default `tenants`.
    pub tenants: Option<ClaimPath>,
    /// Default `active_tenant`.
    pub active_tenant: Option<ClaimPath>,
}

impl ClaimPath {
    /// A path of one name, which may hold dots.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// This path, followed by another.
    #[must_use]
    pub fn join(mut self, inner: Self) -> Self {
        self.0.extend(inner.0);
        self
    }

    /// The claim; `None` if it, or an object on its path, is missing or null.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        let found =
            rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))?;
        (!found.is_null()).then_some(found)
    }
}

impl FromStr for ClaimPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATH {
            return Err(format!("it is longer than {LONGEST_PATH} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("it holds a control character".to_owned());
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::name(text));
        }
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let quote = rest.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let (name, after) = match quote {
                Some(quote) => {
                    rest.get(1..).and_then(|inner| inner.split_once(quote)).ok_or_else(|| {
                        format!("a name begins with {quote} and does not end with it")
                    })?
                }
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.is_empty() {
                return Err("a name in it is empty".to_owned());
            }
            names.push(name.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err("after a quoted name comes \".\" or the end".to_owned()),
            }
        }
        if names.len() > MOST_NAMES {
            return Err(format!("it has more than {MOST_NAMES} names"));
        }
        Ok(Self(names))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            let quote = match name {
                name if name.contains('\'') => "\"",
                name if name.contains(['.', '"']) => "'",
                _ => "",
            };
            write!(f, "{dot}{quote}{name}{quote}")?;
        }
        Ok(())
    }
}

impl ClaimRule {
    /// Whether the claims meet the rule. A missing claim does not.
    #[must_use]
    pub fn is_met_by(&self, claims: &Map<String, Value>) -> bool {
        self.is_met(self.path.find(claims))
    }

    /// Whether a claim that was found by [`ClaimRule::path`] meets the rule.
    #[must_use]
    pub fn is_met(&self, found: Option<&Value>) -> bool {
        match found {
            Some(Value::Array(items)) => items.iter().any(|item| self.allows(item)),
            Some(value) => self.allows(value),
            None => false,
        }
    }

    fn allows(&self, value: &Value) -> bool {
        self.one_of.iter().any(|allowed| match (allowed, value) {
            (ClaimValue::Text(allowed), Value::String(text)) => allowed == text,
            (ClaimValue::Integer(allowed), Value::Number(number)) => {
                number.as_i64() == Some(*allowed)
            }
            (ClaimValue::Boolean(allowed), Value::Bool(boolean)) => allowed == boolean,
            _ => false,
        })
    }
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
        }
    }
}

impl Default for ClaimNames {
    fn default() -> Self {
        let inner = |outer: &str, inner: &str| ClaimPath::name(outer).join(ClaimPath::name(inner));
        Self {
            subject: ClaimPath::name("sub"),
            username: Some(ClaimPath::name("preferred_username")),
            email: Some(ClaimPath::name("email")),
            role: Some(inner("realm_access", "roles")),
            organization: Some(ClaimPath::name("organization")),
            tenants: Some(ClaimPath::name("tenants")),
            active_tenant: Some(ClaimPath::name("active_tenant")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).expect("an object")
    }

    fn path(text: &str) -> ClaimPath {
        text.parse().expect("a path")
    }

    #[test]
    fn a_path_goes_through_objects_and_names_may_hold_dots_and_slashes() {
        let claims = claims(
            r#"{"a":{"b":{"c":1}},"https://x.example/r":2,"x.y":{"z":3},"n":null,"l":[{"b":4}],"o":{"n":null},"it's":5}"#,
        );
        for (text, expected) in [
            ("a.b.c", Some(1)),
            ("https://x.example/r", Some(2)),
            ("'https://x.example/r'", Some(2)),
            ("\"x.y\".z", Some(3)),
            ("\"it's\"", Some(5)),
            ("x.y.z", None),
            ("a.b.c.d", None),
            ("n", None),
            ("o.n", None),
            ("l.b", None),
            ("l.0", None),
            ("A.b.c", None),
        ] {
            assert_eq!(path(text).find(&claims).and_then(Value::as_i64), expected, "{text}");
            assert_eq!(
                path(&path(text).to_string()),
                path(text),
                "{text} is displayed as it is parsed"
            );
        }
    }

    #[test]
    fn a_broken_path_says_why() {
        for (text, why) in [
            ("", "empty"),
            (".", "empty"),
            ("a.", "empty"),
            (".a", "empty"),
            ("a..b", "empty"),
            ("''", "empty"),
            ("'a", "does not end"),
            ("'a'b", "the end"),
            ("a\u{0}", "control"),
            (&"a.".repeat(20), "empty"),
            (&["a"; 17].join("."), "more than 16"),
            (&"a".repeat(513), "longer than 512"),
        ] {
            let reason = text.parse::<ClaimPath>().expect_err(text);
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }

    #[test]
    fn a_rule_keeps_types_apart_and_looks_into_lists() {
        let rule = |value| ClaimRule { path: path("c"), one_of: vec![value] };
        let met = |value: ClaimValue, text: &str| rule(value).is_met_by(&claims(text));
        assert!(
            met(ClaimValue::Text("x".into()), r#"{"c":"x"}"#)
                && met(ClaimValue::Text("x".into()), r#"{"c":["y","x"]}"#)
        );
        assert!(
            met(ClaimValue::Integer(1), r#"{"c":1}"#)
                && met(ClaimValue::Boolean(true), r#"{"c":true}"#)
        );
        for text in [
            r#"{"c":"1"}"#,
            r#"{"c":1.0}"#,
            r#"{"c":true}"#,
            r#"{"c":[[1]]}"#,
            r#"{"c":{"1":1}}"#,
            "{}",
            r#"{"c":null}"#,
        ] {
            assert!(!met(ClaimValue::Integer(1), text), "{text}");
        }
        for text in
            [r#"{"c":"X"}"#, r#"{"c":"x "}"#, r#"{"c":[]}"#, r#"{"c":["xx"]}"#, r#"{"d":"x"}"#]
        {
            assert!(!met(ClaimValue::Text("x".into()), text), "{text}");
        }
        assert!(
            !met(ClaimValue::Boolean(true), r#"{"c":"true"}"#)
                && !met(ClaimValue::Boolean(false), r#"{"c":null}"#)
        );
    }
}
