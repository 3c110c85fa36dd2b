//! Sets of names for identity headers that upstreams may know already.

use super::identity_headers::IdentityNames;

/// Whose names of identity headers are used.
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
    /// All of them, each with its word in the configuration, the default first.
    pub const WORDS: &[(&str, Self)] = &[
        ("keyward", Self::Keyward),
        ("kong", Self::Kong),
        ("oauth2-proxy", Self::Oauth2Proxy),
        ("remote-user", Self::RemoteUser),
    ];
}

impl IdentityNames {
    /// The names of a preset.
    pub fn preset(preset: Preset) -> Self {
        let name = |name: &str| Some(name.to_owned());
        let without_caller = Self {
            request_id: name("x-request-id"),
            client_certificate_subject: name("x-keyward-client-cert-subject"),
            client_certificate_names: name("x-keyward-client-cert-names"),
            ..Self::default()
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
                ..without_caller
            },
            Preset::Kong => Self {
                subject: name("x-consumer-custom-id"),
                username: name("x-consumer-username"),
                role: name("x-consumer-groups"),
                token_id: name("x-credential-identifier"),
                ..without_caller
            },
            Preset::Oauth2Proxy => Self {
                subject: name("x-forwarded-user"),
                username: name("x-forwarded-preferred-username"),
                role: name("x-forwarded-groups"),
                email: name("x-forwarded-email"),
                ..without_caller
            },
            Preset::RemoteUser => Self {
                username: name("remote-user"),
                role: name("remote-groups"),
                email: name("remote-email"),
                ..without_caller
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
