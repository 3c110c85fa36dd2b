//! `WWW-Authenticate` of a refusal, as a route words it.

use std::borrow::Cow;

/// The scheme in which a route asks for a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeScheme {
    /// Bearer (RFC 6750), with the code of what is wrong (the default).
    #[default]
    Bearer,
    /// Basic (RFC 7617): git, pip, wget and docker repeat the request with what their user gave
    /// them. Alone: a client of docker takes the realm of every `Bearer` beside it for the address
    /// of a token server, asks there, and fails.
    Basic,
}

impl ChallengeScheme {
    /// All of them, each with its word in the configuration, the default first.
    pub const WORDS: &[(&str, Self)] = &[("bearer", Self::Bearer), ("basic", Self::Basic)];
}

/// How a route asks for a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChallenge {
    /// In which scheme.
    pub scheme: ChallengeScheme,
    /// What the credential is for: visible ASCII and spaces, without `"` and `\`.
    pub realm: Box<str>,
}

/// What is challenged of a request, in the codes of RFC 6750, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge<'a> {
    /// It has no credential.
    Missing,
    InvalidRequest,
    InvalidToken,
    /// With the scopes of which one is needed, if they are known.
    InsufficientScope(Option<&'a str>),
}

/// The realm of routes that have no other.
pub const DEFAULT_REALM: &str = "keyward";

impl Challenge<'_> {
    /// The value of `WWW-Authenticate`. `own`: how the route words it.
    pub(super) fn text(self, own: Option<&RouteChallenge>) -> Cow<'static, str> {
        let Some(own) = own else { return self.usual() };
        let realm = &own.realm;
        if own.scheme == ChallengeScheme::Basic
            && matches!(self, Self::Missing | Self::InvalidToken)
        {
            return format!(r#"Basic realm="{realm}", charset="UTF-8""#).into();
        }
        let rest = match self {
            Self::Missing => String::new(),
            Self::InvalidRequest => r#", error="invalid_request""#.to_owned(),
            Self::InvalidToken => r#", error="invalid_token""#.to_owned(),
            Self::InsufficientScope(None) => r#", error="insufficient_scope""#.to_owned(),
            Self::InsufficientScope(Some(scope)) => {
                format!(r#", error="insufficient_scope", scope="{scope}""#)
            }
        };
        format!(r#"Bearer realm="{realm}"{rest}"#).into()
    }

    fn usual(self) -> Cow<'static, str> {
        let text = match self {
            Self::Missing => r#"Bearer realm="keyward""#,
            Self::InvalidRequest => r#"Bearer realm="keyward", error="invalid_request""#,
            Self::InvalidToken => r#"Bearer realm="keyward", error="invalid_token""#,
            Self::InsufficientScope(None) => {
                r#"Bearer realm="keyward", error="insufficient_scope""#
            }
            Self::InsufficientScope(Some(scope)) => {
                let challenge = r#"Bearer realm="keyward", error="insufficient_scope", scope="#;
                return format!(r#"{challenge}"{scope}""#).into();
            }
        };
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_of_the_usual_realm_is_the_same_whether_or_not_the_route_names_it() {
        let bearer =
            RouteChallenge { scheme: ChallengeScheme::Bearer, realm: DEFAULT_REALM.into() };
        for challenge in [
            Challenge::Missing,
            Challenge::InvalidRequest,
            Challenge::InvalidToken,
            Challenge::InsufficientScope(None),
            Challenge::InsufficientScope(Some("a b")),
        ] {
            assert_eq!(challenge.text(None), challenge.text(Some(&bearer)));
        }
    }

    #[test]
    fn basic_asks_where_a_credential_would_help_and_only_there() {
        let basic = RouteChallenge { scheme: ChallengeScheme::Basic, realm: "the index".into() };
        for (challenge, expected) in [
            (Challenge::Missing, r#"Basic realm="the index", charset="UTF-8""#),
            (Challenge::InvalidToken, r#"Basic realm="the index", charset="UTF-8""#),
            (Challenge::InvalidRequest, r#"Bearer realm="the index", error="invalid_request""#),
            (
                Challenge::InsufficientScope(Some("a")),
                r#"Bearer realm="the index", error="insufficient_scope", scope="a""#,
            ),
        ] {
            assert_eq!(challenge.text(Some(&basic)), expected);
        }
    }
}
