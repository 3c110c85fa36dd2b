//! The names of the headers that tell the upstream who a request is.

/// `[identity_headers]`: for each part of the identity the header that carries it, in lower case;
/// `None`: not sent.
///
/// No two are the same, and none means something to HTTP itself. The default is the preset
/// `keyward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The subject. Default `x-keyward-subject`.
    pub subject: Option<String>,
    /// The user name. Default `x-keyward-username`.
    pub username: Option<String>,
    /// The organization or tenant. Default `x-keyward-organization`.
    pub organization: Option<String>,
    /// The role. Default `x-keyward-role`.
    pub role: Option<String>,
    /// The email address. Default `x-keyward-email`.
    pub email: Option<String>,
    /// The id of the token, not the token. Default `x-keyward-token-id`.
    pub token_id: Option<String>,
    /// The name of the token API that the credential belongs to. Default `x-keyward-credential`.
    pub credential: Option<String>,
    /// The id of the request. Default `x-request-id`.
    pub request_id: Option<String>,
    /// The subject of the client's certificate (RFC 4514). Default `x-keyward-client-cert-subject`,
    /// with every preset.
    pub client_certificate_subject: Option<String>,
    /// The subject alternative names of the client's certificate. Default
    /// `x-keyward-client-cert-names`, with every preset.
    pub client_certificate_names: Option<String>,
}

/// A set of header names that upstreams may know already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// `X-Keyward-…`, all of them (the default).
    #[default]
    Keyward,
    /// The names of Kong's authentication plugins.
    Kong,
    /// The names of oauth2-proxy.
    Oauth2Proxy,
    /// `Remote-…`, after CGI's REMOTE_USER.
    RemoteUser,
}

impl Preset {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Keyward, Self::Kong, Self::Oauth2Proxy, Self::RemoteUser];

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyward => "keyward",
            Self::Kong => "kong",
            Self::Oauth2Proxy => "oauth2-proxy",
            Self::RemoteUser => "remote-user",
        }
    }
}

impl IdentityHeaders {
    /// The names of a preset.
    pub fn preset(preset: Preset) -> Self {
        let name = |name: &str| Some(name.to_owned());
        let request_id_only = Self {
            subject: None,
            username: None,
            organization: None,
            role: None,
            email: None,
            token_id: None,
            credential: None,
            request_id: name("x-request-id"),
            client_certificate_subject: name("x-keyward-client-cert-subject"),
            client_certificate_names: name("x-keyward-client-cert-names"),
        };
        match preset {
            Preset::Keyward => Self {
                subject: name("x-keyward-subject"),
                username: name("x-keyward-username"),
                organization: name("x-keyward-organization"),
                role: name("x-keyward-role"),
                email: name("x-keyward-email"),
                token_id: name("x-keyward-token-id"),
                credential: name("x-keyward-credential"),
                ..request_id_only
            },
            Preset::Kong => Self {
                subject: name("x-consumer-custom-id"),
                username: name("x-consumer-username"),
                role: name("x-consumer-groups"),
                token_id: name("x-credential-identifier"),
                ..request_id_only
            },
            Preset::Oauth2Proxy => Self {
                subject: name("x-forwarded-user"),
                username: name("x-forwarded-preferred-username"),
                role: name("x-forwarded-groups"),
                email: name("x-forwarded-email"),
                ..request_id_only
            },
            Preset::RemoteUser => Self {
                username: name("remote-user"),
                role: name("remote-groups"),
                email: name("remote-email"),
                ..request_id_only
            },
        }
    }

    /// Each part of the identity by its word in the configuration, with its header.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 10] {
        [
            ("subject", self.subject.as_deref()),
            ("username", self.username.as_deref()),
            ("organization", self.organization.as_deref()),
            ("role", self.role.as_deref()),
            ("email", self.email.as_deref()),
            ("token_id", self.token_id.as_deref()),
            ("credential", self.credential.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("client_certificate_subject", self.client_certificate_subject.as_deref()),
            ("client_certificate_names", self.client_certificate_names.as_deref()),
        ]
    }
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self::preset(Preset::Keyward)
    }
}

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

    #[test]
    fn presets_keep_the_rules_that_overrides_must_keep() {
        for preset in Preset::ALL {
            let headers = IdentityHeaders::preset(preset);
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
