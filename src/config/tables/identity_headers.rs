//! The keys of `[identity_headers]`.

use crate::config::identity_headers::parse_name;
use crate::gateway::{IdentityNames, Preset};
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, words};
use crate::settings::settings;

settings! {
    /// The headers that tell the upstream who a request is. What clients send under these names is
    /// removed.
    ///
    /// Single names stand in the place of the preset's; `""` sends none. No two headers may have
    /// the same name, and none may have a name that means something to HTTP itself. The defaults
    /// are those of the preset `"keyward"`.
    pub(crate) struct IdentityHeaderKeys {
        /// Names that upstreams may know already. `"keyward"`: `X-Keyward-…`; `"kong"`: the names
        /// of Kong's authentication plugins; `"oauth2-proxy"`: those of oauth2-proxy;
        /// `"remote-user"`: `Remote-…`.
        pub(crate) preset: Preset = words(Preset::WORDS).or(Preset::Keyward),
        /// The subject.
        pub(crate) subject: Option<String> = HEADER.or(usual().subject),
        /// The username.
        pub(crate) username: Option<String> = HEADER.or(usual().username),
        /// The organization or tenant.
        pub(crate) organization: Option<String> = HEADER.or(usual().organization),
        /// The role.
        pub(crate) role: Option<String> = HEADER.or(usual().role),
        /// The email address.
        pub(crate) email: Option<String> = HEADER.or(usual().email),
        /// The id of the token, not the token.
        pub(crate) token_id: Option<String> = HEADER.or(usual().token_id),
        /// The name of the token API or issuer whose credential it is.
        pub(crate) credential: Option<String> = HEADER.or(usual().credential),
        /// The id of the request; the same with every preset.
        pub(crate) request_id: Option<String> = HEADER.or(usual().request_id),
        /// The subject of the client's certificate (see `client_certificates` of `[[listener]]`),
        /// as in `CN=app,O=Example`; the same with every preset.
        pub(crate) client_certificate_subject: Option<String> =
            HEADER.or(usual().client_certificate_subject),
        /// The names of the client's certificate, as in `DNS:a.example, URI:spiffe://a.example/b`;
        /// the same with every preset.
        pub(crate) client_certificate_names: Option<String> =
            HEADER.or(usual().client_certificate_names),
    }
}

const HEADER: Text<Option<String>> = Text {
    what: "the name of a header, or \"\" to leave it out",
    parse: parse_name,
    show: |name| name.clone().unwrap_or_default(),
};

/// The names of the preset that is the default.
fn usual() -> IdentityNames {
    IdentityNames::preset(Preset::Keyward)
}
